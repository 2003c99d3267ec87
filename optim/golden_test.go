package optim_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/tensor"
)

func goldenPath(parts ...string) string {
	return filepath.Join(append([]string{"..", "testdata", "golden"}, parts...)...)
}

// tolerances of a run: relative to the double-precision trajectory of the reference implementation.
type tolerance struct{ loss, norm, final float64 }

// TestGoldenTrajectory follows ten steps of the reference implementation: losses before each step,
// gradient norms before clipping, and the final weights.
func TestGoldenTrajectory(t *testing.T) {
	dev := cpu.New(cpu.Options{})
	t.Cleanup(dev.Close)
	for _, c := range []struct {
		name string
		dev  device.Device
		rate string
		tol  tolerance
	}{
		{"reference/1e-3", devicetest.NewReference(), "1e-3", tolerance{2e-6, 2e-5, 2e-5}},
		{"cpu/1e-3", dev, "1e-3", tolerance{1e-4, 1e-3, 1e-2}},
		{"cpu/1e-2", dev, "1e-2", tolerance{2e-2, 0.1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) { followGolden(t, c.dev, c.rate, c.tol) })
	}
}

func followGolden(t *testing.T, dev device.Device, rate string, tol tolerance) {
	golden, err := safetensors.Open(goldenPath("llama_adamw", "rate_"+rate+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	m, err := model.Open(goldenPath("llama_untied"), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	var params []optim.Param
	for _, p := range m.Params {
		params = append(params, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) >= 2})
	}
	opt := optim.New(dev, params, optim.Default())
	defer opt.Free()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	lr := map[string]float32{"1e-2": 1e-2, "1e-3": 1e-3}[rate]
	losses, norms := floats(t, golden, "loss"), floats(t, golden, "grad_norm")
	for step := range losses {
		ids, targets, offsets := goldenBatch(t, golden, step)
		tape.Train(1, step, 0)
		loss := goldenLoss(tape, m, ids, targets, offsets)
		v, err := loss.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		tape.Backward(loss)
		tape.Reset()
		norm, err := opt.Step(lr)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("loss of step %d", step), float64(v[0]), losses[step], tol.loss)
		near(t, fmt.Sprintf("norm of step %d", step), norm, norms[step], tol.norm)
	}
	for _, p := range m.Params {
		checkFinal(t, golden, p, tol.final)
	}
	if n := opt.Updates(); n != len(losses) {
		t.Errorf("%d updates were counted, want %d", n, len(losses))
	}
}

func goldenLoss(tape *tensor.Tape, m *model.Model, ids, targets, offsets []int32) *tensor.Tensor {
	tokens := 0
	for _, id := range targets {
		if id >= 0 {
			tokens++
		}
	}
	positions := make([]int32, len(ids))
	for s := range len(offsets) - 1 {
		for i := offsets[s]; i < offsets[s+1]; i++ {
			positions[i] = i - offsets[s]
		}
	}
	in := nn.NewInput(tape, ids, positions, offsets)
	return tensor.LinearCrossEntropy(m.Hidden(in), m.Head(), tape.Ints(targets), tensor.CrossEntropyOptions{Tokens: tokens})
}

// checkFinal compares a parameter with the sums of the reference's, and with all of it where that is stored.
func checkFinal(t *testing.T, golden *safetensors.Archive, p nn.Named, tol float64) {
	t.Helper()
	v, err := p.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	squares := 0.0
	for _, x := range v {
		squares += float64(x) * float64(x)
	}
	near(t, "squares of "+p.Name, squares, floats(t, golden, "final_square_sum."+p.Name)[0], tol)
	if _, ok := golden.Tensor("final." + p.Name); !ok {
		return
	}
	for i, want := range floats(t, golden, "final."+p.Name) {
		if d := math.Abs(float64(v[i]) - want); d > tol*0.02 {
			t.Errorf("%s[%d] = %v, want %v", p.Name, i, v[i], want)
			return
		}
	}
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*math.Abs(want)) {
		t.Errorf("%s is %.7g, want %.7g", what, got, want)
	}
}

func floats(t *testing.T, a *safetensors.Archive, name string) []float64 {
	t.Helper()
	x, ok := a.Tensor(name)
	if !ok {
		t.Fatalf("the golden file lacks %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(v))
	for i := range v {
		out[i] = float64(v[i])
	}
	return out
}

// goldenBatch is the packed batch of a step; position p predicts the label of p+1.
func goldenBatch(t *testing.T, a *safetensors.Archive, step int) (ids, targets, offsets []int32) {
	t.Helper()
	in, _ := a.Tensor("input_ids")
	labels, _ := a.Tensor("labels")
	rows, length := in.Shape[1], in.Shape[2]
	at := func(x safetensors.Tensor, i int) int32 {
		return int32(binary.LittleEndian.Uint32(x.Data[4*(step*rows*length+i):]))
	}
	for r := range rows {
		offsets = append(offsets, int32(r*length))
		for p := range length {
			ids = append(ids, at(in, r*length+p))
			target := int32(-100)
			if p+1 < length {
				target = at(labels, r*length+p+1)
			}
			targets = append(targets, target)
		}
	}
	return ids, targets, append(offsets, int32(rows*length))
}
