// Package cpu computes the kernels of package device on the processor: generic
// Go that is always compiled, assembly where the machine has the instructions,
// and a pool of workers over both. Matrix products are package gemm's.
//
// Every kernel is finished when its call returns, so Sync has nothing to wait
// for. A Device may be used by several goroutines as long as no two calls touch
// the same buffer, one of them writing.
package cpu

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"hone/device"
	"hone/device/cpu/attention"
	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
	"hone/internal/parallel"
)

// Options are the settings of a Device. The zero value uses the whole machine.
type Options struct {
	// Threads is the number of workers; 0 means one for each core the process may use.
	Threads int
	// MemoryLimit is the most bytes the device may keep from the system; 0 means no limit.
	MemoryLimit int64
}

// Device is the processor as a device.Device. Make it with New, release it with Close.
type Device struct {
	threads int
	path    vec.Path       // of rows
	engine  *gemm.Engine   // of products
	pool    *parallel.Pool // of the engine
	memory  *memory
	scratch scratchPool
	vectors scratchPool // rows and partial sums of the norms and reductions
	codes   func() *[2]codebook

	attention *attention.Engine
}

var _ device.Zeroer = (*Device)(nil)

// New returns a device that runs on this machine's processor.
func New(o Options) *Device {
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return newDevice(threads, o.MemoryLimit, gemm.HostKernels(), vec.HostPath())
}

// newDevice is New with the routines of products and of rows to use, for tests.
func newDevice(threads int, limit int64, k *gemm.Kernels, path vec.Path) *Device {
	e := gemm.New(threads, k, gemm.Rows{Widen: path.Widen, Round: path.Round})
	d := &Device{threads: threads, path: path, engine: e, pool: e.Pool, memory: newMemory(limit), codes: sync.OnceValue(newCodebooks)}
	d.attention = attention.New(e.Pool, k, path)
	return d
}

// Close ends the workers and gives all memory back to the system. No buffer of
// the device may be used after it.
func (d *Device) Close() {
	d.pool.Close()
	d.memory.segments.close()
}

// Name says what the device is and how many workers it has, e.g. "cpu (2 threads)".
func (d *Device) Name() string {
	if d.threads == 1 {
		return "cpu (1 thread)"
	}
	return fmt.Sprintf("cpu (%d threads)", d.threads)
}

// Alloc returns n elements of type t, not cleared, aligned to 64 bytes.
func (d *Device) Alloc(n int, t device.DType) device.Buffer {
	if n < 0 {
		panic(fmt.Sprintf("cpu: Alloc of %d elements", n))
	}
	return device.Buffer{Mem: d.memory.alloc(int64(n) * int64(t.Size())), Len: n, DType: t}
}

// AllocZero is Alloc of zeros. Memory that was never used is zero as the system gives it, and stays untouched: it costs nothing
// until it is needed.
func (d *Device) AllocZero(n int, t device.DType) device.Buffer {
	b := d.Alloc(n, t)
	if !blockOf(b).span.Fresh() {
		d.Fill(b, 0)
	}
	return b
}

// Free gives back a buffer that Alloc made. It panics on a slice of one and when called twice.
func (d *Device) Free(b device.Buffer) {
	k := blockOf(b)
	if b.Off != 0 || int64(b.Len)*int64(b.DType.Size()) != k.bytes {
		panic("cpu: Free of a slice of a buffer")
	}
	if k.mapping != nil {
		k.unmap()
		return
	}
	d.memory.free(k)
}

// Memory counts the bytes of the device's buffers.
func (d *Device) Memory() device.MemoryStats { return d.memory.stats() }

// ResetPeak sets the peak of Memory to what is in use now.
func (d *Device) ResetPeak() { d.memory.arena.ResetPeak() }

// Sync returns nil: kernels are finished when they return, and the processor does not fail.
func (d *Device) Sync() error { return nil }

// Write copies src into dst; see device.Device.
func (d *Device) Write(dst device.Buffer, src any) {
	switch s := src.(type) {
	case []float32:
		checkLen("Write", dst, len(s))
		if dst.DType == device.BF16 {
			d.path.Round(bf16s(dst), s)
		} else {
			copy(f32s(dst), s)
		}
	case []uint16:
		checkLen("Write", dst, len(s))
		if dst.DType == device.F32 {
			d.path.Widen(f32s(dst), s)
		} else {
			copy(bf16s(dst), s)
		}
	case []int32:
		checkLen("Write", dst, len(s))
		copy(i32s(dst), s)
	case []uint8:
		checkLen("Write", dst, len(s))
		copy(u8s(dst), s)
	default:
		panic(fmt.Sprintf("cpu: Write of a %T", src))
	}
}

// Read copies src into dst; see device.Device. It never fails.
func (d *Device) Read(dst any, src device.Buffer) error {
	switch t := dst.(type) {
	case []float32:
		checkLen("Read", src, len(t))
		if src.DType == device.BF16 {
			d.path.Widen(t, bf16s(src))
		} else {
			copy(t, f32s(src))
		}
	case []uint16:
		checkLen("Read", src, len(t))
		copy(t, bf16s(src))
	case []int32:
		checkLen("Read", src, len(t))
		copy(t, i32s(src))
	case []uint8:
		checkLen("Read", src, len(t))
		copy(t, u8s(src))
	default:
		panic(fmt.Sprintf("cpu: Read into a %T", dst))
	}
	return nil
}

func checkLen(op string, b device.Buffer, n int) {
	if b.Len != n {
		panic(fmt.Sprintf("cpu: %s of %d elements with a buffer of %d", op, n, b.Len))
	}
}

// f32s is the memory of an F32 buffer; the absent buffer gives nil. Like the
// other views it panics on another dtype, a freed buffer or a span outside it.
func f32s(b device.Buffer) []float32 {
	return unsafe.Slice((*float32)(view(b, device.F32)), b.Len)
}

// bf16s is the memory of a BF16 buffer.
func bf16s(b device.Buffer) []uint16 {
	return unsafe.Slice((*uint16)(view(b, device.BF16)), b.Len)
}

// i32s is the memory of an I32 buffer.
func i32s(b device.Buffer) []int32 {
	return unsafe.Slice((*int32)(view(b, device.I32)), b.Len)
}

// u8s is the memory of a U8 buffer.
func u8s(b device.Buffer) []uint8 {
	return unsafe.Slice((*uint8)(view(b, device.U8)), b.Len)
}

// view is the address of b's first element, nil for the absent buffer.
func view(b device.Buffer, t device.DType) unsafe.Pointer {
	if b.IsZero() {
		if b.Len != 0 {
			panic("cpu: a buffer with elements but no memory")
		}
		return nil
	}
	k := blockOf(b)
	if k.freed {
		panic("cpu: use of a freed buffer")
	}
	if b.DType != t {
		panic(fmt.Sprintf("cpu: a %s buffer where %s is needed", b.DType, t))
	}
	size := int64(t.Size())
	if b.Off < 0 || b.Len < 0 || int64(b.Off+b.Len)*size > k.bytes {
		panic(fmt.Sprintf("cpu: elements %d:%d of a buffer of %d bytes", b.Off, b.Off+b.Len, k.bytes))
	}
	if b.Len == 0 {
		return k.start
	}
	return unsafe.Add(k.start, int64(b.Off)*size)
}

func blockOf(b device.Buffer) *block {
	k, ok := b.Mem.(*block)
	if !ok {
		panic(fmt.Sprintf("cpu: a buffer of another device (%T)", b.Mem))
	}
	return k
}
