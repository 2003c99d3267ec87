package tensor

import "hone/device"

// CrossEntropyOptions are the fields of a language-model loss. With logits x of a row, z =
// logsumexp(x) and target t it is
//
//	z - (1-Smoothing)·x[t] - Smoothing·mean(x) + ZLoss·z²
type CrossEntropyOptions struct {
	Tokens    int     // the normaliser: supervised tokens of the whole accumulated batch
	ZLoss     float32 // keeps z near 0 (de Brébisson & Vincent, 2016; PaLM), 0 for off
	Smoothing float32 // of the labels (Szegedy et al., 2016), 0 for off
}

// The logits that are held at a time: so many that their gradients take chunkBytes, but at least chunkRows
// rows, or as many as a device.Wide asks for. Every chunk reads the weights of the head twice and adds to
// their gradient, which fewer rows would not pay for.
const (
	chunkBytes = 52 << 20
	chunkRows  = 256
)

// rowMultiple is what the distance of rows of logits is a multiple of, so that each begins on 16 bytes in
// either type: matrix units are fed so, and the vocabulary of GPT-2 is odd.
const rowMultiple = 8

// LinearCrossEntropy is the loss of a language model from its last hidden states, without ever holding
// all logits: h [N, C], targets [N] (I32, negative for none). It returns the scalar sum of
// -log softmax(logits)[target] over the supervised rows, divided by o.Tokens.
//
// The gradient is computed on the way forward, chunk by chunk, so that the logits exist once; the
// backward pass only scales it.
func LinearCrossEntropy(h *Tensor, top Head, targets *Tensor, o CrossEntropyOptions) *Tensor {
	const op = "LinearCrossEntropy"
	t := tapeOf(op, h)
	check(o.Tokens > 0, op, "the number of supervised tokens is %d", o.Tokens)
	return chunkHead(op, t, h, top, targets).loss(o)
}

// loss runs the chunks: for each, logits [chunk, V] in F32, from them the rows' losses and, in their place
// where the type allows, the gradient of the logits, and from that the chunk's share of dh, dW and db.
func (k *chunkedHead) loss(o CrossEntropyOptions) *Tensor {
	t := k.t
	k.ce = device.CrossEntropy{ZLoss: o.ZLoss, Smoothing: o.Smoothing}
	losses, weights := t.scratch(k.n, device.F32), t.scratch(k.n, device.F32)
	defer losses.release(t.Dev)
	defer weights.release(t.Dev)
	t.Dev.Fill(weights.buf, 1/float32(o.Tokens)) // the gradient of each row's loss: what comes out is normalised
	record := t.wants(k.h, k.Weight, k.Bias)
	if record {
		k.allocGrads()
	}
	for lo := 0; lo < k.n; lo += k.chunk {
		k.run(lo, headRows{losses: losses, weights: weights}, record)
	}
	y := t.empty(device.F32, 1)
	t.Dev.Reduce(device.Sum, y.Buffer(), losses.buf)
	t.Dev.Scale(y.Buffer(), 1/float32(o.Tokens))
	if record {
		// y is nearly always the loss itself, whose gradient is 1: then nothing is scaled and nothing read
		// from the device.
		t.push(y, func() { k.giveGrads(y.gradScalar()) }, k.dh, k.dw, k.db)
	}
	return y
}

// LogProbs gives for each row the log-probability of its target and the entropy of the whole distribution, both
// [N] in F32 and 0 where the target is negative. The entropy is to look at: no gradient passes through it.
//
// Under a head that is not trained, what a row's log-probability does to its hidden state is computed on the
// way forward, while the logits are there, and the backward pass multiplies it by the row's own gradient.
// Otherwise that pass computes the logits again.
func LogProbs(h *Tensor, top Head, targets *Tensor) (logp, entropy *Tensor) {
	const op = "LogProbs"
	t := tapeOf(op, h)
	if !t.wants(h) || t.wants(top.Weight, top.Bias) {
		return chunkHead(op, t, h, top, targets).logProbs(false)
	}
	head := chunkHead(op, t, h, top, targets)
	head.allocGrads()
	logp, entropy = head.forward(true)
	dh := head.dh // [N, C]: row n is d(-logp[n])/dh[n], for no row's log-probability depends on another row
	t.push(logp, func() {
		// dx[n] = g[n]·dh[n] by the kernel that weighs rows of experts: one choice a row, the row itself.
		index := make([]int32, head.n)
		for i := range index {
			index[i] = int32(i)
		}
		rows, dx := t.scratch(head.n, device.I32), t.scratch(h.Len(), h.dtype)
		t.Dev.Write(rows.buf, index)
		g, _ := logp.gradBuffer()
		t.Dev.Scale(g, -1) // the kernel's loss is -logp
		t.Dev.Combine(device.Combine{C: head.c, K: 1, Y: dx.buf, X: dh.Buffer(), Index: rows.buf, Weights: g})
		rows.release(t.Dev)
		giveGrad(h, dx)
	}, dh)
	return logp, entropy
}

