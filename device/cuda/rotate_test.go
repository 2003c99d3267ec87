//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/tensor"
)

// turnCase is attention that comes after the rotation of what it reads.
type turnCase struct {
	name                 string
	heads, kv, d, rotary int
	queries, keys        []int // of each sequence; it has 140 places in the cache
	window               int
	unknown              bool              // the host does not know the places
	change               func(c *turnCall) // before the calls are made
	apart                bool              // they stay apart
}

// turnCall are the operands of the calls.
type turnCall struct {
	q, k           device.Rope
	value          device.Buffer // rows
	keys, values   device.Buffer
	places         device.Buffer
	attention      device.Attention
	placed, turned []int32 // places, positions
}

var turnCases = []turnCase{
	{name: "a token", heads: 4, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{130}},
	{name: "the first token", heads: 4, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{1}},
	{name: "sequences of several", heads: 4, kv: 2, d: 96, rotary: 96, queries: []int{3, 1, 8}, keys: []int{130, 128, 8}},
	{name: "heads filled up", heads: 3, kv: 1, d: 80, rotary: 80, queries: []int{2, 1}, keys: []int{129, 40}},
	{name: "some channels", heads: 2, kv: 1, d: 128, rotary: 32, queries: []int{1, 1}, keys: []int{64, 5}},
	{name: "rows for several blocks", heads: 5, kv: 1, d: 32, rotary: 32, queries: []int{8, 4}, keys: []int{132, 4}},
	{name: "wide heads in a window", heads: 2, kv: 1, d: 256, rotary: 256, queries: []int{4, 1}, keys: []int{130, 70}, window: 3},
	{name: "back", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{3}, change: func(c *turnCall) { c.q.Inverse, c.k.Inverse = true, true }},
	{name: "odd pairs", heads: 2, kv: 2, d: 64, rotary: 40, queries: []int{1}, keys: []int{3}, apart: true},
	{name: "other places", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{3}, change: func(c *turnCall) { c.placed[0]-- }, apart: true},
	{name: "a cache that two share", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1, 1}, keys: []int{3, 3}, change: func(c *turnCall) {
		c.attention.Sequences[1].K, c.attention.Sequences[1].KLen = 0, 2
		c.placed[1] = 1
	}, apart: true},
	{name: "places that only the card knows", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1, 1}, keys: []int{3, 3}, unknown: true, apart: true},
	{name: "unknown places in a cache that two share", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1, 1}, keys: []int{3, 3}, unknown: true, change: func(c *turnCall) {
		c.attention.Sequences[1].K, c.attention.Sequences[1].KLen = 0, 2
		c.placed[1] = 1
	}, apart: true},
	{name: "over what was rotated", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{3}, change: func(c *turnCall) { c.attention.O = c.q.X }, apart: true},
	{name: "rotated in place", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{3}, change: func(c *turnCall) { c.q.Y, c.attention.Q = c.q.X, c.q.X }, apart: true},
	{name: "other queries", heads: 2, kv: 2, d: 64, rotary: 64, queries: []int{1}, keys: []int{3}, change: func(c *turnCall) { c.attention.Q = c.q.X }, apart: true},
}

// call makes the operands.
func (c *turnCase) call(d *Device) *turnCall {
	const room = 140
	rows, places := 0, room*len(c.queries)
	x := &turnCall{}
	for i, n := range c.queries {
		x.attention.Sequences = append(x.attention.Sequences, device.Sequence{Q: rows, QLen: n, K: i * room, KLen: c.keys[i]})
		for j := range n {
			x.placed, x.turned = append(x.placed, int32(i*room+c.keys[i]-n+j)), append(x.turned, int32(c.keys[i]-n+j))
		}
		rows += n
	}
	half := func(n int) device.Buffer { return normal(d, n, device.BF16) }
	turn := device.Rope{Cos: normal(d, room*c.rotary/2, device.F32), Sin: normal(d, room*c.rotary/2, device.F32), Positions: d.Alloc(rows, device.I32), D: c.d, Rotary: c.rotary}
	q, kv := rows*c.heads*c.d, rows*c.kv*c.d
	x.q, x.k = turn, turn
	x.q.Heads, x.k.Heads = c.heads, c.kv
	x.q.X, x.q.Y, x.k.X, x.k.Y, x.value = half(q), half(q), half(kv), half(kv), half(kv)
	x.keys, x.values, x.places = half(places*c.kv*c.d), half(places*c.kv*c.d), d.Alloc(rows, device.I32)
	a := &x.attention
	a.O, a.LSE, a.Q, a.K, a.V = half(q), d.Alloc(rows*c.heads, device.F32), x.q.Y, x.keys, x.values
	a.Heads, a.KVHeads, a.D, a.Scale, a.Window = c.heads, c.kv, c.d, 0.1, c.window
	if c.change != nil {
		c.change(x)
	}
	d.Write(turn.Positions, x.turned)
	d.Write(x.places, x.placed)
	if c.unknown {
		known, all := x.places, d.Alloc(rows, device.I32)
		d.Write(all, counted(rows))
		x.places = d.Alloc(rows, device.I32)
		d.Pick(x.places, known, all)
	}
	return x
}

