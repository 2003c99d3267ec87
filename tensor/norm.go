package tensor

import "hone/device"

// RMSNorm computes x/sqrt(mean(x²)+eps)·(offset+w) for each row (Zhang & Sennrich, 2019), or for each head of it:
// x [N, C] or [N, H*D], w [C] or [D]. offset is 0, or 1 for checkpoints that store w-1.
func RMSNorm(x, w *Tensor, eps, offset float32) *Tensor {
	return norm("RMSNorm", x, w, nil, device.Norm{Eps: eps, WeightOffset: offset})
}

// LayerNorm computes (x-mean)/sqrt(var+eps)·w + b for each row (Ba et al., 2016), or for each head of it: x [N, C] or
// [N, H*D], w and b [C] or [D]; b may be nil.
func LayerNorm(x, w, b *Tensor, eps float32) *Tensor {
	return norm("LayerNorm", x, w, b, device.Norm{Eps: eps, Center: true})
}

// norm is either of the two; k.C, the width of what is normalised, is that of w.
func norm(op string, x, w, b *Tensor, k device.Norm) *Tensor {
	t := tapeOf(op, x)
	k.C = w.Len()
	check(x.Cols()%k.C == 0, op, "weight %v does not match rows of %v", w, x)
	y := t.empty(x.dtype, x.Shape...)
	l, recorded := normed{k: k, x: x, w: w, b: b}, t.wants(x, w, b)
	if recorded {
		l.rstd = t.empty(device.F32, x.Len()/k.C)
	}
	if recorded && k.Center {
		l.mean = t.empty(device.F32, x.Len()/k.C)
	}
	l.compute(y)
	if recorded {
		l.record(y)
	}
	return y
}

// normed is one norm: its settings, and the tensors beside its output. Only rstd = 1/sqrt(var+eps) and mean,
// a number a row, are kept for the gradient; the output is made again from them where a layer above wants it.
type normed struct {
	k          device.Norm
	x, w, b    *Tensor
	rstd, mean *Tensor // for the gradient; nil without it, mean in RMSNorm, too
}

func (l *normed) compute(y *Tensor) {
	k := l.k
	k.X, k.Y, k.Weight = l.x.Buffer(), y.Buffer(), l.w.Buffer()
	if l.rstd != nil {
		k.Rstd = l.rstd.Buffer()
	}
	if l.mean != nil {
		k.Mean = l.mean.Buffer()
	}
	if l.b != nil {
		k.Bias = l.b.Buffer()
	}
	y.tape.Dev.Norm(k)
}

func (l normed) record(y *Tensor) {
	y.rebuild, y.deps = func() { l.compute(y) }, []*Tensor{l.x, l.w, l.b, l.rstd, l.mean}
	y.tape.push(y, func() { l.grad(y.tape, y.grad.buf) }, l.x, l.w, l.b, l.rstd, l.mean)
}

// grad adds to the gradients of the norm's operands for dy, that of its output.
func (l *normed) grad(t *Tape, dy device.Buffer) {
	g := device.NormGrad{C: l.k.C, DY: dy, X: l.x.Buffer(), Weight: l.w.Buffer(), Rstd: l.rstd.Buffer(),
		Center: l.k.Center, WeightOffset: l.k.WeightOffset}
	if l.mean != nil {
		g.Mean = l.mean.Buffer()
	}
	var dx *storage
	if l.x.needsGrad {
		g.DX, g.AccX = l.x.gradBuffer()
	} else { // the kernel always writes DX
		dx = t.scratch(l.x.Len(), l.x.dtype)
		g.DX = dx.buf
	}
	g.AccW = t.normWeightGrads(&g, l.w, l.b)
	t.Dev.NormGrad(g)
	dx.release(t.Dev)
}

// normWeightGrads sets the outputs for the gradients of w and b and reports whether they
// hold something to add to. Both share one flag, so a fresh one is cleared when the other is not.
func (t *Tape) normWeightGrads(g *device.NormGrad, w, b *Tensor) bool {
	var accW, accB bool
	if w.needsGrad {
		g.DWeight, accW = w.gradBuffer()
	}
	if b != nil && b.needsGrad {
		g.DBias, accB = b.gradBuffer()
	}
	if accW == accB || g.DWeight.IsZero() || g.DBias.IsZero() {
		return accW || accB
	}
	if !accW {
		t.Dev.Fill(g.DWeight, 0)
	} else {
		t.Dev.Fill(g.DBias, 0)
	}
	return true
}
