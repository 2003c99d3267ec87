package cuda

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"hone/device"
	"hone/internal/arena"
)

// block is what a Buffer's Mem points to: memory of the card, or pinned memory of the host.
type block struct {
	span     *arena.Span
	pinned   unsafe.Pointer // instead of span
	paging   *paging        // of pinned memory
	round    int            // of the paging, in which it updated bytes from to to
	from, to int64
	stash    *arena.Span // in pinned memory, of what Stash returned, instead of the others
	moving   mark        // of a copy to or from a stash that the compute queue has not waited for
	size     int64       // bytes
	freed    bool
	by       [callers]uintptr // who asked for it
	// ints are the numbers that the host wrote to an I32 buffer, so that indices are checked without waiting for the card;
	// unknown where a kernel wrote. nil before the first Write.
	ints []int32
}

// unknown stands for a number that only the card knows.
const unknown = math.MinInt32

// remember keeps what was written to elements from off on.
func (b *block) remember(off int, v []int32) {
	if b.ints == nil {
		b.ints = make([]int32, b.size/4)
		for i := range b.ints {
			b.ints[i] = unknown
		}
	}
	copy(b.ints[off:], v)
}

// forget says that a kernel writes to b.
func forget(b device.Buffer) {
	if ints := blockOf(b).ints; ints != nil {
		for i := range ints[b.Off : b.Off+b.Len] {
			ints[b.Off+i] = unknown
		}
	}
}

// known are the numbers of an I32 buffer as far as the host knows them; nil when it does not.
func known(b device.Buffer) []int32 {
	address(need(b, device.I32))
	if ints := blockOf(b).ints; ints != nil {
		return ints[b.Off : b.Off+b.Len]
	}
	return nil
}

// Alloc returns n elements of type t, not cleared.
func (d *Device) Alloc(n int, t device.DType) device.Buffer {
	if n < 0 {
		panic(fmt.Sprintf("cuda: Alloc of %d elements", n))
	}
	size := int64(n) * int64(t.Size())
	b := &block{size: size, span: d.arena.Alloc(size)}
	if b.span == nil {
		panic(d.outOfMemory(size))
	}
	if size >= d.most>>20 { // looking costs more than all else that making a buffer does
		runtime.Callers(2, b.by[:])
	}
	d.mu.Lock()
	d.blocks[b] = struct{}{}
	d.mu.Unlock()
	return device.Buffer{Mem: b, Len: n, DType: t}
}

var _ device.Zeroer = (*Device)(nil)

// AllocZero is Alloc of zeros.
func (d *Device) AllocZero(n int, t device.DType) device.Buffer {
	b := d.Alloc(n, t)
	if n > 0 {
		d.fail(d.driver.clear(address(b), blockOf(b).size))
	}
	return b
}

// Free gives back a buffer that Alloc made. Kernels that are queued may still use it: whoever gets the memory next is queued
// behind them.
func (d *Device) Free(b device.Buffer) {
	k := blockOf(b)
	if b.Off != 0 || int64(b.Len)*int64(b.DType.Size()) != k.size {
		panic("cuda: Free of a slice of a buffer")
	}
	d.settleMove(k)
	d.mu.Lock()
	twice := k.freed
	k.freed = true
	delete(d.blocks, k)
	d.mu.Unlock()
	if twice {
		panic("cuda: buffer freed twice")
	}
	if k.stash != nil {
		d.host.Free(k.stash)
		return
	}
	if k.pinned != nil {
		d.fail(d.driver.sync()) // pinned memory goes back to the system at once
		d.fail(d.driver.unpin(k.pinned))
		return
	}
	d.arena.Free(k.span)
}

// Memory counts the bytes of the card's buffers.
func (d *Device) Memory() device.MemoryStats {
	inUse, peak, held := d.arena.Stats()
	own := d.own()
	return device.MemoryStats{InUse: inUse - own, Peak: peak - own, Held: held}
}

// own is what the device holds for itself; a card may be too full for it to have come to have anything. It locks nothing: memory runs out under locks.
func (d *Device) own() int64 {
	var n int64
	if d.staging != nil {
		n += d.staging.landing.Size()
	}
	if d.tables != nil {
		n += d.tables.Size()
	}
	n += d.tiles.bytes.Load()
	if d.paging.memory != nil {
		n += d.paging.memory.Size()
	}
	return n
}

// ResetPeak sets the peak of Memory to what is in use now.
func (d *Device) ResetPeak() { d.arena.ResetPeak() }

var _ device.Pager = (*Device)(nil)

// AllocPaged returns n elements of zero in pinned memory of the host; see paging. No file
// is made, but dir must be a folder, as for every device.
func (d *Device) AllocPaged(dir string, n int, t device.DType) (device.Buffer, error) {
	if s, err := os.Stat(dir); err != nil || !s.IsDir() {
		return device.Buffer{}, fmt.Errorf("page to %s: it is no folder", dir)
	}
	size := int64(n) * int64(t.Size())
	if free := d.HostFree(); size > free {
		return device.Buffer{}, fmt.Errorf("page %d MiB to the host's memory, of which %d MiB can be had; optimizer.name=adamw8bit needs less", size>>20, free>>20)
	}
	p, err := d.driver.pin(max(size, 1))
	if err != nil {
		return device.Buffer{}, fmt.Errorf("pin %d MiB of the host's memory: %w", size>>20, err)
	}
	return device.Buffer{Mem: &block{pinned: p, paging: &d.paging, size: size}, Len: n, DType: t}, nil
}

