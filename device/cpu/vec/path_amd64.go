//go:build !noasm

package vec

import "hone/internal/cpuid"

// PathOf is the widest path of a machine with the given features.
func PathOf(f cpuid.Features) Path {
	switch {
	case f.HasAVX512BF16():
		return AVX512BF16
	case f.HasAVX512():
		return AVX512
	case f.HasAVX2():
		return AVX2
	}
	return Generic
}
