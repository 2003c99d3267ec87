//go:build !noasm

package cpu

import "hone/internal/cpuid"

// vecBest is the widest path that this machine has.
func vecBest() vecPath {
	if cpuid.Host().NEON {
		return pathNEON
	}
	return pathGeneric
}
