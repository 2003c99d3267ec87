//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"hone/device"
	"hone/generate"
	"hone/model/llama"
	"hone/nn"
)

// chain asks for more kernels than a graph has at least, whose order counts, and returns what they make of x.
func chain(d *Device, b device.Buffer, x float32, middle func()) float32 {
	for i := range fewestLaunches {
		if i == fewestLaunches/2 && middle != nil {
			middle()
		}
		by := float32(1 + i%3)
		d.Scale(b, by)
		d.AddScaled(b, 1, b)
		x = 2 * by * x
	}
	return x
}

func filled(d *Device, v float32) device.Buffer {
	b := d.Alloc(5, device.F32)
	d.Fill(b, v)
	return b
}

// hasAll fails unless b holds v.
func hasAll(t *testing.T, d *Device, b device.Buffer, v float32) {
	t.Helper()
	got := make([]float32, b.Len)
	if err := d.Read(got, b); err != nil || !slices.Equal(got, slices.Repeat([]float32{v}, b.Len)) {
		t.Errorf("the result is %v, %v, want %g", got, err, v)
	}
}

// bundling runs a test over the queues of the emulator, and over the calls of libcuda.
func bundling(t *testing.T, test func(t *testing.T, d *Device)) {
	lately(t, test)
	t.Run("driver", func(t *testing.T) { test(t, openFake(t)) })
}

// TestBundle queues passes of the same kernels, with the same arguments and with others, of other kernels, one that is cut by copies, and one that the
// host waits in.
func TestBundle(t *testing.T) { bundling(t, testBundle) }

// TestBundleOnACard does so on a real one.
func TestBundleOnACard(t *testing.T) { testBundle(t, openCard(t)) }

func testBundle(t *testing.T, d *Device) {
	a, b := filled(d, 1), filled(d, 1)
	wantA, wantB := float32(1), float32(1)
	for _, at := range []*struct {
		device.Buffer
		x *float32
	}{{a, &wantA}, {a, &wantA}, {b, &wantB}, {a, &wantA}} {
		d.Bundle(func() {
			*at.x = chain(d, at.Buffer, *at.x, nil)
			d.Scale(at.Buffer, 0x1p-30)
			*at.x *= 0x1p-30
		})
	}
	hasAll(t, d, a, wantA)
	hasAll(t, d, b, wantB)
	if n := len(d.bundle.kept); n != mostAlike || d.Graphs() != 4 {
		t.Errorf("%d graphs are kept and %d were queued, want %d and 4", n, d.Graphs(), mostAlike)
	}
	large, n := d.Alloc(8<<10, device.F32), d.Graphs()
	values := slices.Repeat([]float32{3}, large.Len)
	d.Bundle(func() {
		wantB = chain(d, b, wantB, func() {
			d.Write(large, values)
			d.Scale(large, 2)
		})
		for range fewestLaunches {
			d.Scale(b, 0.5)
			wantB *= 0.5
		}
	})
	hasAll(t, d, b, wantB)
	hasAll(t, d, large, 6)
	if d.Graphs() != n+2 {
		t.Errorf("a pass that copies cut became %d graphs", d.Graphs()-n)
	}
	d.Bundle(func() {
		wantA = chain(d, a, wantA, nil)
		hasAll(t, d, a, wantA)
		for range fewestLaunches {
			d.Scale(a, 0.5)
			wantA *= 0.5
		}
	})
	hasAll(t, d, a, wantA)
	if d.Graphs() != n+3 {
		t.Errorf("a pass that the host waits in became %d graphs, want that before it", d.Graphs()-n-2)
	}
	for i := range 3 * mostGraphs { // of different kernels
		d.Bundle(func() {
			wantA = chain(d, a, wantA, nil) * 0x1p-30
			for range i + 1 {
				d.Fill(large, float32(i))
			}
			d.Scale(a, 0x1p-30)
		})
	}
	hasAll(t, d, a, wantA)
	if n := len(d.bundle.kept); n > mostGraphs {
		t.Errorf("%d graphs are kept", n)
	}
}

