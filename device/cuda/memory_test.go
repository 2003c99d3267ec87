//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"path/filepath"
	"testing"

	"hone/device"
	"hone/internal/half"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/tensor"
)

// TestOutOfMemory trains and generates on a card that is too small for it. The error says what was asked for and what the memory is
// held for, and a smaller batch then goes through.
func TestOutOfMemory(t *testing.T) {
	d := openLimited(t, rising, false, copiesLate, 22<<20)
	m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", "llama_tied"), d, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	var params []optim.Param
	for _, p := range m.Params {
		params = append(params, optim.Param{Name: p.Name, Tensor: p.Tensor})
	}
	weights := d.Memory().InUse
	o := optim.New(d, params, optim.Default())
	defer o.Free()
	state := d.Memory().InUse - weights
	tape := tensor.NewTape(d, device.F32)
	step := func(b int) error {
		defer tape.Reset()
		ids := make([]int32, b*100)
		x := newBatch(ids, ids, b, 100)
		return tensor.Try(func() {
			tape.Train(1, 0, 0)
			tape.Backward(nn.Loss(m, nn.NewInput(tape, x.ids, x.positions, x.offsets), x.targets, tensor.CrossEntropyOptions{Tokens: x.supervised}).Total)
		})
	}
	e := asOutOfMemory(t, step(30))
	held := map[device.Use]int64{}
	for _, h := range e.Holders {
		held[h.Use] += h.Bytes
	}
	if e.For != device.Activations || held[device.Weights] < weights || held[device.OptimizerState] != state || held[device.Activations] == 0 ||
		held[device.Workspace] == 0 || held[device.Unknown] != 0 {
		t.Errorf("asked for %v; held are %v, of which weights should be %d and the optimizer %d: %v", e.For, held, weights, state, e)
	}
	if err := step(1); err != nil {
		t.Fatalf("a small batch after a large one: %v", err)
	}
	e = asOutOfMemory(t, tensor.Try(func() { nn.NewCache(d, device.F32, m.Shape(), 4, 1<<16) }))
	if e.For != device.KVCache {
		t.Errorf("asked for %v: %v", e.For, e)
	}
	if b, err := d.AllocPaged(t.TempDir(), 1<<50, device.U8); err == nil {
		t.Errorf("paged %d bytes", b.Len)
	}
}

// TestOutOfMemoryUnderLocks: what runs out of memory while it holds a lock says so as well, and leaves nothing behind.
func TestOutOfMemoryUnderLocks(t *testing.T) {
	d := openLimited(t, rising, false, copiesLate, 22<<20)
	const rows, heads, width = 256, 2, 20
	x, lse, y := d.AllocZero(rows*heads*width, device.F32), d.AllocZero(rows*heads, device.F32), d.AllocZero(1, device.F32)
	all := device.Attention{O: x, Q: x, K: x, V: x, LSE: lse, Heads: heads, KVHeads: heads, D: width, Scale: 1}
	for range rows {
		all.Sequences = append(all.Sequences, device.Sequence{Q: len(all.Sequences), QLen: 1, K: len(all.Sequences), KLen: 1})
	}
	var full []device.Buffer
	for size := 1 << 20; size > 0; size /= 2 {
		for tensor.Try(func() { full = append(full, d.Alloc(size, device.F32)) }) == nil {
		}
	}
	asOutOfMemory(t, tensor.Try(func() { d.Attention(all) }))
	asOutOfMemory(t, tensor.Try(func() {
		d.Reduce(device.Sum, y, full[0])
		_ = d.Sync()
	}))
	for _, b := range full {
		d.Free(b)
	}
	d.Attention(all)
	d.Reduce(device.Sum, y, x)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

func asOutOfMemory(t *testing.T, err error) *device.OutOfMemory {
	t.Helper()
	var e *device.OutOfMemory
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v", err)
	}
	t.Log(e)
	return e
}

// TestWriteMany writes as many numbers as several cores convert, as they are and rounded.
func TestWriteMany(t *testing.T) {
	d, v := openFake(t), make([]float32, 300001)
	for i := range v {
		v[i] = float32(i) + 0.3
	}
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		b, got := d.Alloc(len(v), dtype), make([]float32, len(v))
		d.Write(b, v)
		if err := d.Read(got, b); err != nil {
			t.Fatal(err)
		}
		for i, want := range v {
			if dtype == device.BF16 {
				want = widen(half.BFromFloat32(want))
			}
			if got[i] != want {
				t.Fatalf("%s: number %d is %g, want %g", dtype, i, got[i], want)
			}
		}
		d.Free(b)
	}
}
