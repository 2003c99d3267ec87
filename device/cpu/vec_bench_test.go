package cpu

import (
	"testing"

	"hone/device"
)

// benchRows measures f on n elements in the cache, on the best path, in ns per element.
func benchRows(b *testing.B, n int, f func()) {
	b.Helper()
	f()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRows measures the row kernels on one core with 8192 elements.
func BenchmarkRows(b *testing.B) {
	const n, c = 8192, 512
	v := newVecRig(b, 1)
	rows := make([][]float32, 6)
	for i := range rows {
		_, rows[i] = v.random(n, device.F32)
	}
	x, y, z, u, w, dw := rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
	half := make([]uint16, n)
	h, _ := v.random(n, device.BF16)
	h2, _ := v.random(n, device.BF16)
	h3, _ := v.random(n, device.BF16)
	h4, _ := v.random(n, device.BF16)
	h5, _ := v.random(n, device.BF16)
	wb, _ := v.random(c, device.F32)
	dwb, _ := v.random(c, device.F32)
	mean, rstd := device.AllocZero(v.Device, n/c, device.F32), device.AllocZero(v.Device, n/c, device.F32)
	for op, name := range []string{"identity", "silu", "gelu", "gelu_erf", "relu", "tanh", "sigmoid", "exp", "log", "square", "logsigmoid"} {
		b.Run(name, func(b *testing.B) { benchRows(b, n, func() { vecUnary(device.UnaryOp(op), y, x) }) })
	}
	for op, name := range map[device.UnaryOp]string{device.SiLU: "silu_grad", device.GELU: "gelu_grad", device.GELUErf: "gelu_erf_grad"} {
		b.Run(name, func(b *testing.B) { benchRows(b, n, func() { vecUnaryGrad(op, y, x, z) }) })
	}
	each := func(f func(lo, hi int)) func() {
		return func() {
			for lo := 0; lo < n; lo += c {
				f(lo, lo+c)
			}
		}
	}
	for name, f := range map[string]func(){
		"add":              func() { vecAdd(y, x, z) },
		"axpy":             func() { vecAxpy(y, 1e-9, x) },
		"swiglu":           func() { vecGated(device.SiLU, y, x, z) },
		"geglu":            func() { vecGated(device.GELU, y, x, z) },
		"swiglu_grad":      func() { vecGatedGrad(device.SiLU, gatedGrad{y, dw, x, z, u}) },
		"geglu_grad":       func() { vecGatedGrad(device.GELU, gatedGrad{y, dw, x, z, u}) },
		"dropout":          func() { vecDropout(y, x, dropoutKey{scale: 1.1, lo: 1, hi: 2, threshold: 1 << 29}, 0) },
		"sum":              func() { vecSum(x) },
		"sumsquares":       func() { vecSumSquares(x, 0) },
		"dot":              func() { vecDot(x, z) },
		"max":              func() { vecMax(x) },
		"maxabs":           func() { vecMaxAbs(x) },
		"nonfinite":        func() { vecNonFinite(x) },
		"expsum":           func() { vecExpSum(y, x, 3) },
		"expmoments":       func() { vecExpMoments(x[:vecLane], 3); vecExpMoments(x[vecLane:], 3) },
		"softmaxgrad":      func() { vecSoftmaxGrad(y, x, softmaxGrad{3, 1, 0, 0}) },
		"gelu_bf16":        func() { v.Unary(device.GELU, h, h2) },
		"gelu_both_bf16":   func() { v.UnaryBoth(device.GELU, h, h3, h2) },
		"swiglu_bf16":      func() { v.Gated(device.SiLU, h, h2, h3) },
		"swiglu_both_bf16": func() { v.GatedBoth(device.SiLU, h, h4, h5, h2, h3) },
		"add_bf16":         func() { v.Binary(device.Add, h, h2, h3) },
		"layernorm_bf16_512": func() {
			v.Norm(device.Norm{C: c, X: h2, Y: h, Weight: wb, Bias: wb, Mean: mean, Rstd: rstd, Center: true, Eps: 1e-5})
		},
		"layernorm_grad_bf16_512": func() {
			v.NormGrad(device.NormGrad{C: c, X: h2, DY: h3, DX: h, Weight: wb, Mean: mean, Rstd: rstd, DWeight: dwb, DBias: dwb, Center: true, AccX: true})
		},
		"bf16_widen": func() { vecBF16ToF32(y, half) },
		"bf16_round": func() { vecF32ToBF16(half, x) },
		"softmax_256": func() {
			for lo := 0; lo < n; lo += 256 {
				vecSoftmax(y[lo:lo+256], x[lo:lo+256])
			}
		},
		"rmsnorm_512": each(func(lo, hi int) {
			vecNorm(y[lo:hi], x[lo:hi], w[:c], nil, false, 1e-5)
		}),
		"layernorm_512": each(func(lo, hi int) {
			vecNorm(y[lo:hi], x[lo:hi], w[:c], z[:c], true, 1e-5)
		}),
		"rmsnorm_grad_512": each(func(lo, hi int) {
			_, dot := vecNormDots(z[lo:hi], w[:c], x[lo:hi], 0)
			vecNormGradApply(normGradRow{dx: y[lo:hi], dy: z[lo:hi], x: x[lo:hi], w: w[:c], dw: dw[:c], rstd: 1e-9, a: 1, b: dot})
		}),
		"adamw_in_cache": func() {
			vecAdamW(y[:1024], x[:1024], z[:1024], u[:1024], &adamw{beta1: 0.9, rest1: 0.1, beta2: 0.9, rest2: 0.1, scale: 1, step: 1e-9, corr2: 1, eps: 1, keep: 1})
		},
	} {
		size := n
		if name == "adamw_in_cache" {
			size = 1024
		}
		for i := range u {
			u[i] = abs32(u[i])
		}
		b.Run(name, func(b *testing.B) { benchRows(b, size, f) })
	}
}

// BenchmarkCrossEntropy measures rows of 50304 logits, loss and gradient.
func BenchmarkCrossEntropy(b *testing.B) {
	const n, vocab = 64, 50304
	v := newVecRig(b, 1)
	x, _ := v.random(n*vocab, device.F32)
	dx, _ := v.random(n*vocab, device.F32)
	loss, _ := v.random(n, device.F32)
	targets := v.Alloc(n, device.I32)
	v.Fill(targets, 3)
	benchRows(b, n*vocab, func() {
		v.CrossEntropy(device.CrossEntropy{V: vocab, Logits: x, Targets: targets, Loss: loss, DLogits: dx})
	})
}
