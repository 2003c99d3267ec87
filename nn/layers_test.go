package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/tensor"
)

// bench is a tape that only runs forward, and numbers to run on.
type bench struct {
	t    *testing.T
	dev  device.Device
	tape *tensor.Tape
	r    *rand.Rand
}

func newBench(t *testing.T, dev device.Device) *bench {
	b := &bench{t, dev, tensor.NewTape(dev, device.F32), rand.New(rand.NewPCG(1, 2))}
	b.tape.Infer()
	return b
}

// end gives back what the tape holds.
func (b *bench) end() { b.tape.Reset() }

// numbers are n*c of about 1 in size.
func (b *bench) numbers(n, c int) []float32 {
	v := make([]float32, n*c)
	for i := range v {
		v[i] = float32(b.r.NormFloat64())
	}
	return v
}

// set gives parameters numbers, and returns them in float64.
func (b *bench) set(params ...*Param) [][]float64 {
	var all [][]float64
	for _, p := range params {
		v := b.numbers(1, p.Len())
		p.Set(b.dev, device.F32, v)
		b.t.Cleanup(p.Free)
		all = append(all, wide(v))
	}
	return all
}

// input is the tokens 0, 1, ... at positions, in sequences of the given lengths.
func (b *bench) input(positions []int32, lengths ...int) Input {
	offsets := []int32{0}
	for _, n := range lengths {
		offsets = append(offsets, offsets[len(offsets)-1]+int32(n))
	}
	ids := make([]int32, len(positions))
	for i := range ids {
		ids[i] = int32(i)
	}
	return NewInput(b.tape, ids, positions, offsets)
}

func (b *bench) values(x *tensor.Tensor) []float32 {
	b.t.Helper()
	v, err := x.Float32s()
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// near fails where a number is further off than a share of the largest one.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= tolerance*largest) {
			t.Errorf("%s: number %d is %v, want %v", what, i, got[i], w)
			return
		}
	}
}

// affine is x [N, in] times w [out, in] transposed, plus b, in float64.
func affine(x, w, b []float64, in, out int) []float64 {
	y := make([]float64, len(x)/in*out)
	for i := range y {
		row, o := i/out, i%out
		if b != nil {
			y[i] = b[o]
		}
		for k := range in {
			y[i] += x[row*in+k] * w[o*in+k]
		}
	}
	return y
}

// doubled is an adapter that computes twice what its layer does.
type doubled struct{}

func (doubled) Forward(x *tensor.Tensor, base func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
	return tensor.Scale(base(x), 2)
}

// TestLinear: both layouts of a weight compute x·Wᵀ + b; an adapter sees the layer through base;
// Project is the layers one by one.
func TestLinear(t *testing.T) {
	dev := devicetest.NewReference()
	for _, c := range []struct {
		n, in, out int
		bias       bool
	}{{1, 1, 1, false}, {1, 7, 5, true}, {6, 16, 3, false}, {5, 9, 17, true}} {
		b := newBench(t, dev)
		l := NewLinear(c.in, c.out, c.bias, 0.02)
		w := b.set(l.Weight)[0]
		var bias []float64
		if c.bias {
			bias = b.set(l.Bias)[0]
		}
		x := b.numbers(c.n, c.in)
		at := b.tape.Floats(x, c.n, c.in)
		want := affine(wide(x), w, bias, c.in, c.out)
		got := b.values(l.Forward(at))
		near(t, fmt.Sprintf("linear %+v", c), got, want, 1e-6)
		if in, out := l.Sizes(); in != c.in || out != c.out || l.InFirst() || (l.Bias != nil) != c.bias {
			t.Errorf("%+v: a layer of %d to %d", c, in, out)
		}
		other := NewConv1D(c.in, c.out, 0.02)
		turned := make([]float32, c.in*c.out)
		for i := range turned {
			turned[i] = float32(w[i%c.out*c.in+i/c.out])
		}
		other.Weight.Set(dev, device.F32, turned)
		other.Bias.Set(dev, device.F32, make([]float32, c.out))
		plain := affine(wide(x), w, nil, c.in, c.out)
		near(t, fmt.Sprintf("conv1d %+v", c), b.values(other.Forward(at)), plain, 1e-6)
		if in, out := other.Sizes(); in != c.in || out != c.out || !other.InFirst() {
			t.Errorf("%+v: Conv1D of %d to %d", c, in, out)
		}
		both := Project(at, l, l)
		if !slices.Equal(b.values(both[0]), got) || !slices.Equal(b.values(both[1]), got) {
			t.Errorf("%+v: layers together are others than alone", c)
		}
		for _, p := range []Projection{l, other} {
			p.Adapt(doubled{})
			if p.Adapted() == nil {
				t.Error("the adapter is gone")
			}
		}
		for i := range want {
			want[i] *= 2
			plain[i] *= 2
		}
		near(t, "an adapted linear layer", b.values(l.Forward(at)), want, 1e-6)
		near(t, "an adapted layer of several", b.values(Project(at, l, l)[1]), want, 1e-6)
		near(t, "an adapted Conv1D", b.values(other.Forward(at)), plain, 1e-6)
		b.end()
		Free([]Named{{"w", other.Weight}, {"b", other.Bias}})
	}
}

