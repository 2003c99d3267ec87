package cuda

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"hone/device"
	"hone/internal/arena"
)

var _ device.Apart = (*Device)(nil)

// HostFree is four fifths of the memory that Linux says is available; 0 where that is not known.
func (d *Device) HostFree() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10 / 5 * 4
		}
	}
	return 0
}

// hostSizes are those of pinned memory, which is slow to get and is kept.
var hostSizes = arena.Sizes{SmallAlign: smallAlign, LargeAlign: largeAlign, Large: largeSize, SmallSegment: 16 << 20, LargeSegment: 256 << 20}

// hostMemory is the source of pinned memory.
type hostMemory struct{ d *Device }

// Reserve pins memory unless the host would have too little left.
func (h *hostMemory) Reserve(size int64) (uintptr, bool) {
	if size > h.d.HostFree() {
		return 0, false
	}
	p, err := h.d.driver.pin(size)
	return uintptr(unsafe.Pointer(p)), err == nil
}

// Commit has nothing to do.
func (h *hostMemory) Commit(uintptr, int64, int64) bool { return true }

// mark makes a mark in a queue, which forget gives back.
func (d *Device) mark(q queue) mark {
	d.mu.Lock()
	var m mark
	if n := len(d.marks); n > 0 {
		m, d.marks = d.marks[n-1], d.marks[:n-1]
	}
	d.mu.Unlock()
	m, err := d.driver.mark(q, m)
	d.fail(err)
	return m
}

func (d *Device) forget(m mark) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marks = append(d.marks, m)
}

// await lets queue q wait for all that is on another one.
func (d *Device) await(q, other queue) {
	m := d.mark(other)
	d.fail(d.driver.await(q, m))
	d.forget(m)
}

// Stash begins to copy b to pinned memory of the host; see device.Apart.
func (d *Device) Stash(b device.Buffer) device.Buffer {
	k, size := blockOf(b), int64(b.Len)*int64(b.DType.Size())
	if k.span == nil || b.Off != 0 {
		panic("cuda: Stash of what is no whole buffer of the card")
	}
	s := d.host.Alloc(size)
	if s == nil {
		inUse, _, _ := d.host.Stats()
		panic(&device.OutOfMemory{Device: "pinned memory of the host", Asked: size, InUse: inUse, Largest: d.host.Largest(size)})
	}
	d.settleMove(k)
	d.await(outward, compute)
	d.fail(d.driver.copy(outward, pointer(s.Base()), place(b), size))
	k.moving = d.mark(outward)
	return device.Buffer{Mem: &block{stash: s, size: size}, Len: b.Len, DType: b.DType}
}

// Unstash begins to copy it back; see device.Apart.
func (d *Device) Unstash(stashed device.Buffer) device.Buffer {
	k := blockOf(stashed)
	if k.stash == nil || k.freed {
		panic("cuda: Unstash of what was not stashed, or was freed")
	}
	b := d.Alloc(stashed.Len, stashed.DType)
	d.await(inward, compute) // which may still use the memory
	d.await(inward, outward)
	d.fail(d.driver.copy(inward, place(b), pointer(k.stash.Base()), k.size))
	blockOf(b).moving = d.mark(inward)
	return b
}

// Arrived lets kernels wait for what Unstash returned; see device.Apart.
func (d *Device) Arrived(b device.Buffer) { d.settleMove(blockOf(b)) }

// settleMove lets the compute queue wait until a copy of a block is done: it uses the memory next.
func (d *Device) settleMove(k *block) {
	if k.moving == 0 {
		return
	}
	d.fail(d.driver.await(compute, k.moving))
	d.forget(k.moving)
	k.moving = 0
}
