//go:build !noasm

package gemm

import "hone/internal/cpuid"

// NewKernels chooses the routines for a machine with the given features. A product of few rows has no kernels of its own here: it
// packs B as others do, unless that is arranged.
func NewKernels(f cpuid.Features) *Kernels {
	k := GenericKernels(f)
	if !f.NEON {
		return k
	}
	k.Name, k.MR, k.NR, k.F32, k.widen = "neon", len(tilesNEON), 8*len(tilesNEON[0]), tilesNEON, tilesNEONWiden
	k.stripesA, k.stripesB = genericStripes(k.MR), genericStripes(k.NR)
	k.Transpose = transposeNEON
	return k
}
