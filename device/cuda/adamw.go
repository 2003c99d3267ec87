package cuda

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"unsafe"

	"hone/device"
	"hone/internal/arena"
)

// kernels/adamw.cu
var (
	kernelAdamW  = kernel{"adamw", "adamw"}
	kernelAdamW8 = kernel{"adamw", "adamw8"}
	kernelSplit  = kernel{"adamw", "split"}
	kernelJoin   = kernel{"adamw", "join"}
)

// params are F32 values, whole or in halves.
type params struct{ whole, high, rest pointer }

func halvesOf(op string, high, rest device.Buffer) params {
	if rest.Len != 2*high.Len {
		panic(fmt.Sprintf("cuda: %s with halves of %d and %d bytes", op, 2*high.Len, rest.Len))
	}
	return params{high: address(need(high, device.BF16)), rest: address(need(rest, device.U8))}
}

type splitArgs struct {
	x      pointer
	halves params
	n      int64
}

// Split stores x in two halves; see device.Device.
func (d *Device) Split(high, rest, x device.Buffer) {
	a := splitArgs{x: f32sOf("Split", x, high.Len), halves: halvesOf("Split", high, rest), n: int64(x.Len)}
	run(d, kernelSplit, line(over(x.Len, 256), 256), &a)
}

// Join computes the x that was split.
func (d *Device) Join(x, high, rest device.Buffer) {
	a := splitArgs{x: f32sOf("Join", x, high.Len), halves: halvesOf("Join", high, rest), n: int64(x.Len)}
	run(d, kernelJoin, line(over(x.Len, 256), 256), &a)
}

// updated is struct Updated of kernels/adamw.cu.
type updated struct {
	param          params
	grad           floats
	m, v           pointer
	mScale, vScale pointer
	n              int64
	step, keep     float32
	first, _       int32
}

// adamWConstants are what the tensors of a launch share.
type adamWConstants struct {
	codes                             pointer
	scale, beta1, rest1, beta2, rest2 float32
	corr2, eps                        float32
	count                             int32 // of tensors
}

// adamWArgs is struct AdamWArgs: 40 tensors are within the 4 KiB that a launch may have for arguments.
type adamWArgs struct {
	adamWConstants
	of [40]updated
}

// AdamW updates parameters in place; see device.AdamW.
func (d *Device) AdamW(k device.AdamW) {
	const op = "AdamW"
	if k.Step < 1 {
		panic(fmt.Sprintf("cuda: AdamW at step %d", k.Step))
	}
	n := k.Param.Len
	corr1 := 1 / (1 - math.Pow(float64(k.Beta1), float64(k.Step)))
	corr2 := 1 / (1 - math.Pow(float64(k.Beta2), float64(k.Step)))
	c := adamWConstants{codes: d.tableAt(tableDynamic), scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		corr2: float32(corr2), eps: k.Eps}
	t := updated{grad: floatsOf(op, k.Grad, n), n: int64(n), step: float32(float64(k.LR) * corr1), keep: float32(1 - float64(k.LR)*float64(k.Decay))}
	if k.Rest.IsZero() {
		t.param.whole = f32sOf(op, k.Param, n)
	} else {
		t.param = params{high: address(need(k.Param, device.BF16)), rest: stateOf(k.Rest, device.U8, 2*n)}
	}
	if k.MScale.IsZero() {
		t.m, t.v = stateOf(k.M, device.F32, n), stateOf(k.V, device.F32, n)
	} else {
		blocks := over(n, device.DynamicBlock)
		t.m, t.v = stateOf(k.M, device.U8, n), stateOf(k.V, device.U8, n)
		t.mScale, t.vScale = f32sOf(op, k.MScale, blocks), f32sOf(op, k.VScale, blocks)
	}
	paged := pagedOperands(&t, &k)
	if len(paged) == 0 {
		d.holdUpdate(c, t)
		return
	}
	for lo := 0; lo < n; lo += d.paging.part {
		hi := min(lo+d.paging.part, n)
		part := t.slice(lo, hi)
		d.paging.update(pagedOperands(&part, &k), lo, hi, func() { d.holdUpdate(c, part) })
	}
}

// stateOf is where state that may be paged is.
func stateOf(b device.Buffer, t device.DType, n int) pointer {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: AdamW with state of %d elements where %d are needed", b.Len, n))
	}
	return place(need(b, t))
}

