package cpu

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"hone/device"
)

func newTestDevice(t *testing.T, o Options) *Device {
	d := New(o)
	t.Cleanup(d.Close)
	return d
}

func TestAllocAlignment(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	for _, n := range []int{0, 1, 3, 16, 17, 1000, largeSize / 4, largeSize, 1 << 20} {
		b := d.Alloc(n, device.F32)
		if b.Len != n || len(f32s(b)) != n {
			t.Errorf("Alloc(%d) has %d elements", n, b.Len)
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(f32s(b)))); at%bufferAlign != 0 {
			t.Errorf("Alloc(%d) is at %#x", n, at)
		}
	}
}

func TestAllocMisuse(t *testing.T) {
	d, other := newTestDevice(t, Options{Threads: 1}), newTestDevice(t, Options{Threads: 1})
	a := d.Alloc(100, device.F32)
	stale := a
	d.Free(a)
	b := d.Alloc(100, device.F32) // where a was
	defer d.Free(b)
	for name, f := range map[string]func(){
		"free twice":                 func() { d.Free(stale) },
		"write to a freed buffer":    func() { d.Write(stale, make([]float32, 100)) },
		"free of a slice":            func() { d.Free(b.Slice(1, 2)) },
		"free of the absent buffer":  func() { d.Free(device.Buffer{}) },
		"free of a foreign handle":   func() { d.Free(device.Buffer{Mem: 3}) },
		"wrong dtype":                func() { d.Write(b, make([]int32, 100)) },
		"negative size":              func() { d.Alloc(-1, device.F32) },
		"span beyond the allocation": func() { x := b; x.Len = 101; f32s(x) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("does not panic")
				}
			}()
			f()
		})
	}
	if m := other.Memory(); m.InUse != 0 {
		t.Errorf("another device has %d bytes in use", m.InUse)
	}
}

// TestAllocRandom frees and allocates at random and checks that buffers keep their content.
func TestAllocRandom(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	r := rand.New(rand.NewPCG(3, 4))
	var live []device.Buffer
	check := func(b device.Buffer) {
		s := i32s(b)
		for _, i := range []int{0, len(s) / 2, len(s) - 1} {
			if s[i] != int32(len(s)) {
				t.Fatalf("buffer of %d elements holds %d at %d", len(s), s[i], i)
			}
		}
	}
	for range 3000 {
		if len(live) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(live))
			check(live[i])
			d.Free(live[i])
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
			continue
		}
		b := d.Alloc(1+int(r.ExpFloat64()*[]float64{50, 20000, 60000}[r.IntN(3)]), device.I32)
		content := i32s(b)
		for i := range content {
			content[i] = int32(b.Len)
		}
		live = append(live, b)
	}
	for _, b := range live {
		check(b)
		d.Free(b)
	}
	if m := d.Memory(); m.InUse != 0 {
		t.Errorf("%d bytes in use when all is freed", m.InUse)
	}
}

// trainer makes the allocations of training steps of a transformer.
type trainer struct {
	d                             *Device
	layers, tokens, width, hidden int
	keep                          []device.Buffer // gradients, made in the first backward pass
	live                          int64
	peak                          int64
}

func (s *trainer) alloc(n int) device.Buffer {
	b := s.d.Alloc(n, device.F32)
	s.live += int64(n) * 4
	s.peak = max(s.peak, s.live)
	return b
}

func (s *trainer) free(b ...device.Buffer) {
	for _, b := range b {
		s.live -= int64(b.Len) * 4
		s.d.Free(b)
	}
}

// weights are the sizes of a layer's weights.
func (s *trainer) weights() []int {
	w, f := s.width, s.hidden
	return []int{w, w * w, w * w / 3, w * w / 3, w * w, w, w * f, w * f, w * f}
}

