package loss

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hone/device"
	"hone/tensor"
)

// logSigmoid is log σ(a·x), by one kernel: log and σ apart underflow where a·x is far below 0, which
// is where the loss matters most.
func logSigmoid(x *tensor.Tensor, a float32) *tensor.Tensor {
	if a != 1 {
		x = tensor.Scale(x, a)
	}
	return tensor.Unary(device.LogSigmoid, x)
}

// mean is the sum of x over the count of the whole batch.
func mean(x *tensor.Tensor, count int) *tensor.Tensor {
	return tensor.Scale(tensor.Sum(x), 1/float32(count))
}

// BradleyTerry is the loss of a reward model on pairs (Bradley & Terry, 1952; Ouyang et al., 2022), with the
// margins of Touvron et al. (2023, section 3.2.2) and the centring of Eisenstein et al. (2023):
//
//	-log σ(chosen - rejected - margin) + center·(chosen + rejected)²,  over pairs
//
// as TRL's RewardTrainer has it. chosen and rejected are scores [P, 1], margins [P, 1] or nil, pairs the
// number of pairs of the whole batch.
func BradleyTerry(chosen, rejected, margins *tensor.Tensor, center float32, pairs int) *tensor.Tensor {
	gap := tensor.Sub(chosen, rejected)
	if margins != nil {
		gap = tensor.Sub(gap, margins)
	}
	l := tensor.Scale(logSigmoid(gap, 1), -1)
	if center != 0 {
		sum := tensor.Add(chosen, rejected)
		l = tensor.Add(l, tensor.Scale(tensor.Mul(sum, sum), center))
	}
	return mean(l, pairs)
}

// Pairs are the log-probabilities of answers under the policy and the reference, each [P, 1] and summed
// over the answer's tokens, of which there are ChosenTokens and RejectedTokens (host numbers). The
// reference is nil where a loss has none.
type Pairs struct {
	Chosen, Rejected             *tensor.Tensor
	RefChosen, RefRejected       *tensor.Tensor
	ChosenTokens, RejectedTokens []int
}

// PreferenceOptions are the constants of the DPO family, with TRL's names.
type PreferenceOptions struct {
	Beta      float32 // strength of the pull to the reference
	Smoothing float32 // label_smoothing: the chance that a label is wrong
	Gamma     float32 // simpo_gamma: the margin of SimPO
	Pairs     int     // of the whole batch
	Tokens    int     // of chosen answers in the whole batch; ORPO's likelihood is a mean over them
}

// preferences are the losses of each pair, by TRL's loss_type.
var preferences = map[string]func(p Pairs, o PreferenceOptions) *tensor.Tensor{
	"sigmoid": sigmoid,
	"hinge":   hinge,
	"ipo":     ipo,
	"ipo_sum": ipoSum,
	"robust":  robust,
	"simpo":   simpo,
	"orpo":    orpo,
}

// PreferenceTypes lists the names that Preference takes.
func PreferenceTypes() []string { return slices.Sorted(maps.Keys(preferences)) }

// NeedsReference tells whether a loss compares with the reference model.
func NeedsReference(name string) bool { return name != "simpo" && name != "orpo" }

// Preference is the loss of the given name over pairs; it panics at a name that PreferenceTypes does not list. Where
// Δ = (chosen - ref_chosen) - (rejected - ref_rejected):
//
//	sigmoid  -(1-ε)·log σ(βΔ) - ε·log σ(-βΔ)                      DPO (Rafailov et al., 2023), with ε > 0 cDPO (Mitchell, 2023)
//	hinge    max(0, 1 - βΔ)                                       SLiC (Zhao et al., 2023; Liu et al., 2023)
//	ipo      (Δ' - 1/(2β))², Δ' of log-ratios per token           IPO (Azar et al., 2023, eq. 17) as TRL normalises it
//	ipo_sum  (Δ - 1/(2β))²                                        IPO by whole answers, as in the paper and OpenRLHF
//	robust   (-(1-ε)·log σ(βΔ) + ε·log σ(-βΔ))/(1-2ε)             rDPO (Chowdhury et al., 2024)
//	simpo    -(1-ε)·log σ(βδ-γ) - ε·log σ(γ-βδ), δ of log-probabilities per token   SimPO (Meng et al., 2024), no reference
//	orpo     NLL of the chosen tokens - β·log σ(log-odds of log-probabilities per token)   ORPO (Hong et al., 2024), no reference
//
// Each is a mean over pairs, but for ORPO's likelihood, a mean over the tokens of chosen answers.
func Preference(name string, p Pairs, o PreferenceOptions) *tensor.Tensor {
	f, ok := preferences[name]
	if !ok {
		panic(fmt.Sprintf("loss: %q is none of %s", name, strings.Join(PreferenceTypes(), ", ")))
	}
	return f(p, o)
}

// gap is Δ, by whole answers.
func (p Pairs) gap() *tensor.Tensor {
	return tensor.Sub(tensor.Sub(p.Chosen, p.RefChosen), tensor.Sub(p.Rejected, p.RefRejected))
}

// perToken divides the numbers of answers [P, 1] by their tokens.
func perToken(x *tensor.Tensor, tokens []int) *tensor.Tensor {
	inverse := make([]float32, len(tokens))
	for i, n := range tokens {
		inverse[i] = 1 / float32(max(n, 1))
	}
	return tensor.Mul(x, x.Tape().Constant(inverse, len(tokens), 1))
}

// sigmoid is DPO's: how surely the policy tells the answers apart by more than the reference does.
func sigmoid(p Pairs, o PreferenceOptions) *tensor.Tensor {
	return mean(smoothed(p.gap(), o.Beta, o.Smoothing), o.Pairs)
}

