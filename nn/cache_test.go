package nn

import (
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/tensor"
)

// feed runs a model on tokens that are appended to slots, and returns the hidden states of each.
func feed(t *testing.T, m Model, dev device.Device, c *Cache, slots []int, tokens ...[]int32) [][]float32 {
	t.Helper()
	v := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor {
		in, err := c.Feed(tape, slots, tokens)
		if err != nil {
			t.Fatal(err)
		}
		return m.Hidden(in)
	})
	return parted(v, tokens)
}

// TestDecodingIsTheForwardPass: token by token, in pieces or at once, alone or beside others, with the
// bits of one pass over the whole.
func TestDecodingIsTheForwardPass(t *testing.T) {
	for _, rope := range []string{`{}`, `{"rope_scaling":{"rope_type":"linear","factor":2}}`,
		`{"rope_scaling":{"rope_type":"yarn","factor":2,"original_max_position_embeddings":32}}`} {
		for _, window := range []int{0, 3} {
			m, dev := newTiny(t, rope, window)
			want := hidden(t, m, dev, texts...)
			c := NewCache(dev, device.F32, m.Shape(), len(texts), 9)
			got := make([][]float32, len(texts))
			for at := range 9 { // a token of each that has one more, together
				var slots []int
				var tokens [][]int32
				for s, text := range texts {
					if at < len(text) {
						slots, tokens = append(slots, s), append(tokens, text[at:at+1])
					}
				}
				for i, v := range feed(t, m, dev, c, slots, tokens...) {
					got[slots[i]] = append(got[slots[i]], v...)
				}
			}
			for s := range texts {
				if !slices.Equal(got[s], want[s]) {
					t.Errorf("%s, window %d: text %d token by token is another", rope, window, s)
				}
				c.Truncate(s, 0)
			}
			pieces := slices.Concat(feed(t, m, dev, c, []int{2, 0}, texts[2][:5], texts[0][:1])[0], feed(t, m, dev, c, []int{2}, texts[2][5:])[0])
			if !slices.Equal(pieces, want[2]) {
				t.Errorf("%s, window %d: pieces of five and four are others", rope, window)
			}
			c.Free()
		}
	}
}

// TestCacheGrowsCopiesAndForgets: what is held stays, whatever room there is, and a slot goes on from what is
// left in it.
func TestCacheGrowsCopiesAndForgets(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	long := texts[2]
	want := hidden(t, m, dev, long)[0]
	c := NewCache(dev, device.F32, m.Shape(), 3, 4)
	feed(t, m, dev, c, []int{1, 2}, long[:4], []int32{6})
	tape := tensor.NewTape(dev, device.F32)
	if _, err := c.Feed(tape, []int{1}, [][]int32{{1}}); err == nil || !strings.Contains(err.Error(), "a sequence of 5 tokens does not fit the cache of 4; shorten") {
		t.Errorf("a token too many: %v", err)
	}
	if _, err := c.Feed(tape, []int{0, 2, 1}, [][]int32{{1, 2}, {3}, {1}}); err == nil { // the first two would fit
		t.Error("a token too many behind others that fit is taken")
	}
	if _, err := c.FeedDrawn(tape, []int{2, 1}, tape.Ints([]int32{3, 1})); err == nil {
		t.Error("a drawn token too many is taken")
	}
	if c.Len(0) != 0 || c.Len(1) != 4 || c.Len(2) != 1 || c.Reach(0) != 0 || c.Reach(2) != 1 {
		t.Errorf("after what did not fit, lengths are %v and reach to %v", c.lengths, c.reach)
	}
	c.Grow(7)
	if got := feed(t, m, dev, c, []int{1}, long[4:7])[0]; !slices.Equal(got, want[4*tinyC:7*tinyC]) {
		t.Error("after growing, a sequence goes on otherwise")
	}
	c.Grow(9)
	c.Copy(0, 1, 6) // a beginning, of which slot 2 held one token of another
	c.Expect(1, 8)
	c.Copy(2, 1, 3)
	if c.Reach(2) != 8 {
		t.Errorf("a copy of what was rotated for 8 tokens reaches %d", c.Reach(2))
	}
	for slot, from := range map[int]int{0: 6, 2: 3, 1: 7} {
		if c.Len(slot) != from {
			t.Fatalf("slot %d holds %d tokens", slot, c.Len(slot))
		}
		if got := feed(t, m, dev, c, []int{slot}, long[from:])[0]; !slices.Equal(got, want[from*tinyC:]) {
			t.Errorf("slot %d goes on otherwise", slot)
		}
	}
	c.Truncate(1, 5)
	c.Truncate(1, 8) // there are no more
	if got := feed(t, m, dev, c, []int{1}, long[5:])[0]; !slices.Equal(got, want[5*tinyC:]) {
		t.Error("what was forgotten comes back otherwise")
	}
	tape.Reset()
	c.Free()
}

