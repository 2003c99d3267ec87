package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
	"hone/internal/cpuid"
	"hone/internal/half"
	"hone/internal/splitmix"
)

var threadCounts = []int{1, 2, 3, 5}

// rig is a device with helpers to fill and read buffers.
type rig struct {
	*Device
	t testing.TB
	r *rand.Rand
}

func newRig(t testing.TB, threads int) rig { return newRigOn(t, threads, vec.HostPath()) }

// newRigOn is newRig with the given rows.
func newRigOn(t testing.TB, threads int, path vec.Path) rig {
	d := newDevice(threads, 0, gemm.HostKernels(), path)
	t.Cleanup(d.Close)
	return rig{d, t, rand.New(rand.NewPCG(31, 32))}
}

// random is a buffer of n normal numbers and, as the kernel will see them, its values.
func (v rig) random(n int, t device.DType) (device.Buffer, []float32) {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(v.r.NormFloat64())
	}
	b := v.Alloc(n, t)
	v.Write(b, x)
	return b, v.values(b)
}

func (v rig) values(b device.Buffer) []float32 {
	x := make([]float32, b.Len)
	if err := v.Read(x, b); err != nil {
		v.t.Fatal(err)
	}
	return x
}

// slack is the tolerance of an output of type t.
func slack(t device.DType) (rel, abs float64) {
	if t == device.BF16 {
		return 0x1p-8, 1e-6
	}
	return 1e-5, 4e-6
}

func (v rig) same(what string, b device.Buffer, want func(i int) float64) {
	v.t.Helper()
	rel, abs := slack(b.DType)
	for i, got := range v.values(b) {
		if w := want(i); !close32(got, w, rel, abs) {
			v.t.Fatalf("%s of %d: element %d is %g, want %g", what, b.Len, i, got, w)
		}
	}
}

var (
	inf32 = float32(math.Inf(1))
	nan32 = float32(math.NaN())
)

// close32 reports whether got is within rel of want, or within abs.
func close32(got float32, want, rel, abs float64) bool {
	g := float64(got)
	if math.IsNaN(want) || math.IsNaN(g) {
		return math.IsNaN(want) && math.IsNaN(g)
	}
	if w := float32(want); math.IsInf(float64(w), 0) || math.IsInf(g, 0) {
		return got == w || math.Abs(want) > 0.999999*math.MaxFloat32 && math.Abs(g) > 0.999999*math.MaxFloat32
	}
	return math.Abs(g-want) <= rel*math.Abs(want)+abs
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("%s: element %d of %d is %g, want %g", what, i, len(want), got[i], want[i])
		}
	}
}

// eachPath runs f on every path that this machine can take.
func eachPath(t *testing.T, f func(t *testing.T, path vec.Path)) {
	host := cpuid.Host()
	for _, p := range slices.Compact([]vec.Path{vec.Generic, vec.PathOf(host.WithoutAVX512()), vec.HostPath()}) {
		t.Run(p.String(), func(t *testing.T) { f(t, p) })
	}
}

// dtypes of up to five operands, in all the mixes that matter: one by one and all.
var mixes = [][5]device.DType{
	{},
	{device.BF16},
	{device.F32, device.BF16},
	{device.F32, device.F32, device.BF16},
	{device.F32, device.F32, device.F32, device.BF16},
	{device.F32, device.F32, device.F32, device.F32, device.BF16},
	{device.BF16, device.BF16, device.BF16, device.BF16, device.BF16},
}

var kernelSizes = []int{0, 1, 7, 1023, 1024, 2500, 40001}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// dsilu is the derivative.
func dsilu(x float64) float64 {
	s := 1 / (1 + math.Exp(-x))
	return s * (1 + x*(1-s))
}

