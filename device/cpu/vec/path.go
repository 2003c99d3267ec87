package vec

import "hone/internal/cpuid"

// Path is one of the ways to compute rows. It is a value, and every function a method of it, so that one process can compare them all; a path
// that the machine lacks ends the process at its first instruction. The zero value runs anywhere.
//
// Which assembly runs is one switch in each call (the door...s), over rows of some hundred elements. Of functions in a table the compiler could not
// see that they keep no pointer, and scratch of their callers would move from the stack to the heap.
type Path uint8

const (
	Generic    Path = iota
	AVX2            // with FMA
	AVX512          // F, BW, DQ and VL
	AVX512BF16      // and the instruction that rounds to bf16, by which rows of bf16 have kernels of their own
	NEON
)

// HostPath is the widest path that this machine has.
func HostPath() Path { return PathOf(cpuid.Host()) }

// String names the path as cpuid.Features.Best does.
func (path Path) String() string {
	switch path {
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	case AVX512BF16:
		return "avx512bf16"
	case NEON:
		return "neon"
	}
	return "generic"
}
