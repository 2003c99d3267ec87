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

// widen writes 16 elements a turn.
func widen(set isa) string {
	var b strings.Builder
	b.WriteString(convertHead("widen"))
	for i := 0; i < 16; i += set.lanes {
		r := fmt.Sprintf("%s%d", set.prefix, i/set.lanes)
		fmt.Fprintf(&b, "\tVPMOVZXWD %d(SI), %s\n\tVPSLLD $16, %s, %s\n\tVMOVUPS %s, %d(DI)\n", 2*i, r, r, r, r, 4*i)
	}
	return b.String() + "\tADDQ $32, SI\n\tADDQ $64, DI\n" + convertEnd("widen")
}

func convertHead(label string) string {
	return "\tMOVQ y+0(FP), DI\n\tMOVQ x+8(FP), SI\n\tMOVQ n+16(FP), CX\n" + "SETUP" + "\n" + label + ":\n"
}

func convertEnd(label string) string {
	return "\tSUBQ $16, CX\n\tJNE " + label + "\n\tVZEROUPPER\n\tRET\n"
}

// round writes 16 elements a turn: (x + 0x7fff + (x>>16 & 1)) >> 16, and for a
// NaN x>>16 | 0x40.
func round(set isa) string {
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

func roundAVX512() (setup, body string) {
	setup = `	VPTERNLOGD $255, Z15, Z15, Z15
	VPSRLD $31, Z15, Z14     // 1
	VPSRLD $17, Z15, Z13     // 0x7fff
	VPSLLD $6, Z14, Z12      // 0x40
`
	return setup, `	VMOVUPS (SI), Z0
	VPSRLD $16, Z0, Z1
	VPANDD Z14, Z1, Z2
	VPADDD Z13, Z0, Z3
	VPADDD Z2, Z3, Z3
	VPSRLD $16, Z3, Z3
	VCMPPS $3, Z0, Z0, K2
	VPORD Z12, Z1, K2, Z3
	VPMOVDW Z3, (DI)
`
}
