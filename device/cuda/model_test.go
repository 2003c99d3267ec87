//go:build linux && (amd64 || arm64)

package cuda

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"unsafe"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/tensor"
)

// goldenFolders are those of models with the reference implementation's numbers; see testdata/gen/models.py.
func goldenFolders(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "golden", "*", "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, f := range files {
		configs, err := filepath.Glob(filepath.Join(filepath.Dir(f), "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(configs) == 1 {
			folders = append(folders, filepath.Dir(f))
		}
	}
	if len(folders) < 20 {
		t.Fatalf("there are golden models in %v only", folders)
	}
	return folders
}

// batch is B sequences of T tokens with the targets of all but the last.
type batch struct {
	ids, targets, positions, offsets []int32
	supervised                       int
}

func newBatch(ids, labels []int32, b, n int) batch {
	x := batch{ids: ids}
	for s := range b {
		x.offsets = append(x.offsets, int32(s*n))
		for p := range n {
			x.positions = append(x.positions, int32(p))
			target := int32(-100) // position p predicts the label of p+1
			if p+1 < n {
				target = labels[s*n+p+1]
			}
			x.targets = append(x.targets, target)
			if target >= 0 {
				x.supervised++
			}
		}
	}
	x.offsets = append(x.offsets, int32(b*n))
	return x
}

func (b *batch) loss(m *model.Model, tape *tensor.Tape) *tensor.Tensor {
	in := nn.NewInput(tape, b.ids, b.positions, b.offsets)
	return nn.Loss(m, in, b.targets, tensor.CrossEntropyOptions{Tokens: b.supervised}).Total
}

// TestGoldenEmulated compares logits, loss and gradients of every architecture with the reference implementation's.
func TestGoldenEmulated(t *testing.T) {
	testGolden(t, openEmulated(t, rising, false))
}

// TestGolden does on the card.
func TestGolden(t *testing.T) { testGolden(t, openCard(t)) }

func testGolden(t *testing.T, dev device.Device) {
	for i, dir := range goldenFolders(t) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			a, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			m, err := model.Open(dir, dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			tape := tensor.NewTape(dev, device.F32)
			defer tape.Reset()
			compareGolden(t, a, m, tape)
		})
	}
}

func compareGolden(t *testing.T, a *safetensors.Archive, m *model.Model, tape *tensor.Tape) {
	in, _ := a.Tensor("input_ids")
	labels, _ := a.Tensor("labels")
	b := newBatch(int32s(in.Data), int32s(labels.Data), in.Shape[0], in.Shape[1])
	tape.Infer()
	logits, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, b.ids, b.positions, b.offsets)), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range golden(t, a, "logits") {
		if !(math.Abs(float64(logits[i]-want)) <= 1e-4) {
			t.Fatalf("logit %d is %v, want %v", i, logits[i], want)
		}
	}
	tape.Train(1, 0, 0)
	loss := b.loss(m, tape)
	got, err := loss.Item()
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(golden(t, a, "loss")[0]); !(math.Abs(got-want) <= 1e-5) {
		t.Errorf("loss is %.7f, want %.7f", got, want)
	}
	tape.Backward(loss)
	for _, p := range m.Params {
		g, err := p.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		p.FreeGrad()
		var diff, norm float64
		for i, want := range golden(t, a, "grad."+p.Name) {
			d := float64(g[i]) - float64(want)
			diff, norm = diff+d*d, norm+float64(want)*float64(want)
		}
		if !(math.Sqrt(diff) <= 1e-4*math.Sqrt(norm)) {
			t.Errorf("gradient of %s is off by %.2e of its norm %.3g", p.Name, math.Sqrt(diff/norm), math.Sqrt(norm))
		}
	}
}

func golden(t *testing.T, a *safetensors.Archive, name string) []float32 {
	t.Helper()
	x, ok := a.Tensor(name)
	if !ok {
		t.Fatalf("golden.safetensors has no %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func int32s(b []byte) []int32 {
	return append([]int32(nil), unsafe.Slice((*int32)(unsafe.Pointer(&b[0])), len(b)/4)...)
}

// TestTrajectoryEmulated trains small models beside the CPU; the losses of the steps must agree within what rounding does to them.
func TestTrajectoryEmulated(t *testing.T) {
	steps := 50
	if testing.Short() {
		steps = 5
	}
	testTrajectory(t, openEmulated(t, rising, false), steps)
}

// TestTrajectory does on the card.
func TestTrajectory(t *testing.T) { testTrajectory(t, openCard(t), 50) }

// trajectories are what is trained. Experts in bf16 are left out: a rounding that picks another expert is a step in the loss.
var trajectories = []struct {
	model    string
	dtype    device.DType
	eightBit bool    // the optimizer's moments
	limit    float64 // of the difference, for losses of about 1
}{{wideHeads, device.BF16, false, 0.03}, {"llama_tied", device.F32, false, 2e-4}, {"llama_tied", device.BF16, true, 0.03}, {"gpt2_tied", device.BF16, false, 0.03}, {"mixtral", device.F32, false, 2e-4}}

// trajectoryRate is low enough that no rounding makes a loss jump: at 1e-2 single steps of every seventh batch do so on the CPU
// in F32, each dtype at another step, and two correct devices differ by more than any bound that a wrong one would break.
const trajectoryRate = 3e-3

// wideHeads is a model whose heads tensor cores can read, as those of the golden ones are not, with random weights.
const wideHeads = `{"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,
	"intermediate_size":96,"vocab_size":70,"max_position_embeddings":64,"rms_norm_eps":1e-5}`

func testTrajectory(t *testing.T, dev device.Device, steps int) {
	host := cpu.New(cpu.Options{Threads: 1})
	defer host.Close()
	for _, c := range trajectories {
		want, got := losses(t, host, c.model, c.dtype, c.eightBit, steps), losses(t, dev, c.model, c.dtype, c.eightBit, steps)
		for i := range want {
			if !(math.Abs(got[i]-want[i]) <= c.limit*max(1, want[i])) {
				t.Errorf("%+v: loss of step %d is %.6f, on the CPU %.6f", c, i+1, got[i], want[i])
				break
			}
		}
		if steps >= 50 && !(want[steps-1] < 0.7*want[0]) {
			t.Errorf("%+v: the loss goes from %.3f to %.3f, which is no training", c, want[0], want[steps-1])
		}
	}
}

// losses trains a golden model, or one of a configuration, on one batch, again and again.
func losses(t *testing.T, dev device.Device, name string, dtype device.DType, eightBit bool, steps int) (list []float64) {
	t.Helper()
	var m *model.Model
	var err error
	if name == wideHeads {
		m, err = model.New([]byte(name), dev, dtype, 1)
	} else {
		m, err = model.Open(filepath.Join("..", "..", "testdata", "golden", name), dev, dtype)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	var params []optim.Param
	for _, p := range m.Params {
		params = append(params, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) > 1})
	}
	config := optim.Default()
	config.EightBit = eightBit
	o := optim.New(dev, params, config)
	defer o.Free()
	const b, n = 2, 17
	ids, r := make([]int32, b*n), rand.New(rand.NewPCG(3, 4))
	for i := range ids {
		ids[i] = int32(r.IntN(m.Shape().Vocab))
	}
	x, tape := newBatch(ids, ids, b, n), tensor.NewTape(dev, dtype)
	for step := range steps {
		tape.Train(1, step, 0)
		l := x.loss(m, tape)
		v, err := l.Item()
		if err != nil {
			t.Fatal(err)
		}
		tape.Backward(l)
		tape.Reset()
		if _, err := o.Step(trajectoryRate); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}
