//go:build !noasm

#include "textflag.h"

// func spinPause(n int)
TEXT ·spinPause(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX

again:
	PAUSE
	DECQ CX
	JNZ  again
	RET

// func fetchLines(at uintptr)
TEXT ·fetchLines(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), SI
	PREFETCHT1 0(SI)
	PREFETCHT1 64(SI)
	PREFETCHT1 128(SI)
	PREFETCHT1 192(SI)
	PREFETCHT1 256(SI)
	PREFETCHT1 320(SI)
	PREFETCHT1 384(SI)
	PREFETCHT1 448(SI)
	PREFETCHT1 512(SI)
	PREFETCHT1 576(SI)
	PREFETCHT1 640(SI)
	PREFETCHT1 704(SI)
	PAUSE
	RET

// func fetchThirds(at uintptr)
TEXT ·fetchThirds(SB), NOSPLIT, $0-8
	MOVQ at+0(FP), SI
	PREFETCHT1 0(SI)
	PREFETCHT1 192(SI)
	PREFETCHT1 384(SI)
	PREFETCHT1 576(SI)
	PREFETCHT1 768(SI)
	PREFETCHT1 960(SI)
	PREFETCHT1 1152(SI)
	PREFETCHT1 1344(SI)
	PREFETCHT1 1536(SI)
	PREFETCHT1 1728(SI)
	PREFETCHT1 1920(SI)
	PREFETCHT1 2112(SI)
	RET

// func askToRead(at unsafe.Pointer, bytes, stride, rows int)
TEXT ·askToRead(SB), NOSPLIT, $0-32
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

// func askToWrite(at unsafe.Pointer, bytes, stride, rows int)
TEXT ·askToWrite(SB), NOSPLIT, $0-32
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
