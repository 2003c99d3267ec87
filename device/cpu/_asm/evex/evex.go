// Package evex encodes AVX-512 instructions that Go's assembler does not know.
package evex

import "fmt"

// BF16 encodes the instruction EVEX.F3.0F38.W0 op /r of AVX512_BF16, between vector registers of 256 or 512 bits, as a LONG and a WORD of
// Go's assembler.
func BF16(op, rm, vvvv, reg, bits int) (long, word string) {
	not := func(n, bit int) int { return ^n >> bit & 1 }
	p0 := not(reg, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(reg, 4)<<4 | 2
	p1 := (^vvvv&15)<<3 | 1<<2 | 2
	p2 := bits/256<<5 | not(vvvv, 4)<<3
	modrm := 3<<6 | reg&7<<3 | rm&7
	return fmt.Sprintf("LONG $%#08x", 0x62|p0<<8|p1<<16|p2<<24), fmt.Sprintf("WORD $%#04x", op|modrm<<8)
}
