package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// The golden folders, made by testdata/gen/models.py from transformers in double precision.
var golden = goldenModels()

func goldenModels() []string {
	configs, err := filepath.Glob(goldenDir("*/config.json"))
	if err != nil || len(configs) == 0 {
		panic("no golden models: " + goldenDir(""))
	}
	for i, path := range configs {
		configs[i] = filepath.Base(filepath.Dir(path))
	}
	return configs
}

func goldenDir(name string) string { return filepath.Join("..", "testdata", "golden", name) }

// TestArchitecturesAreWhole: each has numbers of the reference implementation, and the name of its class
// there, by which other programs open what is saved.
func TestArchitecturesAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range golden {
		text, err := os.ReadFile(filepath.Join(goldenDir(name), "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Type string `json:"model_type"`
		}
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		seen[c.Type] = true
	}
	for name, a := range architectures {
		if !seen[name] {
			t.Errorf("%s has no golden folder; add it to testdata/gen/models.py", name)
		}
		if a.class == "" {
			t.Errorf("%s has no class in transformers; add it to its line of architectures", name)
		}
	}
}

// devices are those on which a model must give the reference implementation's numbers.
func devices(t *testing.T) map[string]device.Device {
	dev := cpu.New(cpu.Options{})
	t.Cleanup(func() { dev.Close() })
	return map[string]device.Device{"reference": devicetest.NewReference(), "cpu": dev}
}

// example is a golden batch: B sequences of T tokens.
type example struct {
	archive                         *safetensors.Archive
	ids, targets, positions, offset []int32
	supervised                      int
}

func loadExample(t *testing.T, dir string) example {
	t.Helper()
	a, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	in, _ := a.Tensor("input_ids")
	labels, _ := a.Tensor("labels")
	e := example{archive: a, ids: int32s(in.Data)}
	b, n := in.Shape[0], in.Shape[1]
	all := int32s(labels.Data)
	for s := range b {
		e.offset = append(e.offset, int32(s*n))
		for p := range n {
			e.positions = append(e.positions, int32(p))
			target := int32(-100) // position p predicts the label of p+1
			if p+1 < n {
				target = all[s*n+p+1]
			}
			e.targets = append(e.targets, target)
			if target >= 0 {
				e.supervised++
			}
		}
	}
	e.offset = append(e.offset, int32(b*n))
	return e
}

func int32s(b []byte) []int32 {
	v := make([]int32, len(b)/4)
	for i := range v {
		v[i] = int32(b[4*i]) | int32(b[4*i+1])<<8 | int32(b[4*i+2])<<16 | int32(b[4*i+3])<<24
	}
	return v
}

