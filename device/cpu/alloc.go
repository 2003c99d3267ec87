package cpu

import (
	"sync"
	"unsafe"

	"hone/device"
	"hone/internal/arena"
	"hone/internal/mapped"
	"hone/internal/pages"
)

// Buffers live outside the Go heap, where the collector neither scans nor counts them, in an arena: after the first
// step every request finds the hole it had before, without a system call or a page fault.
const (
	bufferAlign  = 64      // a cache line
	largeSize    = 1 << 16 // where large begins
	segmentSmall = 64 << 20

	// largeGap keeps buffers of 2ⁿ bytes from lying 2ⁿ bytes apart: the same elements of several would fall on the same set of the first
	// cache, where this processor tells lines apart by a hash of their addresses, in which bit 12 meets bit 27, 13 meets 26 and so on.
	// Lines with one hash push each other out, and a loop over them runs at half of its speed. A page and a line change both.
	largeGap = 4096 + 64
)

// memory is the allocator of a Device.
type memory struct {
	arena    *arena.Arena
	segments segments
}

// block is the memory of a buffer; the Mem of a Buffer points to one.
type block struct {
	start   unsafe.Pointer
	bytes   int64           // that the owner asked for
	span    *arena.Span     // nil for paged buffers
	mapping *mapped.Scratch // nil but for paged buffers
	freed   bool
}

func newMemory(limit int64) *memory {
	m := &memory{segments: segments{at: map[uintptr][]byte{}}}
	m.arena = arena.New(&m.segments, arena.Sizes{
		SmallAlign: bufferAlign, LargeAlign: bufferAlign, Large: largeSize, LargeGap: largeGap, SmallSegment: segmentSmall, LargeSegment: pages.Reserve, Limit: limit,
	})
	return m
}

// alloc returns at least n bytes.
func (m *memory) alloc(n int64) *block {
	s := m.arena.Alloc(n)
	if s == nil {
		inUse, _, _ := m.arena.Stats()
		panic(&device.OutOfMemory{Device: "cpu", Asked: n, InUse: inUse, Largest: m.arena.Largest(n)})
	}
	return &block{start: m.segments.pointer(s), bytes: n, span: s}
}

// free gives b back.
func (m *memory) free(b *block) {
	b.freed = true
	if !m.arena.Free(b.span) {
		panic("cpu: buffer freed twice")
	}
}

func (m *memory) stats() device.MemoryStats {
	inUse, peak, held := m.arena.Stats()
	return device.MemoryStats{InUse: inUse, Peak: peak, Held: held}
}

// segments is what the arena takes memory from: bytes of the system, which become memory when they are touched.
type segments struct {
	mu sync.Mutex
	at map[uintptr][]byte // by the address of the first byte
}

// Reserve maps size bytes.
func (s *segments) Reserve(size int64) (base uintptr, ok bool) {
	bytes := pages.Map(size)
	if bytes == nil {
		return 0, false
	}
	base = uintptr(unsafe.Pointer(unsafe.SliceData(bytes)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[base] = bytes
	return base, true
}

// Commit has nothing to do.
func (s *segments) Commit(uintptr, int64, int64) bool { return true }

// pointer is where a span begins, as a pointer into its segment's bytes.
func (s *segments) pointer(span *arena.Span) unsafe.Pointer {
	base, off := span.Place()
	s.mu.Lock()
	defer s.mu.Unlock()
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(s.at[base])), off)
}

func (s *segments) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, bytes := range s.at {
		pages.Unmap(bytes)
	}
	s.at = nil
}
