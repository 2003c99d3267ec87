package loss

import "math"

// EstimateKL is the estimate of one token, for a log-ratio d = log π - log π_ref.
func EstimateKL(estimator string, d float64) float64 {
	switch estimator {
	case K2:
		return d * d / 2
	case K3:
		return math.Expm1(-d) + d
	}
	return d
}

// GAE is generalised advantage estimation (Schulman et al., 2016, eq. 16) over the tokens of one answer, whose
// value after the end is 0. With rewards r, values V, advantages A and returns R
//
//	δ(t) = r(t) + γ·V(t+1) - V(t)    A(t) = δ(t) + γ·λ·A(t+1)    R(t) = A(t) + V(t)
func GAE(rewards, values []float64, gamma, lambda float64) (advantages, returns []float64) {
	advantages, returns = make([]float64, len(rewards)), make([]float64, len(rewards))
	next, ahead := 0.0, 0.0
	for t := len(rewards) - 1; t >= 0; t-- {
		ahead = rewards[t] + gamma*next - values[t] + gamma*lambda*ahead // backwards in time: next is V(t+1), ahead is A(t+1)
		next = values[t]
		advantages[t], returns[t] = ahead, ahead+values[t]
	}
	return advantages, returns
}

// Moments are the running mean and variance of numbers such as rewards, in one pass and without a difference
// of large sums (Welford, 1962). Its fields are what a checkpoint keeps.
type Moments struct {
	Count float64 `json:"count"`
	Mean  float64 `json:"mean"`
	M2    float64 `json:"m2"` // sum of squared differences from the mean
}

// Add counts more numbers in.
func (m *Moments) Add(values []float64) {
	for _, x := range values {
		m.Count++
		d := x - m.Mean
		m.Mean += d / m.Count
		m.M2 += d * (x - m.Mean)
	}
}

// Std is the standard deviation of n-1, 1 where it is not known.
func (m *Moments) Std() float64 {
	if m.Count < 2 || m.M2 == 0 {
		return 1
	}
	return math.Sqrt(m.M2 / (m.Count - 1))
}

// Whiten scales all numbers of the rows to unit variance and, with shift, to mean 0, as TRL's masked_whiten:
//
//	(x - mean)/sqrt(var + 1e-8) [+ mean, without shift]
//
// with the variance of n-1. It is over all rows at once, so that batches do not change it. Fewer than two
// numbers are left as they are.
func Whiten(rows [][]float64, shift bool) {
	var m Moments
	for _, row := range rows {
		m.Add(row)
	}
	if m.Count < 2 {
		return
	}
	scale := 1 / math.Sqrt(m.M2/(m.Count-1)+1e-8)
	for _, row := range rows {
		for i, x := range row {
			row[i] = (x - m.Mean) * scale
			if !shift {
				row[i] += m.Mean
			}
		}
	}
}

// KLControl is the coefficient of the KL penalty and how it changes. With Target 0 it is fixed. Its fields are what a
// checkpoint keeps.
type KLControl struct {
	Coefficient float64 `json:"coefficient"`
	Target      float64 `json:"target"`  // KL of an answer that the coefficient is steered to
	Horizon     float64 `json:"horizon"` // answers in which an error of 1 changes the coefficient by about a factor e
}

// Update steers the coefficient after n answers whose KL was kl on average (Ziegler et al., 2019, section 2.2):
// it grows by the factor 1 + clip(kl/target - 1, ±0.2)·n/horizon.
func (k *KLControl) Update(kl float64, n int) {
	if k.Target <= 0 {
		return
	}
	off := min(max(kl/k.Target-1, -0.2), 0.2)
	k.Coefficient *= 1 + off*float64(n)/k.Horizon
}

// The ways to scale the rewards of a group, TRL's scale_rewards: by the standard deviation of the group, by
// that of the batch, or not at all.
const (
	ScaleGroup = "group"
	ScaleBatch = "batch"
	ScaleNone  = "none"
)

// GroupAdvantages are the advantages of answers in groups of the same prompt, size answers each (Shao et al.,
// 2024, section 4.1.2, as TRL computes them, with the variance of n-1):
//
//	(r - mean of the group)/(std + 1e-4)
//
// Without the division they are those of Dr. GRPO (Liu et al., 2025). A group of equal rewards has advantages
// of exactly 0.
func GroupAdvantages(rewards []float64, size int, scale string) []float64 {
	out := make([]float64, len(rewards))
	var all Moments
	all.Add(rewards)
	for at := 0; at < len(rewards); at += size {
		group := rewards[at : at+size]
		if allEqual(group) { // the rounding of the mean, divided by 1e-4, would be an advantage
			continue
		}
		var m Moments
		m.Add(group)
		divisor := 1.0
		switch scale {
		case ScaleGroup:
			divisor = math.Sqrt(m.M2/max(m.Count-1, 1)) + 1e-4
		case ScaleBatch:
			divisor = math.Sqrt(all.M2/max(all.Count-1, 1)) + 1e-4
		}
		for i, r := range group {
			out[at+i] = (r - m.Mean) / divisor
		}
	}
	return out
}

// allEqual tells whether a group learns nothing: all of its rewards are the same.
func allEqual(group []float64) bool {
	for _, r := range group {
		if r != group[0] {
			return false
		}
	}
	return true
}

// LeaveOneOut are the advantages of RLOO (Ahmadian et al., 2024): each reward less the mean of the others of its group.
func LeaveOneOut(rewards []float64, size int) []float64 {
	out := make([]float64, len(rewards))
	for at := 0; at < len(rewards); at += size {
		group := rewards[at : at+size]
		if allEqual(group) {
			continue
		}
		sum := 0.0
		for _, r := range group {
			sum += r
		}
		for i, r := range group {
			out[at+i] = r - (sum-r)/float64(size-1)
		}
	}
	return out
}

// Correlation is that of Pearson of two lists of one length; NaN where one of them does not vary.
func Correlation(a, b []float64) float64 {
	n := float64(len(a))
	var ma, mb, ab, aa, bb float64
	for i := range a {
		ma += a[i] / n
		mb += b[i] / n
	}
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	if aa == 0 || bb == 0 {
		return math.NaN()
	}
	return ab / math.Sqrt(aa*bb)
}