// TestReach: rotary positions whose scaling depends on the length count with the length that is announced, so
// that the pieces of a prompt are rotated as its whole is.
func TestReach(t *testing.T) {
	long := make([]int32, 20)
	for i := range long {
		long[i] = int32(i * 3 % tinyV)
	}
	m, dev := newTiny(t, `{"original_max_position_embeddings":8,"rope_scaling":{"rope_type":"longrope","short_factor":[1,1],"long_factor":[2,5]}}`, 0)
	want := hidden(t, m, dev, long)[0]
	c := NewCache(dev, device.F32, m.Shape(), 2, len(long))
	c.Expect(0, len(long))
	c.Expect(0, 3) // the greatest counts
	if c.Reach(0) != len(long) || c.Reach(1) != 0 || m.Shape().LongAfter != 8 {
		t.Errorf("reach %d and %d, long after %d", c.Reach(0), c.Reach(1), m.Shape().LongAfter)
	}
	var got []float32
	for at := 0; at < len(long); at += 5 {
		got = append(got, feed(t, m, dev, c, []int{0}, long[at:at+5])[0]...)
	}
	if !slices.Equal(got, want) {
		t.Error("a prompt in pieces is another")
	}
	feed(t, m, dev, c, []int{1}, long[:5])
	if c.Reach(1) != 5 {
		t.Errorf("reach %d of five tokens", c.Reach(1))
	}
	c.Truncate(0, 0)
	if c.Reach(0) != 0 {
		t.Errorf("an empty slot reaches %d", c.Reach(0))
	}
	short := hidden(t, m, dev, long[:8])[0]
	if got := feed(t, m, dev, c, []int{0}, long[:8])[0]; !slices.Equal(got, short) || slices.Equal(short, want[:8*tinyC]) {
		t.Error("a short sequence is rotated as a long one")
	}
	c.Free()
}

