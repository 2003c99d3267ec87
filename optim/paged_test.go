package optim_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/optim"
	"hone/tensor"
)

// watchedPager is a processor that counts the elements of paged memory made and taken out of memory.
type watchedPager struct {
	*cpu.Device
	made, evicted, largest int
}

func (w *watchedPager) AllocPaged(dir string, n int, t device.DType) (device.Buffer, error) {
	w.made += n
	return w.Device.AllocPaged(dir, n, t)
}

func (w *watchedPager) Evict(b device.Buffer) {
	w.evicted, w.largest = w.evicted+b.Len, max(w.largest, b.Len)
	w.Device.Evict(b)
}

// TestPagedInParts: a tensor larger than what is in memory at a time is updated part by part: each element
// once, with the bits that state in memory gives, and every part of the state goes out again.
func TestPagedInParts(t *testing.T) {
	const n, part = 1<<20 + 4096, 1 << 20
	dev := &watchedPager{Device: cpu.New(cpu.Options{Threads: 2})}
	defer dev.Close()
	weights := slices.Repeat(ramp(4096, 1), n/4096)
	first, second := param(dev, device.BF16, weights...), param(dev, device.BF16, weights...)
	a := optim.New(dev, []optim.Param{{Name: "p", Tensor: first, Decay: true}}, optim.Default())
	b, err := optim.NewPaged(dev, []optim.Param{{Name: "p", Tensor: second, Decay: true}}, optim.Default(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	all := n + n + 2*n // the moments, and the rest of the masters in bytes
	if dev.made != all || dev.evicted != all {
		t.Errorf("%d elements of paged memory, %d taken out, want %d", dev.made, dev.evicted, all)
	}
	dev.evicted, dev.largest = 0, 0
	for range 2 {
		backward(dev, device.BF16, map[*tensor.Tensor][]float32{first: weights, second: weights})
		for _, o := range []*optim.AdamW{a, b} {
			if _, err := o.Step(0.01); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(values(t, first), values(t, second)) {
		t.Error("paged state gives other bits")
	}
	if dev.evicted != 2*all || dev.largest > 2*part {
		t.Errorf("%d elements were taken out, want %d; %d at once, of %d in a part", dev.evicted, 2*all, dev.largest, 2*part)
	}
	dev.evicted = 0
	b.State()[0].Done()
	if dev.evicted != all {
		t.Errorf("%d elements were taken out after reading, want %d", dev.evicted, all)
	}
	for _, s := range a.State() {
		s.Done() // of state in memory nothing goes
	}
	if dev.evicted != all {
		t.Error("state that is not paged was taken out of memory")
	}
}

// TestLargeState: tensors of 4096 elements are the first whose moments have 8 bits, with a scale for each
// block of 256, and whose state is paged.
func TestLargeState(t *testing.T) {
	dev := &watchedPager{Device: cpu.New(cpu.Options{Threads: 1})}
	defer dev.Close()
	for n, large := range map[int]bool{4095: false, 4096: true} {
		config := optim.Default()
		config.EightBit = true
		dev.made = 0
		o, err := optim.NewPaged(dev, []optim.Param{{Name: "p", Tensor: param(dev, device.F32, ramp(n, 1)...)}}, config, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		state := o.State()
		if paged, eight := dev.made == 2*n, len(state) == 5; paged != large || eight != large {
			t.Fatalf("%d elements: %d paged, %d kinds of state", n, dev.made, len(state))
		}
		if large && (!slices.Equal(state[3].Shape, []int{16}) || !slices.Equal(state[1].Shape, []int{1, n})) {
			t.Errorf("shapes of the moments %v, of their scales %v", state[1].Shape, state[3].Shape)
		}
		o.Free()
	}
}

// TestMasterIsWritten: what is written to a master in halves is read from it, and the parameter is it rounded.
func TestMasterIsWritten(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	p := param(dev, device.BF16, 1, 2, 3)
	master := optim.New(dev, []optim.Param{{Name: "p", Tensor: p}}, optim.Default()).State()[0]
	want := []float32{1 + 0x1p-20, -0.1, float32(math.Pi)}
	master.Write(want)
	got := make([]float32, 3)
	if err := master.Read(got); err != nil || !slices.Equal(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
	if got := values(t, p); !slices.Equal(got, []float32{1, -0.10009765625, 3.140625}) {
		t.Errorf("the parameter is %v", got)
	}
}

// TestNonFiniteNames: three are named, of a fourth is said that it is there.
func TestNonFiniteNames(t *testing.T) {
	e := &optim.NonFinite{Norm: math.Inf(1), Tensors: slices.Repeat([]optim.BadTensor{{Name: "w", Bad: 1, Len: 2}}, 3)}
	if s := e.Error(); strings.Contains(s, "more") {
		t.Error(s)
	}
	e.Tensors = append(e.Tensors, optim.BadTensor{Name: "w"})
	if s := e.Error(); !strings.Contains(s, "and 1 more") {
		t.Error(s)
	}
}

// TestNamesDiffer: state is kept by name, so that two parameters of one name would be one.
func TestNamesDiffer(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	defer func() {
		if s, _ := recover().(string); !strings.Contains(s, `"same"`) {
			t.Errorf("it says %q", s)
		}
	}()
	optim.New(dev, []optim.Param{{Name: "same", Tensor: param(dev, device.F32, 1)}, {Name: "same", Tensor: param(dev, device.F32, 2)}}, optim.Default())
}

// TestOneNumber: a parameter of one number is updated as any other.
func TestOneNumber(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	p := param(dev, device.F32, 3)
	o := optim.New(dev, []optim.Param{{Name: "p", Tensor: p}}, optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-12})
	backward(dev, device.F32, map[*tensor.Tensor][]float32{p: {2}})
	if _, err := o.Step(0.5); err != nil {
		t.Fatal(err)
	}
	if got := values(t, p)[0]; math.Abs(float64(got)-2.5) > 1e-6 {
		t.Errorf("the number is %v, want 2.5", got)
	}
}
