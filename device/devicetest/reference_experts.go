package devicetest

import (
	"math"
	"slices"

	"hone/device"
)

// Route sorts each row's experts by their logits, stably.
func (r *Reference) Route(a device.Route) {
	logits, index, weights := floats(a.Logits), ints(a.Index), floats(a.Weights)
	sum := make([]float64, a.E)
	for n := range len(logits) / a.E {
		row, order := logits[n*a.E:(n+1)*a.E], make([]int, a.E)
		for e := range order {
			order[e] = e
		}
		slices.SortStableFunc(order, func(x, y int) int {
			switch u, v := row[x], row[y]; {
			case u > v || u != u && v == v:
				return -1
			case v > u || v != v && u == u:
				return 1
			}
			return 0
		})
		picked := make([]float64, a.K)
		for i, e := range order[:a.K] {
			index[n*a.K+i], picked[i] = int32(e), row[e]
		}
		copy(weights[n*a.K:], softmax(picked))
		for e, p := range softmax(row) {
			sum[e] += p
		}
	}
	storeAll(a.ProbSum, sum, false)
}

func softmax(x []float64) []float64 {
	p, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		p[i] = math.Exp(v - slices.Max(x))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// softmaxGrad is the gradient of x for p = softmax(x) and the gradient dp of p.
func softmaxGrad(p, dp []float64) []float64 {
	mean, dx := 0.0, make([]float64, len(p))
	for i, v := range p {
		mean += v * dp[i]
	}
	for i, v := range p {
		dx[i] = v * (dp[i] - mean)
	}
	return dx
}

// RouteGrad is the gradient of Route.
func (r *Reference) RouteGrad(a device.RouteGrad) {
	logits, dlogits, index := floats(a.Logits), floats(a.DLogits), ints(a.Index)
	for n := range len(logits) / a.E {
		row := dlogits[n*a.E : (n+1)*a.E]
		clear(row)
		if dp := floats(a.DProbSum); dp != nil {
			copy(row, softmaxGrad(softmax(logits[n*a.E:(n+1)*a.E]), dp))
		}
		at, to := n*a.K, (n+1)*a.K
		for i, d := range softmaxGrad(floats(a.Weights)[at:to], floats(a.DWeights)[at:to]) {
			row[index[at+i]] += d
		}
	}
}

// share is the weight of the j-th index.
func share(w []float64, j int) float64 {
	if w == nil {
		return 1
	}
	return w[j]
}

// Combine adds rows up.
func (r *Reference) Combine(a device.Combine) {
	x, y, w := floats(a.X), floats(a.Y), floats(a.Weights)
	clear(y)
	for j, row := range ints(a.Index) {
		for c := range a.C {
			y[j/a.K*a.C+c] += share(w, j) * x[int(row)*a.C+c]
		}
	}
}

// CombineGrad is the gradient of Combine.
func (r *Reference) CombineGrad(a device.CombineGrad) {
	x, w, dy, dx, dw := floats(a.X), floats(a.Weights), floats(a.DY), floats(a.DX), floats(a.DWeights)
	for j, row := range ints(a.Index) {
		sum := 0.0
		for c := range a.C {
			d := dy[j/a.K*a.C+c]
			sum += d * x[int(row)*a.C+c]
			dx[int(row)*a.C+c] = share(w, j) * d
		}
		if dw != nil {
			dw[j] = sum
		}
	}
}