func TestElementwiseKernels(t *testing.T) {
	v := newRig(t, 2)
	for _, m := range mixes {
		for _, n := range kernelSizes {
			a, av := v.random(n, m[0])
			b, bv := v.random(n, m[1])
			c, cv := v.random(n, m[2])
			d, _ := v.random(n, m[3])
			e, _ := v.random(n, m[4])
			at := func(s []float32, i int) float64 { return float64(s[i]) }

			v.Unary(device.SiLU, d, a)
			v.same("unary", d, func(i int) float64 { return silu(at(av, i)) })
			v.Unary(device.Identity, d, a)
			v.same("identity", d, func(i int) float64 { return at(av, i) })
			v.Binary(device.Sub, d, a, b)
			v.same("binary", d, func(i int) float64 { return at(av, i) - at(bv, i) })
			v.UnaryGrad(device.SiLU, d, a, b, false)
			v.same("unary grad", d, func(i int) float64 { return dsilu(at(av, i)) * at(bv, i) })
			before := v.values(d)
			v.UnaryGrad(device.SiLU, d, a, b, true)
			v.same("unary grad acc", d, func(i int) float64 { return at(before, i) + dsilu(at(av, i))*at(bv, i) })
			before = v.values(d)
			v.AddScaled(d, 0.5, a)
			v.same("add scaled", d, func(i int) float64 { return at(before, i) + 0.5*at(av, i) })
			before = v.values(d)
			v.Scale(d, 0.75)
			v.same("scale", d, func(i int) float64 { return 0.75 * at(before, i) })
			v.Gated(device.SiLU, d, a, b)
			v.same("gated", d, func(i int) float64 { return silu(at(av, i)) * at(bv, i) })
			v.GatedGrad(device.SiLU, d, e, a, b, c)
			v.same("dgate", d, func(i int) float64 { return dsilu(at(av, i)) * at(bv, i) * at(cv, i) })
			v.same("dup", e, func(i int) float64 { return silu(at(av, i)) * at(cv, i) })
			v.Fill(d, -2.5)
			v.same("fill", d, func(int) float64 { return -2.5 })
			for _, x := range []device.Buffer{a, b, c, d, e} {
				v.Free(x)
			}
		}
	}
}

func TestFillIntegers(t *testing.T) {
	v := newRig(t, 1)
	b := v.Alloc(10, device.I32)
	v.Fill(b, -7)
	got := make([]int32, 10)
	if err := v.Read(got, b); err != nil || got[0] != -7 || got[9] != -7 {
		t.Fatalf("%v %v", got, err)
	}
}

// fmix is the finalizer of MurmurHash3, once more.
func fmix(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	return x ^ x>>16
}

// TestDropoutKernel checks the documented generator, the share of dropped
// elements, and that it is its own gradient.
func TestDropoutKernel(t *testing.T) {
	v := newRig(t, 2)
	const n, p, key = 100_000, 0.3, 0xfeedbeefcafe
	x, xv := v.random(n, device.F32)
	y, _ := v.random(n, device.F32)
	v.Dropout(y, x, p, key)
	k := splitmix.At(key)
	bound := uint32(float64(float32(p)) * (1 << 32))
	dropped := 0
	for i, got := range v.values(y) {
		r := fmix(fmix(uint32(i)^uint32(k)) + uint32(k>>32))
		want := xv[i] * float32(1/(1-float64(float32(p))))
		if r < bound {
			want = 0
			dropped++
		}
		if got != want {
			t.Fatalf("element %d is %g, want %g", i, got, want)
		}
	}
	if share := float64(dropped) / n; math.Abs(share-p) > 0.01 {
		t.Errorf("%.4f of the elements dropped, want %g", share, p)
	}
}

func TestNormKernels(t *testing.T) {
	v := newRig(t, 2)
	for _, m := range mixes {
		for _, size := range [][2]int{{0, 8}, {1, 1}, {3, 5}, {40, 64}, {7, 1500}, {300, 96}} {
			for _, center := range []bool{false, true} {
				v.normCase(size[0], size[1], center, m)
			}
		}
	}
}

