package cpu

import (
	"fmt"
	"math"

	"hone/device"
	"hone/device/cpu/vec"
)

// crossEntropy is one call of CrossEntropy with its operands viewed.
type crossEntropy struct {
	v, ld                   int
	logits                  []float32
	targets                 []int32
	loss, entropy           []float32
	weights, entropyWeights []float32
	grad                    vec.Floats
	hasGrad                 bool
	zLoss, smoothing        float64
	path                    vec.Path
}

// CrossEntropy computes loss, entropy and gradient of rows of logits. A row is read once for its
// maximum and sums (a running maximum rescales them piece by piece) and once for the gradient.
//
// With d = x-z, p = exp(d), t = (1-s)·onehot + s/V and H the entropy, a row's gradient is
//
//	w·((1+2·ZLoss·z)·p - t) - e·p·(d + H)
//
// where w and e are the row's Weights and EntropyWeights.
func (d *Device) CrossEntropy(k device.CrossEntropy) {
	n := k.Targets.Len
	const op = "CrossEntropy"
	ld := k.Stride()
	if k.V <= 0 || ld < k.V {
		panic(fmt.Sprintf("cpu: CrossEntropy with %d columns, %d from a row to the next", k.V, ld))
	}
	c := crossEntropy{
		v: k.V, ld: ld, logits: f32sOf(op, k.Logits, n*ld), targets: i32s(k.Targets),
		loss: f32sOf(op, k.Loss, n), entropy: optionalF32s(op, k.Entropy, n),
		weights: optionalF32s(op, k.Weights, n), entropyWeights: optionalF32s(op, k.EntropyWeights, n),
		zLoss: float64(k.ZLoss), smoothing: float64(k.Smoothing), path: d.path,
	}
	for i, t := range c.targets {
		if int(t) >= k.V {
			panic(fmt.Sprintf("cpu: CrossEntropy with target %d in row %d of %d columns", t, i, k.V))
		}
	}
	if !k.DLogits.IsZero() {
		c.grad, c.hasGrad = d.floats(op, k.DLogits, n*ld), true
	}
	d.eachRows(n, k.V, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			c.row(i)
		}
	})
}

// row handles row i.
func (c *crossEntropy) row(i int) {
	t := int(c.targets[i])
	if t < 0 {
		c.skip(i)
		return
	}
	x := c.logits[i*c.ld:][:c.v]
	m := rowMoments(c.path, x, c.entropy != nil || c.entropyWeights != nil)
	z := m.lse()
	loss := z - float64(x[t])
	if c.smoothing != 0 {
		mean := rowMean(c.path, x)
		loss = z - (1-c.smoothing)*float64(x[t]) - c.smoothing*mean
	}
	c.loss[i] = float32(loss + c.zLoss*z*z)
	if c.entropy != nil {
		c.entropy[i] = float32(m.entropy())
	}
	if c.hasGrad {
		c.gradient(i, t, m)
	}
}

// skip handles a row without a target.
func (c *crossEntropy) skip(i int) {
	c.loss[i] = 0
	if c.entropy != nil {
		c.entropy[i] = 0
	}
	if !c.hasGrad {
		return
	}
	if c.grad.H != nil {
		clear(c.grad.H[i*c.ld:][:c.v])
	} else {
		clear(c.grad.F[i*c.ld:][:c.v])
	}
}

// gradient writes row i of DLogits. exp is taken of x-max, as in the forward
// pass, and 1/sum goes into the coefficients: x-z would lose the low bits of z.
func (c *crossEntropy) gradient(i, target int, m moments) {
	w, e := 1.0, 0.0
	if c.weights != nil {
		w = float64(c.weights[i])
	}
	if c.entropyWeights != nil {
		e = float64(c.entropyWeights[i])
	}
	a := w * (1 + 2*c.zLoss*m.lse())
	if e != 0 {
		a += e * (math.Log(m.sum) - m.entropy())
	}
	g := vec.SoftmaxGrad{
		Sub: m.max, A: float32(a / m.sum), B: float32(-e / m.sum),
		C: float32(-w * c.smoothing / float64(c.v)),
	}
	var buf chunk
	row := i * c.ld
	for lo := 0; lo < c.v; lo += vec.Chunk {
		hi := min(lo+vec.Chunk, c.v)
		y := c.grad.Out(row+lo, row+hi, buf[:])
		c.path.SoftmaxGrad(y, c.logits[row+lo:row+hi], g)
		if lo <= target && target < hi {
			y[target-lo] -= float32(w * (1 - c.smoothing))
		}
		c.grad.Store(row+lo, y)
	}
}

// moments are Σ exp(x-max) and Σ exp(x-max)·(x-max) of a row.
type moments struct {
	max           float32
	sum, weighted float64
}

// lse is the log-sum-exp of the row.
func (m *moments) lse() float64 { return float64(m.max) + math.Log(m.sum) }

// entropy is that of softmax(x); weighted must have been computed.
func (m *moments) entropy() float64 { return math.Log(m.sum) - m.weighted/m.sum }

// rowMoments reads x once; weighted is computed only when asked for.
func rowMoments(path vec.Path, x []float32, weighted bool) moments {
	m := moments{max: float32(math.Inf(-1))}
	var buf chunk
	for lo := 0; lo < len(x); lo += vec.Chunk {
		v := x[lo:min(lo+vec.Chunk, len(x))]
		top := path.Max(v)
		if top == float32(math.Inf(-1)) && lo+vec.Chunk < len(x) {
			continue // nothing but -Inf: adds 0 unless the whole row is
		}
		if !(top <= m.max) { // also when it is NaN
			m.rescale(top)
		}
		if !weighted {
			m.sum += float64(path.ExpSum(buf[:len(v)], v, m.max))
			continue
		}
		s, w := path.ExpMoments(v, m.max)
		m.sum += float64(s)
		m.weighted += float64(w)
	}
	return m
}

// rescale moves the sums to a new maximum.
func (m *moments) rescale(top float32) {
	if m.sum != 0 {
		shift := float64(m.max) - float64(top)
		f := math.Exp(shift)
		m.weighted = f * (m.weighted + shift*m.sum)
		m.sum *= f
	}
	m.max = top
}

// rowMean is the mean of x.
func rowMean(path vec.Path, x []float32) float64 {
	var s float64
	for lo := 0; lo < len(x); lo += vec.Piece {
		s += float64(path.Sum(x[lo:min(lo+vec.Piece, len(x))]))
	}
	return s / float64(len(x))
}
