package devicetest

import (
	"fmt"
	"math"
	"testing"

	"hone/device"
)

// attentionCase is one geometry of attention.
type attentionCase struct {
	name         string
	heads, kv, d int
	window       int
	softCap      float32
	sequences    []device.Sequence
}

// packed makes sequences of the given lengths, queries and keys alike.
func packed(lengths ...int) []device.Sequence {
	var s []device.Sequence
	at := 0
	for _, n := range lengths {
		s = append(s, device.Sequence{Q: at, QLen: n, K: at, KLen: n})
		at += n
	}
	return s
}

var attentionCases = []attentionCase{
	{"one token", 1, 1, 8, 0, 0, packed(1)},
	{"two heads", 2, 2, 16, 0, 0, packed(5)},
	{"odd width", 3, 1, 5, 0, 0, packed(19, 1, 3)},
	{"width 80", 2, 1, 80, 0, 0, packed(33)},
	{"packed", 4, 2, 64, 0, 0, packed(17, 64, 1, 130)},
	{"two key blocks", 2, 1, 64, 0, 0, packed(300)},
	{"many key blocks", 2, 1, 32, 0, 0, packed(530)},
	{"window", 2, 1, 32, 20, 0, packed(70, 9)},
	{"wide window", 1, 1, 16, 300, 0, packed(601)},
	{"window of one", 2, 1, 16, 1, 0, packed(40)},
	{"soft cap", 2, 1, 32, 0, 1.5, packed(50, 200)},
	{"soft cap and window", 4, 1, 24, 33, 2, packed(150)},
	{"width 256, soft cap and window", 2, 1, 256, 40, 3, packed(90)},
	{"width 96", 2, 2, 96, 0, 0, packed(70, 2)},
	{"width 128 and window", 4, 1, 128, 70, 0, packed(140, 3)},
	{"width 192", 1, 1, 192, 0, 0, packed(67)},
	{"decode", 4, 2, 64, 0, 0, []device.Sequence{{Q: 0, QLen: 1, K: 3, KLen: 270}, {Q: 1, QLen: 1, K: 300, KLen: 1}}},
	{"decode in a window", 6, 2, 32, 100, 0, []device.Sequence{{Q: 0, QLen: 1, K: 0, KLen: 700}}},
	{"few queries of many heads", 24, 2, 72, 0, 0, []device.Sequence{{Q: 1, QLen: 3, K: 2, KLen: 290}, {Q: 4, QLen: 1, K: 292, KLen: 128}}},
	{"few queries, soft cap and window", 4, 2, 256, 70, 2, []device.Sequence{{Q: 0, QLen: 2, K: 0, KLen: 200}}},
	{"prefill behind a cache", 2, 1, 32, 0, 0, []device.Sequence{{Q: 2, QLen: 65, K: 0, KLen: 333}}},
	{"no queries", 2, 1, 16, 0, 0, []device.Sequence{{Q: 0, QLen: 0, K: 0, KLen: 7}, {Q: 0, QLen: 4, K: 7, KLen: 6}}},
}

// rows of queries and keys that the sequences need, and two that belong to none.
func (c *attentionCase) rows() (queries, keys int) {
	for _, s := range c.sequences {
		queries, keys = max(queries, s.Q+s.QLen), max(keys, s.K+s.KLen)
	}
	return queries + 2, keys + 2
}

func testAttention(p *pair) {
	for i, c := range attentionCases {
		for j, t := range floatTypes {
			if testing.Short() && (i+j)%2 != 0 {
				continue // every geometry in one of the types
			}
			p.attention(c, t)
			p.freeAll()
		}
	}
}

