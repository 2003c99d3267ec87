package generate

import (
	"cmp"
	"errors"
	"slices"

	"hone/device"
	"hone/tensor"
)

// drawn is a token for each of some slots, which the host need not have read yet.
type drawn struct {
	slots []int         // in rising order
	seqs  []*sequence   // that were in the slots; those that have ended since want no more
	ids   device.Buffer // [len(slots)] I32 on the device, until the next pass draws; absent when the host drew

	// read waits for the tokens and how unlikely the model found each, values for those of Options.Value or
	// is nil; each is to be called once.
	read   func() (ids []int32, nll []float32, err error)
	values func() ([]float32, error)
}

// runsAhead says whether passes are asked for before the tokens of the one before are read, so that a device
// that computes on by itself never waits for the host:
//
//	device   pass 1, draws ─► pass 2, draws ─► pass 3 …
//	host     asks for 1, 2 ─► reads the tokens of 1, asks for 3 ─► reads those of 2 …
//
// A pass of tokens beyond the end of a sequence is dropped; results that are kept have no room for it.
func (r *run) runsAhead() bool {
	_, ok := r.dev.(device.Ahead)
	return ok && r.drawsThere() && r.opt.Results == nil
}

// goOn asks for the pass of the tokens that are not read yet, where it is known which sequences go on, and reads them.
func (r *run) goOn() error {
	rows := r.going()
	if len(rows) == 0 {
		return r.settle()
	}
	d := r.late
	var err error
	failed := tensor.Try(func() { device.Bundle(r.dev, func() { err = r.ahead(d, rows) }) })
	next := r.late
	if next == d { // the pass failed before it drew
		next = nil
	}
	r.late = d
	before := r.settle() // what was drawn before a failure counts
	r.late = next
	return cmp.Or(before, failed, err)
}

// going are the rows of what was drawn whose sequences get a further token unless they end by what is not
// known yet; none when something has to be done first that needs the tokens.
func (r *run) going() (rows []int32) {
	d := r.late
	if d.ids.IsZero() {
		return nil
	}
	more := r.next < len(r.seqs)
	for slot, s := range r.slots {
		if s == nil && more { // a prompt has its turn
			return nil
		}
		if s == nil {
			continue
		}
		row, found := slices.BinarySearch(d.slots, slot)
		switch n := len(s.tokens) + 1; {
		case !found || d.seqs[row] != s: // a twin goes along
			return nil
		case n >= s.limit && more: // a prompt has its turn soon
			return nil
		case r.outgrows(slot, n): // keys are made anew
			return nil
		case n < s.limit:
			rows = append(rows, int32(row))
		}
	}
	return rows
}

// ahead runs the pass of some rows of what was drawn.
func (r *run) ahead(d *drawn, rows []int32) error {
	slots := make([]int, len(rows))
	for i, row := range rows {
		slots[i] = d.slots[row]
	}
	r.tape.Infer()
	ids := r.tape.Lend(d.ids)
	if len(rows) < len(d.slots) {
		n := len(r.slots)
		ids = r.tape.Lend(r.ids.Slice(n, n+len(rows)))
		r.dev.(device.Ahead).Pick(ids.Buffer(), d.ids, r.tape.Ints(rows).Buffer())
	}
	in, err := r.cache.FeedDrawn(r.tape, slots, ids)
	if err != nil {
		return err
	}
	return r.through(in, slots, slots)
}

// settle reads what was drawn and adds it to the sequences that have not ended.
func (r *run) settle() error {
	d := r.late
	r.late = nil
	ids, nll, values, err := d.wait()
	for i, slot := range d.slots {
		if r.slots[slot] == d.seqs[i] && len(ids) > 0 && ids[i] < 0 {
			return errNotFinite // before what else went wrong: a pass that was given no token says so, too
		}
	}
	if err != nil {
		return err
	}
	for i, slot := range d.slots {
		s := r.slots[slot]
		if s != d.seqs[i] {
			continue
		}
		if values != nil {
			s.values = append(s.values, values[i])
		}
		r.add(slot, ids[i], -nll[i])
	}
	return nil
}

// wait waits for all that is on its way to the host.
func (d *drawn) wait() (ids []int32, nll, values []float32, err error) {
	if d.read != nil { // else drawing failed
		ids, nll, err = d.read()
	}
	if d.values != nil {
		var e error
		values, e = d.values()
		err = errors.Join(err, e)
	}
	return ids, nll, values, err
}

// drop forgets what was drawn and not read, if anything was. The cache then has all tokens of a sequence but
// the last, as it does where none is drawn ahead.
func (r *run) drop() {
	d := r.late
	if d == nil {
		return
	}
	r.late = nil
	_, _, _, _ = d.wait() // the run has ended; whoever uses the device next hears of what failed there
	for i, slot := range d.slots {
		if s := r.slots[slot]; s == d.seqs[i] {
			r.cache.Truncate(slot, len(s.tokens)-1)
		}
	}
}

// end gives back all that the run has on the device but the cache, also after a failure.
func (r *run) end() {
	r.drop()
	r.tape.Reset()
	if !r.ids.IsZero() {
		r.dev.Free(r.ids)
	}
}