// normCase checks Norm and NormGrad on n rows of c.
func (v rig) normCase(n, c int, center bool, m [5]device.DType) {
	x, xv := v.random(n*c, m[0])
	dy, dyv := v.random(n*c, m[1])
	w, wv := v.random(c, m[2])
	b, bv := v.random(c, m[3])
	y, _ := v.random(n*c, m[4])
	mean, _ := v.random(n, device.F32)
	rstd, _ := v.random(n, device.F32)
	dw, dwv := v.random(c, device.F32)
	db, dbv := v.random(c, device.F32)
	const eps, offset = 1e-3, 0.5
	bias := device.Buffer{}
	if center {
		bias = b
	}
	v.Norm(device.Norm{C: c, Y: y, X: x, Weight: w, Bias: bias, Mean: mean, Rstd: rstd, Eps: eps, Center: center, WeightOffset: offset})
	xhat, rs := normReference(xv, c, center, eps)
	v.same("norm", y, func(i int) float64 {
		out := xhat[i] * (float64(wv[i%c]) + offset)
		if center {
			out += float64(bv[i%c])
		}
		return out
	})
	v.same("rstd", rstd, func(i int) float64 { return rs[i] })

	g := device.NormGrad{
		C: c, DX: y, DY: dy, X: x, Weight: w, Mean: mean, Rstd: rstd,
		DWeight: dw, DBias: db, Center: center, WeightOffset: offset, AccX: true, AccW: true,
	}
	dx, wantW, wantB := normGradReference(dyv, wv, xhat, rs, center, offset)
	old := v.values(y)
	v.NormGrad(g)
	v.same("norm dx acc", y, func(i int) float64 { return float64(old[i]) + dx[i] })
	grow := math.Sqrt(float64(n)) + 1
	for i := range wantW {
		gw, gb := v.values(dw)[i], v.values(db)[i]
		if !close32(gw, float64(dwv[i])+wantW[i], 1e-5, 1e-6*grow) || !close32(gb, float64(dbv[i])+wantB[i], 1e-5, 1e-6*grow) {
			v.t.Fatalf("norm of %d rows of %d: dw[%d] %g want %g, db %g want %g", n, c, i, gw, wantW[i], gb, wantB[i])
		}
	}
	g.DX, g.AccX, g.AccW = dy, false, false
	v.NormGrad(g)
	v.same("norm dx into dy", dy, func(i int) float64 { return dx[i] })
	for i, gw := range v.values(dw) {
		if !close32(gw, wantW[i], 1e-5, 1e-6*grow) {
			v.t.Fatalf("dw[%d] %g, want %g", i, gw, wantW[i])
		}
	}
	for _, s := range []device.Buffer{x, dy, w, b, y, mean, rstd, dw, db} {
		v.Free(s)
	}
}

func normReference(x []float32, c int, center bool, eps float64) (xhat, rstd []float64) {
	xhat = make([]float64, len(x))
	for lo := 0; lo < len(x); lo += c {
		var mean, square float64
		for _, v := range x[lo : lo+c] {
			if center {
				mean += float64(v) / float64(c)
			}
		}
		for _, v := range x[lo : lo+c] {
			square += (float64(v) - mean) * (float64(v) - mean) / float64(c)
		}
		r := 1 / math.Sqrt(square+eps)
		rstd = append(rstd, r)
		for i := lo; i < lo+c; i++ {
			xhat[i] = (float64(x[i]) - mean) * r
		}
	}
	return xhat, rstd
}

func normGradReference(dy, w []float32, xhat, rstd []float64, center bool, offset float64) (dx, dw, db []float64) {
	c := len(w)
	dx, dw, db = make([]float64, len(dy)), make([]float64, c), make([]float64, c)
	for n := range rstd {
		var sum, dot float64
		for j := range c {
			i := n*c + j
			g := float64(dy[i]) * (float64(w[j]) + offset)
			sum += g / float64(c)
			dot += g * xhat[i] / float64(c)
			dw[j] += float64(dy[i]) * xhat[i]
			db[j] += float64(dy[i])
		}
		if !center {
			sum = 0
		}
		for j := range c {
			i := n*c + j
			dx[i] = rstd[n] * (float64(dy[i])*(float64(w[j])+offset) - sum - xhat[i]*dot)
		}
	}
	return dx, dw, db
}

func TestColumnSumAndReduce(t *testing.T) {
	v := newRig(t, 2)
	for _, dt := range []device.DType{device.F32, device.BF16} {
		for _, size := range [][2]int{{0, 3}, {1, 1}, {5, 7}, {1000, 33}, {9, 3000}} {
			n, c := size[0], size[1]
			x, xv := v.random(n*c, dt)
			y, yv := v.random(c, device.F32)
			sums := make([]float64, c)
			var all, squares, most float64
			for i, s := range xv {
				sums[i%c] += float64(s)
				all += float64(s)
				squares += float64(s) * float64(s)
				most = max(most, math.Abs(float64(s)))
			}
			grow := math.Sqrt(float64(n)) + 1
			v.ColumnSum(y, x, true)
			for i, got := range v.values(y) {
				if !close32(got, float64(yv[i])+sums[i], 0, 1e-6*grow) {
					t.Fatalf("column sum %g, want %g", got, float64(yv[i])+sums[i])
				}
			}
			v.ColumnSum(y, x, false)
			for i, got := range v.values(y) {
				if !close32(got, sums[i], 0, 1e-6*grow) {
					t.Fatalf("column sum %g, want %g", got, sums[i])
				}
			}
			one := v.Alloc(1, device.F32)
			for op, want := range map[device.ReduceOp]float64{device.Sum: all, device.SumSquares: squares, device.MaxAbs: most, device.NonFinite: 0} {
				v.Reduce(op, one, x)
				if got := v.values(one)[0]; !close32(got, want, 1e-6, 1e-4) {
					t.Fatalf("reduce %d of %d: %g, want %g", op, n*c, got, want)
				}
			}
			v.Free(x)
			v.Free(y)
			v.Free(one)
		}
	}
}

