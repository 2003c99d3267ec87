package adapter

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// PiSSA (Meng et al., 2024) starts the update at the base's principal part: scale·B·A is the best approximation of
// the weight of its rank, and that part is taken off the base. Here the base stays as it is: where the update starts,
// A0 and B0, is kept and subtracted, which is the same and leaves the base untouched when the adapter is off.

// pissa tells how PiSSA decomposes: exactly, or by iterations of a random subspace; ok is false for other
// initial values.
func (c *Config) pissa() (iterations int, exact, ok bool, err error) {
	name, _ := c.InitLoraWeights.(string)
	if name == "pissa" {
		return 0, true, true, nil
	}
	after, found := strings.CutPrefix(name, "pissa_niter_")
	if !found {
		return 0, false, false, nil
	}
	n, err := strconv.Atoi(after)
	if err != nil || n < 0 {
		return 0, false, false, fmt.Errorf("init_lora_weights is %q; write pissa_niter_N with a number of iterations", name)
	}
	return n, false, true, nil
}

// startPrincipal computes where PiSSA starts. With fresh the matrices that are trained start there too.
func (l *LoRA) startPrincipal(dev device.Device, dtype device.DType, seed uint64, fresh bool) error {
	iterations, exact, ok, err := l.Config.pissa()
	if !ok || err != nil {
		return err
	}
	for i, p := range l.pairs {
		weight, _ := p.layer.Parameters()
		if weight.Packing() != device.Unpacked {
			return fmt.Errorf("init_lora_weights %v needs the base's weights in full, and those of %s are packed; "+
				"use method=lora or other initial values", l.Config.InitLoraWeights, l.layers[i].Name)
		}
		v, err := weight.Float32s()
		if err != nil {
			return fmt.Errorf("decompose %s: %w", l.layers[i].Name, err)
		}
		w := dense(v, weight.Shape)
		if p.layer.InFirst() {
			w = mat.DenseCopyOf(w.T())
		}
		r := p.A.Shape[0]
		var d decomposition
		if exact {
			d, ok = exactly(w)
		} else {
			random := tensor.NewRandomFor(seed, l.layers[i].Name)
			d, ok = subspace(w, r, iterations, &random)
		}
		if !ok || r > len(d.s) {
			return fmt.Errorf("the weight of %s has no decomposition of rank %d; lower r or use other initial values",
				l.layers[i].Name, r)
		}
		a, b := d.factors(r, float64(p.scale))
		p.origin(dev, dtype, a, b)
		if fresh {
			p.A.Write(a)
			p.B.Write(b)
		}
	}
	return nil
}

// origin keeps where the update starts.
func (p *pair) origin(dev device.Device, dtype device.DType, a, b []float32) {
	p.a0, p.b0 = tensor.NewParam(p.A.Shape...), tensor.NewParam(p.B.Shape...)
	for x, v := range map[*tensor.Tensor][]float32{p.a0: a, p.b0: b} {
		x.Set(dev, dtype, v)
		x.Freeze()
	}
}

// dense is a matrix [shape[0], shape[1]] in float64.
func dense(v []float32, shape []int) *mat.Dense {
	d := mat.NewDense(shape[0], shape[1], nil)
	for i, f := range v {
		d.RawMatrix().Data[i] = float64(f)
	}
	return d
}

// decomposition is u·diag(s)·vᵀ.
type decomposition struct {
	u, v mat.Dense
	s    []float64
}

// exactly is the singular value decomposition; ok is false where it does not converge, and of a weight that
// is not finite.
func exactly(w mat.Matrix) (d decomposition, ok bool) {
	var svd mat.SVD
	if !svd.Factorize(w, mat.SVDThin) {
		return d, false
	}
	svd.UTo(&d.u)
	svd.VTo(&d.v)
	d.s = svd.Values(nil)
	return d, !slices.ContainsFunc(d.s, func(s float64) bool { return math.IsNaN(s) || math.IsInf(s, 0) })
}