// TestMisfits: what does not fit is told with the operation and the shapes, as a *tensor.Error that tensor.Try returns.
func TestMisfits(t *testing.T) {
	b := newBench(t, devicetest.NewReference())
	defer b.end()
	l, norm, mlp := NewLinear(4, 3, false, 1), NewRMSNorm(4, 1e-6), NewGatedMLP(4, 6, false, device.SiLU, 1)
	b.set(l.Weight, norm.Weight, mlp.GateProj.Weight, mlp.UpProj.Weight, mlp.DownProj.Weight)
	x := func(n, c int) *tensor.Tensor { return b.tape.Floats(make([]float32, n*c), n, c) }
	for what, c := range map[string]struct {
		f    func()
		want []string
	}{
		"linear": {func() { l.Forward(x(2, 5)) }, []string{"Linear", "[2 5]", "[3 4]"}},
		"layers": {func() { Project(x(2, 5), l, l) }, []string{"Linear", "[2 5]", "[3 4]"}},
		"norm":   {func() { norm.Forward(x(2, 5)) }, []string{"RMSNorm", "[2 5]", "[4]"}},
		"mlp":    {func() { mlp.Forward(x(2, 5)) }, []string{"Linear", "[2 5]", "[6 4]"}},
		"attention": {func() {
			b.input([]int32{0, 1}, 2).Attend(0, x(2, 6), x(2, 4), x(2, 4), tensor.AttentionShape{Heads: 2, KVHeads: 1, D: 4, Scale: 1})
		}, []string{"Attention", "[2 6]", "2 heads"}},
		"heads": {func() {
			b.input([]int32{0, 1}, 2).Attend(0, x(2, 12), x(2, 8), x(2, 8), tensor.AttentionShape{Heads: 3, KVHeads: 2, D: 4, Scale: 1})
		}, []string{"Attention", "3 heads", "2 key/value heads"}},
		"no memory": {func() { NewLinear(4, 3, false, 1).Forward(x(2, 4)) }, []string{"memory"}},
	} {
		err := tensor.Try(c.f)
		if err == nil {
			t.Errorf("%s: it fits", what)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %s", what, err, want)
			}
		}
	}
}

// TestEmbedding: rows of the table, multiplied by a scale that is rounded as activations are,
// before what is added behind it.
func TestEmbedding(t *testing.T) {
	dev := devicetest.NewReference()
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		b := newBench(t, dev)
		b.tape = tensor.NewTape(dev, dtype)
		b.tape.Infer()
		const rows, c = 5, 6
		e := NewEmbedding(rows, c, 0.02)
		e.Weight.Set(dev, dtype, b.numbers(rows, c))
		table := b.values(e.Weight.Tensor)
		ids := []int32{3, 0, 3, 4}
		at := b.tape.Ints(ids)
		got, scaled := b.values(e.Forward(at)), b.values(e.Scaled(at, 3.14159))
		scale := map[device.DType]float32{device.F32: 3.14159, device.BF16: 3.140625}[dtype] // the nearest of 8 bits
		for i, id := range ids {
			row := table[int(id)*c:][:c]
			if !slices.Equal(got[i*c:][:c], row) {
				t.Errorf("%v: token %d is %v, want %v", dtype, id, got[i*c:][:c], row)
			}
			for j, v := range row {
				if off := math.Abs(float64(scaled[i*c+j] - scale*v)); off > math.Abs(float64(v))*map[device.DType]float64{device.F32: 1e-6, device.BF16: 1.0 / 64}[dtype] {
					t.Errorf("%v: %v scaled is %v", dtype, v, scaled[i*c+j])
				}
			}
		}
		e.after = func(x *tensor.Tensor) *tensor.Tensor { return tensor.Add(x, x) }
		for i, v := range b.values(e.Scaled(at, 2)) {
			if want := 4 * got[i]; v != want {
				t.Errorf("%v: with something added number %d is %v, want %v", dtype, i, v, want)
			}
		}
		b.end()
		e.Weight.Free()
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestScaleIsRounded to the nearest of eight bits before it multiplies, halves to the even one.
func TestScaleIsRounded(t *testing.T) {
	dev := devicetest.NewReference()
	tape := tensor.NewTape(dev, device.BF16)
	tape.Infer()
	e := NewEmbedding(2, 1, 1)
	e.Weight.Set(dev, device.BF16, []float32{1, 2})
	at := tape.Ints([]int32{0, 1})
	for scale, want := range map[float64][]float32{
		1 + 1.0/256: {1, 2}, 1 + 3.0/256: {1.015625, 2.03125}, 1 + 1.1/256: {1.0078125, 2.015625},
	} {
		got, err := e.Scaled(at, scale).Float32s()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("1 and 2 times %v are %v (%v), want %v", scale, got, err, want)
		}
	}
	tape.Reset()
	e.Weight.Free()
}

