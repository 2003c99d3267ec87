//go:build linux && (amd64 || arm64)

package cuda

import (
	"math"
	"math/rand/v2"
	"testing"

	"hone/device"
	"hone/internal/dl"
)

// conflicts counts the reads of matrices whose rows were in the same banks of shared memory, on the host so far.
func conflicts(t *testing.T) *uint64 {
	t.Helper()
	l, err := emulators()
	if err != nil {
		t.Skip(err)
	}
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
		runAttention(d, width, device.BF16)
		f := &flashes[i]
		for _, k := range []kernel{f.forward, f.dq, f.dkv} {
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
	runAttention(d, 64, device.F32)
	runAttention(d, 36, device.BF16)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for k := range d.functions {
		if k.file != "attention" && k.file != "elementwise" {
			t.Errorf("%s ran", k.name)
		}
	}
}

// runAttention computes attention of a few queries and its gradient.
func runAttention(d *Device, width int, dtype device.DType) {
	const rows, heads, kv = 21, 2, 1
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
	q, k := rows*heads*width, rows*kv*width
	a := device.AttentionGrad{Attention: device.Attention{O: buffer(q, dtype), Q: buffer(q, dtype), K: buffer(k, dtype), V: buffer(k, dtype), LSE: buffer(rows*heads, device.F32),
		Heads: heads, KVHeads: kv, D: width, Scale: float32(1 / math.Sqrt(float64(width))), Sequences: []device.Sequence{{QLen: rows, KLen: rows}}},
		DO: buffer(q, dtype), DQ: buffer(q, dtype), DK: buffer(k, dtype), DV: buffer(k, dtype)}
	d.Attention(a.Attention)
	d.AttentionGrad(a)
	for _, b := range []device.Buffer{a.O, a.Q, a.K, a.V, a.LSE, a.DO, a.DQ, a.DK, a.DV} {
		d.Free(b)
	}
}