// blocks is how many of a grid update t.
func (t *updated) blocks() int {
	if t.mScale == 0 {
		return over(int(t.n), 1024)
	}
	return over(int(t.n), device.DynamicBlock)
}

// uses are those of t's memory.
func (t *updated) uses() []use {
	moment := pointer(4)
	if t.mScale != 0 {
		moment = 1
	}
	state := func(p, bytes pointer) use {
		if p == 0 {
			return use{}
		}
		return use{p, p + bytes, true}
	}
	n, scales := pointer(t.n), pointer(4*t.blocks())
	return []use{state(t.param.whole, 4*n), state(t.param.high, 2*n), state(t.param.rest, 2*n), state(t.m, moment*n), state(t.v, moment*n),
		state(t.mScale, scales), state(t.vScale, scales), useOf(t.grad, 1, 0, t.n, false)}
}

// holdUpdate joins t to the updates that are held, or holds it in their place.
func (d *Device) holdUpdate(c adamWConstants, t updated) {
	if t.n == 0 {
		return
	}
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	a, uses := &h.update, t.uses()
	c.count = a.count
	if a.count == 0 || int(a.count) == len(a.of) || a.adamWConstants != c || (a.of[0].mScale == 0) != (t.mScale == 0) || !h.free(uses) {
		d.release()
		a.adamWConstants, a.count = c, 0
	} else {
		last := &a.of[a.count-1]
		t.first = last.first + int32(last.blocks())
	}
	a.of[a.count] = t
	a.count++
	h.uses = append(h.uses, uses...)
}

// releaseUpdates queues the updates that are held, which are locked.
func (d *Device) releaseUpdates() {
	a := &d.held.update
	last, k := &a.of[a.count-1], kernelAdamW
	if last.mScale != 0 {
		k = kernelAdamW8
	}
	d.launch(k, line(int(last.first)+last.blocks(), 256), unsafe.Pointer(a), unsafe.Sizeof(*a))
	a.count = 0
}

// slice is the update of elements lo to hi, lo being a multiple of device.DynamicBlock.
func (t updated) slice(lo, hi int) updated {
	move := func(p *pointer, bytes int) {
		if *p != 0 {
			*p += pointer(lo * bytes)
		}
	}
	moment := 4
	if t.mScale != 0 {
		moment = 1
		t.mScale += pointer(lo / device.DynamicBlock * 4)
		t.vScale += pointer(lo / device.DynamicBlock * 4)
	}
	move(&t.m, moment)
	move(&t.v, moment)
	move(&t.param.whole, 4)
	move(&t.param.high, 2)
	move(&t.param.rest, 2)
	move(&t.grad.p, 4-2*int(t.grad.half))
	t.n = int64(hi - lo)
	return t
}

// Where code books stand in the device's table.
const (
	tableDynamic = 0 // [2, 256]: signed and unsigned
	tableNF4     = 512
	tableSize    = tableNF4 + 16
)

// writeTables puts the code books on the card.
func (d *Device) writeTables() {
	signed, unsigned := device.DynamicMap(true), device.DynamicMap(false)
	all := slices.Concat(signed[:], unsigned[:], device.NF4Codes[:])
	d.tables = d.room(4 * tableSize)
	bits := make([]int32, len(all))
	for i, f := range all {
		bits[i] = int32(math.Float32bits(f))
	}
	write(d, pointer(d.tables.Base()), bits, keep)
}

func (d *Device) tableAt(i int) pointer { return pointer(d.tables.Base()) + pointer(4*i) }

// Optimizer state in the host's memory is updated on the card a part at a time: while the card updates one part, the next comes
// and the one before goes back, on streams of their own. Whoever else uses paged memory has the card read it in place.

// pagedPart is how many elements are updated at a time: a multiple of device.DynamicBlock.
const pagedPart = 1 << 20

// pagedSlots are the parts that are on the card: one coming, one at work, one going.
const pagedSlots = 3

// paging copies paged state to the card and back.
type paging struct {
	d    *Device
	part int // elements

	mu      sync.Mutex
	memory  *arena.Span // of all slots, nil before the first use
	slots   [pagedSlots]pagedSlot
	next    int
	written mark // the last copy to the host
	going   bool // copies to the host have been queued that the compute queue has not waited for
	foreign bool // the compute queue may use paged memory, which copies from it have to wait for
	round   int  // counted from 1: in it, none of a block's bytes is updated twice
	used    mark
}

