package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"hone/device/devicetest"
	"hone/tensor"
)

// attend is attention by its definition, in float64: q [N, H*D], k and v [N, K*D], of sequences of the given lengths.
func attend(q, k, v []float64, s tensor.AttentionShape, lengths []int) []float64 {
	out := make([]float64, len(q))
	wq, wk := s.Heads*s.D, s.KVHeads*s.D
	first := 0
	for _, n := range lengths {
		for row := first; row < first+n; row++ {
			for h := range s.Heads {
				from := first
				if s.Window > 0 {
					from = max(first, row-s.Window+1)
				}
				kv := h / (s.Heads / s.KVHeads) * s.D
				weights, sum := make([]float64, row+1-from), 0.0
				for i := range weights {
					score := 0.0
					for d := range s.D {
						score += q[row*wq+h*s.D+d] * k[(from+i)*wk+kv+d]
					}
					if score *= float64(s.Scale); s.SoftCap > 0 {
						score = float64(s.SoftCap) * math.Tanh(score/float64(s.SoftCap))
					}
					weights[i] = math.Exp(score)
					sum += weights[i]
				}
				for i, w := range weights {
					for d := range s.D {
						out[row*wq+h*s.D+d] += w / sum * v[(from+i)*wk+kv+d]
					}
				}
			}
		}
		first += n
	}
	return out
}

// TestAttend against the definition: heads that share keys, windows, soft caps, and sequences that cannot see
// each other; the same of columns that stand side by side.
func TestAttend(t *testing.T) {
	for _, c := range []struct {
		heads, kv, d, window int
		cap                  float32
		lengths              []int
	}{
		{1, 1, 4, 0, 0, []int{6}}, {4, 2, 3, 0, 0, []int{5, 1, 4}}, {4, 1, 8, 0, 0, []int{7}}, {2, 2, 4, 3, 0, []int{8, 2}}, {2, 1, 4, 1, 0, []int{5}},
		{2, 1, 4, 100, 0, []int{5}}, {4, 2, 4, 0, 1.5, []int{6, 3}}, {4, 2, 4, 2, 0.7, []int{6, 3}},
	} {
		b := newBench(t, devicetest.NewReference())
		s := tensor.AttentionShape{Heads: c.heads, KVHeads: c.kv, D: c.d, Scale: float32(1 / math.Sqrt(float64(c.d))), Window: c.window, SoftCap: c.cap}
		var positions []int32
		for _, n := range c.lengths {
			for p := range n {
				positions = append(positions, int32(p))
			}
		}
		n, wq, wk := len(positions), c.heads*c.d, c.kv*c.d
		in, q, k, v := b.input(positions, c.lengths...), b.numbers(n, wq), b.numbers(n, wk), b.numbers(n, wk)
		got := b.values(in.Attend(0, b.tape.Floats(q, n, wq), b.tape.Floats(k, n, wk), b.tape.Floats(v, n, wk), s))
		near(t, fmt.Sprintf("%+v", c), got, attend(wide(q), wide(k), wide(v), s, c.lengths), 1e-6)
		var side []float32
		for row := range n {
			side = slices.Concat(side, q[row*wq:][:wq], k[row*wk:][:wk], v[row*wk:][:wk])
		}
		if columns := b.values(in.AttendColumns(0, b.tape.Floats(side, n, wq+2*wk), s)); !slices.Equal(columns, got) {
			t.Errorf("%+v: columns give %v, want %v", c, columns, got)
		}
		b.end()
	}
}

// TestAttendByCache: the keys and values of a cache, put there in pieces of any sizes in several
// slots, give what they give at once.
func TestAttendByCache(t *testing.T) {
	for _, window := range []int{0, 3} {
		b := newBench(t, devicetest.NewReference())
		s := tensor.AttentionShape{Heads: 4, KVHeads: 2, D: 4, Scale: 0.5, Window: window}
		const n, wq, wk = 9, 16, 8
		shape := Shape{Layers: 1, KVHeads: 2, HeadDim: 4}
		cache := NewCache(b.dev, b.tape.DType, shape, 3, n)
		for slot, pieces := range [][]int{{9}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {4, 1, 4}} {
			q, k, v := b.numbers(n, wq), b.numbers(n, wk), b.numbers(n, wk)
			var got []float32
			for _, size := range pieces {
				at := cache.Len(slot)
				in, err := cache.Feed(b.tape, []int{slot}, [][]int32{make([]int32, size)})
				if err != nil {
					t.Fatal(err)
				}
				part := func(x []float32, w int) *tensor.Tensor { return b.tape.Floats(x[at*w:(at+size)*w], size, w) }
				got = append(got, b.values(in.Attend(0, part(q, wq), part(k, wk), part(v, wk), s))...)
			}
			near(t, fmt.Sprintf("window %d, pieces of %v", window, pieces), got, attend(wide(q), wide(k), wide(v), s, []int{n}), 1e-6)
		}
		cache.Free()
		b.end()
		if left := b.dev.Memory().InUse; left != 0 {
			t.Errorf("%d bytes are left", left)
		}
	}
}
