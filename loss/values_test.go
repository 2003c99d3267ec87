package loss

import (
	"math"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/tensor"
)

func same(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i, w := range want {
		if len(got) != len(want) || !(math.Abs(got[i]-w) <= 1e-6*max(1, math.Abs(w))) && !(w != w && got[i] != got[i]) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

// TestGroupAdvantagesByHand: with rewards 1, 2, 6 and 4, 4, 4 the groups have means 3 and 4 and standard
// deviations of n-1 of √7 and 0; all six have a mean of 3.5 and one of √(31/10).
func TestGroupAdvantagesByHand(t *testing.T) {
	rewards := []float64{1, 2, 6, 4, 4, 4}
	group, batch := math.Sqrt(7)+1e-4, math.Sqrt(15.5/5)+1e-4
	for scale, want := range map[string][]float64{
		ScaleGroup: {-2 / group, -1 / group, 3 / group, 0, 0, 0},
		ScaleBatch: {-2 / batch, -1 / batch, 3 / batch, 0, 0, 0},
		ScaleNone:  {-2, -1, 3, 0, 0, 0},
	} {
		same(t, "advantages by "+scale, GroupAdvantages(rewards, 3, scale), want)
	}
	same(t, "leave one out", LeaveOneOut(rewards, 3), []float64{1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0})
	same(t, "groups of one", GroupAdvantages([]float64{5, 7}, 1, ScaleGroup), []float64{0, 0})
}

// TestCorrelation: 1 and -1 on a line, 0 where nothing is in common, by hand between, and NaN where one list
// does not vary.
func TestCorrelation(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 4}, []float64{10, 12, 16}, 1},
		{[]float64{1, 2, 4}, []float64{3, 1, -3}, -1},
		{[]float64{-1, 0, 1, 0}, []float64{0, 1, 0, -1}, 0},
		{[]float64{1, 2, 3, 6}, []float64{2, 1, 6, 7}, 16 / math.Sqrt(14*26)}, // means 3 and 4
		{[]float64{1, 2}, []float64{5, 5}, math.NaN()},
		{[]float64{5, 5}, []float64{1, 2}, math.NaN()},
	} {
		same(t, "the correlation", []float64{Correlation(c.a, c.b)}, []float64{c.want})
	}
}

// TestEstimatesOfKL: by their formulas, and k2 and k3 are never below 0 and 0 where both policies agree.
func TestEstimatesOfKL(t *testing.T) {
	for _, d := range []float64{-2, -0.5, 0, 1e-9, 0.5, 3} {
		same(t, "k1, k2 and k3", []float64{EstimateKL(K1, d), EstimateKL(K2, d), EstimateKL(K3, d)}, []float64{d, d * d / 2, math.Exp(-d) - 1 + d})
		if EstimateKL(K2, d) < 0 || EstimateKL(K3, d) < 0 {
			t.Errorf("at %v an estimate is negative", d)
		}
	}
}

// scalar runs a loss of x in double precision and gives its value and gradient.
func scalar(t *testing.T, x []float32, f func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor) (value float64, grad []float64) {
	t.Helper()
	dev := devicetest.NewReference()
	p := tensor.NewParam(len(x))
	p.Set(dev, device.F32, x)
	tape := tensor.NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	loss := f(tape, tensor.Add(tape.Constant(make([]float32, len(x)), len(x)), p))
	value, err := loss.Item()
	if err != nil {
		t.Fatal(err)
	}
	tape.Backward(loss)
	g, err := p.GradFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	tape.Reset()
	for _, v := range g {
		grad = append(grad, float64(v))
	}
	return value, grad
}

// TestEntropyIsABonus: as a loss entropy counts against it, so that a step raises it, by each token's weight.
func TestEntropyIsABonus(t *testing.T) {
	value, grad := scalar(t, []float32{0.5, 2}, func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
		return Entropy(x, tape.Constant([]float32{0.25, 3}, 2))
	})
	same(t, "the loss and its gradient", append(grad, value), []float64{-0.25, -3, -6.125})
}

// TestPolicyByHand: a token moves the loss by its advantage within the clip, and not at all where it is
// beyond it in the direction that the advantage asks for. With dual clipping a bad token whose ratio has run
// away does not, either; without, it does.
func TestPolicyByHand(t *testing.T) {
	ratios, advantages := []float64{1, 1.5, 0.5, 1.5, 0.5, 9}, []float32{2, 2, 2, -2, -2, -2}
	x, old, weights := make([]float32, 6), make([]float32, 6), []float32{1, 1, 1, 1, 1, 1}
	for i, r := range ratios {
		x[i], old[i] = float32(math.Log(r)), 0
	}
	for dual, want := range map[float32][]float64{
		0: {-2, -2.4, -1, 3, 1.6, 18}, // -A·ρ, or -A times 1.2 or 0.8 where that is more
		3: {-2, -2.4, -1, 3, 1.6, 6},  // 3·2 at most
	} {
		for i, w := range want {
			value, grad := scalar(t, x[i:i+1], func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
				loss, _ := Policy(Tokens{LogProbs: x, Old: tape.Constant(old[i:i+1], 1), Advantages: tape.Constant(advantages[i:i+1], 1), Weights: tape.Constant(weights[i:i+1], 1)},
					Clip{Low: 0.2, High: 0.2, Dual: dual})
				return loss
			})
			slope := -float64(advantages[i]) * ratios[i] // of -A·e^x
			if math.Abs(w-slope) > 1e-6 {
				slope = 0
			}
			same(t, "the loss and its gradient", []float64{value, grad[0]}, []float64{w, slope})
		}
	}
}

// TestValueByHand: the clipped value counts where its error is the larger one, and gives no gradient there.
func TestValueByHand(t *testing.T) {
	for _, c := range []struct {
		value, clip, loss, grad float64 // of a return of 1 and an old value of 0
	}{{0.1, 0.2, 0.405, -0.9}, {0.9, 0.2, 0.32, 0}, {-0.9, 0.2, 1.805, -1.9}, {0.9, 0, 0.005, -0.1}} {
		value, grad := scalar(t, []float32{float32(c.value)}, func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
			one := tape.Constant([]float32{1}, 1)
			return Value(x, tape.Constant([]float32{0}, 1), one, one, float32(c.clip))
		})
		same(t, "the loss and its gradient", []float64{value, grad[0]}, []float64{c.loss, c.grad})
	}
}

// TestUnknownLossIsRefused: by name, with those that there are.
func TestUnknownLossIsRefused(t *testing.T) {
	defer func() {
		if message, _ := recover().(string); message != `loss: "dpo" is none of hinge, ipo, ipo_sum, orpo, robust, sigmoid, simpo` {
			t.Errorf("it says %q", message)
		}
	}()
	Preference("dpo", Pairs{}, PreferenceOptions{})
}