// pagedSlot is room for a part on the card.
type pagedSlot struct {
	at                  pointer
	arrived, done, left mark
}

// settle lets the compute queue, which is about to use paged memory in place, wait for the copies to it.
func (p *paging) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.going {
		p.going = false
		p.d.fail(p.d.driver.await(compute, p.written))
	}
	p.foreign = true
}

// turn begins a round: copies from the host wait for what was copied to it.
func (p *paging) turn() {
	p.round++
	if p.written != 0 {
		p.d.fail(p.d.driver.await(inward, p.written))
	}
}

// begin lends a slot for elements lo to hi of each of the blocks.
func (p *paging) begin(operands []pagedOperand, lo, hi int) *pagedSlot {
	if p.memory == nil {
		size := int64(p.part) * pagedBytes
		p.memory = p.d.room(pagedSlots * size)
		for i := range p.slots {
			p.slots[i].at = pointer(p.memory.Base()) + pointer(int64(i)*size)
		}
	}
	if p.foreign {
		p.foreign = false
		var err error
		if p.used, err = p.d.driver.mark(compute, p.used); err != nil {
			p.d.fail(err)
		}
		p.d.fail(p.d.driver.await(inward, p.used))
	}
	for _, o := range operands {
		if from, to := o.span(lo, hi); o.block.round == p.round && from < o.block.to && to > o.block.from {
			p.turn()
			break
		}
	}
	for _, o := range operands {
		k, from, to := o.block, int64(0), int64(0)
		if from, to = o.span(lo, hi); k.round != p.round {
			k.round, k.from, k.to = p.round, from, to
		}
		k.from, k.to = min(k.from, from), max(k.to, to)
	}
	s := &p.slots[p.next]
	p.next = (p.next + 1) % pagedSlots
	if s.left != 0 {
		p.d.fail(p.d.driver.await(inward, s.left))
	}
	return s
}

// pagedBytes are the most that an element has: two moments of four bytes and two of a master's lower half.
const pagedBytes = 10

// pagedOperand is a paged buffer among the operands of AdamW.
type pagedOperand struct {
	block *block
	from  pointer  // of element 0 of the call
	size  int64    // bytes of an element
	to    *pointer // the argument
}

// span is where elements lo to hi of a call are in the block, in bytes.
func (o *pagedOperand) span(lo, hi int) (from, to int64) {
	begin := int64(o.from - at(o.block.pinned))
	return begin + int64(lo)*o.size, begin + int64(hi)*o.size
}

// pagedOperands are those of an update's buffers that are paged; the pointers are the arguments to set.
func pagedOperands(a *updated, k *device.AdamW) (list []pagedOperand) {
	for _, o := range []struct {
		b    device.Buffer
		size int64
		to   *pointer
	}{{k.M, int64(k.M.DType.Size()), &a.m}, {k.V, int64(k.V.DType.Size()), &a.v}, {k.Rest, 2, &a.param.rest}} {
		if !o.b.IsZero() && blockOf(o.b).paging != nil {
			list = append(list, pagedOperand{block: blockOf(o.b), from: place(o.b), size: o.size, to: o.to})
		}
	}
	return list
}

// update runs Adam's step on elements lo to hi of operands that are on the host.
func (p *paging) update(operands []pagedOperand, lo, hi int, run func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, dr, n := p.begin(operands, lo, hi), p.d.driver, int64(hi-lo)
	where := s.at
	for _, o := range operands {
		*o.to = where
		p.d.fail(dr.copy(inward, where, o.from+pointer(int64(lo)*o.size), n*o.size))
		where += pointer(int64(p.part) * o.size)
	}
	var err error
	step := func(q queue, m *mark, next queue) {
		if *m, err = dr.mark(q, *m); err == nil {
			err = dr.await(next, *m)
		}
		p.d.fail(err)
	}
	step(inward, &s.arrived, compute)
	run()
	step(compute, &s.done, outward)
	for _, o := range operands {
		p.d.fail(dr.copy(outward, o.from+pointer(int64(lo)*o.size), *o.to, n*o.size))
	}
	s.left, err = dr.mark(outward, s.left)
	p.d.fail(err)
	p.written, err = dr.mark(outward, p.written)
	p.d.fail(err)
	p.going = true
}