// counted are the numbers from 0 to n-1.
func counted(n int) (v []int32) {
	for i := range n {
		v = append(v, int32(i))
	}
	return v
}

// run makes the calls, between after each, and prints what is in all of the buffers then.
func (x *turnCall) run(t *testing.T, d *Device, between func()) (bits []string) {
	for _, call := range []func(){func() { d.Rope(x.q) }, func() { d.Rope(x.k) }, func() { d.PutRows(x.keys, x.k.Y, x.places) },
		func() { d.PutRows(x.values, x.value, x.places) }, func() { d.Attention(x.attention) }} {
		call()
		between()
	}
	for _, b := range []device.Buffer{x.q.X, x.q.Y, x.k.X, x.k.Y, x.value, x.keys, x.values, x.attention.O, x.attention.LSE} {
		v := make([]float32, b.Len)
		if err := d.Read(v, b); err != nil {
			t.Fatal(err)
		}
		bits = append(bits, fmt.Sprint(v))
	}
	return bits
}

// TestAttentionRotates: attention that rotates what it reads leaves the bits in all memory that the calls leave one by one.
func TestAttentionRotates(t *testing.T) {
	for _, c := range turnCases {
		t.Run(c.name, func(t *testing.T) {
			d := openEmulated(t, both, true)
			ran := &named{driver: d.driver.(orderly).driver, names: map[function]string{}}
			d.driver = orderly{ran, d}
			list := c.call(d) // puts the list of parts on the card
			list.run(t, d, func() {})
			apart := c.call(d).run(t, d, func() {
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
			})
			x := c.call(d)
			ran.ran = nil
			together := x.run(t, d, func() {})
			if !slices.Equal(apart, together) {
				t.Error("other bits than one by one")
			}
			if got := slices.Contains(ran.ran, kernelRotate.name); got != c.apart {
				t.Errorf("ran %v", ran.ran)
			}
		})
	}
}

// TestAttentionKnowsPositions: a position that only the card knows, and that is none of the tables', is reported.
func TestAttentionKnowsPositions(t *testing.T) {
	d := openEmulated(t, rising, true)
	c := turnCases[0]
	c.call(d).run(t, d, func() {})
	x := c.call(d)
	d.Fill(x.q.Positions, 140)
	d.Rope(x.q)
	d.Rope(x.k)
	d.PutRows(x.keys, x.k.Y, x.places)
	d.PutRows(x.values, x.value, x.places)
	d.Attention(x.attention)
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "a position outside of the tables") {
		t.Errorf("Sync says %v", err)
	}
}

// TestDecodingLaunches: a token of Llama is decoded in seven launches a layer; the first layer rotates by itself, before the list of parts is on the card.
func TestDecodingLaunches(t *testing.T) {
	d := openEmulated(t, rising, false)
	ran := &named{driver: d.driver.(orderly).driver, names: map[function]string{}}
	d.driver = orderly{ran, d}
	m, err := model.New([]byte(wideHeads), d, device.BF16, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	tape := tensor.NewTape(d, device.BF16)
	cache := nn.NewCache(d, device.BF16, m.Shape(), 1, 8)
	defer cache.Free()
	for range 2 {
		tape.Infer()
		in, err := cache.Feed(tape, []int{0}, [][]int32{{3}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		ran.ran = nil
		m.Hidden(in)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	tape.Reset()
	ran.ran = slices.DeleteFunc(ran.ran, func(name string) bool { return name == kernelWrite.name })
	var want []string
	for i := range m.Shape().Layers {
		rotation := []string{"rotate"}
		if i > 0 {
			rotation = nil
		}
		want = slices.Concat(want, []string{"norm_rows_256", "few_rows_8"}, rotation, []string{"decode_64", "few_rows_8", "norm_rows_256", "few_pairs_8", "few_rows_8"})
	}
	want = append(append([]string{"embedding"}, want...), "norm_rows_256")
	if !slices.Equal(ran.ran, want) {
		t.Errorf("ran %v, want %v", ran.ran, want)
	}
}
