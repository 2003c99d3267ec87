package rl

import (
	"math"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/nn"
	"hone/optim"
	"hone/recipe"
)

// TestEMAByHand: with a decay of 0.75 an average of 4 goes to 3.25 when the weight becomes 1, and comes back from a file.
func TestEMAByHand(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	p := nn.Named{Name: "w", Param: nn.NewParam(nn.Init{Value: 4}, 2, 3)}
	nn.Initialize([]nn.Named{p}, dev, device.BF16, 1)
	opt := optim.New(dev, recipe.Trainable([]nn.Named{p}), optim.Default())
	e := newEMA(dev, 0.75, []nn.Named{p}, opt)
	master := e.master["w"]
	master.Write([]float32{1, 1, 1, 1, 1, 1})
	e.update()
	dir := t.TempDir()
	if err := e.keep(dir); err != nil {
		t.Fatal(err)
	}
	dev.Fill(e.values["w"], 0)
	if err := e.restore(dir); err != nil {
		t.Fatal(err)
	}
	v, err := e.read(p)
	if err != nil || len(v) != 6 || math.Abs(float64(v[5])-3.25) > 1e-6 {
		t.Errorf("%v, %v", v, err)
	}
	e.free()
	opt.Free()
	p.Free()
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}
