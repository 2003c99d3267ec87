//go:build !noasm

package cpu

import "hone/internal/cpuid"

// vecBest is the widest path that this machine has.
func vecBest() vecPath {
	switch f := cpuid.Host(); {
	case f.HasAVX512():
		return pathAVX512
	case f.HasAVX2():
		return pathAVX2
	}
	return pathGeneric
}

// vecRounds says whether this machine has AVX-512's rounding to bf16.
var vecRounds = cpuid.Host().HasAVX512BF16()