// TestReduceLong: a hundred million equal numbers sum without drift, and one NaN is found.
func TestReduceLong(t *testing.T) {
	v := newRig(t, 2)
	n := 100_000_000
	if testing.Short() {
		n = 5_000_000
	}
	x, one := v.Alloc(n, device.BF16), v.Alloc(1, device.F32)
	v.Fill(x, 0.1)
	value := float64(half.BToFloat32(half.BFromFloat32(0.1)))
	v.Reduce(device.Sum, one, x)
	if got := v.values(one)[0]; !close32(got, value*float64(n), 5e-7, 0) {
		t.Errorf("sum %g, want %g", got, value*float64(n))
	}
	v.Fill(x.Slice(n-77, n-76), nan32)
	v.Reduce(device.MaxAbs, one, x)
	if got := v.values(one)[0]; got == got {
		t.Errorf("largest of a NaN is %g", got)
	}
	v.Reduce(device.NonFinite, one, x)
	if got := v.values(one)[0]; got != 1 {
		t.Errorf("%g not finite, want 1", got)
	}
}

func TestAdamWKernel(t *testing.T) {
	v := newRig(t, 2)
	for _, gt := range []device.DType{device.F32, device.BF16} {
		for _, n := range kernelSizes {
			p, _ := v.random(n, device.F32)
			g, gv := v.random(n, gt)
			m, _ := v.random(n, device.F32)
			s, _ := v.random(n, device.F32)
			v.Binary(device.Mul, s, s, s)
			high, rest, m2, s2 := v.Alloc(n, device.BF16), v.Alloc(2*n, device.U8), v.Alloc(n, device.F32), v.Alloc(n, device.F32)
			v.Split(high, rest, p)
			v.Unary(device.Identity, m2, m)
			v.Unary(device.Identity, s2, s)
			p0, m0, s0 := v.values(p), v.values(m), v.values(s)
			k := device.AdamW{Param: p, Grad: g, M: m, V: s, LR: 0.01, Beta1: 0.9, Beta2: 0.99, Eps: 1e-6, Decay: 0.1, Scale: 2, Step: 2}
			v.AdamW(k)
			after := v.values(p)
			k.Param, k.Rest, k.M, k.V = high, rest, m2, s2
			v.AdamW(k)
			v.Join(p, high, rest)
			halves := v.values(p)
			for i, got := range after {
				gi := 2 * float64(gv[i])
				mi := 0.9*float64(m0[i]) + 0.1*gi
				vi := 0.99*float64(s0[i]) + 0.01*gi*gi
				want := float64(p0[i]) - 0.01*(mi/(1-0.81)/(math.Sqrt(vi/(1-0.9801))+1e-6)+0.1*float64(p0[i]))
				if !close32(got, want, 1e-5, 1e-6) || halves[i] != got {
					t.Fatalf("parameter %d of %d is %g, in halves %g, want %g", i, n, got, halves[i], want)
				}
			}
			for _, b := range []device.Buffer{p, g, m, s, high, rest, m2, s2} {
				v.Free(b)
			}
		}
	}
}

// crossEntropyCase is one set of options.
type crossEntropyCase struct {
	n, v             int
	smoothing, zLoss float32
	weights, entropy bool
	half             bool
}

func TestCrossEntropy(t *testing.T) {
	cases := []crossEntropyCase{
		{n: 0, v: 5}, {n: 1, v: 1}, {n: 6, v: 7}, {n: 9, v: 1024}, {n: 5, v: 5000},
		{n: 6, v: 65, smoothing: 0.1}, {n: 6, v: 1500, zLoss: 0.01}, {n: 6, v: 1500, weights: true, entropy: true},
		{n: 40, v: 2100, smoothing: 0.2, zLoss: 0.1, weights: true, entropy: true},
		{n: 6, v: 1500, half: true, weights: true, entropy: true},
	}
	eachPath(t, func(t *testing.T, path vec.Path) {
		v := newRigOn(t, 2, path)
		for _, c := range cases {
			v.crossEntropyCase(c)
		}
	})
}

