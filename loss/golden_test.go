package loss

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/tensor"
)

// golden is a case of testdata/golden/preference.json, made by testdata/gen/preference.py.
type golden struct {
	Name    string
	Options struct {
		Center, Beta, Smoothing, Gamma, Low, High, Dual, Clip, KL, Lambda float64
		Desirable                                                         float64 `json:"desirable_weight"`
		Undesirable                                                       float64 `json:"undesirable_weight"`
		Estimator                                                         string
		LossType                                                          string `json:"loss_type"`
		Longest, Size                                                     int
		Shift                                                             bool
		Scale                                                             string
	}
	Inputs  map[string]json.RawMessage
	Outputs map[string][]float64
	Loss    float64
	Grads   map[string]json.RawMessage
}

// numbers reads a list, or a list of lists as one.
func numbers(t testing.TB, raw json.RawMessage) []float64 {
	t.Helper()
	var flat []float64
	if json.Unmarshal(raw, &flat) == nil {
		return flat
	}
	flat = nil
	var rows [][]float64
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		flat = append(flat, row...)
	}
	return flat
}

// bench puts a case's inputs on the reference device, which computes in double precision.
type bench struct {
	t     testing.TB
	c     *golden
	tape  *tensor.Tape
	leafs map[string]*tensor.Tensor
}

func (b *bench) tensor(name string) *tensor.Tensor {
	v := numbers(b.t, b.c.Inputs[name])
	if _, isLeaf := b.c.Grads[name]; !isLeaf {
		x := b.tape.Constant(make([]float32, len(v)), len(v), 1)
		b.tape.Dev.Write(x.Buffer(), v)
		return x
	}
	p := tensor.NewParam(len(v), 1)
	p.Set(b.tape.Dev, device.F32, v)
	b.leafs[name] = p
	return tensor.Add(p, b.tape.Constant(make([]float32, len(v)), len(v), 1)) // a tensor of the tape
}

func (b *bench) list(name string) []float64 { return numbers(b.t, b.c.Inputs[name]) }

func (b *bench) pairs() Pairs {
	p := Pairs{Chosen: b.tensor("chosen"), Rejected: b.tensor("rejected"), RefChosen: b.tensor("ref_chosen"), RefRejected: b.tensor("ref_rejected")}
	for _, n := range b.list("chosen_tokens") {
		p.ChosenTokens = append(p.ChosenTokens, int(n))
	}
	for _, n := range b.list("rejected_tokens") {
		p.RejectedTokens = append(p.RejectedTokens, int(n))
	}
	return p
}

