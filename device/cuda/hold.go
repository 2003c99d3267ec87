package cuda

import (
	"slices"
	"sync"
	"unsafe"
)

// held is a launch that waits for the next call, which it may take over: a token that is decoded is hundreds of launches, each of which
// waits for the one before. What it waits for comes before anything else is queued, so nobody sees a difference: each element is
// computed by the same operations, and all that the calls would have written is.
type held struct {
	mu   sync.Mutex
	few  fewArgs // products of the same rows; none when count is 0
	uses []use   // of what is held

	sum    binaryArgs // or a sum, which the norm of it may compute
	summed bool

	rotate    rotateArgs // or rotations of the same rows, and places of them
	rotations int
	placed    []int32 // those places, as far as the host knows them

	write writeArgs // or what the host writes to some places

	reduce reduceArgs // or reductions by the same operation, reduce.go
	update adamWArgs  // or updates at the same step, adamw.go
}

// use is memory that a launch reads or writes.
type use struct {
	from, to pointer
	writes   bool
}

// useOf is the use of rows of n elements, stride apart.
func useOf(x floats, rows int32, stride, n int64, writes bool) use {
	size := pointer(4)
	if x.half == 1 {
		size = 2
	}
	if x.p == 0 || rows == 0 {
		return use{}
	}
	return use{x.p, x.p + size*pointer(int64(rows-1)*stride+n), writes}
}

// clash says whether a must come after b.
func (a use) clash(b use) bool { return (a.writes || b.writes) && a.from < b.to && b.from < a.to }

// free says whether what has these uses can run beside what is held.
func (h *held) free(uses []use) bool {
	return !slices.ContainsFunc(uses, func(a use) bool { return slices.ContainsFunc(h.uses, a.clash) })
}

