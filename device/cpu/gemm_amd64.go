//go:build !noasm

package cpu

import "hone/internal/cpuid"

// newGemmKernels chooses the routines for a machine with the given features.
func newGemmKernels(f cpuid.Features) *gemmKernels {
	if !f.HasAVX2() {
		return genericGemmKernels(f)
	}
	k := &gemmKernels{
		name: "avx2", mr: len(tilesAVX2), nr: 8 * len(tilesAVX2[0]), lanes: 8, f32: tilesAVX2,
		transpose: transposeAVX2, transposeWiden: transposeWidenAVX2, copyRows: copyRowsAVX2,
		widenRows: widenRowsAVX2, pairRows: pairRowsAVX2, packs: packs(f), copies: copies(f), asks: roomy(f), columns: roomy(f),
		fewF32: fewAVX2, fewWiden: fewWidenAVX2,
		stripesA: stripePacker{copyStripes16AVX2, widenStripes16AVX2, nil},
		stripesB: stripePacker{copyStripes96AVX2, widenStripes96AVX2, nil},
	}
	if f.HasAVX512() {
		k.name, k.mr, k.nr, k.lanes, k.f32 = "avx512", len(tilesAVX512), 16*len(tilesAVX512[0]), 16, tilesAVX512
		k.rounds, k.widen, k.halves, k.fewF32, k.fewWiden = true, tilesAVX512Widen, tilesAVX512Halves, fewAVX512, fewWidenAVX512
		k.stripesA = stripePacker{copyStripes32AVX2, widenStripes32AVX2, pairStripes32AVX2}
		k.stripesB = stripePacker{copyStripes192AVX2, widenStripes192AVX2, pairStripes192AVX2}
	}
	if f.UseBF16Dots() { // for many rows and few alike: a token must get the bits that training gives it
		k.name, k.bf16 = "avx512bf16", tilesAVX512BF16
		k.fewPairs = fewAVX512BF16
	}
	if k.lanes == 16 && f.AskAhead {
		k.asksB, k.thirds = true, true
		k.f32, k.widen = withRow(tilesAVX512, tilesAVX512Row), withRow(tilesAVX512Widen, tilesAVX512WidenRow)
		if k.bf16 != nil {
			k.bf16 = withRow(tilesAVX512BF16, tilesAVX512BF16Row)
		}
	}
	return k
}

// roomy says whether the second cache has room beside a block of B: for what is packed next of A, 64 KiB, or for the lines of a
// transposed A that is read in place, which fall on a part of its sets.
func roomy(f cpuid.Features) bool { return f.L2 >= 2<<20 }

// tilesAVX512WidenRow are the kernels of a single row of AVX512Widen, the widest of which takes fewer instructions.
var tilesAVX512WidenRow = [][]tileFunc{{tileAVX512Widen1x1, tileAVX512Widen1x2, widenRowAVX512}}

// widenRowAVX512 is tileAVX512Widen1x3 of rows of B that stand side by side.
//
//go:noescape
func widenRowAVX512(t *tileArgs)

// withRow is tiles with others for a single row.
func withRow(tiles, row [][]tileFunc) [][]tileFunc {
	return append(row[:1:1], tiles[1:]...)
}
