//go:build !noasm

package vec

import "hone/internal/cpuid"

// PathOf is the widest path of a machine with the given features.
func PathOf(f cpuid.Features) Path {
	if f.NEON {
		return NEON
	}
	return Generic
}
