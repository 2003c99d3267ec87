package loss

import (
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/tensor"
)

// onCPU runs f on the device that people use and returns its value.
func onCPU(t *testing.T, f func(tape *tensor.Tape) *tensor.Tensor) float64 {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	tape := tensor.NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	defer tape.Reset()
	v, err := f(tape).Item()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAtTheStart: where the policy is the reference, DPO's loss is ln 2, the ratio exactly 1 and
// every estimate of KL exactly 0.
func TestAtTheStart(t *testing.T) {
	logp := []float32{-12.25, -3.125, -41.0625, -7.7}
	if got := onCPU(t, func(tape *tensor.Tape) *tensor.Tensor {
		c, r := tape.Constant(logp, 4, 1), tape.Constant([]float32{-9, -8, -7, -6}, 4, 1)
		return Preference("sigmoid", Pairs{Chosen: c, Rejected: r, RefChosen: c, RefRejected: r}, PreferenceOptions{Beta: 0.1, Pairs: 4})
	}); got != float64(float32(math.Ln2)) {
		t.Errorf("DPO's loss is %v, want ln 2", got)
	}
	for _, k := range []string{K1, K2, K3} {
		if got := onCPU(t, func(tape *tensor.Tape) *tensor.Tensor {
			x := tape.Constant(logp, 4)
			return KL(k, x, x, tape.Constant([]float32{1, 1, 1, 1}, 4))
		}); got != 0 {
			t.Errorf("%s of a policy to itself is %v", k, got)
		}
		if got := EstimateKL(k, 0); got != 0 {
			t.Errorf("%s of 0 is %v", k, got)
		}
	}
	got := onCPU(t, func(tape *tensor.Tape) *tensor.Tensor {
		x, w := tape.Constant(logp, 4), tape.Constant([]float32{0.25, 0.25, 0.25, 0.25}, 4)
		l, ratio := Policy(Tokens{LogProbs: x, Old: x, Advantages: tape.Constant([]float32{1, -2, 3, -4}, 4), Weights: w}, Clip{Low: 0.2, High: 0.2})
		if v, err := ratio.Float32s(); err != nil || !slices.Equal(v, []float32{1, 1, 1, 1}) {
			t.Errorf("ratios %v, %v", v, err)
		}
		return l
	})
	if got != 0.5 {
		t.Errorf("the loss is %v, want minus the mean advantage", got)
	}
}

// TestClipping goes through the four corners of the clipped objective by hand: low, high = 0.2 and a ratio of 2 or ½.
func TestClipping(t *testing.T) {
	ln2 := float32(math.Ln2)
	for _, c := range []struct{ logp, advantage, dual, want float32 }{
		{ln2, 1, 0, -1.2},  // a good token, made likelier: counts up to 1.2
		{ln2, -1, 0, 2},    // a bad one made likelier: in full
		{-ln2, 1, 0, -0.5}, // a good one made rarer: in full
		{-ln2, -1, 0, 0.8}, // a bad one made rarer: counts down to 0.8
		{ln2, -1, 1.5, 1.5},
		{ln2, 1, 1.5, -1.2},
	} {
		got := onCPU(t, func(tape *tensor.Tape) *tensor.Tensor {
			one := func(v float32) *tensor.Tensor { return tape.Constant([]float32{v}, 1) }
			l, _ := Policy(Tokens{LogProbs: one(c.logp), Old: one(0), Advantages: one(c.advantage), Weights: one(1)}, Clip{Low: 0.2, High: 0.2, Dual: c.dual})
			return l
		})
		if math.Abs(got-float64(c.want)) > 1e-6 {
			t.Errorf("log-ratio %v, advantage %v, dual %v: %v, want %v", c.logp, c.advantage, c.dual, got, c.want)
		}
	}
}

// TestGAEByHand: two tokens, γ = ½, λ = ½, V = 1, 2, reward 3 at the end. δ₂ = 3-2 = 1, δ₁ = 0+½·2-1 = 0, A₁ = 0+¼·1.
func TestGAEByHand(t *testing.T) {
	a, r := GAE([]float64{0, 3}, []float64{1, 2}, 0.5, 0.5)
	if !slices.Equal(a, []float64{0.25, 1}) || !slices.Equal(r, []float64{1.25, 3}) {
		t.Errorf("advantages %v, returns %v", a, r)
	}
	if a, r := GAE(nil, nil, 1, 1); len(a)+len(r) != 0 {
		t.Errorf("of nothing: %v, %v", a, r)
	}
}

func TestWhiten(t *testing.T) {
	rows := [][]float64{{1, 2}, {}, {3}}
	Whiten(rows, true)
	if math.Abs(rows[0][0]+1) > 1e-7 || rows[0][1] != 0 || math.Abs(rows[2][0]-1) > 1e-7 {
		t.Errorf("whitened 1, 2, 3 to %v", rows)
	}
	alone := [][]float64{{5}}
	if Whiten(alone, true); alone[0][0] != 5 {
		t.Errorf("a single number became %v", alone[0][0])
	}
}

func TestKLControl(t *testing.T) {
	fixed := KLControl{Coefficient: 0.1}
	if fixed.Update(100, 64); fixed.Coefficient != 0.1 {
		t.Errorf("a fixed coefficient became %v", fixed.Coefficient)
	}
	for _, c := range []struct{ kl, want float64 }{{6, 1}, {60, 1.02}, {0, 0.98}, {6.6, 1.01}} {
		k := KLControl{Coefficient: 1, Target: 6, Horizon: 1000}
		if k.Update(c.kl, 100); math.Abs(k.Coefficient-c.want) > 1e-12 {
			t.Errorf("at a KL of %v the coefficient became %v, want %v", c.kl, k.Coefficient, c.want)
		}
	}
}

func TestMoments(t *testing.T) {
	var m Moments
	if m.Std() != 1 {
		t.Errorf("the deviation of nothing is %v", m.Std())
	}
	m.Add([]float64{2, 4})
	m.Add([]float64{6})
	if m.Mean != 4 || m.Std() != 2 {
		t.Errorf("mean %v, deviation %v; want 4 and 2", m.Mean, m.Std())
	}
}

// TestEqualRewards: a group in which all answers are equally good teaches nothing, whatever rounding does.
func TestEqualRewards(t *testing.T) {
	r := slices.Repeat([]float64{0.1}, 6)
	for _, scale := range []string{ScaleGroup, ScaleBatch, ScaleNone} {
		if a := GroupAdvantages(append(slices.Clone(r), 1, 2, 3, 4, 5, 6), 6, scale); !slices.Equal(a[:6], make([]float64, 6)) {
			t.Errorf("%s: %v", scale, a)
		}
	}
	if a := LeaveOneOut(r, 3); !slices.Equal(a, make([]float64, 6)) {
		t.Errorf("leave one out: %v", a)
	}
}

// TestMicroBatches: the parts of a batch add up to the whole, for a loss of pairs.
func TestMicroBatches(t *testing.T) {
	c, r := []float32{-1, -2, -3, -4}, []float32{-2, -2, -2, -2}
	part := func(lo, hi int) float64 {
		return onCPU(t, func(tape *tensor.Tape) *tensor.Tensor {
			return BradleyTerry(tape.Constant(c[lo:hi], hi-lo, 1), tape.Constant(r[lo:hi], hi-lo, 1), nil, 0.01, 4)
		})
	}
	if whole, parts := part(0, 4), part(0, 1)+part(1, 4); math.Abs(whole-parts) > 1e-6 {
		t.Errorf("%v in one, %v in parts", whole, parts)
	}
}