func (v rig) crossEntropyCase(c crossEntropyCase) {
	x, _ := v.random(c.n*c.v, device.F32)
	v.Scale(x, 4)
	xv := v.values(x)
	for i := range xv {
		if i%11 == 3 {
			xv[i] = -inf32 // masked
		}
	}
	targets := make([]int32, c.n)
	for i := range targets {
		targets[i] = int32(v.r.IntN(c.v))
		xv[i*c.v+int(targets[i])] = 1
		if i%5 == 4 {
			targets[i] = -1
		}
		if c.smoothing != 0 {
			for j := range c.v { // smoothing has no finite loss with a masked logit
				xv[i*c.v+j] = max(xv[i*c.v+j], -20)
			}
		}
	}
	v.Write(x, xv)
	tb := v.Alloc(c.n, device.I32)
	v.Write(tb, targets)
	w, wv := v.random(c.n, device.F32)
	e, ev := v.random(c.n, device.F32)
	loss, _ := v.random(c.n, device.F32)
	entropy, _ := v.random(c.n, device.F32)
	k := device.CrossEntropy{V: c.v, Logits: x, Targets: tb, Loss: loss, DLogits: x, ZLoss: c.zLoss, Smoothing: c.smoothing}
	if c.half {
		k.DLogits = v.Alloc(c.n*c.v, device.BF16)
	}
	if c.weights {
		k.Weights = w
	}
	if c.entropy {
		k.Entropy, k.EntropyWeights = entropy, e
	}
	v.CrossEntropy(k)
	ref := make([]crossEntropyRow, c.n)
	for i := range ref {
		wi, ei := 1.0, 0.0
		if c.weights {
			wi = float64(wv[i])
		}
		if c.entropy {
			ei = float64(ev[i])
		}
		ref[i] = crossEntropyReference(xv[i*c.v:(i+1)*c.v], int(targets[i]), float64(c.smoothing), float64(c.zLoss), wi, ei)
	}
	v.same(fmt.Sprintf("loss %+v", c), loss, func(i int) float64 { return ref[i].loss })
	if c.entropy {
		v.same(fmt.Sprintf("entropy %+v", c), entropy, func(i int) float64 { return ref[i].entropy })
	}
	v.same(fmt.Sprintf("gradient %+v", c), k.DLogits, func(i int) float64 { return ref[i/c.v].grad[i%c.v] })
}

type crossEntropyRow struct {
	loss, entropy float64
	grad          []float64
}

func crossEntropyReference(x []float32, target int, smoothing, zLoss, w, e float64) crossEntropyRow {
	r := crossEntropyRow{grad: make([]float64, len(x))}
	if target < 0 {
		return r
	}
	sum, most := 0.0, math.Inf(-1)
	for _, v := range x {
		most = max(most, float64(v))
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - most)
	}
	z := most + math.Log(sum)
	for j, v := range x {
		t := smoothing / float64(len(x))
		if j == target {
			t += 1 - smoothing
		}
		if t != 0 {
			r.loss += t * (z - float64(v))
		}
		if p := math.Exp(float64(v) - z); p != 0 {
			r.entropy -= p * (float64(v) - z)
		}
		r.grad[j] = -w * t
	}
	r.loss += zLoss * z * z
	for j, v := range x {
		if p := math.Exp(float64(v) - z); p != 0 {
			r.grad[j] += w*(1+2*zLoss*z)*p - e*p*(float64(v)-z+r.entropy)
		}
	}
	return r
}

// TestCrossEntropyNaN: a NaN logit must reach the loss and the gradient.
func TestCrossEntropyNaN(t *testing.T) {
	v := newRig(t, 1)
	for _, place := range []int{0, 1500, 2999} {
		x, xv := v.random(3000, device.F32)
		xv[place] = nan32
		v.Write(x, xv)
		tb, loss := v.Alloc(1, device.I32), v.Alloc(1, device.F32)
		v.Write(tb, []int32{17})
		v.CrossEntropy(device.CrossEntropy{V: 3000, Logits: x, Targets: tb, Loss: loss, DLogits: x})
		for _, got := range append(v.values(loss), v.values(x)...) {
			if got == got {
				t.Fatalf("NaN at %d gives %g", place, got)
			}
		}
	}
}

