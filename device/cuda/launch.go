package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"hone/device"
	"hone/internal/arena"
)

// floats is a view of an F32 or BF16 buffer, as kernels take it: struct Floats of kernels/common.cuh. The zero view is an absent operand.
type floats struct {
	p    pointer
	half int32
	wide int32 // aligned to four elements
}

// packed says whether eight elements of v can be read at once, as packed of kernels/common.cuh does.
func (v floats) packed() bool { return v.half == 1 && v.p%16 == 0 }

// floatsOf views b, which kernel op needs to have n elements.
func floatsOf(op string, b device.Buffer, n int) floats {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: %s with operands of %d and %d elements", op, n, b.Len))
	}
	return viewOf(b)
}

func viewOf(b device.Buffer) floats {
	if b.IsZero() {
		address(b)
		return floats{}
	}
	v := floats{p: address(b)}
	switch b.DType {
	case device.F32:
	case device.BF16:
		v.half = 1
	default:
		panic(fmt.Sprintf("cuda: a %s buffer where floats are needed", b.DType))
	}
	if v.p%pointer(4*b.DType.Size()) == 0 {
		v.wide = 1
	}
	return v
}

// optionalFloats is floatsOf, or the absent view when b is absent.
func optionalFloats(op string, b device.Buffer, n int) floats {
	if b.IsZero() {
		return floats{}
	}
	return floatsOf(op, b, n)
}

// f32sOf is the address of the F32 buffer b of n elements.
func f32sOf(op string, b device.Buffer, n int) pointer {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: %s with operands of %d and %d elements", op, n, b.Len))
	}
	return address(need(b, device.F32))
}

// optionalF32s is f32sOf, or 0 when b is absent.
func optionalF32s(op string, b device.Buffer, n int) pointer {
	if b.IsZero() {
		return 0
	}
	return f32sOf(op, b, n)
}

// rowsOf is the number of rows of c elements in b.
func rowsOf(op string, b device.Buffer, c int) int {
	if c <= 0 || b.Len%c != 0 {
		panic(fmt.Sprintf("cuda: %s of %d elements in rows of %d", op, b.Len, c))
	}
	return b.Len / c
}

// badOp says which operation a kernel does not have.
func badOp(kind string, op uint8) string { return fmt.Sprintf("cuda: no %s operation %d", kind, op) }

// over is ⌈n/size⌉.
func over(n, size int) int { return (n + size - 1) / size }

// run queues a kernel over a grid; args points to its structure. A grid without blocks does nothing.
func run[A any](d *Device, k kernel, s shape, args *A) {
	if s.x == 0 || s.y == 0 {
		return
	}
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	d.release()
	d.launch(k, s, unsafe.Pointer(args), unsafe.Sizeof(*args))
}

// launch queues a kernel; what is held is locked.
func (d *Device) launch(k kernel, s shape, args unsafe.Pointer, size uintptr) {
	s.z = max(s.z, 1)
	if s.x > math.MaxInt32 || s.y > 65535 || s.z > 65535 {
		panic(fmt.Sprintf("cuda: %s over a grid of %d×%d×%d blocks", k.name, s.x, s.y, s.z))
	}
	f, err := d.function(k)
	// in a bundle a launch waits to be a node of a graph, unless the host has waited since: then the card is idle and wants it now
	if b := &d.bundle; err == nil && b.open && !b.waited {
		b.add(call{name: k.name, f: f, s: s, size: size}, args)
		return
	}
	if err == nil {
		err = d.driver.launch(f, s, args, size)
	}
	if err != nil {
		d.fail(fmt.Errorf("cuda: %s: %w", k.name, err))
	}
}

// line is a grid of one dimension.
func line(blocks, threads int) shape { return shape{x: blocks, y: 1, threads: threads} }

// quads is the grid of an elementwise kernel: a thread has four elements.
func quads(n int) shape { return line(over(n, 1024), 256) }

// octets is that of one whose threads have eight.
func octets(n int) shape { return line(over(n, 2048), 256) }

func (d *Device) function(k kernel) (function, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, ok := d.functions[k]; ok {
		return f, nil
	}
	f, err := d.driver.load(k)
	if err != nil {
		return 0, err
	}
	d.functions[k] = f
	return f, nil
}

// room is memory of the card for the device's own use.
func (d *Device) room(n int64) *arena.Span {
	s := d.arena.Alloc(n)
	if s == nil {
		panic(d.outOfMemory(n))
	}
	return s
}

// scratch lends memory of n F32 elements for the time of a call: what is queued later comes later.
func (d *Device) scratch(n int) (p pointer, release func()) {
	s := d.room(int64(n) * 4)
	return pointer(s.Base()), func() { d.arena.Free(s) }
}

// sendInts copies small numbers for a kernel to the card, into memory that release gives back.
func (d *Device) sendInts(v []int32) (p pointer, release func()) {
	p, release = d.scratch(len(v))
	write(d, p, v, keep)
	return p, release
}

// failureWord is where kernels report to.
func (d *Device) failureWord() pointer { return at(unsafe.Pointer(d.failure)) }

func widen(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

func bit(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
