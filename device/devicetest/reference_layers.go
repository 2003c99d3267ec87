package devicetest

import (
	"fmt"
	"math"

	"hone/device"
)

// weight is the effective weight of channel c: 1 when there is none.
func weight(w []float64, offset float32, c int) float64 {
	if w == nil {
		return 1
	}
	return w[c] + float64(offset)
}

// Norm is RMSNorm or LayerNorm of each row.
func (r *Reference) Norm(a device.Norm) {
	x, y, w, b := floats(a.X), floats(a.Y), floats(a.Weight), floats(a.Bias)
	for n := range len(x) / a.C {
		row := x[n*a.C : (n+1)*a.C]
		mean := 0.0
		if a.Center {
			for _, v := range row {
				mean += v / float64(a.C)
			}
		}
		variance := 0.0
		for _, v := range row {
			variance += (v - mean) * (v - mean) / float64(a.C)
		}
		rstd := 1 / math.Sqrt(variance+float64(a.Eps))
		for c, v := range row {
			out := (v - mean) * rstd * weight(w, a.WeightOffset, c)
			if b != nil {
				out += b[c]
			}
			y[n*a.C+c] = out
		}
		if !a.Mean.IsZero() {
			floats(a.Mean)[n] = mean
		}
		if !a.Rstd.IsZero() {
			floats(a.Rstd)[n] = rstd
		}
	}
}

// NormGrad is the gradient of Norm: with x̂ = (x-mean)·rstd and g = dy·w,
// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)), without mean(g) for RMSNorm.
func (r *Reference) NormGrad(a device.NormGrad) {
	x, dy, dx, w := floats(a.X), floats(a.DY), floats(a.DX), floats(a.Weight)
	dw, db := make([]float64, a.C), make([]float64, a.C)
	for n := range len(x) / a.C {
		mean, rstd := 0.0, floats(a.Rstd)[n]
		if a.Center {
			mean = floats(a.Mean)[n]
		}
		var sumG, sumGX float64
		for c := range a.C {
			xhat, d := (x[n*a.C+c]-mean)*rstd, dy[n*a.C+c]
			g := d * weight(w, a.WeightOffset, c)
			sumG += g / float64(a.C)
			sumGX += g * xhat / float64(a.C)
			dw[c] += d * xhat
			db[c] += d
		}
		if !a.Center {
			sumG = 0
		}
		for c := range a.C {
			i := n*a.C + c
			g := dy[i] * weight(w, a.WeightOffset, c)
			store(&dx[i], rstd*(g-sumG-(x[i]-mean)*rstd*sumGX), a.AccX)
		}
	}
	storeAll(a.DWeight, dw, a.AccW)
	storeAll(a.DBias, db, a.AccW)
}

// storeAll writes v to an optional buffer.
func storeAll(y device.Buffer, v []float64, acc bool) {
	for i := range floats(y) {
		store(&floats(y)[i], v[i], acc)
	}
}

// Rope rotates pairs (i, i+Rotary/2) of each head.
func (r *Reference) Rope(a device.Rope) {
	x, y, half := floats(a.X), floats(a.Y), a.Rotary/2
	cosines, sines := floats(a.Cos), floats(a.Sin)
	width := a.Heads * a.D
	for n := range len(x) / width {
		angle := int(ints(a.Positions)[n]) * half
		for h := range a.Heads {
			row := n*width + h*a.D
			for i := range half {
				cos, sin := cosines[angle+i], sines[angle+i]
				if a.Inverse {
					sin = -sin
				}
				u, v := x[row+i], x[row+i+half]
				y[row+i], y[row+i+half] = u*cos-v*sin, v*cos+u*sin
			}
			for i := a.Rotary; i < a.D; i++ {
				y[row+i] = x[row+i]
			}
		}
	}
}

// probabilities are the softmax weights of query i of s in head h over all its
// keys (zero where hidden), with the derivative of each score by q·k, and the
// log-sum-exp of the scores.
func probabilities(a device.Attention, s device.Sequence, h, i int) (p, ds []float64, lse float64) {
	qStride, kvStride := a.Strides()
	q, kv := head(a.Q, s.Q+i, h, qStride, a.D), h*a.KVHeads/a.Heads
	p, ds = make([]float64, s.KLen), make([]float64, s.KLen)
	last := s.KLen - s.QLen + i
	first := 0
	if a.Window > 0 {
		first = max(0, last-a.Window+1)
	}
	highest := math.Inf(-1)
	for j := first; j <= last; j++ {
		p[j] = float64(a.Scale) * dot(q, head(a.K, s.K+j, kv, kvStride, a.D))
		ds[j] = float64(a.Scale)
		if a.SoftCap > 0 {
			t := math.Tanh(p[j] / float64(a.SoftCap))
			p[j] = float64(a.SoftCap) * t
			ds[j] *= 1 - t*t
		}
		highest = max(highest, p[j])
	}
	sum := 0.0
	for j := first; j <= last; j++ {
		p[j] = math.Exp(p[j] - highest)
		sum += p[j]
	}
	for j := first; j <= last; j++ {
		p[j] /= sum
	}
	return p, ds, highest + math.Log(sum)
}

