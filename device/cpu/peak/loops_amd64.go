//go:build !noasm

package peak

import "hone/internal/cpuid"

// peakChains is the number of multiply-adds in an iteration of the loops.
const peakChains = 12

// peakLoops are the loops for f32 and, where the machine has the instruction, dot products of bf16.
func peakLoops(f cpuid.Features) (f32, dots peakLoop) {
	switch {
	case f.HasAVX512():
		f32 = peakLoop{peakAVX512, peakChains * 16 * 2}
	case f.HasAVX2():
		f32 = peakLoop{peakAVX2, peakChains * 8 * 2}
	default:
		f32 = peakLoop{genericPeak, 16}
	}
	if f.HasAVX512BF16() {
		dots = peakLoop{peakAVX512BF16, peakChains * 32 * 2}
	}
	return f32, dots
}

func streamLoops(f cpuid.Features) streams {
	if !f.HasAVX2() {
		return genericStreams()
	}
	s := streams{streamReadAVX2, streamCopyAVX2, streamMixAVX2}
	if f.AskAhead && f.HasAVX512() {
		s.read = streamReadAVX512
	}
	return s
}