// TestThreadsGiveSameBits runs every kernel that reduces, and one that does not, on several thread counts.
func TestThreadsGiveSameBits(t *testing.T) {
	eachPath(t, func(t *testing.T, path vec.Path) {
		var want [][]float32
		for _, threads := range threadCounts {
			got := everyKernel(newRigOn(t, threads, path))
			if want == nil {
				want = got
			}
			for i := range want {
				sameBits(t, fmt.Sprintf("%d threads, result %d", threads, i), got[i], want[i])
			}
		}
	})
}

// everyKernel returns the results of kernels on data that is always the same.
func everyKernel(v rig) [][]float32 {
	const n, c = 700, 96
	x, _ := v.random(n*c, device.F32)
	h, _ := v.random(n*c, device.BF16)
	y, _ := v.random(n*c, device.F32)
	w, _ := v.random(c, device.F32)
	dw, _ := v.random(c, device.F32)
	db, _ := v.random(c, device.F32)
	mean, _ := v.random(n, device.F32)
	rstd, _ := v.random(n, device.F32)
	one, _ := v.random(1, device.F32)
	var all [][]float32
	keep := func(bs ...device.Buffer) {
		for _, b := range bs {
			all = append(all, v.values(b))
		}
	}
	v.Norm(device.Norm{C: c, Y: y, X: x, Weight: w, Mean: mean, Rstd: rstd, Eps: 1e-5, Center: true})
	keep(y, mean, rstd)
	v.NormGrad(device.NormGrad{C: c, DX: y, DY: h, X: x, Weight: w, Mean: mean, Rstd: rstd, DWeight: dw, DBias: db, Center: true})
	keep(y, dw, db)
	v.ColumnSum(dw, h, false)
	keep(dw)
	for op := device.Sum; op <= device.NonFinite; op++ {
		v.Reduce(op, one, x)
		keep(one)
		v.Reduce(op, one, h)
		keep(one)
	}
	v.Dropout(y, h, 0.2, 99)
	keep(y)
	v.Gated(device.GELU, h, x, y)
	keep(h)
	targets := v.Alloc(n, device.I32)
	v.Fill(targets, 5)
	v.CrossEntropy(device.CrossEntropy{V: c, Logits: x, Targets: targets, Loss: mean, Entropy: rstd, DLogits: h})
	keep(mean, rstd, h)
	v.AdamW(device.AdamW{Param: x, Grad: h, M: y, V: y, LR: 0.1, Scale: 1, Step: 1, Eps: 1, Beta1: 0.9, Beta2: 0.9})
	keep(x)
	return all
}

// TestMisusePanics: wrong sizes are caught before any work.
func TestMisusePanics(t *testing.T) {
	v := newRig(t, 1)
	a, b, i := v.Alloc(4, device.F32), v.Alloc(5, device.F32), v.Alloc(4, device.I32)
	v.Fill(i, 9)
	for name, f := range map[string]func(){
		"unary":   func() { v.Unary(device.SiLU, a, b) },
		"op":      func() { v.Unary(99, a, a) },
		"binary":  func() { v.Binary(device.Add, a, a, b) },
		"gated":   func() { v.Gated(device.SiLU, a, b, a) },
		"norm":    func() { v.Norm(device.Norm{C: 3, Y: a, X: a}) },
		"int":     func() { v.Scale(i, 2) },
		"dropout": func() { v.Dropout(a, a, 1, 0) },
		"target":  func() { v.CrossEntropy(device.CrossEntropy{V: 1, Logits: a, Targets: i, Loss: a}) },
		"step":    func() { v.AdamW(device.AdamW{Param: a, Grad: a, M: a, V: a}) },
		"columns": func() { v.ColumnSum(a, b, false) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// BenchmarkCrossEntropy measures rows of 50304 logits, loss and gradient.
func BenchmarkCrossEntropy(b *testing.B) {
	const n, vocab = 64, 50304
	v := newRig(b, 1)
	x, _ := v.random(n*vocab, device.F32)
	dx, _ := v.random(n*vocab, device.F32)
	loss, _ := v.random(n, device.F32)
	targets := v.Alloc(n, device.I32)
	v.Fill(targets, 3)
	for b.Loop() {
		v.CrossEntropy(device.CrossEntropy{V: vocab, Logits: x, Targets: targets, Loss: loss, DLogits: dx})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(n*vocab), "ns/element")
}
