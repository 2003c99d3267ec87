package main

import (
	"fmt"
	"strings"
)

// The conversions work on whole vectors; their callers finish the rest.

func convertKernels() []*kernel {
	return []*kernel{
		{name: "Widen", args: signature("y *float32, x *uint16, n int"), text: widen},
		{name: "Round", args: signature("y *uint16, x *float32, n int"), text: round},
	}
}

// widen writes 64 elements a turn, then 16.
func widen(set isa) string {
	if set.arm {
		return neonWiden()
	}
	var b strings.Builder
	b.WriteString("\tMOVQ y+0(FP), DI\n\tMOVQ x+8(FP), SI\n\tMOVQ n+16(FP), CX\n")
	b.WriteString("\tSUBQ $64, CX\n\tJLT rest\n\nmany:\n")
	widenBody(&b, set, 64)
	b.WriteString("\tSUBQ $64, CX\n\tJGE many\n\nrest:\n\tADDQ $64, CX\n\tJEQ done\n\nwiden:\n")
	widenBody(&b, set, 16)
	return b.String() + convertEnd("widen")
}

func widenBody(b *strings.Builder, set isa, elements int) {
	for i := 0; i < elements; i += set.lanes {
		r := fmt.Sprintf("%s%d", set.prefix, i/set.lanes)
		fmt.Fprintf(b, "\tVPMOVZXWD %d(SI), %s\n\tVPSLLD $16, %s, %s\n\tVMOVUPS %s, %d(DI)\n", 2*i, r, r, r, r, 4*i)
	}
	fmt.Fprintf(b, "\tADDQ $%d, SI\n\tADDQ $%d, DI\n", 2*elements, 4*elements)
}

func convertHead(label string) string {
	return "\tMOVQ y+0(FP), DI\n\tMOVQ x+8(FP), SI\n\tMOVQ n+16(FP), CX\n" + "SETUP" + "\n" + label + ":\n"
}

func convertEnd(label string) string {
	return "\tSUBQ $16, CX\n\tJNE " + label + "\n\ndone:\n\tVZEROUPPER\n\tRET\n"
}

// round writes 16 elements a turn: (x + 0x7fff + (x>>16 & 1)) >> 16, and for a
// NaN x>>16 | 0x40.
func round(set isa) string {
	if set.arm {
		return neonRound()
	}
	setup, body := roundAVX2()
	if set.wide {
		setup, body = roundAVX512()
	}
	text := convertHead("round") + body + "\tADDQ $64, SI\n\tADDQ $32, DI\n" + convertEnd("round")
	return strings.Replace(text, "SETUP", setup, 1)
}

func roundAVX2() (setup, body string) {
	setup = `	VPCMPEQD Y15, Y15, Y15
	VPSRLD $31, Y15, Y14     // 1
	VPSRLD $17, Y15, Y13     // 0x7fff
	VPSLLD $6, Y14, Y12      // 0x40
`
	for i := range 2 {
		lines := fmt.Sprintf(`	VMOVUPS %d(SI), A
	VPSRLD $16, A, B
	VPAND Y14, B, C
	VPADDD Y13, A, D
	VPADDD C, D, D
	VPSRLD $16, D, D
	VPOR Y12, B, B
	VCMPPS $3, A, A, C
	VBLENDVPS C, B, D, D
`, 32*i)
		for j, name := range []string{"A", "B", "C", "D"} {
			reg := fmt.Sprintf("Y%d", 4*i+j)
			for _, end := range []string{",", "\n"} {
				lines = strings.ReplaceAll(lines, " "+name+end, " "+reg+end)
			}
		}
		body += lines
	}
	return setup, body + "\tVPACKUSDW Y7, Y3, Y3\n\tVPERMQ $0xd8, Y3, Y3\n\tVMOVUPS Y3, (DI)\n"
}

// roundAVX512 takes 32 elements a turn, and 16 at the end. The even ones get 0x7fff, the odd ones 0x8000, a NaN its quiet bit; the upper words
// of two vectors become one.
func roundAVX512() (setup, body string) {
	setup = `	VPTERNLOGD $255, Z15, Z15, Z15
	VPSRLD $17, Z15, Z14     // 0x7fff
	VPSRLD $31, Z15, Z13     // 1
	VPSLLD $16, Z13, Z12     // the bit that decides a tie
	VPSLLD $22, Z13, Z11     // the quiet bit of a NaN
	VMOVDQU32 vecUpperWords<>+0(SB), Z10
	SUBQ $32, CX
	JLT last

two:
`
	for i := range 2 {
		setup += fmt.Sprintf(`	VMOVUPS %[2]d(SI), Z%[1]d
	VPTESTMD Z12, Z%[1]d, K%[3]d
	VCMPPS $3, Z%[1]d, Z%[1]d, K%[4]d
	VPADDD Z14, Z%[1]d, Z%[5]d
	VPADDD Z13, Z%[5]d, K%[3]d, Z%[5]d
	VPORD Z11, Z%[1]d, K%[4]d, Z%[5]d
`, i, 64*i, 1+i, 3+i, 2+i)
	}
	setup += `	VPERMT2W Z3, Z10, Z2
	VMOVUPS Z2, (DI)
	ADDQ $128, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JGE two

last:
	ADDQ $32, CX
	JEQ done
`
	return setup, `	VMOVUPS (SI), Z0
	VPTESTMD Z12, Z0, K1
	VCMPPS $3, Z0, Z0, K3
	VPADDD Z14, Z0, Z2
	VPADDD Z13, Z2, K1, Z2
	VPORD Z11, Z0, K3, Z2
	VPSRLD $16, Z2, Z2
	VPMOVDW Z2, (DI)
`
}