func (e example) want(t *testing.T, name string) []float32 {
	t.Helper()
	x, ok := e.archive.Tensor(name)
	if !ok {
		t.Fatalf("golden.safetensors has no %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGolden compares logits, loss and every gradient with the reference implementation's.
func TestGolden(t *testing.T) {
	for kind, dev := range devices(t) {
		for _, name := range golden {
			t.Run(kind+"/"+name, func(t *testing.T) {
				m, err := Open(goldenDir(name), dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				e := loadExample(t, goldenDir(name))
				tape := tensor.NewTape(dev, device.F32)
				defer tape.Reset()
				e.checkLogits(t, m, tape)
				recomputed := []int{0, 1, 99}
				if testing.Short() && kind == "reference" {
					recomputed = []int{1} // slow, and no processor has code of its own for it
				}
				for _, recompute := range recomputed {
					e.checkTraining(t, m, tape, recompute)
				}
			})
		}
	}
}

// checkLogits compares the logits, and the log-probabilities of the targets.
func (e example) checkLogits(t *testing.T, m *Model, tape *tensor.Tape) {
	t.Helper()
	tape.Infer()
	logits, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, e.ids, e.positions, e.offset)), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range e.want(t, "logits") {
		if !(math.Abs(float64(logits[i]-want)) <= 1e-4) {
			t.Fatalf("logit %d is %v, want %v", i, logits[i], want)
		}
	}
	if m.Shape().RouterLoss == 0 { // else the golden loss has a second part
		e.checkLogProbs(t, m, tape)
	}
}

// checkTraining compares the loss and every gradient, where so many layers are recomputed.
func (e example) checkTraining(t *testing.T, m *Model, tape *tensor.Tape, recompute int) {
	t.Helper()
	tape.Train(1, 0, 0)
	in := nn.NewInput(tape, e.ids, e.positions, e.offset)
	in.Recompute = recompute
	loss := nn.Loss(m, in, e.targets, tensor.CrossEntropyOptions{Tokens: e.supervised}).Total
	got, err := loss.Item()
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(e.want(t, "loss")[0]); !(math.Abs(got-want) <= 1e-5) {
		t.Errorf("loss is %.7f, want %.7f", got, want)
	}
	tape.Backward(loss)
	for _, p := range m.Params {
		g, err := p.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		p.FreeGrad()
		e.checkGrad(t, p.Name, g)
	}
}

// checkLogProbs wants what evaluations and preferences are made of to add up to the loss.
func (e example) checkLogProbs(t *testing.T, m *Model, tape *tensor.Tape) {
	t.Helper()
	tape.Infer()
	logp, _ := tensor.LogProbs(m.Hidden(nn.NewInput(tape, e.ids, e.positions, e.offset)), m.Head(), tape.Ints(e.targets))
	v, err := logp.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	got := 0.0
	for _, x := range v {
		got -= float64(x) / float64(e.supervised)
	}
	if want := float64(e.want(t, "loss")[0]); !(math.Abs(got-want) <= 1e-5) {
		t.Errorf("log-probabilities make a loss of %.7f, want %.7f", got, want)
	}
}

// checkGrad wants the difference's norm below 1e-4 of the gradient's norm, which no wrong term survives.
func (e example) checkGrad(t *testing.T, name string, got []float32) {
	t.Helper()
	var diff, norm float64
	for i, want := range e.want(t, "grad."+name) {
		d := float64(got[i]) - float64(want)
		diff, norm = diff+d*d, norm+float64(want)*float64(want)
	}
	if !(math.Sqrt(diff) <= 1e-4*math.Sqrt(norm)) {
		t.Errorf("gradient of %s is off by %.2e of its norm %.3g", name, math.Sqrt(diff/norm), math.Sqrt(norm))
	}
}

// countedModel counts the rows that go through a model.
type countedModel struct {
	nn.Model
	rows int
}

func (c *countedModel) Hidden(in nn.Input) *tensor.Tensor {
	c.rows += in.IDs.Len()
	return c.Model.Hidden(in)
}

// TestHiddenAt: asked for some rows, a model gives them the bits that they have among all, and the
// gradients that follow from them.
func TestHiddenAt(t *testing.T) {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	for _, name := range golden {
		m, err := Open(goldenDir(name), dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		e := loadExample(t, goldenDir(name))
		e.ids, e.positions, e.offset = nil, nil, []int32{0} // two prompts of two and three answers, and a lone one
		for _, ids := range [][]int32{{3, 1, 4, 1, 5, 9}, {2, 7, 1, 8, 2, 8}, {3, 1, 4, 1, 6}, {2, 7, 1, 8, 3, 1, 2}, {5, 5, 6}, {3, 1, 4, 1, 5, 7, 7, 2, 3}} {
			for p, id := range ids {
				e.ids, e.positions = append(e.ids, id), append(e.positions, int32(p))
			}
			e.offset = append(e.offset, int32(len(e.ids)))
		}
		rows := []int32{3, 4, 10, 15, 16, 22, 24, 26, 29, 32}
		pass := func(of func(in nn.Input, tape *tensor.Tape) *tensor.Tensor) (h []float32, grads [][]float32) {
			tape := tensor.NewTape(dev, device.F32)
			defer tape.Reset()
			tape.Train(1, 0, 0)
			x := of(nn.NewInput(tape, e.ids, e.positions, e.offset), tape)
			h, errH := x.Float32s()
			tape.Backward(tensor.Sum(tensor.Mul(x, x)))
			for _, p := range m.Params {
				g, err := p.GradFloat32s()
				if err != nil || errH != nil {
					t.Fatal(err, errH)
				}
				p.FreeGrad()
				grads = append(grads, g)
			}
			return h, grads
		}
		want, wantGrads := pass(func(in nn.Input, tape *tensor.Tape) *tensor.Tensor { return tensor.Rows(m.Hidden(in), tape.Ints(rows)) })
		counted := &countedModel{Model: m}
		got, grads := pass(func(in nn.Input, _ *tensor.Tape) *tensor.Tensor { return nn.HiddenAt(counted, in, rows) })
		if shared := m.Shape().RouterLoss == 0 && m.Shape().OwnAfter == 0; shared && counted.rows != len(e.ids)-4-2*2 {
			t.Errorf("%s: %d of %d rows ran", name, counted.rows, len(e.ids))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the hidden states differ", name)
		}
		for i, p := range m.Params {
			var diff, norm float64
			for j, w := range wantGrads[i] {
				d := float64(grads[i][j]) - float64(w)
				diff, norm = diff+d*d, norm+float64(w)*float64(w)
			}
			if !(math.Sqrt(diff) <= 1e-5*math.Sqrt(norm)) {
				t.Errorf("%s: the gradient of %s is off by %.2e of its norm", name, p.Name, math.Sqrt(diff/norm))
			}
		}
		m.Free()
	}
}

// TestCacheEqualsFullForward feeds the golden sequences in uneven pieces through the key/value cache.
func TestCacheEqualsFullForward(t *testing.T) {
	for kind, dev := range devices(t) {
		for _, name := range golden {
			t.Run(kind+"/"+name, func(t *testing.T) {
				m, err := Open(goldenDir(name), dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Free()
				e := loadExample(t, goldenDir(name))
				want, n, v := e.want(t, "logits"), int(e.offset[1]), m.Shape().Vocab
				cache := nn.NewCache(dev, device.F32, m.Shape(), 3, 32)
				defer cache.Free()
				cache.Expect(2, n)
				cache.Expect(0, n)
				tape := tensor.NewTape(dev, device.F32)
				defer tape.Reset()
				for at, step := 0, 0; at < n; step++ { // both sequences advance together, in slots 2 and 0
					to := min(at+1+step%3*4, n)
					tape.Infer()
					in, err := cache.Feed(tape, []int{2, 0}, [][]int32{e.ids[at:to], e.ids[n+at : n+to]})
					if err != nil {
						t.Fatal(err)
					}
					got, err := nn.Logits(m, m.Hidden(in), nil).Float32s()
					if err != nil {
						t.Fatal(err)
					}
					for s := range 2 {
						for i := range (to - at) * v {
							if g, w := got[s*(to-at)*v+i], want[(s*n+at)*v+i]; !(math.Abs(float64(g-w)) <= 1e-4) {
								t.Fatalf("sequence %d from token %d: logit %d is %v, want %v", s, at, i, g, w)
							}
						}
					}
					at = to
				}
			})
		}
	}
}

// TestSequencesCannotSeeEachOther changes one sequence and demands identical bits in its neighbour, also where both
// share experts or windows.
func TestSequencesCannotSeeEachOther(t *testing.T) {
	for kind, dev := range devices(t) {
		for _, name := range []string{"llama_untied", "gemma3", "mixtral"} {
			t.Run(kind+"/"+name, func(t *testing.T) { sequencesCannotSeeEachOther(t, dev, name) })
		}
	}
}

func sequencesCannotSeeEachOther(t *testing.T, dev device.Device, name string) {
	m, err := Open(goldenDir(name), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	e := loadExample(t, goldenDir(name))
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	run := func() []float32 {
		tape.Infer()
		v, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, e.ids, e.positions, e.offset)), nil).Float32s()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := run()
	n, v := int(e.offset[1]), m.Shape().Vocab
	e.ids[3] = (e.ids[3] + 1) % 97
	after := run()
	if slices.Equal(before[:n*v], after[:n*v]) {
		t.Error("changing a token changes nothing in its own sequence")
	}
	for i := n * v; i < len(before); i++ {
		if before[i] != after[i] {
			t.Fatalf("logit %d of the neighbour changed from %v to %v", i-n*v, before[i], after[i])
		}
	}
}
