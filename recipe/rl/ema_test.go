package rl

import (
	"bytes"
	"math"
	"path/filepath"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/nn"
	"hone/optim"
	"hone/recipe"
	"hone/recipe/recipetest"
)

// TestEMAByHand: with a decay of 0.75 an average of 4 goes to 3.25 when the weight becomes 1, and comes back
// from a file.
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

// TestEMAOfUpdatesMade: the average follows updates that were made, not those that target_kl left out.
func TestEMAOfUpdatesMade(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	var results [2][]byte
	for i, epochs := range []string{"num_ppo_epochs=2", "num_ppo_epochs=4"} { // the second update is the first that moves
		out := filepath.Join(t.TempDir(), "run")
		if _, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, epochs, "iterations=1", "num_mini_batches=1", "target_kl=1e-12", "ema_decay=0.5"), 1); err != nil {
			t.Fatal(err)
		}
		results[i] = recipetest.Read(t, out, "model_ema", "model.safetensors")
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Error("updates that were left out moved the average")
	}
}
