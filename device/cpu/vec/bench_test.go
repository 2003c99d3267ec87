package vec

import (
	"math/rand/v2"
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

// BenchmarkRows measures rows on one core with 8192 elements. Those named bf16 do nothing on a path that has no kernels for them.
func BenchmarkRows(b *testing.B) {
	const n, c = 8192, 512
	path, r := HostPath(), rand.New(rand.NewPCG(31, 32))
	rows := make([][]float32, 6)
	for i := range rows {
		rows[i] = make([]float32, n)
		fillTest(r, rows[i], 1, false)
	}
	x, y, z, u, w, dw := rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
	var h [6][]uint16
	for i := range h {
		h[i] = make([]uint16, n)
		if i > 0 {
			path.Round(h[i], rows[i])
		}
	}
	var mean, rstd float32
	for op, name := range []string{"identity", "silu", "gelu", "gelu_erf", "relu", "tanh", "sigmoid", "exp", "log", "square", "logsigmoid"} {
		b.Run(name, func(b *testing.B) { benchRows(b, n, func() { path.Unary(device.UnaryOp(op), y, x) }) })
	}
	for op, name := range map[device.UnaryOp]string{device.SiLU: "silu_grad", device.GELU: "gelu_grad", device.GELUErf: "gelu_erf_grad"} {
		b.Run(name, func(b *testing.B) { benchRows(b, n, func() { path.UnaryGrad(op, y, x, z) }) })
	}
	each := func(f func(lo, hi int)) func() {
		return func() {
			for lo := 0; lo < n; lo += c {
				f(lo, lo+c)
			}
		}
	}
	for name, f := range map[string]func(){
		"add":              func() { path.Add(y, x, z) },
		"axpy":             func() { path.Axpy(y, 1e-9, x) },
		"swiglu":           func() { path.Gated(device.SiLU, y, x, z) },
		"geglu":            func() { path.Gated(device.GELU, y, x, z) },
		"swiglu_grad":      func() { path.GatedGrad(device.SiLU, GatedGrad{y, dw, x, z, u}) },
		"geglu_grad":       func() { path.GatedGrad(device.GELU, GatedGrad{y, dw, x, z, u}) },
		"dropout":          func() { path.Dropout(y, x, Dropout{scale: 1.1, lo: 1, hi: 2, threshold: 1 << 29}, 0) },
		"sum":              func() { path.Sum(x) },
		"sumsquares":       func() { path.SumSquares(x, 0) },
		"dot":              func() { path.Dot(x, z) },
		"max":              func() { path.Max(x) },
		"maxabs":           func() { path.MaxAbs(x) },
		"nonfinite":        func() { path.NonFinite(x) },
		"expsum":           func() { path.ExpSum(y, x, 3) },
		"expmoments":       func() { path.ExpMoments(x[:Piece], 3); path.ExpMoments(x[Piece:], 3) },
		"softmaxgrad":      func() { path.SoftmaxGrad(y, x, SoftmaxGrad{3, 1, 0, 0}) },
		"gelu_bf16":        func() { path.UnaryBF16(device.GELU, h[1], h[2]) },
		"gelu_both_bf16":   func() { path.UnaryBothBF16(device.GELU, h[1], h[3], h[2]) },
		"swiglu_bf16":      func() { path.GatedBF16(device.SiLU, h[1], h[2], h[3]) },
		"swiglu_both_bf16": func() { path.GatedBothBF16(device.SiLU, h[1], h[4], h[5], h[2], h[3]) },
		"add_bf16":         func() { path.BinaryBF16(device.Add, h[1], h[2], h[3]) },
		"layernorm_bf16_512": each(func(lo, hi int) {
			path.NormBF16(h[1][lo:hi], h[2][lo:hi], w[:c], z[:c], true, 1e-5, &mean, &rstd)
		}),
		"layernorm_grad_bf16_512": each(func(lo, hi int) {
			path.NormGradAddBF16(&NormGradBF16{DX: h[1][lo:hi], DY: h[3][lo:hi], X: h[2][lo:hi], W: w[:c], DW: dw[:c], DB: y[:c], Rstd: 1e-9, Center: true})
		}),
		"bf16_widen": func() { path.Widen(y, h[0]) },
		"bf16_round": func() { path.Round(h[0], x) },
		"softmax_256": func() {
			for lo := 0; lo < n; lo += 256 {
				path.Softmax(y[lo:lo+256], x[lo:lo+256])
			}
		},
		"rmsnorm_512": each(func(lo, hi int) {
			path.Norm(y[lo:hi], x[lo:hi], w[:c], nil, false, 1e-5)
		}),
		"layernorm_512": each(func(lo, hi int) {
			path.Norm(y[lo:hi], x[lo:hi], w[:c], z[:c], true, 1e-5)
		}),
		"rmsnorm_grad_512": each(func(lo, hi int) {
			path.NormGrad(&NormGrad{DX: y[lo:hi], DY: z[lo:hi], X: x[lo:hi], W: w[:c], DW: dw[:c], Rstd: 1e-9})
		}),
		"adamw_in_cache": func() {
			path.AdamW(y[:1024], x[:1024], z[:1024], u[:1024], &AdamW{beta1: 0.9, rest1: 0.1, beta2: 0.9, rest2: 0.1, scale: 1, step: 1e-9, corr2: 1, eps: 1, keep: 1})
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
