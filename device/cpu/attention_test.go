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
)

// attentionData is an attention problem on a device.
type attentionData struct {
	d    *Device
	grad device.AttentionGrad
}

type attentionShape struct {
	batch, length, heads, kv, width, window int
}

func newAttentionData(d *Device, s attentionShape, t device.DType) *attentionData {
	r := rand.New(rand.NewPCG(5, 6))
	n := s.batch * s.length
	buffer := func(size int, t device.DType) device.Buffer {
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		b := d.Alloc(size, t)
		d.Write(b, v)
		return b
	}
	q, k := n*s.heads*s.width, n*s.kv*s.width
	g := device.AttentionGrad{
		Attention: device.Attention{
			Q: buffer(q, t), K: buffer(k, t), V: buffer(k, t), O: buffer(q, t), LSE: buffer(n*s.heads, device.F32),
			Heads: s.heads, KVHeads: s.kv, D: s.width, Scale: float32(1 / math.Sqrt(float64(s.width))), Window: s.window,
		},
		DO: buffer(q, t), DQ: buffer(q, t), DK: buffer(k, t), DV: buffer(k, t),
	}
	for b := range s.batch {
		g.Sequences = append(g.Sequences, device.Sequence{Q: b * s.length, QLen: s.length, K: b * s.length, KLen: s.length})
	}
	return &attentionData{d: d, grad: g}
}

// results are the bits of all outputs.
func (a *attentionData) results() map[string][]uint32 {
	all := map[string][]uint32{}
	for name, b := range map[string]device.Buffer{"O": a.grad.O, "LSE": a.grad.LSE, "DQ": a.grad.DQ, "DK": a.grad.DK, "DV": a.grad.DV} {
		v := make([]float32, b.Len)
		if err := a.d.Read(v, b); err != nil {
			panic(err)
		}
		all[name] = bitsOf(v)
	}
	return all
}

func bitsOf(v []float32) []uint32 {
	u := make([]uint32, len(v))
	for i, f := range v {
		u[i] = math.Float32bits(f)
	}
	return u
}

// kernelPath is a choice of routines.
type kernelPath struct {
	vec  vec.Path
	gemm *gemm.Kernels
}

// kernelPaths are the best routines, those that take bf16 the other way where the machine has both, pairs and widening, and the
// portable ones, which on some machines are the best.
func kernelPaths() []kernelPath {
	best, portable := kernelPath{vec.HostPath(), gemm.HostKernels()}, kernelPath{vec.Generic, gemm.GenericKernels(cpuid.Host())}
	if best.vec == portable.vec && best.gemm.Name == portable.gemm.Name {
		return []kernelPath{portable}
	}
	paths := []kernelPath{best}
	if other := cpuid.Host(); other.HasAVX512BF16() {
		other.SlowBF16Dots = !other.SlowBF16Dots
		paths = append(paths, kernelPath{vec.HostPath(), gemm.NewKernels(other)})
	}
	return append(paths, portable)
}

// eachKernels runs f with each of kernelPaths.
func eachKernels(t *testing.T, f func(t *testing.T, path kernelPath)) {
	for _, path := range kernelPaths() {
		t.Run(path.gemm.Name, func(t *testing.T) { f(t, path) })
	}
}

func TestAttentionThreads(t *testing.T) {
	shapes, counts := []attentionShape{{1, 300, 4, 2, 32, 0}, {2, 150, 3, 3, 24, 40}, {5, 40, 2, 1, 64, 0}}, []int{1, 2, 3, 5}
	if testing.Short() {
		shapes, counts = []attentionShape{{1, 270, 2, 1, 16, 0}, {2, 90, 3, 3, 24, 40}}, []int{1, 3}
	}
	eachKernels(t, func(t *testing.T, k kernelPath) {
		for _, s := range shapes {
			for _, dtype := range []device.DType{device.F32, device.BF16} {
				var want map[string][]uint32
				for _, threads := range counts {
					d := newDevice(threads, 0, k.gemm, k.vec)
					a := newAttentionData(d, s, dtype)
					d.Attention(a.grad.Attention)
					d.AttentionGrad(a.grad)
					got := a.results()
					d.Close()
					if want == nil {
						want = got
					}
					for name := range want {
						if !slices.Equal(got[name], want[name]) {
							t.Errorf("%+v %s: %s differs between 1 and %d threads", s, dtype, name, threads)
						}
					}
				}
			}
		}
	})
}

