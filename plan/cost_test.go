package plan_test

import (
	"math"
	"testing"

	"hone/plan"
)

// near says whether two numbers are equal but for rounding.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

// TestCost works a run out by hand: 3.6e18 operations at half of 100 TFLOP/s are 72,000 s, which is 20 hours of one GPU.
func TestCost(t *testing.T) {
	g := plan.GPU{Name: "x", TFLOPS: 100, Watts: 500}
	for _, gpus := range []int{1, 8} {
		c := plan.NewCost(3.6e18, g, gpus, 0.5, 2)
		want := plan.Cost{FLOPs: 3.6e18, MFU: 0.5, TFLOPS: 50, GPUHours: 20, Hours: 20 / float64(gpus), KWh: 20 * 0.5 * 1.1, USD: 40}
		if !near(c.GPUHours, want.GPUHours) || !near(c.Hours, want.Hours) || !near(c.KWh, want.KWh) || !near(c.USD, want.USD) {
			t.Errorf("%d GPUs take %+v, want %+v", gpus, c, want)
		}
		if c.FLOPs != want.FLOPs || c.MFU != want.MFU || c.TFLOPS != want.TFLOPS {
			t.Errorf("%d GPUs take %+v, want %+v", gpus, c, want)
		}
		c.Spend(10, 1e18, g, gpus, 2) // as writing answers does, whose time is that of reading weights and not of operations
		want.FLOPs, want.GPUHours, want.Hours, want.KWh, want.USD = 4.6e18, 30, 30/float64(gpus), 30*0.5*1.1, 60
		if !near(c.FLOPs, want.FLOPs) || !near(c.GPUHours, want.GPUHours) || !near(c.Hours, want.Hours) || !near(c.KWh, want.KWh) || !near(c.USD, want.USD) {
			t.Errorf("%d GPUs take with what is spent %+v, want %+v", gpus, c, want)
		}
	}
}

// TestUtilisation: the share of the peak falls behind the number of GPUs up to which it was measured.
func TestUtilisation(t *testing.T) {
	g := plan.GPU{MFU: 0.5, MFUMany: 0.3}
	for gpus, want := range map[int]float64{1: 0.5, plan.FewGPUs: 0.5, plan.FewGPUs + 1: 0.3, 1 << 16: 0.3} {
		if got := g.Utilisation(gpus); got != want {
			t.Errorf("%d GPUs reach %v of their peak, want %v", gpus, got, want)
		}
	}
}

// TestOffers: the cheapest hour of a GPU first, whatever the size of the machine; prices of publications are no offers, and of a
// machine without a spot price there is none.
func TestOffers(t *testing.T) {
	list := []plan.Price{
		{Provider: "big", Machine: "eight", GPU: "h100", GPUs: 8, USD: 32, Spot: 8},
		{Provider: "small", Machine: "one", GPU: "h100", GPUs: 1, USD: 3},
		{Provider: plan.Reference, Machine: "paper", GPU: "h100", GPUs: 1, USD: 1, Spot: 0.5},
		{Provider: "small", Machine: "other", GPU: "a100", GPUs: 2, USD: 3, Spot: 5},
		{Provider: "twin", Machine: "same", GPU: "h100", GPUs: 2, USD: 6},
	}
	for _, c := range []struct {
		provider, gpu string
		spot          bool
		want          []string
	}{
		{"", "", false, []string{"other", "one", "same", "eight"}}, // equal prices in the order of the table
		{"", "h100", false, []string{"one", "same", "eight"}},
		{"small", "", false, []string{"other", "one"}},
		{"", "", true, []string{"eight", "other"}},
		{"small", "h100", true, nil},
		{plan.Reference, "", false, []string{"paper"}},
		{plan.Reference, "", true, []string{"paper"}},
		{"nobody", "", false, nil},
	} {
		var got []string
		for _, p := range plan.Offers(list, c.provider, c.gpu, c.spot) {
			got = append(got, p.Machine)
		}
		if len(got) != len(c.want) {
			t.Errorf("%+v: offers %v, want %v", c, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%+v: offers %v, want %v", c, got, c.want)
				break
			}
		}
	}
	if p := list[0]; p.PerGPU(false) != 4 || p.PerGPU(true) != 1 || !math.IsInf(list[1].PerGPU(true), 1) {
		t.Errorf("a GPU costs %v and at spot prices %v; one without %v", p.PerGPU(false), p.PerGPU(true), list[1].PerGPU(true))
	}
}

// TestReadBothUnits: numbers as a person reads them, around the borders of the units.
func TestReadBothUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0.0 KiB", 512: "0.5 KiB", 1 << 10: "1.0 KiB", 1<<20 - 1: "1024.0 KiB", 1 << 20: "1.0 MiB", 1 << 30: "1.00 GiB", 5 << 29: "2.50 GiB", 1 << 40: "1024.00 GiB"} {
		if got := plan.Bytes(n); got != want {
			t.Errorf("%d bytes are written %s, want %s", n, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1K", 1234: "1.234K", 1.5e6: "1.5M", 7e9: "7B", 300e9: "300B", 2e12: "2T", 15.6e12: "15.6T", -2e9: "-2B"} {
		if got := plan.Count(n); got != want {
			t.Errorf("%v is written %s, want %s", n, got, want)
		}
	}
}

