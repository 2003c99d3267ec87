package tensor

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// apart is a device with a memory of its own beside the host's. What comes back from the host is NaN until
// Arrived, and what was copied there is as it was at Stash.
type apart struct {
	*devicetest.Reference
	host   *devicetest.Reference
	held   map[any]bool          // buffers of the host
	coming map[any]device.Buffer // of the device: where their values are
	log    []string
	room   int // how many buffers the host has memory for
}

func newApart() *apart {
	return &apart{Reference: devicetest.NewReference(), host: devicetest.NewReference(), held: map[any]bool{}, coming: map[any]device.Buffer{}, room: 1000}
}

func (a *apart) HostFree() int64 { return 1 << 40 }

func (a *apart) Free(b device.Buffer) {
	if a.held[b.Mem] {
		delete(a.held, b.Mem)
		a.host.Free(b)
		return
	}
	delete(a.coming, b.Mem)
	a.Reference.Free(b)
}

func (a *apart) Stash(b device.Buffer) device.Buffer {
	if len(a.held) == a.room {
		panic(&device.OutOfMemory{Device: "the host", Asked: int64(b.Len)})
	}
	v, s := make([]float64, b.Len), a.host.Alloc(b.Len, b.DType)
	if err := a.Read(v, b); err != nil {
		panic(err)
	}
	a.host.Write(s, v)
	a.held[s.Mem] = true
	a.log = append(a.log, fmt.Sprint("stash ", v[0]))
	return s
}

func (a *apart) Unstash(s device.Buffer) device.Buffer {
	b := a.Alloc(s.Len, s.DType)
	a.coming[b.Mem] = s
	a.log = append(a.log, fmt.Sprint("unstash ", a.first(s)))
	return b
}

func (a *apart) Arrived(b device.Buffer) {
	s := a.coming[b.Mem]
	v := make([]float64, s.Len)
	if err := a.host.Read(v, s); err != nil {
		panic(err)
	}
	a.Write(b, v)
	delete(a.coming, b.Mem)
	a.log = append(a.log, fmt.Sprint("arrived ", v[0]))
}

// AttentionGrad reads all that it may be given, as kernels do that compute probabilities from it.
func (a *apart) AttentionGrad(g device.AttentionGrad) {
	for _, b := range []device.Buffer{g.O, g.LSE} {
		v := make([]float64, b.Len)
		if err := a.Read(v, b); err != nil || len(v) == 0 || math.IsNaN(v[0]) {
			panic(fmt.Sprintf("an operand of the gradient is %v, %v", v, err))
		}
	}
	a.Reference.AttentionGrad(g)
}

func (a *apart) first(s device.Buffer) float64 {
	var v [1]float64
	if err := a.host.Read(v[:], s.Slice(0, 1)); err != nil {
		panic(err)
	}
	return v[0]
}

// tower runs four recomputed layers that add 1 to the number of the layer, and returns the gradient of w and the peak.
func tower(t *testing.T, dev device.Device, offload device.Apart, w *Tensor, middle func(layer int)) (grad []float32, peak int64, err error) {
	t.Helper()
	tape := NewTape(dev, device.F32)
	tape.Offload = offload
	defer tape.Reset()
	tape.Train(1, 0, 0)
	dev.ResetPeak()
	err = Try(func() {
		x := Scale(tape.Floats(slicesOf(1, 40*2), 40, 2), 1)
		for i := range 4 {
			x = Recompute(x, func(h *Tensor) *Tensor {
				if middle != nil {
					middle(i)
				}
				branch := Linear(Unary(device.Square, Dropout(h, 0.2)), w, nil)
				return Affine(Add(Scale(branch, 1e-3), h), 1, 1)
			})
		}
		tape.Backward(Sum(Mul(x, x)))
	})
	grad, e := w.GradFloat32s()
	if e != nil {
		t.Fatal(e)
	}
	w.FreeGrad()
	return grad, dev.Memory().Peak, err
}