// TestAttentionSameBits computes the rows of a sequence in one call, in pieces
// behind a cache, one by one, and between other sequences.
func TestAttentionSameBits(t *testing.T) {
	shapes, pieces := []attentionShape{{1, 600, 4, 2, 64, 0}, {1, 530, 3, 1, 40, 300}}, []int{1, 7, 64, 257}
	if testing.Short() {
		shapes, pieces = []attentionShape{{1, 266, 2, 1, 16, 0}, {1, 262, 1, 1, 24, 200}}, []int{1, 7, 257}
	}
	eachKernels(t, func(t *testing.T, k kernelPath) {
		d := newDevice(2, 0, k.gemm, k.vec)
		defer d.Close()
		for _, s := range shapes {
			for _, dtype := range []device.DType{device.F32, device.BF16} {
				checkPieces(t, newAttentionData(d, s, dtype), s, pieces)
			}
		}
	})
}

// checkPieces compares outputs of a whole sequence with those of its pieces.
func checkPieces(t *testing.T, a *attentionData, s attentionShape, pieces []int) {
	a.d.Attention(a.grad.Attention)
	want := a.results()
	for _, piece := range pieces {
		c := a.grad.Attention
		a.d.Fill(c.O, 0)
		a.d.Fill(c.LSE, 0)
		for at := 0; at < s.length; at += piece {
			end := min(at+piece, s.length)
			c.Sequences = []device.Sequence{{Q: at, QLen: end - at, K: 0, KLen: end}}
			a.d.Attention(c)
		}
		got := a.results()
		if !slices.Equal(got["O"], want["O"]) || !slices.Equal(got["LSE"], want["LSE"]) {
			t.Errorf("%+v, %s: other bits in pieces of %d queries", s, c.Q.DType, piece)
		}
	}
}

// TestAttentionByHand has two keys whose scores differ by ln 3: weights 1/4 and 3/4.
func TestAttentionByHand(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	buffer := func(v ...float32) device.Buffer {
		b := d.Alloc(len(v), device.F32)
		d.Write(b, v)
		return b
	}
	ln3 := float32(math.Log(3))
	o, lse := buffer(0, 0), buffer(0, 0)
	d.Attention(device.Attention{
		Q: buffer(1, 2), K: buffer(0, ln3), V: buffer(8, 16), O: o, LSE: lse,
		Heads: 1, KVHeads: 1, D: 1, Scale: 0.5, Sequences: []device.Sequence{{QLen: 2, KLen: 2}},
	})
	// Query 0 sees key 0 alone; query 1 scores 0 and ln 3.
	got := append(slices.Clone(f32s(o)), f32s(lse)...)
	for i, want := range []float64{8, 14, 0, math.Log(4)} {
		if math.Abs(float64(got[i])-want) > 1e-5 {
			t.Errorf("number %d is %g, want %g", i, got[i], want)
		}
	}
}

func TestAttentionAllocatesNothing(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 2})
	tokens := 200
	if testing.Short() {
		tokens = 40
	}
	a := newAttentionData(d, attentionShape{2, tokens, 4, 2, 32, 0}, device.BF16)
	step := func() {
		d.Attention(a.grad.Attention)
		d.AttentionGrad(a.grad)
	}
	// Not in every stretch of steps, as a step that allocates would: on a busy machine a worker comes late to its first task, or to the
	// largest, and makes room for it then.
	n := 1.0
	for try := 0; try < 10 && n > 0; try++ {
		n = testing.AllocsPerRun(20, step)
	}
	if n > 0 {
		t.Errorf("a step makes %g allocations", n)
	}
}

func TestAttentionMisuse(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	for name, change := range map[string]func(a *device.AttentionGrad){
		"heads":              func(a *device.AttentionGrad) { a.KVHeads = 3 },
		"short keys":         func(a *device.AttentionGrad) { a.K = a.K.Slice(0, a.K.Len-a.KVHeads*a.D) },
		"sequence too long":  func(a *device.AttentionGrad) { a.Sequences = []device.Sequence{{QLen: 11, KLen: 11}} },
		"more queries":       func(a *device.AttentionGrad) { a.Sequences = []device.Sequence{{QLen: 4, KLen: 3}} },
		"no log-sum-exp":     func(a *device.AttentionGrad) { a.LSE = device.Buffer{} },
		"short log-sum-exp":  func(a *device.AttentionGrad) { a.LSE = a.LSE.Slice(0, a.LSE.Len-1) },
		"gradient too short": func(a *device.AttentionGrad) { a.DK = a.DK.Slice(0, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttentionData(d, attentionShape{1, 10, 4, 2, 8, 0}, device.F32)
			change(&a.grad)
			defer func() {
				if recover() == nil {
					t.Error("does not panic")
				}
			}()
			d.AttentionGrad(a.grad)
		})
	}
}

