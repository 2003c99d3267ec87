package cuda

import (
	"sync"

	"hone/device"
	"hone/internal/arena"
)

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