// TestOffload: inputs of recomputed layers that wait on the host give the gradients of those that stay, take
// less of the device's memory, come back one ahead of the layer that needs them, and leave nothing on the host.
func TestOffload(t *testing.T) {
	dev := newApart()
	w := param(dev, 2, 2)
	want, kept, err := tower(t, dev, nil, w, nil)
	if err != nil || len(dev.log) > 0 {
		t.Fatalf("%v; without offloading the host is asked for %v", err, dev.log)
	}
	got, peak, err := tower(t, dev, dev, w, nil)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the gradient is %v, %v; %v without offloading", got, err, want)
	}
	if peak >= kept {
		t.Errorf("the peak is %d bytes, %d without offloading", peak, kept)
	}
	// The last input comes first. The one below it is asked for as soon as it has arrived, before its layer runs again.
	var asked []string
	for _, l := range dev.log[4:] {
		asked = append(asked, l[:1])
	}
	if want := "u a u a u a u a"; fmt.Sprint(asked) != "["+want+"]" {
		t.Errorf("copies run as %v", dev.log)
	}
	if len(dev.held) > 0 || len(dev.coming) > 0 || dev.host.Memory().InUse != 0 {
		t.Errorf("%d buffers are left on the host, %d on their way", len(dev.held), len(dev.coming))
	}
}