// TestBundleChangesWhatDiffers tells the card of a graph once, and then of what is new.
func TestBundleChangesWhatDiffers(t *testing.T) {
	d := openLate(t, rising, false, kernelsLate)
	e := d.driver.(orderly).driver.(*emulated)
	b := filled(d, 1)
	for i, want := range []int{0, 0, 0, 0, 1, 1, 1} {
		d.Bundle(func() {
			chain(d, b, 1, nil)
			d.Scale(b, []float32{1, 1, 1, 1, 2, 1, 1}[i])
		})
		if e.sets != want {
			t.Errorf("after pass %d %d launches were changed, want %d", i, e.sets, want)
		}
		if i == 5 {
			e.sets-- // the graph that was queued first has not been changed
		}
	}
	if e.graphs != mostAlike {
		t.Errorf("there are %d graphs", e.graphs)
	}
	if err := d.dropGraphs(); err != nil || e.graphs != 0 {
		t.Errorf("%d graphs are left, %v", e.graphs, err)
	}
}

// TestBundleOfWhatPanics does what was asked for before the panic.
func TestBundleOfWhatPanics(t *testing.T) {
	bundling(t, func(t *testing.T, d *Device) {
		b, want := filled(d, 1), float32(0)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is gone")
				}
			}()
			d.Bundle(func() {
				want = chain(d, b, 1, nil)
				panic("no memory")
			})
		}()
		hasAll(t, d, b, want)
		d.Bundle(func() { want = chain(d, b, want, nil) })
		hasAll(t, d, b, want)
	})
}

// faulty is a driver whose graphs fail at what is told.
type faulty struct {
	*emulated
	making, changing, queueing bool
}

var errFaulty = errors.New("as the test wants it")

func (f *faulty) graph(l *launches) (graph, error) {
	g, err := f.emulated.graph(l)
	if f.making {
		return nil, errFaulty
	}
	return &faultyGraph{g, f}, err
}

type faultyGraph struct {
	graph
	f *faulty
}

func (g *faultyGraph) set(i int, l *launches) error {
	if g.f.changing {
		return errFaulty
	}
	return g.graph.set(i, l)
}

func (g *faultyGraph) queue() error {
	if g.f.queueing {
		return errFaulty
	}
	return g.graph.queue()
}

// TestBundleWithoutGraphs queues launches one by one where the driver makes no graphs, or fails at one.
func TestBundleWithoutGraphs(t *testing.T) {
	for name, fault := range map[string]func(f *faulty){
		"making": func(f *faulty) { f.making = true }, "changing": func(f *faulty) { f.changing = true }, "queueing": func(f *faulty) { f.queueing = true },
	} {
		d := openLate(t, rising, false, kernelsLate)
		f := &faulty{emulated: d.driver.(orderly).driver.(*emulated)}
		d.driver = orderly{f, d}
		b, want := filled(d, 1), float32(1)
		for i := range 6 {
			if i == 4 {
				fault(f)
			}
			d.Bundle(func() {
				want = chain(d, b, want, nil)
				d.Scale(b, 0x1p-30*float32(1+i))
				want *= 0x1p-30 * float32(1+i)
				if i == 4 {
					d.bundle.kept = d.bundle.kept[:len(d.bundle.kept)-int(bit(f.making))]
				}
			})
			hasAll(t, d, b, want)
		}
		if d.Graphs() != 4 || !d.bundle.off {
			t.Errorf("%s: %d graphs were queued, and they are off: %v", name, d.Graphs(), d.bundle.off)
		}
	}
	plain := openFake(t)
	n := plain.driver.(orderly).driver.(*nvidia)
	n.cu.graphs = nil // an older driver
	b, want := filled(plain, 1), float32(0)
	plain.Bundle(func() { want = chain(plain, b, 1, nil) })
	hasAll(t, plain, b, want)
	if plain.Graphs() != 0 {
		t.Error("a driver without graphs made some")
	}
}