// weights are mask/count.
func (b *bench) weights(mask []float64, count float64) *tensor.Tensor {
	w := make([]float32, len(mask))
	for i, m := range mask {
		w[i] = float32(m / count)
	}
	return b.tape.Constant(w, len(w))
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// loss computes the case's loss.
func (b *bench) loss() *tensor.Tensor {
	o := &b.c.Options
	clip := Clip{Low: float32(o.Low), High: float32(o.High), Dual: float32(o.Dual)}
	switch b.c.Name {
	case "reward":
		return BradleyTerry(b.tensor("chosen"), b.tensor("rejected"), b.tensor("margins"), float32(o.Center), len(b.list("chosen")))
	case "kto":
		u := Unpaired{LogProbs: b.tensor("logps"), Ref: b.tensor("ref"), KL: float32(o.KL)}
		for _, d := range b.list("desirable") {
			u.Desirable = append(u.Desirable, d > 0)
		}
		return KTO(u, KTOOptions{Beta: float32(o.Beta), Desirable: float32(o.Desirable), Unwanted: float32(o.Undesirable), Examples: len(u.Desirable)})
	case "ppo_policy":
		mask := b.list("mask")
		l, _ := Policy(Tokens{LogProbs: b.tensor("logps"), Old: b.tensor("old"), Advantages: b.tensor("advantages"), Weights: b.weights(mask, sum(mask))}, clip)
		return l
	case "ppo_value":
		mask := b.list("mask")
		return Value(b.tensor("values"), b.tensor("old"), b.tensor("returns"), b.weights(mask, sum(mask)), float32(o.Clip))
	case "kl":
		mask := b.list("mask")
		return KL(o.Estimator, b.tensor("logps"), b.tensor("ref"), b.weights(mask, sum(mask)))
	case "grpo", "dr_grpo", "dapo", "gspo", "rloo":
		return b.group(clip)
	}
	p := b.pairs()
	return Preference(b.c.Name, p, PreferenceOptions{Beta: float32(o.Beta), Smoothing: float32(o.Smoothing), Gamma: float32(o.Gamma),
		Pairs: len(p.ChosenTokens), Tokens: int(sum(b.list("chosen_tokens")))})
}

// group is a loss of the GRPO family on answers padded to 5 tokens; padding has weight 0.
func (b *bench) group(clip Clip) *tensor.Tensor {
	const s, longest = 4, 5
	mask, o := b.list("mask"), &b.c.Options
	weights, answer, advantages := make([]float32, s*longest), make([]int32, s*longest), make([]float32, s*longest)
	lengths, scale, even := make([]float64, s), make([]float32, s), make([]float32, s)
	for i := range s {
		lengths[i] = sum(mask[i*longest : (i+1)*longest])
		scale[i], even[i] = 1, 1.0/s
		if o.LossType == "gspo" {
			scale[i] = float32(1 / lengths[i])
		}
	}
	for i := range mask {
		row := i / longest
		answer[i], advantages[i] = int32(row), float32(b.list("advantages")[row])
		divisor := map[string]float64{"dapo": sum(mask), "dr_grpo": s * float64(o.Longest)}[o.LossType]
		if divisor == 0 {
			divisor = s * lengths[row]
		}
		weights[i] = float32(mask[i] / divisor)
	}
	w := b.tape.Constant(weights, len(weights))
	logps := b.tensor("logps")
	if o.LossType == "gspo" || o.LossType == "rloo" {
		kept := b.weights(mask, 1) // leaves the padding out of the sums
		l, _ := SequencePolicy(Sequences{LogProbs: tensor.Mul(logps, kept), Old: tensor.Mul(b.tensor("old"), kept), Answer: b.tape.Ints(answer),
			Advantages: b.tensor("advantages"), Weights: b.tape.Constant(even, s, 1), Scale: scale}, clip)
		if o.LossType == "gspo" {
			l = tensor.Add(l, tensor.Scale(KL(K3, logps, b.tensor("ref"), w), float32(o.Beta)))
		}
		return l
	}
	l, _ := Policy(Tokens{LogProbs: logps, Old: b.tensor("old"), Advantages: b.tape.Constant(advantages, len(advantages)), Weights: w}, clip)
	return tensor.Add(l, tensor.Scale(KL(K3, logps, b.tensor("ref"), w), float32(o.Beta)))
}

func cases(t testing.TB) []golden {
	t.Helper()
	text, err := os.ReadFile("../testdata/golden/preference.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func near(a, b float64) bool { return math.Abs(a-b) <= 2e-6*max(1, math.Abs(b)) }

// TestGolden compares losses and gradients with torch and TRL.
func TestGolden(t *testing.T) {
	seen := map[string]int{}
	for _, c := range cases(t) {
		seen[c.Name]++
		if c.Outputs != nil {
			checkHost(t, &c)
			continue
		}
		b := &bench{t: t, c: &c, tape: tensor.NewTape(devicetest.NewReference(), device.F32), leafs: map[string]*tensor.Tensor{}}
		b.tape.Train(1, 0, 0)
		l := b.loss()
		if v, err := l.Item(); err != nil || !near(v, c.Loss) {
			t.Errorf("%s %+v: loss %v, want %v (%v)", c.Name, c.Options, v, c.Loss, err)
		}
		b.tape.Backward(l)
		for name, p := range b.leafs {
			got, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range numbers(t, c.Grads[name]) {
				if !near(float64(got[i]), want) {
					t.Errorf("%s %+v: d/d%s[%d] = %v, want %v", c.Name, c.Options, name, i, got[i], want)
				}
			}
			p.Free()
		}
		b.tape.Reset()
		if n := b.tape.Dev.Memory().InUse; n != 0 {
			t.Errorf("%s: %d bytes are left", c.Name, n)
		}
	}
	for _, name := range append(PreferenceTypes(), "reward", "kto", "ppo_policy", "ppo_value", "kl", "grpo", "dr_grpo", "dapo", "gspo", "rloo", "gae", "whiten", "group") {
		if seen[name] == 0 {
			t.Errorf("no golden case is called %s", name)
		}
	}
}

func checkHost(t *testing.T, c *golden) {
	in := func(name string) []float64 { return numbers(t, c.Inputs[name]) }
	got := map[string][]float64{}
	switch o := &c.Options; c.Name {
	case "gae":
		got["advantages"], got["returns"] = GAE(in("rewards"), in("values"), o.Gamma, o.Lambda)
	case "whiten":
		x := in("x")
		Whiten([][]float64{x[:4], x[4:]}, o.Shift)
		got["y"] = x
	case "group":
		got["advantages"] = GroupAdvantages(in("rewards"), o.Size, o.Scale)
	case "rloo_advantages":
		got["advantages"] = LeaveOneOut(in("rewards"), o.Size)
	}
	for name, want := range c.Outputs {
		for i := range want {
			if len(got[name]) != len(want) || !near(got[name][i], want[i]) {
				t.Fatalf("%s %+v: %s is %v, want %v", c.Name, c.Options, name, got[name], want)
			}
		}
	}
}
