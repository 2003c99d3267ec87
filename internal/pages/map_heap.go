//go:build !(linux || darwin) || race

package pages

// Without mmap, and under the race detector, which watches only the Go heap,
// what is mapped is an ordinary slice.

// Reserve is small here because a reservation is real memory.
const Reserve = 64 << 20

// Map makes n bytes of zero.
func Map(n int64) []byte { return make([]byte, n) }

// Unmap leaves it to the collector.
func Unmap([]byte) {}