// holdProduct joins the product x to those that are held, or holds it in their place.
func (d *Device) holdProduct(x fewArgs) {
	h, f := &d.held, &x.few[0]
	uses := []use{useOf(floats{p: x.a, half: 1}, x.m, x.lda, int64(x.k), false), useOf(floats{p: f.b, half: 1}, f.n, f.ldb, int64(x.k), false),
		useOf(f.bias, 1, 0, int64(f.n), false), useOf(f.c, x.m, f.ldc, int64(f.n), true)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.few.count; n > 0 && int(n) < len(h.few.few) && h.few.a == x.a && h.few.lda == x.lda && h.few.m == x.m && h.few.k == x.k && h.free(uses) {
		last := &h.few.few[n-1]
		f.first = last.first + int32(over(int(last.n), 8))
		h.few.few[n], h.few.count, h.uses = *f, n+1, append(h.uses, uses...)
		return
	}
	d.release()
	h.few, h.uses = x, append(h.uses[:0], uses...)
}

// addToHeld has what is held compute a sum with its product.
func (d *Device) addToHeld(x binaryArgs) bool {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &h.few.few[0]
	other := x.a
	if other.p == f.c.p {
		other = x.b
	}
	if h.few.count != 1 || !h.makes(f, x.n) || x.a.p != f.c.p && x.b.p != f.c.p || other.p == f.c.p {
		return false
	}
	// A thread reads and writes one element of each, but others may still read the operands of the product.
	if y := useOf(x.y, 1, 0, x.n, true); slices.ContainsFunc(h.uses, y.clash) {
		return false
	}
	f.x, f.y = other, x.y
	d.release()
	return true
}

// holdSum holds a sum: in models a norm comes next that reads it.
func (d *Device) holdSum(x binaryArgs) {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	d.release()
	h.sum, h.summed = x, x.n > 0
	h.uses = append(h.uses, useOf(x.a, 1, 0, x.n, false), useOf(x.b, 1, 0, x.n, false), useOf(x.y, 1, 0, x.n, true))
}

// sumOfHeld has a norm compute the sum that is held, where its rows are those of the sum.
func (d *Device) sumOfHeld(x *normArgs) bool {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	s, c := &h.sum, int64(x.c)
	if !h.summed || x.x != s.y || x.rows*c != s.n {
		return false
	}
	uses := []use{useOf(x.weight, 1, 0, c, false), useOf(x.bias, 1, 0, c, false), {x.mean, x.mean + 4*pointer(x.rows), true}, {x.rstd, x.rstd + 4*pointer(x.rows), true}}
	if x.y != s.y && x.y != s.a && x.y != s.b { // a thread reads its elements of all before it writes them
		uses = append(uses, useOf(x.y, 1, 0, s.n, true))
	}
	if !h.free(uses) {
		return false
	}
	x.x, x.plus, x.sum, h.summed = s.a, s.b, s.y, false
	return true
}

// gateHeld has what is held, two products, compute act(gate)·up.
func (d *Device) gateHeld(x gatedArgs) bool {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	gate, up := &h.few.few[0], &h.few.few[1]
	if h.few.count != 2 || gate.n != up.n || !h.makes(gate, x.n) || !h.makes(up, x.n) || x.gate.p != gate.c.p || x.up.p != up.c.p {
		return false
	}
	if y := useOf(x.y, 1, 0, x.n, true); slices.ContainsFunc(h.uses, y.clash) {
		return false
	}
	gate.y, h.few.act = x.y, x.op
	d.release()
	return true
}

// makes says whether f makes n elements without gaps.
func (h *held) makes(f *few, n int64) bool {
	return n == int64(h.few.m)*int64(f.n) && (f.ldc == int64(f.n) || h.few.m == 1)
}

// holdWrite joins a write of n bytes to those that are held, or holds it in their place, and returns where its bytes go. What is held is locked.
func (d *Device) holdWrite(to use, n int32) []byte {
	w, begin := &d.held.write, int32(0)
	if w.count > 0 {
		begin = (w.ends[w.count-1] + 7) / 8 * 8 // numbers of any type lie on their size
	}
	if w.count == 0 || int(w.count) == len(w.to) || int(begin+n) > len(w.bytes) || !d.held.free([]use{to}) {
		d.release()
		begin = 0
	}
	w.to[w.count], w.begins[w.count], w.ends[w.count] = to.from, begin, begin+n
	w.count++
	d.held.uses = append(d.held.uses, to)
	return w.bytes[begin : begin+n]
}

// release queues what is held, which is locked.
func (d *Device) release() {
	if d.held.summed {
		d.releaseSum()
	}
	if d.held.rotations > 0 {
		d.releaseRotation()
	}
	if d.held.few.count > 0 {
		d.releaseProducts()
	}
	if w := &d.held.write; w.count > 0 {
		d.launch(kernelWrite, line(1, 256), unsafe.Pointer(w), unsafe.Sizeof(*w))
		*w = writeArgs{}
	}
	if d.held.reduce.count > 0 {
		d.releaseReductions()
	}
	if d.held.update.count > 0 {
		d.releaseUpdates()
	}
	d.held.uses = d.held.uses[:0]
}

func (d *Device) releaseSum() {
	x := &d.held.sum
	d.launch(kernelBinary, octets(int(x.n)), unsafe.Pointer(x), unsafe.Sizeof(*x))
	d.held.summed = false
}

func (d *Device) releaseProducts() {
	x := &d.held.few
	wide := bit(x.m > 8)
	last := x.few[x.count-1]
	k, blocks := kernelsFewRows[wide], int(last.first)+over(int(last.n), 8)
	if x.count == 2 && x.few[0].y.p != 0 {
		x.few[1].first = 0
		k, blocks = kernelsFewPairs[wide], over(int(last.n), 8)
	}
	d.launch(k, line(blocks, 256), unsafe.Pointer(x), unsafe.Sizeof(*x))
	d.held.few.count = 0
}

// orderly is a driver that queues what is held, and what waits to be queued together, before it does anything else.
type orderly struct {
	driver
	d *Device
}

func (o orderly) release() {
	o.d.held.mu.Lock()
	defer o.d.held.mu.Unlock()
	o.d.release()
	o.d.unbundle()
}

func (o orderly) copy(q queue, dst, src pointer, n int64) error {
	o.release()
	return o.driver.copy(q, dst, src, n)
}

func (o orderly) clear(dst pointer, n int64) error {
	o.release()
	return o.driver.clear(dst, n)
}

func (o orderly) gemm(g *gemm) error {
	o.release()
	return o.driver.gemm(g)
}

func (o orderly) mark(q queue, old mark) (mark, error) {
	o.release()
	return o.driver.mark(q, old)
}

func (o orderly) await(q queue, m mark) error {
	o.release()
	return o.driver.await(q, m)
}

func (o orderly) sync() error {
	o.releaseToWait()
	return o.driver.sync()
}

// releaseToWait is release before the host waits until the card has nothing to do.
func (o orderly) releaseToWait() {
	o.d.held.mu.Lock()
	defer o.d.held.mu.Unlock()
	o.d.release()
	o.d.unbundle()
	o.d.bundle.waited = o.d.bundle.open
}