// LogProbsAndEntropy is LogProbs with a gradient of the entropy, too.
func LogProbsAndEntropy(h *Tensor, top Head, targets *Tensor) (logp, entropy *Tensor) {
	const op = "LogProbsAndEntropy"
	return chunkHead(op, tapeOf(op, h), h, top, targets).logProbs(true)
}

// forward computes log-probabilities and entropies and, with grads, what -log-probability adds to the gradients.
func (k *chunkedHead) forward(grads bool) (logp, entropy *Tensor) {
	logp, entropy = k.t.empty(device.F32, k.n), k.t.empty(device.F32, k.n)
	for lo := 0; lo < k.n; lo += k.chunk {
		k.run(lo, headRows{losses: logp.data, entropies: entropy.data}, grads)
	}
	k.t.Dev.Scale(logp.Buffer(), -1)
	return logp, entropy
}

// logProbs computes the logits again in the backward pass, since every row may carry its own gradient.
func (k *chunkedHead) logProbs(both bool) (logp, entropy *Tensor) {
	t, h, top := k.t, k.h, k.Head
	logp, entropy = k.forward(false)
	if !t.wants(h, top.Weight, top.Bias) {
		return logp, entropy
	}
	// One closure serves both results: it sits under logp, which comes last on the tape's way back. Until
	// then the gradient of the entropy is the pass's.
	var dEntropy *Tensor
	t.push(logp, func() {
		g, _ := logp.gradBuffer()
		t.Dev.Scale(g, -1) // the kernel's loss is -logp
		rows := headRows{losses: t.scratch(k.n, device.F32), weights: logp.grad}
		defer rows.losses.release(t.Dev)
		if dEntropy != nil {
			rows.entropyWeights, dEntropy.data = dEntropy.data, nil
			defer rows.entropyWeights.release(t.Dev)
		}
		k.allocGrads()
		for lo := 0; lo < k.n; lo += k.chunk {
			k.run(lo, rows, true)
		}
		k.giveGrads(1)
	}, h, top.Weight, top.Bias, k.targets)
	if !both {
		return logp, entropy
	}
	t.push(entropy, func() {
		dEntropy = t.over(entropy.grad.retain(), device.F32, k.n)
		if logp.grad == nil { // so that the closure above runs
			g, _ := logp.gradBuffer()
			t.Dev.Fill(g, 0)
		}
	})
	return logp, entropy
}

// chunkedHead is an output layer and cross-entropy on top of it, run a chunk of rows at a time:
// [chunk, V] logits are all that is held.
type chunkedHead struct {
	Head
	t          *Tape
	h, targets *Tensor             // [N, C], [N] I32
	n, c, v    int                 // N, C, V
	chunk      int                 // rows at a time
	ld         int                 // elements from a row of logits to the next
	ce         device.CrossEntropy // options
	dh, dw, db *Tensor             // gradients of h, Weight and Bias, where wanted
}

func chunkHead(op string, t *Tape, h *Tensor, top Head, targets *Tensor) *chunkedHead {
	w := top.Weight
	k := &chunkedHead{Head: top, t: t, h: h, targets: targets, n: h.Rows(), c: h.Cols(), v: w.Shape[0]}
	check(w.Cols() == k.c, op, "hidden states %v do not match the head %v", h.Shape, w.Shape)
	check(targets.Len() == k.n, op, "%d targets for %v", targets.Len(), h.Shape)
	check(h.dtype == w.dtype, op, "hidden states are %v and the head is %v", h.dtype, w.dtype)
	// Equal chunks, of a multiple of 64 rows for the kernels' sake.
	most := max(chunkBytes/(k.v*h.dtype.Size()), chunkRows)
	if wide, ok := t.Dev.(device.Wide); ok {
		most = max(most, wide.LogitRows(k.v))
	}
	pieces := max(1, (k.n+most-1)/most)
	k.chunk = ((k.n+pieces-1)/pieces + 63) / 64 * 64
	if k.ld = k.v; top.Bias == nil { // whose gradient is of rows without gaps
		k.ld = (k.v + rowMultiple - 1) / rowMultiple * rowMultiple
	}
	return k
}

