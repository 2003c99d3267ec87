//go:build !noasm

package peak

import "hone/internal/cpuid"

// neonChains is the number of multiply-adds of 4 elements in an iteration of the loop.
const neonChains = 24

// peakLoops is the loop for f32; there is none for bf16.
func peakLoops(f cpuid.Features) (f32, dots peakLoop) {
	if !f.NEON {
		return peakLoop{genericPeak, 16}, peakLoop{}
	}
	return peakLoop{peakNEON, neonChains * 4 * 2}, peakLoop{}
}

func streamLoops(cpuid.Features) streams { return genericStreams() }
