package generate

import (
	"errors"
	"slices"
	"sync"

	"hone/device"
	"hone/tensor"
)

// drawAll computes the logits of h's rows in F32, draws a token for each slot and lets the training kernel
// say how likely the model found it.
func (r *run) drawAll(h *tensor.Tensor, slots []int) error {
	head := r.model.Head()
	n, v := h.Rows(), head.Weight.Shape[0]
	logits := r.dev.Alloc(n*v, device.F32)
	defer r.dev.Free(logits)
	loss := r.dev.Alloc(n, device.F32)
	defer r.dev.Free(loss)
	head.Compute(r.dev, logits, h.Buffer())
	d := &drawn{slots: slots, seqs: make([]*sequence, len(slots))}
	for i, slot := range slots {
		d.seqs[i] = r.slots[slot]
	}
	r.late = d
	if !r.drawsThere() {
		ids, nll, err := r.drawHere(logits, loss, slots, v)
		if err != nil {
			return err
		}
		d.read = func() ([]int32, []float32, error) { return ids, nll, nil }
	} else {
		r.drawThere(d, logits, loss, v)
	}
	r.value(d, h)
	if r.runsAhead() {
		return nil
	}
	return r.settle()
}

// drawHere draws from logits [len(slots), v] on the host, and says what the device's loss is of each token.
func (r *run) drawHere(logits, loss device.Buffer, slots []int, v int) (ids []int32, nll []float32, err error) {
	r.rows = slices.Grow(r.rows[:0], logits.Len)[:logits.Len]
	if err := r.dev.Read(r.rows, logits); err != nil {
		return nil, nil, err
	}
	if ids, err = r.pick(slots, v); err != nil {
		return nil, nil, err
	}
	r.dev.CrossEntropy(device.CrossEntropy{V: v, Logits: logits, Targets: r.tape.Ints(ids).Buffer(), Loss: loss})
	nll = make([]float32, len(slots))
	return ids, nll, r.dev.Read(nll, loss)
}

// drawsThere says whether the device draws: it knows no penalties of what came before.
func (r *run) drawsThere() bool {
	sampler, ok := r.dev.(device.Sampler)
	return ok && r.opt.RepetitionPenalty == 1 && sampler.Draws(r.settings())
}

// settings are those by which a device draws, without buffers.
func (r *run) settings() device.Sample {
	return device.Sample{Temperature: r.opt.Temperature, TopK: r.opt.TopK, TopP: r.opt.TopP, MinP: r.opt.MinP}
}

// prepare puts the random numbers that the next tokens of slots are drawn with on a device that draws, beside
// what else the host tells it of the pass.
func (r *run) prepare(slots []int) {
	if len(slots) == 0 || !r.drawsThere() {
		return
	}
	random := make([]int32, 0, 2*len(slots)) // 64 bits a row in two words: devices have no 64-bit integers
	for _, slot := range slots {
		// The cache has all tokens before the one to draw, also those that the host does not know yet.
		bits := Bits(r.opt.Seed, uint64(r.slots[slot].index), uint64(r.cache.Len(slot)))
		random = append(random, int32(bits), int32(bits>>32))
	}
	r.random = r.tape.Ints(random)
}

// drawThere draws on the device, the same tokens from the same logits.
func (r *run) drawThere(d *drawn, logits, loss device.Buffer, v int) {
	if r.ids.IsZero() {
		r.ids = r.dev.Alloc(2*len(r.slots), device.I32)
	}
	d.ids = r.ids.Slice(0, len(d.slots))
	s := r.settings()
	s.V, s.Logits, s.Random, s.IDs = v, logits, r.random.Buffer(), d.ids
	r.dev.(device.Sampler).Sample(s)
	// of tokens that the host has not seen: the kernel that training uses says how likely each was, from the
	// same logits
	r.dev.CrossEntropy(device.CrossEntropy{V: v, Logits: logits, Targets: d.ids, Loss: loss})
	ids, nll := make([]int32, len(d.slots)), make([]float32, len(d.slots))
	waitIDs, waitLoss := device.ReadLater(r.dev, ids, d.ids), device.ReadLater(r.dev, nll, loss)
	d.read = func() ([]int32, []float32, error) { return ids, nll, errors.Join(waitIDs(), waitLoss()) }
}

// pick draws a token of the vocabulary of v for each slot from its row of logits. Rows are dealt out to all
// cores; what is drawn does not depend on who draws it.
func (r *run) pick(slots []int, v int) ([]int32, error) {
	ids, errs := make([]int32, len(slots)), make([]error, len(slots))
	var group sync.WaitGroup
	for w, sampler := range r.samplers[:min(len(r.samplers), len(slots))] {
		// worker w has rows w, w+W, w+2W …, and the last worker is this goroutine
		work := func() {
			for i := w; i < len(slots); i += len(r.samplers) {
				s := r.slots[slots[i]]
				ids[i], errs[i] = sampler.Pick(r.rows[i*v:(i+1)*v], s.tokens, uint64(s.index), len(s.tokens))
			}
		}
		if w+1 == len(r.samplers) || w+1 == len(slots) {
			work()
		} else {
			group.Go(work)
		}
	}
	group.Wait()
	if at := slices.IndexFunc(errs, func(err error) bool { return err != nil }); at >= 0 {
		return nil, errs[at]
	}
	return ids, nil
}

// value begins to read what the states h [n, C] that tokens were drawn from are worth, by Options.Value. A narrower
// type is widened here, at once; F32 is read when the tokens are, so that a device that runs ahead does not wait.
func (r *run) value(d *drawn, h *tensor.Tensor) {
	if r.opt.Value == nil {
		return
	}
	x := r.opt.Value(h)
	if x.DType() != device.F32 {
		v, err := x.Float32s()
		d.values = func() ([]float32, error) { return v, err }
		return
	}
	v := make([]float32, x.Len())
	wait := device.ReadLater(r.dev, v, x.Buffer())
	d.values = func() ([]float32, error) { return v, wait() }
}
