//go:build !noasm

package cpuid

import "encoding/binary"

// Bits of CPUID and XCR0, from the Intel and AMD manuals.
const (
	leaf1FMA     = 1 << 12 // ECX
	leaf1OSXSAVE = 1 << 27
	leaf1AVX     = 1 << 28
	leaf1F16C    = 1 << 29

	leaf7AVX2     = 1 << 5 // EBX
	leaf7AVX512F  = 1 << 16
	leaf7AVX512DQ = 1 << 17
	leaf7AVX512BW = 1 << 30
	leaf7AVX512VL = 1 << 31

	leaf7s1AVX512BF16 = 1 << 5 // EAX of subleaf 1

	vendorIntel     = "GenuineIntel" // EBX, EDX, ECX of leaf 0
	family6         = 6
	modelCooperLake = 0x55 // with its predecessors, which have no VDPBF16PS

	xcr0AVX    = 1<<1 | 1<<2                  // XMM and YMM state
	xcr0AVX512 = xcr0AVX | 1<<5 | 1<<6 | 1<<7 // and opmask, upper ZMM, ZMM16-31
)

// cpuid executes CPUID with the given leaf and subleaf.
//
//go:noescape
func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// xgetbv0 reads XCR0, the register states that the operating system keeps.
//
//go:noescape
func xgetbv0() uint32

func host() Features {
	var f Features
	maxLeaf, v0, v2, v1 := cpuid(0, 0)
	f.L1D, f.L2, f.L3 = caches(maxLeaf)
	f.AskAhead = vendor(v0, v1, v2) == vendorIntel
	if maxLeaf < 7 {
		return f
	}
	signature, _, c1, _ := cpuid(1, 0)
	if c1&leaf1OSXSAVE == 0 || c1&leaf1AVX == 0 {
		return f
	}
	xcr0 := xgetbv0()
	if xcr0&xcr0AVX != xcr0AVX {
		return f
	}
	subleaves, b7, _, _ := cpuid(7, 0)
	f.AVX2 = b7&leaf7AVX2 != 0
	f.FMA = c1&leaf1FMA != 0
	f.F16C = c1&leaf1F16C != 0
	if xcr0&xcr0AVX512 != xcr0AVX512 {
		return f
	}
	f.AVX512F = b7&leaf7AVX512F != 0
	f.AVX512DQ = b7&leaf7AVX512DQ != 0
	f.AVX512BW = b7&leaf7AVX512BW != 0
	f.AVX512VL = b7&leaf7AVX512VL != 0
	if subleaves >= 1 {
		a, _, _, _ := cpuid(7, 1)
		f.AVX512BF16 = a&leaf7s1AVX512BF16 != 0
		f.SlowBF16Dots = f.AVX512BF16 && slowBF16Dots(vendor(v0, v1, v2), signature)
	}
	return f
}

// vendor is the processor's maker as the registers of leaf 0 spell it.
func vendor(registers ...uint32) string {
	var name []byte
	for _, r := range registers {
		name = binary.LittleEndian.AppendUint32(name, r)
	}
	return string(name)
}

// slowBF16Dots decides Features.SlowBF16Dots for a processor with VDPBF16PS by its maker and the signature in EAX of leaf 1. Whoever
// names another maker, as a hypervisor may, gets the instruction: results are right either way, and either may be half as fast there.
func slowBF16Dots(vendor string, signature uint32) bool {
	family, model := signature>>8&15, signature>>4&15|signature>>12&0xf0
	return vendor == vendorIntel && !(family == family6 && model == modelCooperLake)
}

// caches reads the deterministic cache parameters: leaf 4 on Intel, 0x8000001d, which has the same form, on AMD. Each maker's
// processors may count the other's leaf among theirs, in virtual machines above all, and say nothing in it.
func caches(maxLeaf uint32) (l1d, l2, l3 int) {
	if maxExt, _, _, _ := cpuid(0x80000000, 0); maxExt >= 0x8000001d {
		l1d, l2, l3 = cachesOf(0x8000001d)
	}
	if l1d == 0 && maxLeaf >= 4 {
		l1d, l2, l3 = cachesOf(4)
	}
	return l1d, l2, l3
}

// cachesOf reads them from one of the leaves, zeros where it says nothing.
func cachesOf(leaf uint32) (l1d, l2, l3 int) {
	for sub := range uint32(16) {
		a, b, c, _ := cpuid(leaf, sub)
		kind, level := a&31, a>>5&7
		if kind == 0 {
			break
		}
		size := int(b>>22+1) * int(b>>12&0x3ff+1) * int(b&0xfff+1) * int(c+1)
		switch {
		case level == 1 && kind == 1:
			l1d = size
		case level == 2 && kind != 2:
			l2 = size
		case level == 3 && kind != 2:
			l3 = size
		}
	}
	return l1d, l2, l3
}