// step allocates as a tape does: activations going forward; going backward, gradients
// that live shortly, those of weights that stay, and the activations freed in reverse order.
func (s *trainer) step(tokens int) {
	n, w, f := tokens, s.width, s.hidden
	var tape []device.Buffer
	for range s.layers {
		for _, size := range []int{n * w, n, n * w, n * w / 3, n * w / 3, n * w, n * 9, n * w, n * w, n, n * f, n * f, n * f, n * w} {
			tape = append(tape, s.alloc(size))
		}
		temporary := s.alloc(n * w)
		s.free(temporary)
	}
	logits := s.alloc(n * 300)
	grad := s.alloc(n * w)
	s.free(logits)
	first := len(s.keep) == 0
	for l := range s.layers {
		if first {
			for _, size := range s.weights() {
				s.keep = append(s.keep, s.alloc(size))
			}
		}
		last := tape[len(tape)-14*(l+1) : len(tape)-14*l]
		for i := 13; i >= 0; i-- {
			g := s.alloc(last[i].Len)
			next := s.alloc(n * w)
			s.free(g, grad, last[i])
			grad = next
		}
	}
	s.free(grad)
}

func TestAllocTraining(t *testing.T) {
	for _, varied := range []bool{false, true} {
		d := newTestDevice(t, Options{Threads: 1})
		s := &trainer{d: d, layers: 12, tokens: 512, width: 384, hidden: 1024}
		for range s.layers {
			for _, n := range s.weights() {
				s.alloc(n)
			}
		}
		var held int64
		for i := range 50 {
			tokens := s.tokens
			if varied {
				tokens -= i * 37 % 300
			}
			s.step(tokens)
			if i == 1 {
				for range 2 { // the moments of the optimizer
					for range s.layers {
						for _, n := range s.weights() {
							s.alloc(n)
						}
					}
				}
			}
			if i == 9 {
				held = d.Memory().Held
			}
		}
		m := d.Memory()
		t.Logf("varied %v: held %.1f MiB, peak %.1f MiB: %.3f", varied, float64(m.Held)/(1<<20), float64(m.Peak)/(1<<20), float64(m.Held)/float64(m.Peak))
		if m.Peak != s.peak {
			t.Errorf("Peak is %d, want %d", m.Peak, s.peak)
		}
		if float64(m.Held) > 1.15*float64(m.Peak) {
			t.Errorf("varied %v: %d bytes held for a peak of %d", varied, m.Held, m.Peak)
		}
		if !varied && m.Held != held {
			t.Errorf("held grew from %d to %d in later steps", held, m.Held)
		}
	}
}

func TestAllocLimit(t *testing.T) {
	const limit = 1<<20 + largeGap
	d := newTestDevice(t, Options{Threads: 1, MemoryLimit: limit})
	a := d.Alloc(1<<19, device.U8)
	func() {
		defer func() {
			err, _ := recover().(error)
			var oom *device.OutOfMemory
			if !errors.As(err, &oom) || oom.Asked != 600<<10 || oom.InUse != 1<<19 {
				t.Errorf("over the limit: %v (%+v)", err, oom)
			}
		}()
		d.Alloc(600<<10, device.U8)
	}()
	d.Free(a)
	d.Free(d.Alloc(1<<20, device.U8)) // the free span grows to it
	if m := d.Memory(); m.Held > limit {
		t.Errorf("%d bytes held, the limit is %d", m.Held, limit)
	}
}

func TestAllocConcurrently(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 2})
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for range 300 {
				n := 1 + r.IntN(60000)
				b := d.Alloc(n, device.I32)
				d.Fill(b, float32(g))
				if s := i32s(b); s[0] != int32(g) || s[n-1] != int32(g) {
					t.Errorf("worker %d finds %d and %d in its buffer", g, s[0], s[n-1])
				}
				d.Free(b)
			}
		})
	}
	wait.Wait()
	if m := d.Memory(); m.InUse != 0 {
		t.Errorf("%d bytes in use at the end", m.InUse)
	}
}