// TestKeptResults: what linear layers made of an answer while it was written is what a recorded pass over it computes.
func TestKeptResults(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	if s := m.Shape(); !s.Reusable() || (Shape{Experts: 4}).Reusable() || (Shape{Virtual: 1}).Reusable() || (Shape{LongAfter: 1}).Reusable() || (Shape{OwnAfter: 1}).Reusable() {
		t.Error("which shapes keep results")
	}
	text := texts[2]
	results := tensor.NewResults(1 + len(text))
	defer results.Free()
	c := NewCache(dev, device.F32, m.Shape(), 2, len(text))
	var numbers []int32
	keep := func(slot int, token int32) {
		tape := tensor.NewTape(dev, device.F32)
		tape.Infer()
		in, err := c.Feed(tape, []int{slot}, [][]int32{{token}})
		if err != nil {
			t.Fatal(err)
		}
		HiddenKept(m, in, results, []int32{0})
		tape.Reset()
	}
	keep(1, 9) // of another answer, so that rows of the text have other numbers among the results
	for at, token := range text {
		keep(0, token)
		numbers = append(numbers, int32(1+at))
	}
	c.Free()
	rows := []int32{4, 5, 6, 7}
	want := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return HiddenAt(m, packed(tape, text), rows) })
	tape := tensor.NewTape(dev, device.F32)
	// a layer that runs again would use its results twice, so that pass does without and leaves them
	for _, recompute := range []int{1, 2, 0} {
		tape.Train(1, 0, 0)
		in := packed(tape, text).Reusing(results, numbers)
		in.Recompute = recompute
		h := HiddenAt(m, in, rows)
		got, err := h.Float32s()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("with results that were kept and %d layers that run again rows are %v, want %v; %v", recompute, got, want, err)
		}
		tape.Backward(tensor.Sum(h))
		for _, p := range Params(m) {
			p.FreeGrad()
		}
	}
	tape.Train(1, 0, 0)
	backwards := []int32{8, 7, 6, 5, 4, 3, 2, 1, 0} // as many rows as there are
	got, err := HiddenAt(m, packed(tape, text).Reusing(results, numbers), backwards).Float32s()
	if err != nil || !slices.Equal(got[:tinyC], inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return HiddenAt(m, packed(tape, text), []int32{8}) })) {
		t.Errorf("of all rows in another order the first is %v, %v", got[:tinyC], err)
	}
	tape.Train(1, 0, 0)
	if err := tensor.Try(func() { HiddenAt(m, packed(tape, text).Reusing(results, numbers), rows) }); err == nil {
		t.Error("results are used twice, or were not used at all")
	}
	tape.Reset()
}

// TestAttendColumns: queries, keys and values side by side in one matrix attend as they do in
// three, without a cache and with one.
func TestAttendColumns(t *testing.T) {
	_, dev := newTiny(t, `{}`, 0)
	s := tensor.AttentionShape{Heads: tinyH, KVHeads: tinyK, D: tinyD, Scale: 0.5}
	q, kv := tinyH*tinyD, tinyK*tinyD
	values := make([]float32, 7*(q+2*kv))
	for i := range values {
		values[i] = float32(i*37%101)/50 - 1
	}
	for _, cached := range []bool{false, true} {
		var all [2][]float32
		for i := range all {
			all[i] = inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor {
				in := packed(tape, make([]int32, 4), make([]int32, 3))
				if cached {
					c := NewCache(dev, device.F32, Shape{Layers: 1, KVHeads: tinyK, HeadDim: tinyD}, 2, 4)
					defer c.Free()
					var err error
					if in, err = c.Feed(tape, []int{1, 0}, [][]int32{make([]int32, 4), make([]int32, 3)}); err != nil {
						t.Fatal(err)
					}
				}
				qkv := tape.Floats(values, 7, q+2*kv)
				if i == 0 {
					return in.AttendColumns(0, qkv, s)
				}
				p := tensor.SplitCols(qkv, q, kv, kv)
				return in.Attend(0, p[0], p[1], p[2], s)
			})
		}
		if !slices.Equal(all[0], all[1]) {
			t.Errorf("with a cache %v: columns attend as %v, matrices as %v", cached, all[0], all[1])
		}
	}
}

// TestArrange: weights in the order of the device have the same bits; those beside a model are
// given back with its own untouched.
func TestArrange(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	want := slices.Concat(hidden(t, m, dev, texts...)...)
	before := dev.Memory().InUse
	done := ArrangeBeside(m)
	if got := slices.Concat(hidden(t, m, dev, texts...)...); !slices.Equal(got, want) {
		t.Error("with weights beside it the model is another")
	}
	done()
	done()
	if now := dev.Memory().InUse; now != before {
		t.Errorf("%d bytes are left", now-before)
	}
	Arrange(m)
	if got := slices.Concat(hidden(t, m, dev, texts...)...); !slices.Equal(got, want) {
		t.Error("arranged, the model is another")
	}
}
