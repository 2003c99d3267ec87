package tensor

import "hone/device"

// AttentionShape describes an attention call beside its tensors.
type AttentionShape struct {
	Heads, KVHeads, D int
	Scale             float32           // of the scores, usually 1/sqrt(D)
	Window            int               // a query sees this many keys up to its own; 0 means all before it
	SoftCap           float32           // scores become cap·tanh(score/cap); 0 means off
	Sequences         []device.Sequence // which rows of q and of k and v belong together
}

// Attention is causal grouped-query attention (Vaswani et al., 2017; Ainslie et al., "GQA", 2023) over packed
// sequences that cannot see each other: q [N, H*D], k and v [rows, K*D], result [N, H*D]. Query head h has
// softmax(Scale·q·kᵀ)·v with key/value head h·K/H, over the keys of its own sequence up to its own position.
// k and v have more rows than q where a cache holds earlier tokens.
//
// Scores are never held: memory is linear in N (Dao et al., "FlashAttention", 2022).
func Attention(q, k, v *Tensor, s AttentionShape) *Tensor {
	t := tapeOf("Attention", q)
	s.check(q.Cols() == s.Heads*s.D && k.Cols() == s.KVHeads*s.D && v.Cols() == k.Cols(), q, k, v)
	set := func(a device.Attention) device.Attention {
		a.Q, a.K, a.V = q.Buffer(), k.Buffer(), v.Buffer()
		return a
	}
	return t.attention(s, set, func(g device.AttentionGrad) {
		dq, dk, dv := t.scratch(q.Len(), q.dtype), t.scratch(k.Len(), k.dtype), t.scratch(v.Len(), v.dtype)
		g.DQ, g.DK, g.DV = dq.buf, dk.buf, dv.buf
		t.Dev.AttentionGrad(g)
		giveGrad(q, dq)
		giveGrad(k, dk)
		giveGrad(v, dv)
	}, q, k, v)
}

// AttentionColumns is Attention of a q, k and v that stand side by side in one matrix, as a fused projection
// makes them: qkv [N, (H+2K)*D]. It takes them where they are, and their gradients go there.
func AttentionColumns(qkv *Tensor, s AttentionShape) *Tensor {
	t := tapeOf("AttentionColumns", qkv)
	q, kv, c := s.Heads*s.D, s.KVHeads*s.D, qkv.Cols()
	s.check(c == q+2*kv, qkv)
	columns := func(b device.Buffer) [3]device.Buffer {
		return [3]device.Buffer{b, b.Slice(q, b.Len), b.Slice(q+kv, b.Len)}
	}
	set := func(a device.Attention) device.Attention {
		b := columns(qkv.Buffer())
		a.Q, a.K, a.V, a.LDQ, a.LDKV = b[0], b[1], b[2], c, c
		return a
	}
	return t.attention(s, set, func(g device.AttentionGrad) {
		d := t.scratch(qkv.Len(), qkv.dtype)
		b := columns(d.buf)
		g.DQ, g.DK, g.DV = b[0], b[1], b[2]
		t.Dev.AttentionGrad(g)
		giveGrad(qkv, d)
	}, qkv)
}

// check panics unless the operands fit, as the caller found out, and heads share key/value heads evenly.
func (s *AttentionShape) check(fits bool, operands ...*Tensor) {
	if !fits {
		check(false, "Attention", "%v do not fit %d heads and %d key/value heads of %d", operands, s.Heads, s.KVHeads, s.D)
	}
	check(s.KVHeads > 0 && s.Heads%s.KVHeads == 0, "Attention",
		"%d heads are not a multiple of %d key/value heads", s.Heads, s.KVHeads)
}

// attention runs the kernel: set sets the operands, the first of which has a row for each query, and backward
// is given a call that lacks but the gradients' places.
func (t *Tape) attention(s AttentionShape, set func(device.Attention) device.Attention, backward func(device.AttentionGrad),
	operands ...*Tensor) *Tensor {
	n := operands[0].Rows()
	// lse [N, H] is the log-sum-exp of each row's scores, all that the backward pass needs to make probabilities again
	o, lse := t.empty(operands[0].dtype, n, s.Heads*s.D), (*Tensor)(nil)
	a := device.Attention{O: o.Buffer(), Heads: s.Heads, KVHeads: s.KVHeads, D: s.D,
		Scale: s.Scale, Window: s.Window, SoftCap: s.SoftCap, Sequences: s.Sequences}
	recorded := t.wants(operands...)
	if recorded {
		lse = t.empty(device.F32, n, s.Heads)
		a.LSE = lse.Buffer()
	}
	t.Dev.Attention(set(a))
	if recorded {
		again := a // what a closure changes lies on the heap, and most passes record nothing
		t.push(o, func() {
			again.O, again.LSE = o.Buffer(), lse.Buffer() // asked for anew: a value that waited on the host comes back elsewhere
			backward(device.AttentionGrad{Attention: set(again), DO: o.grad.buf})
		}, append(operands, o, lse)...)
	}
	return o
}
