package nn

import (
	"slices"
	"testing"
	"time"

	"hone/device"
	"hone/tensor"
)

// TestFamilies: sequences share what saves most rows.
func TestFamilies(t *testing.T) {
	for name, c := range map[string]struct {
		begins [][]int32
		want   []family
	}{
		"nothing in common":     {[][]int32{{1, 2}, {2, 1}}, []family{{[]int{0}, 2}, {[]int{1}, 2}}},
		"two prompts":           {[][]int32{{5, 6, 7}, {1, 2}, {5, 6, 7}, {1, 2}}, []family{{[]int{1, 3}, 2}, {[]int{0, 2}, 3}}},
		"as far as both go":     {[][]int32{{1, 2, 3, 4}, {1, 2}}, []family{{[]int{1, 0}, 2}}},
		"a token is too little": {[][]int32{{1, 2, 3}, {1, 2, 3}, {1, 9}}, []family{{[]int{0, 1}, 3}, {[]int{2}, 2}}},
		"a preamble":            {[][]int32{{1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 3, 6}}, []family{{[]int{0, 1, 2}, 3}}},
		"asked for at once":     {[][]int32{{}, {}, {1}}, []family{{[]int{0}, 0}, {[]int{1}, 0}, {[]int{2}, 1}}},
	} {
		got := familiesOf(c.begins)
		if !slices.EqualFunc(got, c.want, func(a, b family) bool { return a.length == b.length && slices.Equal(a.members, b.members) }) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// answers are texts that begin with one prompt, a pair with another and one of its own, and the rows that are
// asked for: those that predict what comes behind the prompts.
func answers() (sequences [][]int32, rows []int32) {
	prompts := [][]int32{{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10}, {5}}
	ends := [][][]int32{{{7, 8}, {9}, {7, 10, 0}}, {{1}, {2, 3}}, {{6, 6, 6}}}
	at := 0
	for p, list := range ends {
		for _, end := range list {
			sequences = append(sequences, slices.Concat(prompts[p], end))
			for i := range end {
				rows = append(rows, int32(at+len(prompts[p])-1+i))
			}
			at += len(prompts[p]) + len(end)
		}
	}
	return sequences, rows
}

// TestSharedBeginningsRunOnce: what answers begin with alike runs once, and every row that is asked for
// has the bits that it has without.
func TestSharedBeginningsRunOnce(t *testing.T) {
	for _, window := range []int{0, 3} {
		m, dev := newTiny(t, `{}`, window)
		sequences, rows := answers()
		whole := slices.Concat(hidden(t, m, dev, sequences...)...)
		var want []float32
		for _, row := range rows {
			want = append(want, whole[int(row)*tinyC:][:tinyC]...)
		}
		for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {3, 0, 5, 1, 4, 2}} { // families need not stand together
			var shuffled [][]int32
			var asked []int32
			var wanted []float32
			begin := make([]int, len(sequences)+1)
			for i, s := range sequences {
				begin[i+1] = begin[i] + len(s)
			}
			at := 0
			for _, i := range order {
				shuffled = append(shuffled, sequences[i])
				for j, row := range rows {
					if int(row) >= begin[i] && int(row) < begin[i+1] {
						asked = append(asked, row-int32(begin[i])+int32(at))
						wanted = append(wanted, want[j*tinyC:][:tinyC]...)
					}
				}
				at += len(sequences[i])
			}
			got := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor {
				in := packed(tape, shuffled...)
				ran := 0 // beginnings are prompts but for their last tokens, which are asked for
				h := HiddenAt(&counted{m, &ran}, in, asked)
				if ran != in.IDs.Len()-2*5-3 {
					t.Errorf("the model runs on %d rows of %d", ran, in.IDs.Len())
				}
				return h
			})
			if !slices.Equal(got, wanted) {
				t.Errorf("window %d, order %v: rows that are asked for are others when beginnings are shared", window, order)
			}
		}
	}
}

// counted counts the rows that a model runs on.
type counted struct {
	Model
	rows *int
}

func (c *counted) Hidden(in Input) *tensor.Tensor {
	*c.rows += in.IDs.Len()
	return c.Model.Hidden(in)
}

