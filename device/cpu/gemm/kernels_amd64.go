//go:build !noasm

package gemm

import "hone/internal/cpuid"

// NewKernels chooses the routines for a machine with the given features.
func NewKernels(f cpuid.Features) *Kernels {
	if !f.HasAVX2() {
		return GenericKernels(f)
	}
	k := &Kernels{
		Name: "avx2", MR: len(tilesAVX2), NR: 8 * len(tilesAVX2[0]), Lanes: 8, F32: tilesAVX2,
		Transpose: transposeAVX2, TransposeWiden: transposeWidenAVX2, CopyRows: copyRowsAVX2,
		WidenRows: widenRowsAVX2, PairRows: pairRowsAVX2, packs: packs(f), copies: copies(f), asks: roomy(f), columns: roomy(f),
		FewF32: fewAVX2, FewWiden: fewWidenAVX2,
		stripesA: stripePacker{copyStripes16AVX2, widenStripes16AVX2, nil},
		stripesB: stripePacker{copyStripes96AVX2, widenStripes96AVX2, nil},
	}
	if f.HasAVX512() {
		k.Name, k.MR, k.NR, k.Lanes, k.F32 = "avx512", len(tilesAVX512), 16*len(tilesAVX512[0]), 16, tilesAVX512
		k.rounds, k.widen, k.Halves, k.FewF32, k.FewWiden = true, tilesAVX512Widen, tilesAVX512Halves, fewAVX512, fewWidenAVX512
		k.stripesA = stripePacker{copyStripes32AVX2, widenStripes32AVX2, pairStripes32AVX2}
		k.stripesB = stripePacker{copyStripes192AVX2, widenStripes192AVX2, pairStripes192AVX2}
	}
	if f.UseBF16Dots() { // for many rows and few alike: a token must get the bits that training gives it
		k.Name, k.BF16 = "avx512bf16", tilesAVX512BF16
		k.FewPairs = fewAVX512BF16
	}
	if k.Lanes == 16 && f.AskAhead {
		k.asksB, k.thirds = true, true
		k.F32, k.widen = withRow(tilesAVX512, tilesAVX512Row), withRow(tilesAVX512Widen, tilesAVX512WidenRow)
		if k.BF16 != nil {
			k.BF16 = withRow(tilesAVX512BF16, tilesAVX512BF16Row)
		}
	} else if k.Lanes == 16 {
		k.streams = streamTiles{
			streaming(tilesAVX512, tilesAVX512Stream),
			streaming(tilesAVX512BF16, tilesAVX512BF16Stream),
			streaming(tilesAVX512Widen, tilesAVX512WidenStream),
		}
	}
	return k
}

// roomy says whether the caches have room beside a block of B: for what is packed next of A, 64 KiB, or for the lines of a transposed
// A that is read in place, which fall on a part of a cache's sets. Beside a first cache of 48 KiB a second one of 1 MiB has it, too: a
// Zen 5 gains what an Emerald Rapids does (docs/performance/zen5.md).
func roomy(f cpuid.Features) bool { return f.L2 >= 2<<20 || f.L1D >= 48<<10 }

// tilesAVX512WidenRow are the kernels of a single row of AVX512Widen, the widest of which takes fewer instructions.
var tilesAVX512WidenRow = [][]TileFunc{{tileAVX512Widen1x1, tileAVX512Widen1x2, widenRowAVX512}}

// widenRowAVX512 is tileAVX512Widen1x3 of rows of B that stand side by side.
//
//go:noescape
func widenRowAVX512(t *TileArgs)

// withRow is tiles with others for a single row.
func withRow(tiles, row [][]TileFunc) [][]TileFunc {
	return append(row[:1:1], tiles[1:]...)
}

// streaming is tiles with others for the widest ones of more than one row.
func streaming(tiles [][]TileFunc, others []TileFunc) (all [][]TileFunc) {
	all = append(all, tiles[0])
	for i, other := range others {
		row := tiles[i+1]
		all = append(all, append(row[:len(row)-1:len(row)-1], other))
	}
	return all
}
