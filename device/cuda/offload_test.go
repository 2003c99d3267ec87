//go:build linux && (amd64 || arm64)

package cuda

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/tensor"
)

// TestStash brings back what was stashed, though its memory had another owner in between.
func TestStash(t *testing.T) {
	lately(t, func(t *testing.T, d *Device) {
		var stashed []device.Buffer
		for i := range 4 {
			b := d.Alloc(5000, device.BF16)
			d.Fill(b, float32(i))
			d.Unary(device.Identity, b, b)
			stashed = append(stashed, d.Stash(b))
			d.Free(b)
			d.Fill(d.Alloc(5000, device.BF16), 77) // the next owner
		}
		for i, s := range slices.Backward(stashed) {
			busy := d.Alloc(5000, device.F32)
			d.Fill(busy, 5)
			d.Free(busy) // whose memory Unstash gets while the kernel is queued
			b, got := d.Unstash(s), make([]float32, 5000)
			d.Arrived(b)
			d.Free(s)
			if err := d.Read(got, b); err != nil {
				t.Fatal(err)
			}
			if slices.Min(got) != float32(i) || slices.Max(got) != float32(i) {
				t.Errorf("stash %d comes back as %g to %g", i, slices.Min(got), slices.Max(got))
			}
		}
		kept, got := d.Alloc(10, device.F32), make([]float32, 10)
		d.Fill(kept, 3)
		twin := d.Unstash(d.Stash(kept)) // while the first is there
		d.Arrived(twin)
		if err := d.Read(got, twin); err != nil || got[9] != 3 {
			t.Errorf("a twin has %g, %v", got[9], err)
		}
		gone := d.Unstash(d.Stash(d.Alloc(10, device.F32)))
		d.Free(gone) // before it arrived
		mustPanicWith(t, "on the host", func() { d.Fill(d.Stash(d.Alloc(10, device.F32)), 0) })
		mustPanicWith(t, "not stashed", func() { d.Unstash(d.Alloc(10, device.F32)) })
	})
}

// offloaded runs a micro-batch of a golden model with all layers run again, and returns the bytes that are in use before the
// backward pass beside those of the weights, and the gradients.
func offloaded(t *testing.T, d *Device, m *model.Model, dtype device.DType, offload bool) (held int64, grads map[string][]float32) {
	t.Helper()
	tape := tensor.NewTape(d, dtype)
	if offload {
		tape.Offload = d
	}
	const b, n = 2, 19
	ids, r := make([]int32, b*n), rand.New(rand.NewPCG(3, 4))
	for i := range ids {
		ids[i] = int32(r.IntN(m.Shape().Vocab))
	}
	x := newBatch(ids, ids, b, n)
	before := d.Memory().InUse
	tape.Train(1, 0, 0)
	in := nn.NewInput(tape, x.ids, x.positions, x.offsets)
	in.Recompute = m.Shape().Layers
	l := nn.Loss(m, in, x.targets, tensor.CrossEntropyOptions{Tokens: x.supervised}).Total
	held = d.Memory().InUse - before
	tape.Backward(l)
	tape.Reset()
	grads = map[string][]float32{}
	for _, p := range m.Params {
		g, err := p.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		grads[p.Name] = g
		p.FreeGrad()
	}
	if now := d.Memory().InUse; now != before {
		t.Errorf("%d bytes are in use after the step, %d before", now, before)
	}
	if inUse, _, _ := d.host.Stats(); inUse != 0 {
		t.Errorf("%d bytes of the host are in use after the step", inUse)
	}
	return held, grads
}

// TestOffloadedActivations: gradients are the same to the bit, and the inputs of layers are not held on the card.
func TestOffloadedActivations(t *testing.T) {
	names := []string{"llama_tied", "gpt2_tied", "gemma3", "mixtral"}
	if testing.Short() {
		names = names[:1]
	}
	lately(t, func(t *testing.T, d *Device) {
		for _, name := range names {
			m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", name), d, device.BF16)
			if err != nil {
				t.Fatal(err)
			}
			warm(t, d, m)
			kept, want := offloaded(t, d, m, device.BF16, false)
			gone, got := offloaded(t, d, m, device.BF16, true)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: gradients differ:\n%s", name, diff)
			}
			s := m.Shape()
			if saved := kept - gone; saved != int64(2*19*s.Hidden*2*s.Layers) {
				t.Errorf("%s: %d bytes fewer are held of %d layers of %d channels", name, saved, s.Layers, s.Hidden)
			}
			m.Free()
		}
	})
}

func mustPanicWith(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !strings.Contains(got, text) {
			t.Errorf("panics with %q, want %q in it", got, text)
		}
	}()
	f()
}

// warm runs a model once, so that its tables are made.
func warm(t *testing.T, d *Device, m *model.Model) {
	t.Helper()
	tape := tensor.NewTape(d, device.BF16)
	tape.Infer()
	m.Hidden(nn.NewInput(tape, []int32{1}, []int32{0}, []int32{0, 1}))
	tape.Reset()
}
