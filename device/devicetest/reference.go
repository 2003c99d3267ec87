// Package devicetest is the conformance suite of devices: Reference, a device
// in plain Go and double precision that defines what each kernel computes, and
// Run, which compares a device with it.
package devicetest

import (
	"fmt"
	"math"

	"hone/device"
)

// Reference is a device.Device that stores every float as float64 whatever the
// DType of its buffer, and computes as the formulas are written. It is slow, it
// never rounds, and it fills fresh memory with NaN, so that a kernel that reads
// its output before writing it is seen. Read and Write also take []float64,
// which lets gradients be checked by finite differences.
type Reference struct {
	inUse, peak int64
}

var _ device.Device = (*Reference)(nil)

// NewReference returns the reference device.
func NewReference() *Reference { return &Reference{} }

// memory is the Mem of a Reference's buffers; one of the slices is used.
type memory struct {
	floats []float64
	ints   []int32
	bytes  []uint8
	size   int64
	freed  bool
}

// Name is "reference".
func (r *Reference) Name() string { return "reference" }

// Alloc returns n elements of NaN, or of the smallest I32, or of 255.
func (r *Reference) Alloc(n int, t device.DType) device.Buffer {
	m := &memory{size: int64(n) * int64(t.Size())}
	switch t {
	case device.F32, device.BF16:
		m.floats = make([]float64, n)
		fill(m.floats, math.NaN())
	case device.I32:
		m.ints = make([]int32, n)
		fill(m.ints, math.MinInt32)
	default:
		m.bytes = make([]uint8, n)
		fill(m.bytes, 255)
	}
	r.inUse += m.size
	r.peak = max(r.peak, r.inUse)
	return device.Buffer{Mem: m, Len: n, DType: t}
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// Free makes every later use of the buffer panic.
func (r *Reference) Free(b device.Buffer) {
	m := memoryOf(b)
	if b.Off != 0 {
		panic("reference: Free of a slice of a buffer")
	}
	m.freed = true
	r.inUse -= m.size
}

// Memory counts bytes by the declared types, as a real device would hold them.
func (r *Reference) Memory() device.MemoryStats {
	return device.MemoryStats{InUse: r.inUse, Peak: r.peak, Held: r.peak}
}

// ResetPeak sets the peak to what is in use.
func (r *Reference) ResetPeak() { r.peak = r.inUse }

// Sync returns nil: kernels are finished when they return.
func (r *Reference) Sync() error { return nil }

// Write stores src without rounding; []uint16 is widened from bf16.
func (r *Reference) Write(dst device.Buffer, src any) {
	switch s := src.(type) {
	case []float64:
		same("Write", dst.Len, len(s))
		copy(floats(dst), s)
	case []float32:
		same("Write", dst.Len, len(s))
		to := floats(dst)
		for i, v := range s {
			to[i] = float64(v)
		}
	case []uint16:
		same("Write", dst.Len, len(s))
		to := floats(dst)
		for i, v := range s {
			to[i] = float64(WidenBF16(v))
		}
	case []int32:
		same("Write", dst.Len, len(s))
		copy(ints(dst), s)
	case []uint8:
		same("Write", dst.Len, len(s))
		copy(bytes(dst), s)
	default:
		panic(fmt.Sprintf("reference: Write of a %T", src))
	}
}

// Read copies src into dst, rounding to the type of dst.
func (r *Reference) Read(dst any, src device.Buffer) error {
	switch t := dst.(type) {
	case []float64:
		same("Read", src.Len, len(t))
		copy(t, floats(src))
	case []float32:
		same("Read", src.Len, len(t))
		for i, v := range floats(src) {
			t[i] = float32(v)
		}
	case []uint16:
		same("Read", src.Len, len(t))
		for i, v := range floats(src) {
			t[i] = RoundBF16(float32(v))
		}
	case []int32:
		same("Read", src.Len, len(t))
		copy(t, ints(src))
	case []uint8:
		same("Read", src.Len, len(t))
		copy(t, bytes(src))
	default:
		panic(fmt.Sprintf("reference: Read into a %T", dst))
	}
	return nil
}

// RoundBF16 rounds to the nearest bf16, ties to even; NaN stays NaN.
func RoundBF16(f float32) uint16 {
	if f != f {
		return 0x7fc0
	}
	b := math.Float32bits(f)
	low, up := b&0xffff, uint16(b>>16)
	if low > 0x8000 || low == 0x8000 && up&1 == 1 {
		up++
	}
	return up
}

// WidenBF16 is the number that v stands for.
func WidenBF16(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }

func same(op string, want, got int) {
	if want != got {
		panic(fmt.Sprintf("reference: %s with %d and %d elements", op, want, got))
	}
}

func memoryOf(b device.Buffer) *memory {
	m, ok := b.Mem.(*memory)
	if !ok {
		panic(fmt.Sprintf("reference: a buffer of another device (%T)", b.Mem))
	}
	if m.freed {
		panic("reference: use of a freed buffer")
	}
	return m
}

// floats is the span of a float buffer, nil for an absent one.
func floats(b device.Buffer) []float64 {
	if b.IsZero() {
		return nil
	}
	if b.DType != device.F32 && b.DType != device.BF16 {
		panic(fmt.Sprintf("reference: a %s buffer where floats are needed", b.DType))
	}
	return memoryOf(b).floats[b.Off : b.Off+b.Len : b.Off+b.Len]
}

func ints(b device.Buffer) []int32 {
	if b.DType != device.I32 {
		panic(fmt.Sprintf("reference: a %s buffer where i32 is needed", b.DType))
	}
	return memoryOf(b).ints[b.Off : b.Off+b.Len : b.Off+b.Len]
}

func bytes(b device.Buffer) []uint8 {
	if b.DType != device.U8 {
		panic(fmt.Sprintf("reference: a %s buffer where u8 is needed", b.DType))
	}
	return memoryOf(b).bytes[b.Off : b.Off+b.Len : b.Off+b.Len]
}