// Evict does nothing: what is paged is never in the card's memory.
func (d *Device) Evict(b device.Buffer) {
	if blockOf(b).pinned == nil {
		panic("cuda: Evict of a buffer that is not paged")
	}
}

func blockOf(b device.Buffer) *block {
	k, ok := b.Mem.(*block)
	if !ok {
		panic(fmt.Sprintf("cuda: a buffer of another device (%T)", b.Mem))
	}
	return k
}

// need is b, which must have type t.
func need(b device.Buffer, t device.DType) device.Buffer {
	if !b.IsZero() && b.DType != t {
		panic(fmt.Sprintf("cuda: a %s buffer where %s is needed", b.DType, t))
	}
	return b
}

// address is that of b's first element, 0 for the absent buffer.
func address(b device.Buffer) pointer {
	if !b.IsZero() {
		if k := blockOf(b); k.paging != nil {
			k.paging.settle()
		}
	}
	return place(b)
}

// place is address for who takes care of paged buffers itself.
func place(b device.Buffer) pointer {
	if b.IsZero() {
		if b.Len != 0 {
			panic("cuda: a buffer with elements but no memory")
		}
		return 0
	}
	k := blockOf(b)
	if k.freed {
		panic("cuda: use of a freed buffer")
	}
	size := int64(b.DType.Size())
	if b.Off < 0 || b.Len < 0 || int64(b.Off+b.Len)*size > k.size {
		panic(fmt.Sprintf("cuda: elements %d:%d of a buffer of %d bytes", b.Off, b.Off+b.Len, k.size))
	}
	if k.stash != nil {
		panic("cuda: use of a buffer that is on the host")
	}
	base := uintptr(k.pinned)
	if k.span != nil {
		base = k.span.Base()
	}
	return pointer(base) + pointer(int64(b.Off)*size)
}

// outOfMemory says what was asked and who holds what is in use.
func (d *Device) outOfMemory(asked int64) *device.OutOfMemory {
	var by [callers]uintptr
	runtime.Callers(2, by[:])
	e := &device.OutOfMemory{Device: "cuda", Asked: asked, InUse: d.Memory().InUse, Largest: d.arena.Largest(asked), Total: d.most}
	_, e.For = owner(by[:])
	d.mu.Lock()
	defer d.mu.Unlock()
	type holder struct {
		name string
		use  device.Use
	}
	held := map[holder]int64{{"device/cuda", device.Workspace}: d.own()}
	for b := range d.blocks {
		name, use := owner(b.by[:])
		held[holder{name, use}] += b.size
	}
	for h, n := range held {
		e.Holders = append(e.Holders, device.Holder{Use: h.use, Name: h.name, Bytes: n})
	}
	slices.SortFunc(e.Holders, func(a, b device.Holder) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Name, b.Name))
	})
	return e
}

// callers is how many functions of the stack are looked at.
const callers = 16

// uses tells what memory is for by a function that took part in asking for it; an earlier line counts more.
var uses = []struct {
	function string
	use      device.Use
}{
	{"/nn.NewCache", device.KVCache}, {"/nn.(*Cache)", device.KVCache}, {"/optim.", device.OptimizerState},
	{"/tensor.(*Tensor).gradBuffer", device.Gradients}, {"/tensor.(*head).allocGrads", device.Gradients},
	{"/device.NewPacked", device.Weights}, {"/tensor.(*Tensor).Alloc", device.Weights}, {"/tensor.(*Tensor).Set", device.Weights},
	{"/tensor.", device.Activations}, {"/generate.", device.Activations},
}

// owner is the function that asked for memory, the first exported one above the device, since helpers ask for others, and what for.
func owner(by []uintptr) (name string, use device.Use) {
	if by[0] == 0 {
		return "small buffers", device.Activations
	}
	first, rank := "", len(uses)
	frames := runtime.CallersFrames(by)
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if f.Function == "" || strings.Contains(f.Function, "/device/cuda.") {
			continue
		}
		for i := range rank {
			if strings.Contains(f.Function, uses[i].function) {
				rank, use = i, uses[i].use
				break
			}
		}
		short := f.Function[strings.LastIndex(f.Function, "/")+1:]
		first = cmp.Or(first, short)
		if c := short[strings.LastIndex(short, ".")+1]; name == "" && c >= 'A' && c <= 'Z' {
			name = short
		}
	}
	return cmp.Or(name, first, "unknown"), use
}

// OwnBytes is what a Device takes of a card beside buffers and the driver's context, at most: the workspace of cuBLASLt, where what the host writes lands,
// and what is committed ahead of small and of large buffers. Scratch of kernels, which goes with sizes, comes on top.
const OwnBytes = workspaceBytes + smallPiece*smallPieces + largePiece*largePieces + 2*commitStep

// PagedBytes is what comes on top where optimizer state is paged: the parts of it that are on the card.
const PagedBytes = pagedSlots * pagedPart * pagedBytes

// Products by NF4 weights unpack them on the way with FewUnpackedRows at most in X·Wᵀ, and in all of MostUnpackedRows at most that have LeastUnpackedColumns.
const (
	FewUnpackedRows      = mostFewRows
	MostUnpackedRows     = mostUnpackedRows
	LeastUnpackedColumns = leastUnpackedColumns
)
