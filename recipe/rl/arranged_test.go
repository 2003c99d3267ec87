package rl

import (
	"path/filepath"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/nn"
	"hone/recipe"
)

// arranging counts the weights that a device copies to its own order.
type arranging struct {
	*cpu.Device
	copies int
}

func (d *arranging) Arrange(b device.Buffer, k, n int, transB bool) (device.Arranged, bool) {
	d.copies++
	return d.Device.Arrange(b, k, n, transB)
}

// TestAnswersByArrangedWeights: answers are written with a copy of every linear layer and of the head,
// whatever wraps the model, and the copies are gone when they are.
func TestAnswersByArrangedWeights(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, method := range []string{"lora", "prompt"} {
		dev := &arranging{Device: cpu.New(cpu.Options{Threads: 1})}
		c := tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "method="+method, "iterations=1", "sequence_length=32")
		if _, err := c.Run(t.Context(), recipe.Env{Device: dev}); err != nil {
			t.Fatal(err)
		}
		m, err := model.Open(from, dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		want := len(nn.Layers(m.Model))
		if m.Shape().Tied {
			want++
		}
		if want < 8 || dev.copies != want {
			t.Errorf("%s: %d weights were copied, the model has %d", method, dev.copies, want)
		}
		m.Free()
		if held := dev.Memory().InUse; held != 0 {
			t.Errorf("%s: %d bytes are in use", method, held)
		}
		dev.Close()
	}
}
