//go:build linux && (amd64 || arm64)

package cuda

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
	"hone/internal/dl"
)

// conflicts counts the reads of matrices whose rows were in the same banks of shared memory, on the host so far.
func conflicts(t *testing.T) *uint64 {
	t.Helper()
	l := needEmulator(t)
	p, err := l.Function("hone_conflicts")
	if err != nil {
		t.Fatal(err)
	}
	return (*uint64)(dl.Pointer(p))
}

// TestFlash runs each width of the kernels on tensor cores, which must be those that run, and read shared memory from all banks.
func TestFlash(t *testing.T) {
	d := openEmulated(t, rising, false)
	before := *conflicts(t)
	for i, width := range []int{40, 72, 104, 136} {
		runAttention(d, width, 21, device.BF16)
		runAttention(d, width, 3, device.BF16)
		f := &flashes[i]
		for _, k := range []kernel{f.forward, f.dq, f.dkv, f.decode} {
			if _, ok := d.functions[k]; !ok {
				t.Errorf("%s did not run for heads of %d channels", k.name, width)
			}
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := *conflicts(t) - before; n != 0 {
		t.Errorf("%d reads of matrices meet in a bank of shared memory", n)
	}
}

// TestFlashFallsBack has attention that tensor cores cannot do: other types, widths that are not copied 16 bytes at a time.
func TestFlashFallsBack(t *testing.T) {
	d := openEmulated(t, rising, false)
	runAttention(d, 64, 21, device.F32)
	runAttention(d, 36, 3, device.BF16)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for k := range d.functions {
		if k.file != "attention" && k.file != "elementwise" && k != kernelWrite {
			t.Errorf("%s ran", k.name)
		}
	}
}

// runAttention computes attention of the last queries of a sequence and its gradient.
func runAttention(d *Device, width, queries int, dtype device.DType) {
	runAttentionOf(d, device.Attention{D: width, Scale: float32(1 / math.Sqrt(float64(width)))}, queries, dtype)
}

// runAttentionOf is runAttention with width, scale and cap of how.
func runAttentionOf(d *Device, how device.Attention, queries int, dtype device.DType) {
	const rows, heads, kv = 140, 2, 1
	r := rand.New(rand.NewPCG(1, 2))
	buffer := func(n int, t device.DType) device.Buffer {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		b := d.Alloc(n, t)
		d.Write(b, v)
		return b
	}
	width := how.D
	q, k := rows*heads*width, rows*kv*width
	a := device.AttentionGrad{Attention: device.Attention{O: buffer(q, dtype), Q: buffer(q, dtype), K: buffer(k, dtype), V: buffer(k, dtype), LSE: buffer(rows*heads, device.F32),
		Heads: heads, KVHeads: kv, D: width, Scale: how.Scale, SoftCap: how.SoftCap, Sequences: []device.Sequence{{QLen: queries, KLen: rows}}},
		DO: buffer(q, dtype), DQ: buffer(q, dtype), DK: buffer(k, dtype), DV: buffer(k, dtype)}
	d.Attention(a.Attention)
	d.AttentionGrad(a)
	for _, b := range []device.Buffer{a.O, a.Q, a.K, a.V, a.LSE, a.DO, a.DQ, a.DK, a.DV} {
		d.Free(b)
	}
}

// TestDecodeIsTheSameInABatch gives a sequence the same bits whatever is computed beside it.
func TestDecodeIsTheSameInABatch(t *testing.T) {
	d := openEmulated(t, rising, false)
	const width, heads, kv, keys = 64, 4, 2, 300
	r := rand.New(rand.NewPCG(3, 4))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	buffer := func(v []float32) device.Buffer {
		b := d.Alloc(len(v), device.BF16)
		d.Write(b, v)
		return b
	}
	q, k, v := values(3*heads*width), values(2*keys*kv*width), values(2*keys*kv*width)
	a := device.Attention{O: buffer(q), Q: buffer(q), K: buffer(k), V: buffer(v), Heads: heads, KVHeads: kv, D: width, Scale: 0.125}
	read := func(s ...device.Sequence) []uint16 {
		a.Sequences = s
		d.Attention(a)
		bits := make([]uint16, heads*width)
		if err := d.Read(bits, a.O.Slice(0, len(bits))); err != nil {
			t.Fatal(err)
		}
		return bits
	}
	one := device.Sequence{Q: 0, QLen: 1, K: 3, KLen: keys - 3}
	alone := read(one)
	beside := read(device.Sequence{Q: 1, QLen: 2, K: keys, KLen: keys - 40}, one)
	if !slices.Equal(alone, beside) {
		t.Error("a sequence has other bits beside another one")
	}
}
