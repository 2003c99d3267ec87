//go:build linux && !noasm

package gemm

import "hone/internal/cpuid"

// tileKinds are the tiles that this machine can run.
func tileKinds(f cpuid.Features) []tileKind {
	if !f.NEON {
		return nil
	}
	return []tileKind{{"neon", tilesNEON, 8, modelF32, 1, false, false}, {"neon widen", tilesNEONWiden, 8, modelWidened, 2, false, false}}
}