// TestOffloadComesAhead: while a layer runs again, the input of the layer below is on its way.
func TestOffloadComesAhead(t *testing.T) {
	dev := newApart()
	w := param(dev, 2, 2)
	runs := 0
	_, _, err := tower(t, dev, dev, w, func(layer int) {
		if runs++; runs <= 4 {
			return // forward
		}
		if want := min(layer, 1); len(dev.coming) != want {
			t.Errorf("layer %d runs again with %d inputs on their way, want %d", layer, len(dev.coming), want)
		}
	})
	if err != nil || runs != 8 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

// TestOffloadStopped: a pass that ends early, forward or backward, or for which the host has no
// room, leaves nothing on the host.
func TestOffloadStopped(t *testing.T) {
	for _, at := range []int{0, 1, 3, 4, 6, 7} { // runs of layers: the first four go forward
		dev := newApart()
		w := param(dev, 2, 2)
		runs := 0
		_, _, err := tower(t, dev, dev, w, func(int) {
			if runs++; runs > at {
				panic(&Error{"test", "stopped"})
			}
		})
		if err == nil || len(dev.held) > 0 || len(dev.coming) > 0 {
			t.Errorf("stopped in run %d: %v; %d buffers are left on the host, %d on their way", at, err, len(dev.held), len(dev.coming))
		}
	}
	dev := newApart()
	dev.room = 2
	w := param(dev, 2, 2)
	if _, _, err := tower(t, dev, dev, w, nil); err == nil || len(dev.held) > 0 {
		t.Errorf("a host with room for two of four inputs: %v, %d are left there", err, len(dev.held))
	}
}

// TestOffloadOfWhatAttentionMade: what waits on the host may be the output of an operation whose gradient
// reads it, and comes back elsewhere.
func TestOffloadOfWhatAttentionMade(t *testing.T) {
	dev := newApart()
	tape := NewTape(dev, device.F32)
	shape := AttentionShape{Heads: 2, KVHeads: 2, D: 2, Scale: 0.6, Sequences: []device.Sequence{{QLen: 3, KLen: 3}}}
	pass := func(offload device.Apart) []float32 {
		tape.Offload = offload
		tape.Train(1, 0, 0)
		x := tape.Constant(floats(12), 3, 4)
		x.needsGrad = true
		tape.Backward(Sum(Recompute(Attention(x, x, x, shape), func(h *Tensor) *Tensor { return Mul(h, h) })))
		g, err := x.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		x.FreeGrad()
		tape.Reset()
		return g
	}
	want := pass(nil)
	if got := pass(dev); !slices.Equal(got, want) || len(dev.log) != 3 {
		t.Errorf("the gradient is %v, %v without offloading; copies run as %v", got, want, dev.log)
	}
}

// TestOffloadLeavesWhatIsShared: an input whose memory others use, or that can be made again, stays on the
// device: it would free nothing.
func TestOffloadLeavesWhatIsShared(t *testing.T) {
	dev := newApart()
	w := param(dev, 2)
	tape := NewTape(dev, device.F32)
	tape.Offload = dev
	tape.Train(1, 0, 0)
	same := func(h *Tensor) *Tensor { return Scale(h, 2) }
	x := Mul(tape.Floats(slicesOf(1, 6), 3, 2), RMSNorm(tape.Floats(slicesOf(1, 6), 3, 2), w, 1e-5, 0))
	norm := RMSNorm(x, w, 1e-5, 0)
	slice := tape.rowSlice(x, 0, 2)
	y := []*Tensor{Recompute(norm, same), Recompute(slice, same), Recompute(x, same)}
	if len(dev.log) > 0 {
		t.Errorf("copies to the host: %v", dev.log)
	}
	tape.Backward(Add(Add(Sum(y[0]), Sum(y[1])), Sum(y[2])))
	w.FreeGrad()
	tape.Infer()
	if Recompute(Scale(tape.Floats(slicesOf(1, 6), 3, 2), 2), same); len(dev.log) > 0 {
		t.Errorf("copies to the host in a pass without gradients: %v", dev.log)
	}
	tape.Reset()
}

// TestOffloadedIsNotReadAgain: what waits on the host is gone for other operations, which say so.
func TestOffloadedIsNotReadAgain(t *testing.T) {
	dev := newApart()
	w := param(dev, 2, 2)
	tape := NewTape(dev, device.F32)
	tape.Offload = dev
	layer := func(h *Tensor) *Tensor { return Linear(h, w, nil) }
	for name, again := range map[string]func(x *Tensor){"another operation": func(x *Tensor) { Scale(x, 2) }, "another recomputed layer": func(x *Tensor) { Recompute(x, layer) }} {
		tape.Train(1, 0, 0)
		x := Linear(tape.Floats(slicesOf(1, 6), 3, 2), w, nil)
		Recompute(x, layer)
		if err := Try(func() { again(x) }); err == nil {
			t.Errorf("%s reads what is on the host", name)
		}
		tape.Reset()
		if len(dev.held) > 0 {
			t.Errorf("%s: %d buffers are left on the host", name, len(dev.held))
		}
	}
}

// TestOffloadOfFrozenLayers: inputs of layers below the first that learns are not copied to the
// host, and make room all the same.
func TestOffloadOfFrozenLayers(t *testing.T) {
	dev := newApart()
	frozen, w := param(dev, 2, 2), param(dev, 2, 2)
	frozen.Freeze()
	pass := func(offload device.Apart) (grad []float32, inUse int64) {
		tape := NewTape(dev, device.F32)
		tape.Offload = offload
		defer tape.Reset()
		tape.Train(1, 0, 0)
		x := Scale(tape.Floats(slicesOf(1, 200), 100, 2), 1)
		for _, layer := range []*Tensor{frozen, frozen, frozen, w, w} {
			x = Recompute(x, func(h *Tensor) *Tensor { return Add(Linear(h, layer, nil), h) })
		}
		inUse = dev.Memory().InUse
		tape.Backward(Sum(Mul(x, x)))
		grad, err := w.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		w.FreeGrad()
		return grad, inUse
	}
	want, kept := pass(nil)
	got, left := pass(dev)
	if !slices.Equal(got, want) {
		t.Errorf("the gradient is %v; %v without offloading", got, want)
	}
	if stashed := slices.DeleteFunc(slices.Clone(dev.log), func(l string) bool { return l[0] != 's' }); len(stashed) != 2 {
		t.Errorf("two layers of five learn, and the host gets %v", stashed)
	}
	const input = 100 * 2 * 4 // bytes
	if gone := kept - left; gone < 5*input {
		t.Errorf("offloading frees %d bytes, five inputs take %d", gone, 5*input)
	}
	if len(dev.held) > 0 {
		t.Errorf("%d buffers are left on the host", len(dev.held))
	}
}
