package devicetest

import (
	"fmt"
	"math"

	"hone/device"
)

// Fill sets every element of y to v.
func (r *Reference) Fill(y device.Buffer, v float32) {
	switch y.DType {
	case device.I32:
		fill(ints(y), int32(v))
	case device.U8:
		fill(bytes(y), uint8(v))
	default:
		fill(floats(y), float64(v))
	}
}

// store writes v to *y, added when acc.
func store(y *float64, v float64, acc bool) {
	if acc {
		v += *y
	}
	*y = v
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// gelu is the tanh form: x/2·(1+tanh(u)) with u = √(2/π)·(x+0.044715x³), and its derivative.
func gelu(x float64) (y, dy float64) {
	c := math.Sqrt(2 / math.Pi)
	t := math.Tanh(c * (x + 0.044715*x*x*x))
	return x / 2 * (1 + t), (1+t)/2 + x/2*(1-t*t)*c*(1+3*0.044715*x*x)
}

// unary is op(x) and its derivative.
func unary(op device.UnaryOp, x float64) (y, dy float64) {
	switch op {
	case device.Identity:
		return x, 1
	case device.SiLU:
		s := sigmoid(x)
		return x * s, s * (1 + x*(1-s))
	case device.GELU:
		return gelu(x)
	case device.GELUErf:
		cdf := (1 + math.Erf(x/math.Sqrt2)) / 2
		return x * cdf, cdf + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case device.ReLU:
		switch {
		case x > 0:
			return x, 1
		case x <= 0:
			return 0, 0
		}
		return x, x // NaN passes through
	case device.Tanh:
		t := math.Tanh(x)
		return t, 1 - t*t
	case device.Sigmoid:
		s := sigmoid(x)
		return s, s * (1 - s)
	case device.Exp:
		return math.Exp(x), math.Exp(x)
	case device.Log:
		return math.Log(x), 1 / x
	case device.Square:
		return x * x, 2 * x
	case device.LogSigmoid:
		return math.Min(x, 0) - math.Log1p(math.Exp(-math.Abs(x))), sigmoid(-x)
	}
	panic(fmt.Sprintf("reference: unary op %d", op))
}

// Unary computes y = op(x).
func (r *Reference) Unary(op device.UnaryOp, y, x device.Buffer) {
	same("Unary", y.Len, x.Len)
	out := floats(y)
	for i, v := range floats(x) {
		out[i], _ = unary(op, v)
	}
}

// UnaryGrad computes dx (+)= op'(x)·dy.
func (r *Reference) UnaryGrad(op device.UnaryOp, dx, x, dy device.Buffer, acc bool) {
	same("UnaryGrad", dx.Len, x.Len)
	same("UnaryGrad", dx.Len, dy.Len)
	out, grad := floats(dx), floats(dy)
	for i, v := range floats(x) {
		_, d := unary(op, v)
		store(&out[i], d*grad[i], acc)
	}
}

// UnaryBoth computes y = op(x) and dy = op'(x)·dy.
func (r *Reference) UnaryBoth(op device.UnaryOp, y, dy, x device.Buffer) {
	r.Unary(op, y, x)
	r.UnaryGrad(op, dy, x, dy, false)
}

func binary(op device.BinaryOp, a, b float64) float64 {
	switch op {
	case device.Add:
		return a + b
	case device.Sub:
		return a - b
	case device.Mul:
		return a * b
	case device.Div:
		return a / b
	case device.Max:
		return max(a, b) // NaN when either is, unlike math.Max with an Inf
	case device.Min:
		return min(a, b)
	}
	panic(fmt.Sprintf("reference: binary op %d", op))
}

// Binary computes y = a op b.
func (r *Reference) Binary(op device.BinaryOp, y, a, b device.Buffer) {
	same("Binary", y.Len, a.Len)
	same("Binary", y.Len, b.Len)
	out, right := floats(y), floats(b)
	for i, v := range floats(a) {
		out[i] = binary(op, v, right[i])
	}
}

// AddScaled computes y += a·x.
func (r *Reference) AddScaled(y device.Buffer, a float32, x device.Buffer) {
	same("AddScaled", y.Len, x.Len)
	out := floats(y)
	for i, v := range floats(x) {
		out[i] += float64(a) * v
	}
}

// Scale computes y *= a.
func (r *Reference) Scale(y device.Buffer, a float32) {
	out := floats(y)
	for i := range out {
		out[i] *= float64(a)
	}
}

// Gated computes y = act(gate)·up.
func (r *Reference) Gated(act device.UnaryOp, y, gate, up device.Buffer) {
	same("Gated", y.Len, gate.Len)
	same("Gated", y.Len, up.Len)
	out, other := floats(y), floats(up)
	for i, g := range floats(gate) {
		a, _ := unary(act, g)
		out[i] = a * other[i]
	}
}

// GatedGrad computes dgate = act'(gate)·up·dy and dup = act(gate)·dy.
func (r *Reference) GatedGrad(act device.UnaryOp, dgate, dup, gate, up, dy device.Buffer) {
	for _, b := range []device.Buffer{dup, gate, up, dy} {
		same("GatedGrad", dgate.Len, b.Len)
	}
	ups, grads, outGate, outUp := floats(up), floats(dy), floats(dgate), floats(dup)
	for i, g := range floats(gate) {
		a, da := unary(act, g)
		u, d := ups[i], grads[i]
		outGate[i] = da * u * d
		outUp[i] = a * d
	}
}

// GatedBoth computes y = act(gate)·up, dgate = act'(gate)·up·dy and dy = act(gate)·dy.
func (r *Reference) GatedBoth(act device.UnaryOp, y, dgate, dy, gate, up device.Buffer) {
	r.Gated(act, y, gate, up)
	r.GatedGrad(act, dgate, dy, gate, up, dy)
}

// Copy2D copies a matrix between row strides.
func (r *Reference) Copy2D(c device.Copy2D) {
	dst, src := floats(c.Dst), floats(c.Src)
	for i := range c.Rows {
		for j := range c.Cols {
			store(&dst[i*c.DstStride+j], src[i*c.SrcStride+j], c.Acc)
		}
	}
}

// RandomBits is the random number of element i under key that device.Kernels.Dropout defines.
func RandomBits(key, i uint64) uint32 {
	z := key + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	k := z ^ z>>31
	return murmurMix(murmurMix(uint32(i)^uint32(k)) + (uint32(k>>32) ^ uint32(i>>32)))
}

func murmurMix(x uint32) uint32 {
	x = (x ^ x>>16) * 0x85ebca6b
	x = (x ^ x>>13) * 0xc2b2ae35
	return x ^ x>>16
}

// Dropout keeps the elements whose random number is at least p·2³², scaled by 1/(1-p).
func (r *Reference) Dropout(y, x device.Buffer, p float32, key uint64) {
	same("Dropout", y.Len, x.Len)
	threshold := uint32(float64(p) * (1 << 32))
	out := floats(y)
	for i, v := range floats(x) {
		if RandomBits(key, uint64(i)) < threshold {
			v = 0
		}
		out[i] = v / (1 - float64(p))
	}
}

// Reduce computes one number from all of x.
func (r *Reference) Reduce(op device.ReduceOp, y, x device.Buffer) {
	sum := 0.0
	for _, v := range floats(x) {
		switch op {
		case device.Sum:
			sum += v
		case device.SumSquares:
			sum += v * v
		case device.MaxAbs:
			sum = max(sum, math.Abs(v))
		case device.NonFinite:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				sum++
			}
		default:
			panic(fmt.Sprintf("reference: reduce op %d", op))
		}
	}
	floats(y)[0] = sum
}

