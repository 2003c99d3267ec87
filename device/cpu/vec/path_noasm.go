//go:build (!amd64 && !arm64) || noasm

package vec

import "hone/internal/cpuid"

// PathOf is Generic: there is no other.
func PathOf(cpuid.Features) Path { return Generic }