// allocGrads makes room for the gradients that are wanted; the first chunk overwrites dw and db, others add to them.
func (k *chunkedHead) allocGrads() {
	if k.h.needsGrad {
		k.dh = k.t.empty(k.h.dtype, k.n, k.c)
	}
	if k.Weight.needsGrad {
		k.dw = k.t.empty(k.Weight.gradType(), k.v, k.c)
	}
	if k.Bias != nil && k.Bias.needsGrad {
		k.db = k.t.empty(device.F32, k.v)
	}
}

// headRows are numbers of each row, [N] in F32; all but losses may be nil.
type headRows struct {
	losses, entropies       *storage // results
	weights, entropyWeights *storage // the gradients of these
}

// run computes losses (and entropies) of the chunk that starts at row lo and, with grads, adds the
// chunk's share to dh, dw and db.
func (k *chunkedHead) run(lo int, of headRows, grads bool) {
	k.t.checkInterrupt()
	dev, hi := k.t.Dev, min(lo+k.chunk, k.n)
	rows := hi - lo
	h := k.h.Buffer().Slice(lo*k.c, hi*k.c)
	logits := k.t.scratch(rows*k.ld, device.F32)
	k.project(dev, logits.buf, h, k.ld)
	capped := logits
	if k.SoftCap > 0 { // the gradient needs the logits divided by the cap, too
		capped = k.t.scratch(rows*k.ld, device.F32)
		k.cap(dev, capped.buf, logits.buf)
	}

	ce := k.ce
	ce.V, ce.LD, ce.Logits = k.v, k.ld, capped.buf
	ce.Targets, ce.Loss = k.targets.Buffer().Slice(lo, hi), of.losses.buf.Slice(lo, hi)
	if of.entropies != nil {
		ce.Entropy = of.entropies.buf.Slice(lo, hi)
	}
	if of.weights != nil {
		ce.Weights = of.weights.buf.Slice(lo, hi)
	}
	if of.entropyWeights != nil {
		ce.EntropyWeights = of.entropyWeights.buf.Slice(lo, hi)
	}
	d := capped
	if grads {
		if k.h.dtype != device.F32 {
			d = k.t.scratch(rows*k.ld, k.h.dtype)
		}
		ce.DLogits = d.buf
	}
	dev.CrossEntropy(ce)
	if grads {
		if capped != logits {
			dev.UnaryGrad(device.Tanh, d.buf, logits.buf, d.buf, false)
		}
		k.addGrads(d.buf, h, lo, rows)
	}
	if d != capped {
		d.release(dev)
	}
	if capped != logits {
		capped.release(dev)
	}
	logits.release(dev)
}

// addGrads computes a chunk's rows of dh and adds its share to dw and db, from the gradient d [rows, V] of its logits.
func (k *chunkedHead) addGrads(d, h device.Buffer, lo, rows int) {
	dev := k.t.Dev
	if k.dh != nil {
		matMul(dev, device.MatMul{M: rows, N: k.c, K: k.v, A: d, LDA: k.ld, C: k.dh.Buffer().Slice(lo*k.c, (lo+rows)*k.c)}, k.Weight)
	}
	if k.dw != nil {
		dev.MatMul(device.MatMul{M: k.v, N: k.c, K: rows, A: d, LDA: k.ld, TransA: true, B: h,
			C: k.dw.Buffer(), Accumulate: lo > 0})
	}
	if k.db != nil {
		dev.ColumnSum(k.db.Buffer(), d, lo > 0)
	}
}

// giveGrads hands the gradients, times g, to the operands.
func (k *chunkedHead) giveGrads(g float32) {
	for _, p := range [][2]*Tensor{{k.h, k.dh}, {k.Weight, k.dw}, {k.Bias, k.db}} {
		if p[1] == nil {
			continue
		}
		if g != 1 {
			k.t.Dev.Scale(p[1].Buffer(), g)
		}
		// Handed over, not shared: whoever adds to the gradient next would have to copy it first,
		// and the copy of a tied embedding's would be the peak of the whole step.
		p[0].addGrad(p[1].data)
		p[1].data = nil
	}
}
