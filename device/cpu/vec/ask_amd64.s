//go:build !noasm

#include "textflag.h"

// func AskToRead(at unsafe.Pointer, bytes, stride, rows int)
TEXT ·AskToRead(SB), NOSPLIT, $0-32
	MOVQ at+0(FP), DI
	MOVQ bytes+8(FP), DX
	MOVQ stride+16(FP), AX
	MOVQ rows+24(FP), BX

row:
	MOVQ DI, SI
	MOVQ DX, CX

line:
	PREFETCHT1 (SI)
	ADDQ $64, SI
	SUBQ $64, CX
	JG   line
	ADDQ AX, DI
	DECQ BX
	JNZ  row
	RET

// func AskToWrite(at unsafe.Pointer, bytes, stride, rows int)
TEXT ·AskToWrite(SB), NOSPLIT, $0-32
	MOVQ at+0(FP), DI
	MOVQ bytes+8(FP), DX
	MOVQ stride+16(FP), AX
	MOVQ rows+24(FP), BX

row:
	MOVQ DI, SI
	MOVQ DX, CX

line:
	BYTE $0x0f; BYTE $0x0d; BYTE $0x0e // PREFETCHW (SI), which the assembler does not know
	ADDQ $64, SI
	SUBQ $64, CX
	JG   line
	ADDQ AX, DI
	DECQ BX
	JNZ  row
	RET
