package plan_test

import (
	"math"
	"strings"
	"testing"

	"hone/device"
	"hone/plan"
)

// TestFLOPs counts products and attention, plain, with a window and over a cache.
func TestFLOPs(t *testing.T) {
	for _, c := range []struct {
		a    device.Attention
		want int64
	}{
		{device.Attention{Heads: 2, D: 8, Sequences: []device.Sequence{{QLen: 3, KLen: 3}}}, 4 * 16 * (1 + 2 + 3)},
		{device.Attention{Heads: 2, D: 8, Window: 2, Sequences: []device.Sequence{{QLen: 3, KLen: 3}, {QLen: 1, KLen: 1}}}, 4 * 16 * (1 + 2 + 2 + 1)},
		{device.Attention{Heads: 1, D: 4, Sequences: []device.Sequence{{QLen: 1, KLen: 10}}}, 4 * 4 * 10},
	} {
		if got := plan.CountFLOPs(func(d *plan.Device) { d.Attention(c.a) }); got.Total() != c.want {
			t.Errorf("attention takes %d operations, want %d", got.Total(), c.want)
		}
		if got := plan.CountFLOPs(func(d *plan.Device) { d.AttentionGrad(device.AttentionGrad{Attention: c.a}) }); got.Attention != 2*c.want {
			t.Errorf("its gradient takes %d operations, want %d", got.Attention, 2*c.want)
		}
	}
	if got := plan.CountFLOPs(func(d *plan.Device) { d.MatMul(device.MatMul{M: 2, N: 3, K: 5, Batch: 7}) }); got.MatMul != 2*2*3*5*7 {
		t.Errorf("a product takes %d operations", got.MatMul)
	}
}

// TestZeRO: figure 1 of Rajbhandari et al. (2020), 7.5B parameters on 64 GPUs.
func TestZeRO(t *testing.T) {
	for stage, want := range []float64{120, 31.4, 16.6, 1.9} {
		s := plan.Sharded{Params: 7.5e9, Trainable: 7.5e9, Method: "full", GPUs: 64, TP: 1, ZeRO: stage, Offload: "none"}
		m := s.Memory()
		if got := float64(m.Weights+m.Gradients+m.Optimizer) / 1e9; math.Abs(got-want) > 0.05 {
			t.Errorf("ZeRO %d holds %.2f GB, want %.1f", stage, got, want)
		}
	}
}

func TestSharded(t *testing.T) {
	base := plan.Sharded{Params: 1000e6, Linear: 800e6, Layer: 80e6, Trainable: 1000e6, Method: "full", GPUs: 1, TP: 1, Offload: "none", Activations: 100e6, Logits: 10e6}
	peak := func(change func(*plan.Sharded)) plan.PerGPU {
		s := base
		change(&s)
		return s.Memory()
	}
	plain := peak(func(*plan.Sharded) {})
	if plain.Peak != 16000e6+110e6+1<<30+plain.Workspace {
		t.Errorf("the peak is %d", plain.Peak)
	}
	if m := peak(func(s *plan.Sharded) { s.Offload = "params" }); m.Weights != 0 || m.Host != 14000e6 || m.Gathered != 2*2*80e6 {
		t.Errorf("offloaded: %+v", m)
	}
	if m := peak(func(s *plan.Sharded) { s.EightBit = true }); m.Optimizer >= plain.Optimizer*6/10 {
		t.Errorf("8-bit states take %d of %d bytes", m.Optimizer, plain.Optimizer)
	}
	if m := peak(func(s *plan.Sharded) { s.Method, s.Trainable = "qlora", 10e6 }); m.Weights != int64(800e6*4.127/8)+2*200e6+2*10e6 {
		t.Errorf("QLoRA's weights take %d bytes", m.Weights)
	}
	if m := peak(func(s *plan.Sharded) { s.GPUs, s.TP = 4, 4 }); m.Weights != plain.Weights/4 || m.Activations != plain.Activations/4 {
		t.Errorf("a quarter of a layer: %+v", m)
	}
	for _, s := range []plan.Sharded{{GPUs: 0, TP: 1}, {GPUs: 4, TP: 3}, {GPUs: 5, TP: 5}} {
		if s.Validate(32) == nil {
			t.Errorf("%d GPUs, %d to a layer, is no error", s.GPUs, s.TP)
		}
	}
}

// TestPrices: every price that comes with the program is of a known GPU, and dated; bad tables are refused with the line.
func TestPrices(t *testing.T) {
	list := plan.Prices()
	if len(list) < 30 {
		t.Errorf("there are %d prices", len(list))
	}
	offers := plan.Offers(list, "", "h100", false)
	for i, p := range offers {
		if p.Provider == plan.Reference || i > 0 && p.PerGPU(false) < offers[i-1].PerGPU(false) {
			t.Errorf("offer %d is %+v", i, p)
		}
	}
	for _, p := range plan.Offers(list, "aws", "", true) {
		if p.Provider != "aws" || !(p.PerGPU(true) < p.PerGPU(false)) {
			t.Errorf("a spot price of aws is %+v", p)
		}
	}
	const header = "provider,machine,gpu,gpus,usd_per_hour,spot_usd_per_hour,date,source\n"
	for text, want := range map[string]string{
		"":                                       "no prices",
		"a,b\n":                                  "wrong number of fields",
		"a,b,c,d,e,f,g,h\n":                      "they must be",
		header:                                   "no prices",
		header + "x,m,h101,1,1,,2026-01-01,s\n":  "the nearest is h100",
		header + "x,m,h100,0,1,,2026-01-01,s\n":  ":2: gpus",
		header + "x,m,h100,1,NaN,,2026-01-01,\n": "no price",
		header + "x,m,h100,1,1,-2,2026-01-01,\n": "no price",
		header + "x,m,h100,1,1,,yesterday,s\n":   "YYYY-MM-DD",
	} {
		if _, err := plan.ReadPrices("my.csv", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error of %q is %v, want %q", text, err, want)
		}
	}
}

func TestFindGPU(t *testing.T) {
	for name, want := range map[string]string{"H100": "h100", "A100-80GB": "a100", "RTX 4090": "rtx4090", " v100-32gb": "v100"} {
		if g, err := plan.FindGPU(name); err != nil || g.Name != want {
			t.Errorf("%q is %s, %v", name, g.Name, err)
		}
	}
	if _, err := plan.FindGPU("h20"); err == nil || !strings.Contains(err.Error(), "h200") {
		t.Errorf("the error is %v", err)
	}
}

// TestChinchilla: 70B parameters and 1.4T tokens are the optimum of Hoffmann et al.
func TestChinchilla(t *testing.T) {
	if a := plan.Chinchilla(70e9, 1.4e12); a.TokensPerParameter != 20 || math.Abs(a.SameCompute-70e9) > 1 {
		t.Errorf("%+v", a)
	}
	a := plan.Chinchilla(175e9, 300e9)
	if got, want := a.SameCompute*a.SameComputeTokens, 175e9*300e9; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("the optimum takes %g, want %g", got, want)
	}
}
