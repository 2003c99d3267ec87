package attention

import (
	"hone/device"
	"hone/device/cpu/vec"
)

// Rows of a head are too far apart for the machine to foresee the next, and the first touch of one takes about as long as the
// arithmetic of a row of scores. So they are asked for: those of the head at hand some rows ahead, and while a worker computes a
// head, those of the head that it will probably compute next.

const (
	// aheadRows is how many rows are asked for at a time.
	aheadRows = 8
	// aheadMost is the most bytes of a task to come that are asked for: what the second cache holds beside the task at hand.
	aheadMost = 256 << 10
)

// ask asks for rows lo to hi, as a worker's own if they will be written.
func (x *headRows) ask(lo, hi int, write bool) {
	if lo >= hi {
		return
	}
	size := 4
	if x.v.H != nil {
		size = 2
	}
	if write {
		vec.AskToWrite(x.address(lo), x.d*size, x.stride*size, hi-lo)
	} else {
		vec.AskToRead(x.address(lo), x.d*size, x.stride*size, hi-lo)
	}
}

// follow asks, in a loop over rows from 0 on that is at row r, for the few behind the next few.
func (x *headRows) follow(r int, write bool) {
	if r%aheadRows != 0 {
		return
	}
	lo := r + aheadRows
	if r == 0 {
		lo = 0
	}
	x.ask(lo, min(r+2*aheadRows, x.n), write)
}

// queryRows are rows lo to hi of a head in a matrix of queries, whole tokens: those of group heads are side by side.
func (a *Engine) queryRows(v *headMatrix, s *device.Sequence, kv, lo, hi int) headRows {
	lo, hi = lo/a.group, ceilDiv(hi, a.group)
	return headRows{v: v.Floats, off: (s.Q+lo)*v.stride + kv*a.group*a.D, stride: v.stride, d: a.group * a.D, n: hi - lo}
}

// ownRows are those of rows lo to hi that are of head g of the group, in a matrix of queries, one for each token, and first is the first of them.
func (a *Engine) ownRows(v *headMatrix, s *device.Sequence, kv, g, lo, hi int) (x headRows, first int) {
	first = lo + (g+a.group-lo%a.group)%a.group
	n := max(0, ceilDiv(hi-first, a.group))
	return headRows{v: v.Floats, off: (s.Q+first/a.group)*v.stride + (kv*a.group+g)*a.D, stride: v.stride, d: a.D, n: n}, first
}

// comingRows are rows of a task to come, asked for up to row at.
type comingRows struct {
	headRows
	at    int
	write bool
}

// expectForward notes what the task that worker w will probably run after the given one reads and writes.
func (a *Engine) expectForward(w *worker, at int) {
	t := a.expect(w, at)
	if t == nil {
		return
	}
	s := &a.Sequences[t.sequence]
	lo, _ := a.visible(s, t.lo/a.group)
	_, hi := a.visible(s, (t.hi-1)/a.group)
	w.expectRows(a.keyRows(&a.k, s, t.kv, lo, hi), false)
	w.expectRows(a.keyRows(&a.v, s, t.kv, lo, hi), false)
	w.expectRows(a.queryRows(&a.q, s, t.kv, t.lo, t.hi), false)
	w.expectRows(a.queryRows(&a.o, s, t.kv, t.lo, t.hi), true)
	w.expectFew()
}

// expectBackward is expectForward for gradients.
func (a *Engine) expectBackward(w *worker, at int) {
	t := a.expect(w, at)
	if t == nil || t.partial >= 0 {
		return
	}
	s := &a.Sequences[t.sequence]
	for _, v := range []*headMatrix{&a.q, &a.do, &a.o} {
		w.expectRows(a.queryRows(v, s, t.kv, 0, s.QLen*a.group), false)
	}
	for _, v := range []*headMatrix{&a.k, &a.v} {
		w.expectRows(a.keyRows(v, s, t.kv, 0, s.KLen), false)
	}
	w.expectRows(a.queryRows(&a.dq, s, t.kv, 0, s.QLen*a.group), true)
	for _, v := range []*headMatrix{&a.dk, &a.dv} {
		w.expectRows(a.keyRows(v, s, t.kv, 0, s.KLen), true)
	}
	w.expectFew()
}

// expect is the task that worker w will probably run after the given one, for workers take equal tasks in turns; or nil.
func (a *Engine) expect(w *worker, at int) *task {
	w.coming = w.coming[:0]
	if at += len(a.workers); at >= len(a.tasks) {
		return nil
	}
	return &a.tasks[at]
}

func (w *worker) expectRows(x headRows, write bool) {
	w.coming = append(w.coming, comingRows{headRows: x, write: write})
}

// expectFew forgets what is coming if it is too much.
func (w *worker) expectFew() {
	bytes := 0
	for i := range w.coming {
		bytes += w.coming[i].n * w.coming[i].bytes()
	}
	w.left = w.coming
	if bytes > aheadMost {
		w.left = nil
	}
}

// askComing asks for the next few rows of what is coming. It is called as often as a row of scores is done.
func (w *worker) askComing() {
	if len(w.left) == 0 {
		return
	}
	c := &w.left[0]
	next := min(c.at+aheadRows, c.n)
	c.ask(c.at, next, c.write)
	if c.at = next; next == c.n {
		w.left = w.left[1:]
	}
}
