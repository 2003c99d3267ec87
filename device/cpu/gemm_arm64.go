//go:build !noasm

package cpu

import "hone/internal/cpuid"

// newGemmKernels chooses the routines for a machine with the given features. A product of few rows has no kernels of its own here: it
// packs B as others do, unless that is arranged.
func newGemmKernels(f cpuid.Features) *gemmKernels {
	k := genericGemmKernels(f)
	if !f.NEON {
		return k
	}
	k.name, k.mr, k.nr, k.f32, k.widen = "neon", len(tilesNEON), 8*len(tilesNEON[0]), tilesNEON, tilesNEONWiden
	k.stripesA, k.stripesB = genericStripes(k.mr), genericStripes(k.nr)
	k.transpose = transposeNEON
	return k
}