// smoothed is -(1-ε)·log σ(a·x) - ε·log σ(-a·x).
func smoothed(x *tensor.Tensor, a, epsilon float32) *tensor.Tensor {
	l := tensor.Scale(logSigmoid(x, a), epsilon-1)
	if epsilon == 0 {
		return l
	}
	return tensor.Sub(l, tensor.Scale(logSigmoid(x, -a), epsilon))
}

// hinge: the margin of βΔ is 1, and pairs beyond it give no gradient.
func hinge(p Pairs, o PreferenceOptions) *tensor.Tensor {
	return mean(tensor.Unary(device.ReLU, tensor.Affine(p.gap(), -o.Beta, 1)), o.Pairs)
}

// ipo: log-ratios per token, so that long answers do not weigh more, as TRL has it; the paper's Δ is ipoSum's.
func ipo(p Pairs, o PreferenceOptions) *tensor.Tensor {
	chosen := perToken(tensor.Sub(p.Chosen, p.RefChosen), p.ChosenTokens)
	rejected := perToken(tensor.Sub(p.Rejected, p.RefRejected), p.RejectedTokens)
	return mean(toMargin(tensor.Sub(chosen, rejected), o.Beta), o.Pairs)
}

// ipoSum: Δ by whole answers, as the paper has it.
func ipoSum(p Pairs, o PreferenceOptions) *tensor.Tensor {
	return mean(toMargin(p.gap(), o.Beta), o.Pairs)
}

// toMargin is (x - 1/(2β))².
func toMargin(x *tensor.Tensor, beta float32) *tensor.Tensor {
	return tensor.Unary(device.Square, tensor.Affine(x, 1, -1/(2*beta)))
}

// robust: as if each label were flipped with probability ε and the loss were made unbiased for that;
// ε is below ½, or 1-2ε vanishes.
func robust(p Pairs, o PreferenceOptions) *tensor.Tensor {
	gap, e := p.gap(), o.Smoothing
	l := tensor.Add(tensor.Scale(logSigmoid(gap, o.Beta), e-1), tensor.Scale(logSigmoid(gap, -o.Beta), e))
	return mean(tensor.Scale(l, 1/(1-2*e)), o.Pairs)
}

// simpo: no reference, so the margin γ takes its place.
func simpo(p Pairs, o PreferenceOptions) *tensor.Tensor {
	gap := tensor.Sub(perToken(p.Chosen, p.ChosenTokens), perToken(p.Rejected, p.RejectedTokens))
	return mean(smoothed(tensor.Affine(gap, o.Beta, -o.Gamma), 1, o.Smoothing), o.Pairs)
}

// orpo: log-odds of a probability P = e^x per token are x - log(1 - e^x).
func orpo(p Pairs, o PreferenceOptions) *tensor.Tensor {
	chosen, rejected := perToken(p.Chosen, p.ChosenTokens), perToken(p.Rejected, p.RejectedTokens)
	odds := tensor.Sub(tensor.Sub(chosen, rejected), tensor.Sub(log1mExp(chosen), log1mExp(rejected)))
	likelihood := tensor.Scale(tensor.Sum(p.Chosen), -1/float32(o.Tokens))
	return tensor.Sub(likelihood, tensor.Scale(mean(logSigmoid(odds, 1), o.Pairs), o.Beta))
}

// log1mExp is log(1 - e^x) for x < 0; nearer to 0 than nearest, as of an answer that the model is certain of,
// it stays finite.
func log1mExp(x *tensor.Tensor) *tensor.Tensor {
	const nearest = 1e-6
	x = tensor.Min(x, x.Tape().Constant(slices.Repeat([]float32{-nearest}, x.Len()), x.Shape...))
	return tensor.Unary(device.Log, tensor.Affine(tensor.Unary(device.Exp, x), -1, 1))
}

// Unpaired are answers that are each good or bad on their own, for KTO: log-probabilities [S, 1] summed over tokens.
type Unpaired struct {
	LogProbs, Ref *tensor.Tensor
	Desirable     []bool
	KL            float32 // mean of log π/π_ref over answers put to prompts that are not theirs, at least 0; no gradient passes
}

// KTOOptions are the constants of KTO, with TRL's names.
type KTOOptions struct {
	Beta                float32
	Desirable, Unwanted float32 // desirable_weight and undesirable_weight
	Examples            int     // of the whole batch
}

// KTO is the loss of Ethayarajh et al. (2024, eq. 7) as TRL's KTOTrainer has it, a mean over examples:
//
//	Desirable·(1 - σ(β·(log π/π_ref - KL)))    of good answers
//	Unwanted·(1 - σ(β·(KL - log π/π_ref)))     of the others
func KTO(u Unpaired, o KTOOptions) *tensor.Tensor {
	n := len(u.Desirable)
	sign, weight := make([]float32, n), make([]float32, n)
	for i, good := range u.Desirable {
		sign[i], weight[i] = -o.Beta, o.Unwanted
		if good {
			sign[i], weight[i] = o.Beta, o.Desirable
		}
	}
	t := u.LogProbs.Tape()
	over := tensor.Affine(tensor.Sub(u.LogProbs, u.Ref), 1, -u.KL)
	// 1 - σ(x) is σ(-x).
	l := tensor.Unary(device.Sigmoid, tensor.Scale(tensor.Mul(over, t.Constant(sign, n, 1)), -1))
	return mean(tensor.Mul(l, t.Constant(weight, n, 1)), o.Examples)
}