func (p *pair) attention(c attentionCase, t device.DType) {
	queries, keys := c.rows()
	nq, nk := queries*c.heads*c.d, keys*c.kv*c.d
	q, k, v := p.normal(nq, t, 1.5), p.normal(nk, t, 1.5), p.normal(nk, t, 1)
	dq, dk, dv := p.normal(nq, t, 1), p.normal(nk, t, 1), p.normal(nk, t, 1)
	o, lse, do := p.normal(nq, t, 1), p.normal(queries*c.heads, device.F32, 1), p.normal(nq, t, 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		a := device.Attention{
			O: at(o), Q: at(q), K: at(k), V: at(v), LSE: at(lse), Heads: c.heads, KVHeads: c.kv, D: c.d,
			Scale: float32(1 / math.Sqrt(float64(c.d))), Window: c.window, SoftCap: c.softCap, Sequences: c.sequences,
		}
		d.Attention(a)
		if d == p.dev { // the log-sum-exp is optional
			without := a
			without.LSE = device.Buffer{}
			d.Attention(without)
		}
		d.AttentionGrad(device.AttentionGrad{Attention: a, DO: at(do), DQ: at(dq), DK: at(dk), DV: at(dv)})
	})
	name := c.name + " " + t.String()
	tol := tolerance{rel: 2e-5, abs: 2e-6, ofMax: 5e-6}
	p.check(name+": LSE", lse, tol)
	if t == device.BF16 {
		tol.ofMax = 1e-2 // gradients start from an output that was rounded
	}
	p.check(name+": O", o, tol)
	p.check(name+": DQ", dq, tol)
	p.check(name+": DK", dk, tol)
	p.check(name+": DV", dv, tol)
}

// testAttentionColumns has q, k and v, and their gradients, as columns of one matrix. What stands between must stay.
func testAttentionColumns(p *pair) {
	for _, t := range floatTypes {
		p.attentionColumns(attentionCase{"", 3, 1, 8, 0, 0, packed(19, 40)}, t, 5)
		p.freeAll()
		p.attentionColumns(attentionCase{"", 4, 4, 16, 0, 0, packed(70)}, t, 8)
		p.freeAll()
	}
}

func (p *pair) attentionColumns(c attentionCase, t device.DType, gap int) {
	rows, _ := c.rows()
	wide, narrow := c.heads*c.d, c.kv*c.d
	stride := wide + 2*narrow + gap
	whole, grad := p.normal(rows*stride, t, 1), p.normal(rows*stride, t, 1)
	o, do, lse := p.normal(rows*wide, t, 1), p.normal(rows*wide, t, 1), p.normal(rows*c.heads, device.F32, 1)
	columns := func(b device.Buffer) (q, k, v device.Buffer) {
		return b.Slice(0, b.Len), b.Slice(wide, b.Len), b.Slice(wide+narrow, b.Len)
	}
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		g := device.AttentionGrad{Attention: device.Attention{O: at(o), LDQ: stride, LDKV: stride, LSE: at(lse), Heads: c.heads,
			KVHeads: c.kv, D: c.d, Scale: 0.3, Sequences: c.sequences}, DO: at(do)}
		g.Q, g.K, g.V = columns(at(whole))
		g.DQ, g.DK, g.DV = columns(at(grad))
		d.Attention(g.Attention)
		d.AttentionGrad(g)
	})
	name, tol := fmt.Sprintf("columns of %d and %d heads, %s", c.heads, c.kv, t), tolerance{rel: 2e-5, abs: 2e-6, ofMax: 5e-6}
	p.check(name+": LSE", lse, tol)
	if t == device.BF16 {
		tol.ofMax = 1e-2 // gradients start from an output that was rounded
	}
	p.check(name+": O", o, tol)
	p.check(name+": gradient", grad, tol)
}

// testAttentionNaN puts a NaN into one key: every query that sees it must show it.
func testAttentionNaN(p *pair) {
	for _, t := range floatTypes {
		p.attentionNaN(t)
		p.freeAll()
	}
}

func (p *pair) attentionNaN(t device.DType) {
	const n, d, at = 40, 16, 11
	q, k, v := p.normal(n*d, t, 1), p.normal(n*d, t, 1), p.normal(n*d, t, 1)
	o := p.empty(n*d, t)
	p.dev.Write(k.dev.Slice(at*d+3, at*d+4), []float32{float32(math.NaN())})
	p.dev.Attention(device.Attention{O: o.dev, Q: q.dev, K: k.dev, V: v.dev, Heads: 1, KVHeads: 1, D: d, Scale: 0.25, Sequences: packed(n)})
	got := make([]float32, n*d)
	if err := p.dev.Read(got, o.dev); err != nil {
		p.Fatal(err)
	}
	for i := range n {
		if nan := got[i*d] != got[i*d]; i >= at && !nan {
			p.Errorf("%s: query %d sees NaN in key %d and is %g", t, i, at, got[i*d])
		}
	}
}