// subspace is the decomposition of w in r dimensions that iterations of a random start bring near its
// principal ones (Halko et al., 2011, algorithms 4.4 and 5.1), as torch.svd_lowrank has it.
func subspace(w *mat.Dense, r, iterations int, random *tensor.Random) (d decomposition, ok bool) {
	out, in := w.Dims()
	if r > min(out, in) {
		return d, false
	}
	start := make([]float32, in*r)
	random.Normal(start, 1)
	var y mat.Dense
	y.Mul(w, dense(start, []int{in, r}))
	q := basis(&y)
	// Each iteration multiplies by W·Wᵀ, which lets the large singular directions outgrow the others; the
	// basis keeps them apart from rounding.
	for range iterations {
		var z, y mat.Dense
		z.Mul(w.T(), q)
		y.Mul(w, basis(&z))
		q = basis(&y)
	}
	var small mat.Dense
	small.Mul(q.T(), w)
	if d, ok = exactly(&small); ok {
		var u mat.Dense
		u.Mul(q, &d.u)
		d.u = u
	}
	return d, ok
}

// basis is an orthonormal basis of the columns of y.
func basis(y *mat.Dense) *mat.Dense {
	var qr mat.QR
	qr.Factorize(y)
	rows, cols := y.Dims()
	var q mat.Dense
	qr.QTo(&q)
	return mat.DenseCopyOf(q.Slice(0, rows, 0, cols))
}

// factors are A [r, in] and B [out, r] with scale·B·A the first r parts: each singular value goes to both in
// equal shares, as its square root.
func (d *decomposition) factors(r int, scale float64) (a, b []float32) {
	out, _ := d.u.Dims()
	in, _ := d.v.Dims()
	a, b = make([]float32, r*in), make([]float32, out*r)
	for k := range r {
		// scale·B·A = u·s·vᵀ, so each of the two has sqrt(s/scale)
		root := math.Sqrt(d.s[k] / scale)
		for i := range in {
			a[k*in+i] = float32(root * d.v.At(i, k))
		}
		for o := range out {
			b[o*r+k] = float32(root * d.u.At(o, k))
		}
	}
	return a, b
}

// converted is the same update as an ordinary LoRA of twice the rank, A over A0 and B beside -B0, which every
// program can put on the base as it is, as PEFT's path_initial_model_for_weight_conversion does.
func (l *LoRA) converted(values func(nn.Named) ([]float32, error)) (*LoRA, func(nn.Named) ([]float32, error)) {
	c := l.Config
	grow := func(alpha float64) float64 {
		if c.UseRSLoRA {
			return alpha * math.Sqrt2
		}
		return 2 * alpha
	}
	// alpha grows with the rank so that the scale, alpha/r or alpha/√r, stays
	c.R, c.LoraAlpha, c.InitLoraWeights = 2*c.R, grow(c.LoraAlpha), true
	c.RankPattern, c.AlphaPattern = maps.Clone(c.RankPattern), maps.Clone(c.AlphaPattern)
	for name := range c.RankPattern {
		c.RankPattern[name] *= 2
	}
	for name := range c.AlphaPattern {
		c.AlphaPattern[name] = grow(c.AlphaPattern[name])
	}
	twice := &LoRA{Config: c, own: l.own, layers: l.layers, tied: l.tied}
	joined := map[*nn.Param]func() ([]float32, error){}
	for i, p := range l.pairs {
		r, in, out := p.A.Shape[0], p.A.Shape[1], p.B.Shape[0]
		q := &pair{A: nn.NewParam(nn.Init{}, 2*r, in), B: nn.NewParam(nn.Init{}, out, 2*r)}
		twice.pairs = append(twice.pairs, q)
		name := prefix + l.layers[i].Name
		joined[q.A] = func() ([]float32, error) {
			return join(values, nn.Named{Name: name + ".lora_A.weight", Param: p.A}, p.a0, 1, 1)
		}
		joined[q.B] = func() ([]float32, error) {
			return join(values, nn.Named{Name: name + ".lora_B.weight", Param: p.B}, p.b0, out, -1)
		}
	}
	return twice, func(p nn.Named) ([]float32, error) {
		if f, ok := joined[p.Param]; ok {
			return f()
		}
		return values(p)
	}
}

// join puts the rows of p, of which there are n, beside those of its origin times sign.
func join(values func(nn.Named) ([]float32, error), p nn.Named, origin *tensor.Tensor, n int, sign float32) ([]float32, error) {
	now, err := values(p)
	if err != nil {
		return nil, err
	}
	then, err := origin.Float32s()
	for i := range then {
		then[i] *= sign
	}
	both := make([]float32, 0, 2*len(now))
	for row := range n {
		w := len(now) / n
		both = append(append(both, now[row*w:(row+1)*w]...), then[row*w:(row+1)*w]...)
	}
	return both, err
}