// TestSharedBeginningsLearnAlike: gradients are those of the pass in which every sequence has its beginning
// to itself, but for the order of sums.
func TestSharedBeginningsLearnAlike(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	sequences, rows := answers()
	grads := func(run func(in Input) *tensor.Tensor) map[string][]float32 {
		tape := tensor.NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		h := run(packed(tape, sequences...))
		tape.Backward(tensor.Sum(tensor.Mul(h, tensor.Mul(h, h))))
		tape.Reset()
		all := map[string][]float32{}
		for _, p := range Params(m) {
			g, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			all[p.Name] = g
			p.FreeGrad()
		}
		return all
	}
	want := grads(func(in Input) *tensor.Tensor { return tensor.Rows(m.Hidden(in), in.IDs.Tape().Ints(rows)) })
	got := grads(func(in Input) *tensor.Tensor { return HiddenAt(m, in, rows) })
	for name, w := range want {
		near(t, "the gradient of "+name, got[name], wide(w), 2e-5)
	}
}

// TestWhatSharesNothing: where rows that look alike are not, by dropout, noise, a cache, virtual tokens or rotations
// of their own, every sequence keeps all of its rows; and so it does where sharing would save less than it costs.
func TestWhatSharesNothing(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	sequences, rows := answers()
	tape := tensor.NewTape(dev, device.F32)
	shape := m.Shape()
	runs := func(s Shape, change func(in *Input), sequences [][]int32, rows []int32) (shared bool) {
		tape.Infer()
		in := packed(tape, sequences...)
		change(&in)
		out, moved := in.shared(s, rows)
		if same := out.IDs == in.IDs; same && !slices.Equal(moved, rows) {
			t.Error("rows move where nothing is shared")
		}
		return out.IDs.Len() < in.IDs.Len()
	}
	nothing := func(*Input) {}
	if !runs(shape, nothing, sequences, rows) {
		t.Error("answers to one prompt share nothing")
	}
	for name, change := range map[string]func(in *Input){
		"dropout": func(in *Input) { in.Dropout = 0.1 }, "noise": func(in *Input) { in.Noise = 1 }, "a cache": func(in *Input) { in.Cache = new(Cache) },
		"ids that the host does not know": func(in *Input) { in.ids = nil },
	} {
		if runs(shape, change, sequences, rows) {
			t.Errorf("%s: beginnings are shared", name)
		}
	}
	virtual, own := shape, shape
	virtual.Virtual, own.OwnAfter = 1, 8
	if runs(virtual, nothing, sequences, rows) || runs(own, nothing, sequences, rows) { // the longest has 9 tokens
		t.Error("virtual tokens, or rotations that depend on the length: beginnings are shared")
	}
	if own.OwnAfter = 9; !runs(own, nothing, sequences, rows) {
		t.Error("sequences short enough for common rotations share nothing")
	}
	if runs(shape, nothing, sequences[:1], rows[:2]) {
		t.Error("a sequence shares with itself")
	}
	long := func(n int) []int32 { return slices.Repeat([]int32{9}, n) } // one token is saved of 2+2+n
	if !runs(shape, nothing, [][]int32{{1, 2}, {1, 3}, long(12)}, []int32{1, 3, 15}) || runs(shape, nothing, [][]int32{{1, 2}, {1, 3}, long(13)}, []int32{1, 3, 16}) {
		t.Errorf("sharing begins elsewhere than at 1 of %d rows saved", leastSaved)
	}
	tape.Reset()
}

// TestManySequences: what they begin with alike is found in a time that is not that of comparing all of them
// with all rows.
func TestManySequences(t *testing.T) {
	const n, length = 1 << 16, 3
	in := Input{ids: make([]int32, n*length)}
	var rows []int32
	for i := range n {
		in.ids[i*length] = int32(i % 2)
		in.Sequences = append(in.Sequences, device.Sequence{Q: i * length, QLen: length})
		rows = append(rows, int32((n-1-i)*length+2), int32((n-1-i)*length+1)) // in no order
	}
	var begins [][]int32
	var families []family
	var took time.Duration
	const most = 3 * time.Second
	for range 3 { // again where it took long: the machine may have stood still
		began := time.Now()
		begins = in.beginnings(rows)
		families = familiesOf(begins)
		if took = time.Since(began); took <= most {
			break
		}
	}
	if took > most {
		t.Errorf("it takes %v", took)
	}
	if len(begins) != n || len(begins[n-1]) != 1 || len(families) != 2 || len(families[0].members) != n/2 || families[0].length != 1 {
		t.Errorf("%d beginnings, %d families", len(begins), len(families))
	}
}
