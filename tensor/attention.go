package tensor

import "hone/device"

// AttentionShape describes an attention call beside its tensors.
type AttentionShape struct {
	Heads, KVHeads, D int
	Scale             float32 // of the scores, usually 1/sqrt(D)
	Window            int     // a query sees this many keys up to its own; 0 means all before it
	SoftCap           float32 // scores become cap·tanh(score/cap); 0 means off
	Sequences         []device.Sequence
}

// Attention is causal grouped-query attention over packed sequences that cannot see each other:
// q [N, H*D], k and v [rows, K*D], result [N, H*D]. Memory is linear in N (Dao et al., "FlashAttention", 2022).
func Attention(q, k, v *Tensor, s AttentionShape) *Tensor {
	t := tapeOf("Attention", q)
	check(q.Cols() == s.Heads*s.D && k.Cols() == s.KVHeads*s.D && v.Cols() == k.Cols(), "Attention",
		"q %v, k %v, v %v do not fit %d heads and %d key/value heads of %d", q.Shape, k.Shape, v.Shape, s.Heads, s.KVHeads, s.D)
	check(s.Heads%s.KVHeads == 0, "Attention", "%d heads are not a multiple of %d key/value heads", s.Heads, s.KVHeads)
	o := t.empty(q.dtype, q.Shape...)
	a := device.Attention{O: o.Buffer(), Q: q.Buffer(), K: k.Buffer(), V: v.Buffer(), Heads: s.Heads, KVHeads: s.KVHeads,
		D: s.D, Scale: s.Scale, Window: s.Window, SoftCap: s.SoftCap, Sequences: s.Sequences}
	if !t.wants(q, k, v) {
		t.Dev.Attention(a)
		return o
	}
	lse := t.empty(device.F32, q.Rows(), s.Heads)
	a.LSE = lse.Buffer()
	t.Dev.Attention(a)
	t.push(o, func() {
		dq, dk, dv := t.scratch(q.Len(), q.dtype), t.scratch(k.Len(), k.dtype), t.scratch(v.Len(), v.dtype)
		a.O, a.Q, a.K, a.V, a.LSE = o.Buffer(), q.Buffer(), k.Buffer(), v.Buffer(), lse.Buffer()
		t.Dev.AttentionGrad(device.AttentionGrad{Attention: a, DO: o.grad.buf, DQ: dq.buf, DK: dk.buf, DV: dv.buf})
		giveGrad(q, dq)
		giveGrad(k, dk)
		giveGrad(v, dv)
	}, q, k, v, o, lse)
	return o
}
