// Package device says what a compute device is: typed memory and a fixed set of
// kernels over it. It holds types only; device/cpu and other packages compute.
//
// Kernels know buffers and sizes, never tensors. All matrices are row-major and
// dense unless a leading dimension is given. Dimension letters used throughout:
// N rows (tokens), C channels, H query heads, K key/value heads, D head
// dimension, F feed-forward width, V vocabulary.
//
// A kernel may be asynchronous and returns nothing. Misuse by the program
// (wrong sizes, wrong dtypes) panics on the caller's goroutine; a failure of
// the device itself sticks and is reported by Sync or Read.
package device

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxThreads is the most cores that a computation can be dealt out to: more is a slip, and would wait for hours.
const MaxThreads = 4096

// DType is the type of the elements of a Buffer.
type DType uint8

// The element types. BF16 is stored as the upper half of an IEEE float32.
const (
	F32 DType = iota
	BF16
	I32
	U8
)

// Size is the number of bytes of one element.
func (t DType) Size() int {
	switch t {
	case F32, I32:
		return 4
	case BF16:
		return 2
	}
	return 1
}

// String is the name in recipes and reports, such as bf16; ParseDType reads it.
func (t DType) String() string {
	switch t {
	case F32:
		return "f32"
	case BF16:
		return "bf16"
	case I32:
		return "i32"
	case U8:
		return "u8"
	}
	return fmt.Sprintf("DType(%d)", uint8(t))
}

