//go:build linux && !noasm

package gemm

import "hone/internal/cpuid"

// tileKinds are the tiles that this machine can run.
func tileKinds(f cpuid.Features) (kinds []tileKind) {
	if f.HasAVX2() {
		kinds = append(kinds, tileKind{"avx2", tilesAVX2, 8, modelF32, 1, false, false})
	}
	if f.HasAVX512() {
		kinds = append(kinds, tileKind{"avx512", tilesAVX512, 16, modelF32, 1, false, false}, tileKind{"avx512 row", tilesAVX512Row, 16, modelF32, 1, false, false},
			tileKind{"widen", tilesAVX512Widen, 16, modelWidened, 2, false, false},
			tileKind{"widen row", tilesAVX512WidenRow, 16, modelWidened, 2, false, false}, tileKind{"halves", tilesAVX512Halves, 16, modelF32, 1, true, false},
			tileKind{"stream", streaming(tilesAVX512, tilesAVX512Stream), 16, modelF32, 1, false, false},
			tileKind{"widen stream", streaming(tilesAVX512Widen, tilesAVX512WidenStream), 16, modelWidened, 2, false, false})
	}
	if f.HasAVX512BF16() {
		kinds = append(kinds, tileKind{"bf16", tilesAVX512BF16, 16, modelPairs, 1, false, true},
			tileKind{"bf16 row", tilesAVX512BF16Row, 16, modelPairs, 1, false, true},
			tileKind{"bf16 stream", streaming(tilesAVX512BF16, tilesAVX512BF16Stream), 16, modelPairs, 1, false, true})
	}
	return kinds
}