// TestNorms against their formulas, of rows and of the heads in a row, of large, small and equal numbers.
func TestNorms(t *testing.T) {
	b := newBench(t, devicetest.NewReference())
	defer b.end()
	const c, heads, n = 6, 3, 4
	rms, offset, layer := NewRMSNorm(c, 1e-5), NewOffsetRMSNorm(c, 1e-5), NewLayerNorm(c, 1e-5)
	w := b.set(rms.Weight, offset.Weight, layer.Weight, layer.Bias)
	x := b.numbers(n, heads*c)
	for i := range c {
		x[i], x[c+i], x[2*c+i] = 0, 1e-4*x[c+i], 5 // eps counts; a variance of 0
	}
	normed := func(mean bool, f func(i int, unit float64) float64) []float64 {
		y := wide(x)
		for at := 0; at < len(y); at += c {
			row := y[at : at+c]
			m, square := 0.0, 0.0
			for _, v := range row {
				if mean {
					m += v / c
				}
			}
			for _, v := range row {
				square += (v - m) * (v - m) / c
			}
			for i, v := range row {
				row[i] = f(i, (v-m)/math.Sqrt(square+float64(float32(1e-5))))
			}
		}
		return y
	}
	for name, test := range map[string]struct {
		got  func(x *tensor.Tensor) *tensor.Tensor
		want []float64
	}{
		"rms":    {rms.Forward, normed(false, func(i int, unit float64) float64 { return unit * w[0][i] })},
		"offset": {offset.Forward, normed(false, func(i int, unit float64) float64 { return unit * (1 + w[1][i]) })},
		"layer":  {layer.Forward, normed(true, func(i int, unit float64) float64 { return unit*w[2][i] + w[3][i] })},
	} {
		near(t, name, b.values(test.got(b.tape.Floats(x, n*heads, c))), test.want, 1e-6)
		if name == "layer" {
			continue // of rows alone
		}
		near(t, name+" of heads", b.values(test.got(b.tape.Floats(x, n, heads*c))), test.want, 1e-6)
	}
	layer.Bias = nil
	near(t, "layer without bias", b.values(layer.Forward(b.tape.Floats(x, n*heads, c))), normed(true, func(i int, unit float64) float64 { return unit * w[2][i] }), 1e-6)
}

// activations are the functions by the names of config.json, as their papers have them.
var activations = map[string]func(x float64) float64{
	"silu": func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	"gelu": func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) },
	"gelu_new": func(x float64) float64 {
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	"relu": func(x float64) float64 { return max(x, 0) },
}

// TestGatedMLP against down(act(gate(x))·up(x)), with and without biases.
func TestGatedMLP(t *testing.T) {
	b := newBench(t, devicetest.NewReference())
	defer b.end()
	const n, c, f = 3, 5, 7
	for name, act := range activations {
		op, err := Activation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bias := range []bool{false, true} {
			m := NewGatedMLP(c, f, bias, op, 0.02)
			weight := func(l *Linear) (w, bias []float64) {
				if w = b.set(l.Weight)[0]; l.Bias != nil {
					bias = b.set(l.Bias)[0]
				}
				return w, bias
			}
			x := b.numbers(n, c)
			w, wb := weight(m.GateProj)
			u, ub := weight(m.UpProj)
			d, db := weight(m.DownProj)
			h, up := affine(wide(x), w, wb, c, f), affine(wide(x), u, ub, c, f)
			for i := range h {
				h[i] = act(h[i]) * up[i]
			}
			near(t, fmt.Sprint(name, " bias ", bias), b.values(m.Forward(b.tape.Floats(x, n, c))), affine(h, d, db, f, c), 1e-5)
		}
	}
	for name, same := range map[string]string{"swish": "silu", "gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"} {
		a, err := Activation(name)
		if b, _ := Activation(same); err != nil || a != b {
			t.Errorf("%s is %v, and %s %v, %v", name, a, same, b, err)
		}
	}
	if _, err := Activation("mish"); err == nil || !strings.Contains(err.Error(), `"mish" is unknown; use silu`) {
		t.Error(err)
	}
}
