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

func norm(op string, x, w, b *Tensor, k device.Norm) *Tensor {
	t := tapeOf(op, x)
	k.C = w.Len()
	check(x.Cols()%k.C == 0, op, "weight %v does not match rows of %v", w.Shape, x.Shape)
	y := t.empty(x.dtype, x.Shape...)
	rstd, mean := t.empty(device.F32, x.Len()/k.C), (*Tensor)(nil)
	if k.Center {
		mean = t.empty(device.F32, x.Len()/k.C)
	}
	compute := func() {
		k := k
		k.X, k.Y, k.Weight, k.Rstd = x.Buffer(), y.Buffer(), w.Buffer(), rstd.Buffer()
		if mean != nil {
			k.Mean = mean.Buffer()
		}
		if b != nil {
			k.Bias = b.Buffer()
		}
		t.Dev.Norm(k)
	}
	compute()
	if !t.wants(x, w, b) {
		return y
	}
	y.rebuild, y.deps = compute, []*Tensor{x, w, b, rstd, mean}
	t.push(y, func() {
		g := device.NormGrad{C: k.C, DY: y.grad.buf, X: x.Buffer(), Weight: w.Buffer(), Rstd: rstd.Buffer(),
			Center: k.Center, WeightOffset: k.WeightOffset}
		if mean != nil {
			g.Mean = mean.Buffer()
		}
		var dx *storage
		if x.needsGrad {
			g.DX, g.AccX = x.gradBuffer()
		} else { // the kernel always writes DX
			dx = t.scratch(x.Len(), x.dtype)
			g.DX = dx.buf
		}
		g.AccW = t.normWeightGrads(&g, w, b)
		t.Dev.NormGrad(g)
		dx.release(t.Dev)
	}, x, w, b, rstd, mean)
	return y
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
