//go:build (!amd64 && !arm64) || noasm

package gemm

import "hone/internal/cpuid"

// NewKernels chooses the routines for a machine with the given features.
func NewKernels(f cpuid.Features) *Kernels { return GenericKernels(f) }