// head is the d channels of head h in one row of a matrix whose rows are stride apart.
func head(b device.Buffer, row, h, stride, d int) []float64 {
	at := row*stride + h*d
	return floats(b)[at : at+d]
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// eachQuery calls f for all heads and queries of all sequences, in order.
func eachQuery(a device.Attention, f func(s device.Sequence, h, i int)) {
	for _, s := range a.Sequences {
		if s.KLen < s.QLen {
			panic(fmt.Sprintf("reference: a sequence of %d queries and %d keys", s.QLen, s.KLen))
		}
		for h := range a.Heads {
			for i := range s.QLen {
				f(s, h, i)
			}
		}
	}
}

// Attention computes softmax(Scale·Q·Kᵀ + mask)·V.
func (r *Reference) Attention(a device.Attention) {
	_, stride := a.Strides()
	eachQuery(a, func(s device.Sequence, h, i int) {
		p, _, lse := probabilities(a, s, h, i)
		o := head(a.O, s.Q+i, h, a.Heads*a.D, a.D)
		fill(o, 0)
		for j, w := range p {
			if w == 0 {
				continue // a hidden key must not pass its NaN on
			}
			for c, v := range head(a.V, s.K+j, h*a.KVHeads/a.Heads, stride, a.D) {
				o[c] += w * v
			}
		}
		if !a.LSE.IsZero() {
			floats(a.LSE)[(s.Q+i)*a.Heads+h] = lse
		}
	})
}

// AttentionGrad is the gradient of Attention; it recomputes all probabilities
// and does not look at O and LSE.
func (r *Reference) AttentionGrad(a device.AttentionGrad) {
	qStride, kvStride := a.Strides()
	for _, s := range a.Sequences {
		clearRows(a.DQ, s.Q, s.QLen, a.Heads*a.D, qStride)
		clearRows(a.DK, s.K, s.KLen, a.KVHeads*a.D, kvStride)
		clearRows(a.DV, s.K, s.KLen, a.KVHeads*a.D, kvStride)
	}
	eachQuery(a.Attention, func(s device.Sequence, h, i int) {
		p, ds, _ := probabilities(a.Attention, s, h, i)
		kv := h * a.KVHeads / a.Heads
		q, do, dq := head(a.Q, s.Q+i, h, qStride, a.D), head(a.DO, s.Q+i, h, a.Heads*a.D, a.D), head(a.DQ, s.Q+i, h, qStride, a.D)
		delta, dp := 0.0, make([]float64, s.KLen)
		for j, w := range p {
			if w != 0 {
				dp[j] = dot(do, head(a.V, s.K+j, kv, kvStride, a.D))
				delta += w * dp[j]
			}
		}
		for j, w := range p {
			if w == 0 {
				continue
			}
			g := w * (dp[j] - delta) * ds[j] // by q·k
			k, dk, dv := head(a.K, s.K+j, kv, kvStride, a.D), head(a.DK, s.K+j, kv, kvStride, a.D), head(a.DV, s.K+j, kv, kvStride, a.D)
			for c := range a.D {
				dq[c] += g * k[c]
				dk[c] += g * q[c]
				dv[c] += w * do[c]
			}
		}
	})
}

func clearRows(b device.Buffer, row, rows, width, stride int) {
	for r := row; r < row+rows; r++ {
		fill(floats(b)[r*stride:r*stride+width], 0)
	}
}

// Embedding copies rows of the table.
func (r *Reference) Embedding(y, table, ids device.Buffer) {
	c, rows, out := y.Len/max(ids.Len, 1), floats(table), floats(y)
	for n, id := range ints(ids) {
		copy(out[n*c:(n+1)*c], rows[int(id)*c:(int(id)+1)*c])
	}
}

// EmbeddingGrad adds rows to those of the table.
func (r *Reference) EmbeddingGrad(dtable, dy, ids device.Buffer) {
	c, grads, rows := dy.Len/max(ids.Len, 1), floats(dy), floats(dtable)
	for n, id := range ints(ids) {
		for j := range c {
			rows[int(id)*c+j] += grads[n*c+j]
		}
	}
}

// CrossEntropy computes losses, entropies and gradients of rows of logits.
func (r *Reference) CrossEntropy(a device.CrossEntropy) {
	optional := func(b device.Buffer, n int, absent float64) float64 {
		if b.IsZero() {
			return absent
		}
		return floats(b)[n]
	}
	for n, target := range ints(a.Targets) {
		x := floats(a.Logits)[n*a.Stride():][:a.V]
		loss, entropy, dloss, dentropy := crossEntropyRow(a, x, int(target))
		floats(a.Loss)[n] = loss
		if !a.Entropy.IsZero() {
			floats(a.Entropy)[n] = entropy
		}
		if a.DLogits.IsZero() {
			continue
		}
		w, we := optional(a.Weights, n, 1), optional(a.EntropyWeights, n, 0)
		dx := floats(a.DLogits)[n*a.Stride():][:a.V]
		for j := range x {
			dx[j] = 0
			if target >= 0 {
				dx[j] = w*dloss[j] + we*dentropy[j]
			}
		}
	}
}

func crossEntropyRow(a device.CrossEntropy, x []float64, target int) (loss, entropy float64, dloss, dentropy []float64) {
	if target < 0 {
		return 0, 0, nil, nil
	}
	highest := math.Inf(-1)
	for _, v := range x {
		highest = max(highest, v)
	}
	sum, sumX := 0.0, 0.0
	for _, v := range x {
		sum += math.Exp(v - highest)
		sumX += v
	}
	z := highest + math.Log(sum)
	expected := 0.0 // Σ softmax(x)·x
	for _, v := range x {
		if p := math.Exp(v - z); p != 0 { // a logit of -Inf adds nothing
			expected += p * v
		}
	}
	s, zl := float64(a.Smoothing), float64(a.ZLoss)
	loss = z - (1-s)*x[target] - s*sumX/float64(a.V) + zl*z*z
	entropy = z - expected
	dloss, dentropy = make([]float64, a.V), make([]float64, a.V)
	for j, v := range x {
		p := math.Exp(v - z)
		dloss[j] = p*(1+2*zl*z) - s/float64(a.V)
		if j == target {
			dloss[j] -= 1 - s
		}
		if p != 0 {
			dentropy[j] = -p * (v - expected)
		}
	}
	return loss, entropy, dloss, dentropy
}