// TestBundleAlongside lets other goroutines write and read while passes are bundled.
func TestBundleAlongside(t *testing.T) {
	d := openFake(t)
	var all sync.WaitGroup
	for g := range 3 {
		all.Go(func() {
			b, want := filled(d, 1), float32(1)
			for i := range 8 {
				d.Bundle(func() {
					want = chain(d, b, want, nil)
					d.Scale(b, 0x1p-30)
					want *= 0x1p-30
				})
				if i%(g+1) == 0 {
					hasAll(t, d, b, want)
				}
			}
			hasAll(t, d, b, want)
		})
	}
	all.Wait()
}

// evenConfig is of a model whose products of few rows are all the device's own.
const evenConfig = `{"vocab_size": 104, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
	"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 40, "initializer_range": 0.3}`

// evenAnswers lets such a model write, for prompts that end at different times.
func evenAnswers(t *testing.T, dev device.Device, o generate.Options) []generate.Output {
	t.Helper()
	m, err := llama.New([]byte(evenConfig), dev)
	if err != nil {
		t.Fatal(err)
	}
	params := nn.Params(m)
	nn.Initialize(params, dev, device.BF16, 5)
	defer func() {
		for _, p := range params {
			p.Free()
		}
	}()
	prompts := [][]int32{{1, 2, 3}, {4}, {5, 6}, {7, 8, 9, 10}, {3}, {4}}
	out, err := generate.New(dev, device.BF16, m, nil).Run(t.Context(), prompts, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGenerateByGraphs decodes over the emulator and over the calls of libcuda, with graphs and tokens read late, and without either: the same tokens
// and log-probabilities. The pass of a token is one graph, of which little changes.
func TestGenerateByGraphs(t *testing.T) { bundling(t, testGenerateByGraphs) }

// TestGenerateByGraphsOnACard does so on a real one.
func TestGenerateByGraphsOnACard(t *testing.T) { testGenerateByGraphs(t, openCard(t)) }

func testGenerateByGraphs(t *testing.T, d *Device) {
	for _, batch := range []int{1, 4} {
		o := generate.DefaultOptions()
		o.MaxNewTokens, o.BatchSize, o.Seed = 12, batch, 5
		for id := int32(0); id < 104; id += 11 {
			o.EOS = append(o.EOS, id)
		}
		before := d.Graphs()
		want := evenAnswers(t, plain{d}, o)
		if d.Graphs() != before {
			t.Fatal("a device without what is optional made graphs")
		}
		if diff := cmp.Diff(want, evenAnswers(t, d, o)); diff != "" {
			t.Errorf("%d at a time: %s", batch, diff)
		}
		longest, passes := 0, 0
		for _, k := range d.bundle.kept {
			longest = max(longest, len(k.calls))
		}
		for _, out := range want {
			passes = max(passes, len(out.Tokens)-1)
		}
		t.Logf("%d at a time: %d graphs were queued for %d passes or more, of up to %d kernels; %d are kept", batch, d.Graphs()-before, passes, longest, len(d.bundle.kept))
		if n := d.Graphs() - before; n < passes || longest < 3*8 || len(d.bundle.kept) > mostGraphs {
			t.Errorf("%d at a time: %d graphs were queued for %d passes, of up to %d kernels; %d are kept", batch, n, passes, longest, len(d.bundle.kept))
		}
	}
	if e, ok := d.driver.(orderly).driver.(*emulated); ok {
		t.Logf("%d launches of graphs were changed", e.sets)
	}
}

// TestKernelNode: the structure is laid out as in cuda.h.
func TestKernelNode(t *testing.T) {
	var k kernelNode
	if unsafe.Offsetof(k.parameters) != 40 || unsafe.Sizeof(k) != 72 {
		t.Errorf("parameters are at %d of %d bytes", unsafe.Offsetof(k.parameters), unsafe.Sizeof(k))
	}
}