// ColumnSum computes y[c] (+)= Σ x[n, c].
func (r *Reference) ColumnSum(y, x device.Buffer, acc bool) {
	in, out, c := floats(x), floats(y), y.Len
	for j := range c {
		sum := 0.0
		for n := range x.Len / c {
			sum += in[n*c+j]
		}
		store(&out[j], sum, acc)
	}
}

// MatMul computes C (+)= op(A)·op(B) (+ Bias).
func (r *Reference) MatMul(m device.MatMul) {
	lda, ldb, ldc := orDense(m.LDA, m.K), orDense(m.LDB, m.N), orDense(m.LDC, m.N)
	if m.TransA {
		lda = orDense(m.LDA, m.M)
	}
	if m.TransB {
		ldb = orDense(m.LDB, m.K)
	}
	rowA, colA := steps(lda, m.TransA)
	rowB, colB := steps(ldb, m.TransB)
	sums := make([]float64, m.N)
	for p := range max(m.Batch, 1) {
		a, b, c := floats(m.A)[p*m.StrideA:], floats(m.B)[p*m.StrideB:], floats(m.C)[p*m.StrideC:]
		for i := range m.M {
			// the sums of a row grow side by side, each in the order of k: one after the other, every addition would wait for the one before it
			clear(sums)
			for k := range m.K {
				x, row := a[i*rowA+k*colA], k*rowB
				for j := range sums {
					sums[j] += x * b[row+j*colB]
				}
			}
			for j, sum := range sums {
				if !m.Bias.IsZero() {
					sum += floats(m.Bias)[j]
				}
				store(&c[i*ldc+j], sum, m.Accumulate)
			}
		}
	}
}

// steps are how far apart the rows and the columns of a matrix lie, or of its transpose.
func steps(ld int, trans bool) (row, col int) {
	if trans {
		return 1, ld
	}
	return ld, 1
}

func orDense(ld, dense int) int {
	if ld == 0 {
		return dense
	}
	return ld
}
