package loss

import (
	"math"

	"hone/device"
	"hone/tensor"
)

// Tokens are the sampled tokens of a micro-batch, each [M]: their log-probabilities under the policy now and
// when they were sampled, how much better than expected they were, and the weight of each in the loss. The
// weights hold all normalisation: 1/(tokens of the whole batch) is a mean over tokens, 1/(tokens of the
// answer · answers of the whole batch) one over answers.
type Tokens struct {
	LogProbs                 *tensor.Tensor
	Old, Advantages, Weights *tensor.Tensor // constants
}

// Clip are the limits of the ratio between the policy and the one that sampled.
type Clip struct {
	Low, High float32 // the ratio counts from 1-Low to 1+High
	Dual      float32 // with a negative advantage the loss is at most -Dual·advantage (Ye et al., 2020); 0: not
}

// Policy is the clipped objective of PPO (Schulman et al., 2017, eq. 7) as a loss, with the ratios for metrics:
//
//	ρ = exp(log π - log π_old) [M]    loss = Σ w·max(-A·ρ, -A·clip(ρ, 1-Low, 1+High))
func Policy(t Tokens, c Clip) (loss, ratio *tensor.Tensor) {
	ratio = tensor.Unary(device.Exp, tensor.Sub(t.LogProbs, t.Old))
	return clipped(ratio, t.Advantages, t.Weights, c), ratio
}

// clipped is Σ w·max(-A·ρ, -A·clip(ρ)), which is where -A·ρ is taken with dual clipping at most -A·dual for A < 0.
func clipped(ratio, advantages, weights *tensor.Tensor, c Clip) *tensor.Tensor {
	free := tensor.Mul(ratio, advantages)
	held := tensor.Mul(tensor.Clamp(ratio, 1-c.Low, 1+c.High), advantages)
	gain := tensor.Min(free, held) // written as a gain, -loss: min here is the max of the formula
	if c.Dual > 0 {
		gain = tensor.Max(gain, dualFloor(advantages, c.Dual))
	}
	return tensor.Scale(tensor.Sum(tensor.Mul(gain, weights)), -1)
}

// dualFloor is dual·A where A < 0, and below anything elsewhere. Advantages are constants, so the host may make it.
func dualFloor(advantages *tensor.Tensor, dual float32) *tensor.Tensor {
	v, err := advantages.Float32s()
	if err != nil {
		panic(&tensor.Error{Op: "Policy", Problem: err.Error()})
	}
	for i, a := range v {
		if v[i] = dual * a; a >= 0 {
			v[i] = -math.MaxFloat32
		}
	}
	return advantages.Tape().Constant(v, len(v))
}

// Sequences are sampled answers whose ratio is one number for the whole answer: Answer [M] (I32) says to
// which of S answers a token belongs.
type Sequences struct {
	LogProbs, Old       *tensor.Tensor // [M]
	Answer              *tensor.Tensor // [M] I32
	Advantages, Weights *tensor.Tensor // [S, 1]
	Scale               []float32      // [S] factor on the sum of the answer's log-ratios: 1/tokens for GSPO, 1 for RLOO
}

// SequencePolicy is Policy with one ratio an answer, exp(scale·Σ(log π - log π_old)): GSPO (Zheng et al.,
// 2025, eq. 5-7) with a scale of 1/tokens, and RLOO as TRL has it (Ahmadian et al., 2024) with a scale of 1.
func SequencePolicy(s Sequences, c Clip) (loss, ratio *tensor.Tensor) {
	n := len(s.Scale)
	sum := tensor.SumBy(tensor.Sub(s.LogProbs, s.Old), s.Answer, n)
	ratio = tensor.Unary(device.Exp, tensor.Mul(sum, s.LogProbs.Tape().Constant(s.Scale, n, 1)))
	return clipped(ratio, s.Advantages, s.Weights, c), ratio
}

// Value is the clipped loss of a value head (Schulman's PPO code), for values v, values old when the answers
// were written, returns R and weights w, all [M]:
//
//	½·Σ w·max((v - R)², (clip(v, old-c, old+c) - R)²)
//
// When c is 0 nothing is clipped.
func Value(values, old, returns, weights *tensor.Tensor, c float32) *tensor.Tensor {
	l := tensor.Unary(device.Square, tensor.Sub(values, returns))
	if c > 0 {
		near := tensor.Add(old, tensor.Clamp(tensor.Sub(values, old), -c, c))
		l = tensor.Max(l, tensor.Unary(device.Square, tensor.Sub(near, returns)))
	}
	return tensor.Scale(tensor.Sum(tensor.Mul(l, weights)), 0.5)
}

// The estimators of the KL divergence from the reference to the policy, from samples of the policy (Schulman,
// "Approximating KL Divergence", 2020), with d = log π - log π_ref of a token.
const (
	K1 = "k1" // d: unbiased, may be negative
	K2 = "k2" // d²/2: biased, small variance
	K3 = "k3" // e^(-d) - 1 + d: unbiased, never negative
)

// KL is Σ w·k over the tokens [M], as a loss, with k the estimator's; its gradient is that of the estimate, not
// of the divergence (of k2 they are the same in the mean).
func KL(estimator string, logProbs, ref, weights *tensor.Tensor) *tensor.Tensor {
	d := tensor.Sub(logProbs, ref)
	switch estimator {
	case K2:
		d = tensor.Scale(tensor.Unary(device.Square, d), 0.5)
	case K3:
		d = tensor.Add(tensor.Affine(tensor.Unary(device.Exp, tensor.Scale(d, -1)), 1, -1), d)
	}
	return tensor.Sum(tensor.Mul(d, weights))
}

// Entropy is -Σ w·H, which as a loss keeps the policy from growing certain too soon.
func Entropy(entropy, weights *tensor.Tensor) *tensor.Tensor {
	return tensor.Scale(tensor.Sum(tensor.Mul(entropy, weights)), -1)
}