// TestBesideThePolicy: what the frozen and the trained models beside the policy take of each GPU, and that writing answers has the
// cache in the place of gradients and activations.
func TestBesideThePolicy(t *testing.T) {
	const n = 1e9 // parameters of each model
	base := plan.Sharded{Params: n, Linear: 8e8, Trainable: n, Method: "full", GPUs: 4, TP: 1, Offload: "none"}
	for name, c := range map[string]struct {
		change func(*plan.Sharded)
		want   plan.PerGPU // the parts that differ from none
	}{
		"reference and reward":          {func(s *plan.Sharded) { s.Reference, s.Reward = n, n/2 }, plan.PerGPU{Reference: 2 * n, Reward: n}},
		"divided with the weights":      {func(s *plan.Sharded) { s.Reference, s.Reward, s.ZeRO = n, n/2, 3 }, plan.PerGPU{Reference: n / 2, Reward: n / 4}},
		"but not before ZeRO 3":         {func(s *plan.Sharded) { s.Reference, s.ZeRO = n, 2 }, plan.PerGPU{Reference: 2 * n}},
		"a trained critic":              {func(s *plan.Sharded) { s.Critic = n }, plan.PerGPU{Critic: 16 * n}},
		"its states divided":            {func(s *plan.Sharded) { s.Critic, s.ZeRO = n, 1 }, plan.PerGPU{Critic: (2 + 2 + 3) * n}},
		"its gradients, too":            {func(s *plan.Sharded) { s.Critic, s.ZeRO = n, 2 }, plan.PerGPU{Critic: 2*n + n/2 + 3*n}},
		"all of it":                     {func(s *plan.Sharded) { s.Critic, s.ZeRO = n, 3 }, plan.PerGPU{Critic: 4 * n}},
		"an adapter's critic is a base": {func(s *plan.Sharded) { s.Critic, s.Method, s.Trainable = n, "lora", 1e6 }, plan.PerGPU{Critic: 2 * n}},
	} {
		s := base
		c.change(&s)
		m := s.Memory()
		if m.Reference != c.want.Reference || m.Reward != c.want.Reward || m.Critic != c.want.Critic {
			t.Errorf("%s: reference %d, reward %d, critic %d; want %d, %d, %d", name, m.Reference, m.Reward, m.Critic, c.want.Reference, c.want.Reward, c.want.Critic)
		}
		parts := m.Weights + m.Reference + m.Reward + m.Critic + m.Gradients + m.Optimizer + m.Activations + m.Logits + m.Gathered + m.Reserved + m.Workspace
		if m.Peak != parts {
			t.Errorf("%s: the peak is %d and the parts are %d", name, m.Peak, parts)
		}
	}
	s := base
	s.Activations, s.Logits = 3e9, 1e9 // with gradients of 2e9 that is 6e9
	training := s.Memory().Peak
	for cache, want := range map[int64]int64{1e9: training, 6e9: training, 7e9: training + 1e9} {
		if s.KVCache = cache; s.Memory().Peak != want {
			t.Errorf("with a cache of %d bytes the peak is %d, want %d", cache, s.Memory().Peak, want)
		}
	}
}

// TestAdamStates: bytes of a parameter's states on each GPU, or in the host's memory.
func TestAdamStates(t *testing.T) {
	const n = 1 << 20
	for name, c := range map[string]struct {
		s               plan.Sharded
		optimizer, host int64
	}{
		"32 bits":        {plan.Sharded{Offload: "none"}, 12 * n, 0},
		"8 bits":         {plan.Sharded{Offload: "none", EightBit: true}, 4*n + 2*n + 2*4*n/256, 0}, // a master, two codes, two scales for 256
		"on the host":    {plan.Sharded{Offload: "optimizer"}, 0, 12 * n},
		"divided there":  {plan.Sharded{Offload: "optimizer", ZeRO: 1}, 0, 6 * n},
		"weights, too":   {plan.Sharded{Offload: "params"}, 0, 14 * n},
		"on tensor part": {plan.Sharded{Offload: "none", TP: 2}, 6 * n, 0},
	} {
		c.s.Params, c.s.Trainable, c.s.Method, c.s.GPUs, c.s.TP = n, n, "full", 2, max(c.s.TP, 1)
		if m := c.s.Memory(); m.Optimizer != c.optimizer || m.Host != c.host {
			t.Errorf("%s: %d bytes on the GPU and %d on the host, want %d and %d", name, m.Optimizer, m.Host, c.optimizer, c.host)
		}
	}
}

// TestLayersAreGathered where their weights are divided or elsewhere: the one that runs and the one that comes next.
func TestLayersAreGathered(t *testing.T) {
	for _, c := range []struct {
		gpus, tp, zero int
		offload        string
		want           int64
	}{{4, 1, 3, "none", 4000}, {4, 2, 3, "none", 2000}, {4, 1, 2, "none", 0}, {1, 1, 3, "none", 0}, {2, 2, 3, "none", 0}, {1, 1, 0, "params", 4000}} {
		s := plan.Sharded{Params: 1e6, Layer: 1000, Trainable: 1e6, Method: "full", GPUs: c.gpus, TP: c.tp, ZeRO: c.zero, Offload: c.offload}
		if got := s.Memory().Gathered; got != c.want {
			t.Errorf("%+v: %d bytes are gathered", c, got)
		}
	}
}
