package adapter_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
)

// written saves a LoRA of its own on a base, with weights that differ by shift.
func written(t *testing.T, base string, shift float64, change func(*adapter.Config)) string {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	t.Cleanup(func() { dev.Close() })
	m := open(t, dev, base)
	c := adapter.Default()
	c.TargetModules = adapter.Modules{Names: []string{"q_proj", "up_proj"}}
	change(&c)
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Added() {
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = float32(0.1 * math.Sin(float64(i)+shift))
		}
		p.Write(v)
	}
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := l.Save(dir, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestSum: several adapters with weights compute what the base does after their scaled updates were folded in
// one after the other; one alone what it does alone, and none what the base does, bit for bit.
func TestSum(t *testing.T) {
	const base = "llama_untied"
	dirs := []string{
		written(t, base, 3, func(c *adapter.Config) { c.TargetModules = adapter.Modules{Pattern: adapter.AllLinear} }),
		written(t, base, 1, func(*adapter.Config) {}),
		written(t, base, 2, func(c *adapter.Config) { c.R, c.UseRSLoRA = 3, true }),
	}
	weights := []float64{0.7, -0.4, 1}
	for name, dev := range devices(t) {
		t.Run(name, func(t *testing.T) {
			in := batch(t, base)
			m := open(t, dev, base)
			target := adapter.Model{Model: m.Model, Params: m.Params}
			before, held := in.logits(t, dev, m), dev.Memory().InUse
			s, err := adapter.OpenSum(dirs, target, dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(s.Params()); n != 28+8+8 || s.Wrapped() != m.Model {
				t.Errorf("%d parameters of three adapters", n)
			}
			s.Use(weights)
			together := in.logits(t, dev, m)
			s.Use([]float64{0, 1, 0})
			second := in.logits(t, dev, m)
			s.Use([]float64{0, 0, 0})
			near(t, "logits with all off", in.logits(t, dev, m), before, 0)
			s.Free()
			if left := dev.Memory().InUse - held; left != 0 {
				t.Errorf("%d bytes are left of a sum", left)
			}
			l, err := adapter.Open(dirs[1], target, dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "logits of one alone", second, in.logits(t, dev, m), 0)
			l.Free()
			for i, dir := range dirs {
				l, err := adapter.Open(scaled(t, dir, weights[i]), target, dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Merge(); err != nil {
					t.Fatal(err)
				}
				l.Free()
			}
			near(t, "logits of all folded in", in.logits(t, dev, m), together, 1e-4)
			if far := distance(before, together); far < 0.01 {
				t.Errorf("the adapters changed the logits by %v, which shows nothing", far)
			}
		})
	}
}

// TestSumRefuses: what does not add up is refused by the name of its folder.
func TestSumRefuses(t *testing.T) {
	const base = "llama_untied"
	dev := cpu.New(cpu.Options{Threads: 1})
	t.Cleanup(func() { dev.Close() })
	one := written(t, base, 1, func(*adapter.Config) {})
	for want, dir := range map[string]string{
		"use_dora":                written(t, base, 2, func(c *adapter.Config) { c.UseDoRA = true }),
		"brings":                  written(t, base, 2, func(c *adapter.Config) { c.ModulesToSave = []string{"lm_head"} }),
		"modules_to_save or bias": written(t, base, 2, func(c *adapter.Config) { c.Bias = "lora_only" }),
		"it is of kind PROMPT_TUNING, and only LoRA adapters add up": goldenPath("prompt_llama"),
		"it is no": t.TempDir(),
	} {
		m := open(t, dev, base)
		in := batch(t, base)
		before := in.logits(t, dev, m)
		_, err := adapter.OpenSum([]string{one, dir}, adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", want, err)
		}
		near(t, "logits after a refusal", in.logits(t, dev, m), before, 0)
	}
}

// scaled is a copy of an adapter with weight times its scale.
func scaled(t *testing.T, dir string, weight float64) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "scaled")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c, err := adapter.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.LoraAlpha *= weight
	text, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, adapter.ConfigName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// distance is the largest difference.
func distance(a, b []float32) (most float64) {
	for i := range a {
		most = max(most, math.Abs(float64(a[i]-b[i])))
	}
	return most
}
