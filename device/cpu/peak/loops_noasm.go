//go:build (!amd64 && !arm64) || noasm

package peak

import "hone/internal/cpuid"

// peakLoops is the portable loop for f32; there is none for bf16.
func peakLoops(cpuid.Features) (f32, dots peakLoop) { return peakLoop{genericPeak, 16}, peakLoop{} }

func streamLoops(cpuid.Features) streams { return genericStreams() }
