//go:build (!amd64 && !arm64) || noasm

package cpu

import "hone/internal/cpuid"

// newGemmKernels chooses the routines for a machine with the given features.
func newGemmKernels(f cpuid.Features) *gemmKernels { return genericGemmKernels(f) }
