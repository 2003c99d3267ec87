//go:build !(linux || darwin) || race

package cpu

// Without mmap, and under the race detector, which watches only the Go heap,
// segments are ordinary slices.

// segmentLarge is small here because a reservation is real memory.
const segmentLarge = 64 << 20

func mapBytes(n int64) []byte { return make([]byte, n) }

func unmapBytes([]byte) {}