// BenchmarkAttention reports the arithmetic of the scores that are not masked: 4·D
// operations a score forward, 10·D backward (the scores are computed again).
func BenchmarkAttention(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, s := range []attentionShape{{4, 256, 12, 12, 64, 0}, {8, 256, 6, 6, 64, 0}, {2, 512, 9, 3, 64, 0}, {1, 1024, 12, 12, 64, 0}} {
			for _, dtype := range []device.DType{device.F32, device.BF16} {
				d := New(Options{Threads: threads})
				a := newAttentionData(d, s, dtype)
				scores := float64(s.batch*s.heads) * float64(s.length) * float64(s.length+1) / 2
				name := fmt.Sprintf("%dT/%s/B%d-T%d-H%d-K%d", threads, dtype, s.batch, s.length, s.heads, s.kv)
				bench := func(kind string, flops float64, f func()) {
					b.Run(kind+"/"+name, func(b *testing.B) {
						for b.Loop() {
							f()
						}
						b.ReportMetric(flops*scores*float64(s.width)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					})
				}
				bench("forward", 4, func() { d.Attention(a.grad.Attention) })
				bench("backward", 10, func() { d.AttentionGrad(a.grad) })
				d.Close()
			}
		}
	}
}

// BenchmarkAttentionLayers is attention of the six layers of W1_babygpt, one after the other, in the columns of a fused projection:
// what a layer reads is in the caches no more.
func BenchmarkAttentionLayers(b *testing.B) {
	const batch, length, heads, width = 8, 256, 6, 64
	const n, c = batch * length, heads * width
	d := New(Options{Threads: 2})
	defer d.Close()
	buffer := func(size int) device.Buffer {
		x := d.Alloc(size, device.BF16)
		d.Write(x, randomFloats(size))
		return x
	}
	layers := make([]device.AttentionGrad, 6)
	for i := range layers {
		x, dx := buffer(3*n*c), buffer(3*n*c)
		part := func(x device.Buffer, i int) device.Buffer { return x.Slice(i*c, 3*(n-1)*c+(i+1)*c) }
		layers[i] = device.AttentionGrad{
			Attention: device.Attention{Q: part(x, 0), K: part(x, 1), V: part(x, 2), LDQ: 3 * c, LDKV: 3 * c, O: buffer(n * c),
				LSE: d.Alloc(n*heads, device.F32), Heads: heads, KVHeads: heads, D: width, Scale: 0.125},
			DO: buffer(n * c), DQ: part(dx, 0), DK: part(dx, 1), DV: part(dx, 2),
		}
		for s := range batch {
			at := s * length
			layers[i].Sequences = append(layers[i].Sequences, device.Sequence{Q: at, QLen: length, K: at, KLen: length})
		}
		d.Attention(layers[i].Attention)
	}
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			for i := range layers {
				d.Attention(layers[i].Attention)
			}
		}
	})
	b.Run("backward", func(b *testing.B) {
		for b.Loop() {
			for i := range layers {
				d.AttentionGrad(layers[i])
			}
		}
	})
}

// BenchmarkDecode is one token of 16 sequences behind a cache.
func BenchmarkDecode(b *testing.B) {
	for _, batch := range []int{1, 16} {
		for _, keys := range []int{192, 4096} {
			d := New(Options{Threads: 2})
			a := newAttentionData(d, attentionShape{batch, keys, 9, 3, 64, 0}, device.F32)
			c := a.grad.Attention
			for i := range c.Sequences {
				c.Sequences[i].Q, c.Sequences[i].QLen = i, 1
			}
			b.Run(fmt.Sprintf("B%d-%dkeys", batch, keys), func(b *testing.B) {
				for b.Loop() {
					d.Attention(c)
				}
				b.ReportMetric(float64(batch*keys*3*64*2*4)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			})
			d.Close()
		}
	}
}