// ParseDType reads the names that recipes use: f32, bf16, i32, u8.
func ParseDType(s string) (DType, error) {
	for t := F32; t <= U8; t++ {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %q: use f32 or bf16", s)
}

// ParseName reads the names of devices that recipes use: cpu, cuda, and cuda:N for card N, as the driver counts.
func ParseName(s string) (kind string, index int, err error) {
	kind, number, numbered := strings.Cut(s, ":")
	if numbered {
		index, err = strconv.Atoi(number)
	}
	if kind != "cpu" && kind != "cuda" || numbered && kind == "cpu" || err != nil || index < 0 {
		return "", 0, fmt.Errorf("device is %q; use cpu, cuda or cuda:N", s)
	}
	return kind, index, nil
}

// Buffer is a typed span of a device's memory: elements Off to Off+Len of Mem.
// The zero Buffer means "not given" where a kernel has optional operands.
type Buffer struct {
	Mem   any // the device's own handle; only the device that made it looks inside
	Off   int // first element
	Len   int // number of elements
	DType DType
}

// IsZero reports whether the buffer is absent.
func (b Buffer) IsZero() bool { return b.Mem == nil }

// Slice is the span of elements lo to hi of b; it shares b's memory and must not be freed.
func (b Buffer) Slice(lo, hi int) Buffer {
	if lo < 0 || hi < lo || hi > b.Len {
		panic(fmt.Sprintf("device: slice %d:%d of a buffer of %d elements", lo, hi, b.Len))
	}
	b.Off, b.Len = b.Off+lo, hi-lo
	return b
}

// MemoryStats counts bytes held by buffers of a device.
type MemoryStats struct {
	InUse int64 // in buffers that are allocated now
	Peak  int64 // highest InUse since the start or the last ResetPeak
	Held  int64 // kept from the system, free or not
}

// Device is memory plus kernels.
type Device interface {
	// Name is the device in messages and reports, such as cpu (2 threads).
	Name() string
	// Alloc returns memory of n elements, not cleared. It panics with an
	// *OutOfMemory when there is none.
	Alloc(n int, t DType) Buffer
	// Free gives a buffer made by Alloc back. Freeing twice panics.
	Free(Buffer)
	// Write copies host values into dst: []float32 (rounded to nearest even when dst is BF16), []uint16
	// (bf16 bits, widened when dst is F32), []int32 or []uint8 of exactly dst.Len elements. It may run on
	// several goroutines at once for different elements, so that a model loads at the speed of its disk.
	Write(dst Buffer, src any)
	// Read waits for the device and copies src into dst, a slice as for Write ([]float32 may
	// also take BF16 values, widened).
	Read(dst any, src Buffer) error
	// Sync waits for all kernels and reports the first failure since the last Sync.
	Sync() error
	// Memory is what is held now, and the most that was since the last ResetPeak.
	Memory() MemoryStats
	ResetPeak()
	Kernels
}

// Later is a device that computes on while a result is on its way to the host. It is optional: see ReadLater.
type Later interface {
	// ReadLater begins to copy src, as it is after what was asked of the device so far, into dst, a []float32 or []int32 of its
	// type and length. The function that it returns is to be called once, waits for that alone, and says what Read would.
	ReadLater(dst any, src Buffer) func() error
}

// ReadLater begins to copy src into dst, where d can do that while it computes; where not, it reads.
func ReadLater(d Device, dst any, src Buffer) func() error {
	if l, ok := d.(Later); ok {
		return l.ReadLater(dst, src)
	}
	err := d.Read(dst, src)
	return func() error { return err }
}

// Apart is a device whose memory is not the host's. It is optional.
type Apart interface {
	// HostFree is how many bytes of the host's memory can be taken for copies of what is on the device.
	HostFree() int64
	// Stash begins to copy b to the host and returns a buffer there, which only Unstash and Free take. Meanwhile b can be read, and
	// be freed, but not be changed.
	Stash(b Buffer) Buffer
	// Unstash begins to copy what was stashed to fresh memory of the device. It can be used after Arrived, or be freed.
	Unstash(stashed Buffer) Buffer
	// Arrived lets all that is asked of the device from here on wait until a buffer of Unstash has its values. What it was stashed
	// in can be freed then.
	Arrived(Buffer)
}

// Loose is a device on which a row of a product may round otherwise when there are few rows. It is optional.
type Loose interface {
	// FewRows is the number of rows from which on a row does not depend on how many there are; 0 where it never does.
	FewRows() int
}

// IsLoose says whether a row of a product may round otherwise on d when there are few rows.
func IsLoose(d Device) bool {
	l, ok := d.(Loose)
	return ok && l.FewRows() > 0
}

// Joiner is a device that may compute an operation together with what comes before or after it: a sum with the product that made one of
// its operands or with the norm of it, a rotation with the attention that reads it. Each wants a place of its own for that. It is optional.
type Joiner interface {
	// Joins says whether it does.
	Joins() bool
}

// Joins says whether d does; see Joiner.
func Joins(d Device) bool {
	j, ok := d.(Joiner)
	return ok && j.Joins()
}

// Wide is a device that is fast at products of many rows alone. It is optional.
type Wide interface {
	// LogitRows is how many rows of logits over a vocabulary a head's loss computes at a time, at least.
	LogitRows(vocabulary int) int
}

// CardLogitRows is LogitRows of a GPU: 1.6 GB of logits and their gradient with a vocabulary of 128k, and no more with a smaller one. A chunk
// of logits reads the head twice and adds to all of its gradient, which with fewer rows takes longer than the products; and rows by a narrow
// model are tiles enough for all of a card's processors only when they are many (2048x768x50256: 316 µs on an H100, 4096 rows: 516).
func CardLogitRows(vocabulary int) int { return max(2048, 1<<28/vocabulary) }

// Pager is a device that can keep buffers in files, for state that is touched once a step. It is optional.
type Pager interface {
	// AllocPaged returns n elements of zero in a nameless file in dir, on a disk with room for them.
	// Free gives them back.
	AllocPaged(dir string, n int, t DType) (Buffer, error)
	// Evict takes a paged buffer, or a slice of one, out of memory; what it holds stays in the file.
	Evict(Buffer)
}

// Zeroer is a device that has memory of zeros for less than it takes to write them. It is optional: see AllocZero.
type Zeroer interface {
	// AllocZero is Alloc of n elements of zero.
	AllocZero(n int, t DType) Buffer
}

// AllocZero returns n elements of zero on d. Free gives them back.
func AllocZero(d Device, n int, t DType) Buffer {
	if z, ok := d.(Zeroer); ok {
		return z.AllocZero(n, t)
	}
	b := d.Alloc(n, t)
	d.Fill(b, 0)
	return b
}
