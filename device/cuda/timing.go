package cuda

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"unsafe"
)

// KernelTime is how long the card took for all calls of a kernel, a product of a shape, or copies in a direction.
type KernelTime struct {
	Name    string  `json:"kernel"`
	Calls   int     `json:"calls"`
	Seconds float64 `json:"s"`
}

// Times are those of all that was queued since the last call of Times, the longest first, on a device that was opened with
// Options.Timing; else nil. It waits for the card. What overlaps is counted twice, so the sum can be more than the whole.
func (d *Device) Times() ([]KernelTime, error) {
	w, ok := d.driver.(orderly).driver.(*stopwatch)
	if !ok {
		return nil, nil
	}
	if err := d.Sync(); err != nil {
		return nil, err
	}
	return w.take(), nil
}

// stopwatch is a driver that measures how long the card takes for what it queues, by a mark before and one after.
type stopwatch struct {
	*nvidia

	mu    sync.Mutex
	names map[function]string
	open  []interval
	spare []mark
	times map[string]*KernelTime
}

// interval is between two marks of a queue.
type interval struct {
	name     string
	from, to mark
}

func newStopwatch(n *nvidia) *stopwatch {
	return &stopwatch{nvidia: n, names: map[function]string{}, times: map[string]*KernelTime{}}
}

func (w *stopwatch) load(k kernel) (function, error) {
	f, err := w.nvidia.load(k)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[f] = k.name
	return f, err
}

func (w *stopwatch) launch(f function, s shape, args unsafe.Pointer, size uintptr) error {
	w.mu.Lock()
	name := w.names[f]
	w.mu.Unlock()
	return w.measure(compute, name, func() error { return w.nvidia.launch(f, s, args, size) })
}

// graph makes none, so that each kernel is timed.
func (w *stopwatch) graph(*launches) (graph, error) { return nil, errNoGraphs }

func (w *stopwatch) gemm(g *gemm) error {
	form := [2]byte{'n', 'n'}
	for i, turned := range [2]bool{g.transA, g.transB} {
		if turned {
			form[i] = 't'
		}
	}
	kind := map[bool]string{false: "f32", true: "bf16"}
	return w.measure(compute, fmt.Sprintf("product %s to %s %s %dx%dx%d", kind[g.half], kind[g.halfC], form, g.m, g.n, g.k), func() error { return w.nvidia.gemm(g) })
}

func (w *stopwatch) copy(q queue, dst, src pointer, n int64) error {
	return w.measure(q, [queues]string{"copy within the card", "copy to the card", "copy to the host"}[q], func() error { return w.nvidia.copy(q, dst, src, n) })
}

func (w *stopwatch) clear(dst pointer, n int64) error {
	return w.measure(compute, "clear", func() error { return w.nvidia.clear(dst, n) })
}

func (w *stopwatch) sync() error {
	if err := w.nvidia.sync(); err != nil {
		return err
	}
	return w.settle()
}

// measure does what queues work on q between two marks.
func (w *stopwatch) measure(q queue, name string, do func() error) error {
	from, err := w.stamp(q)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.spare = append(w.spare, from)
		return err
	}
	to, err := w.stamp(q)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, interval{name, from, to})
	return nil
}

// stamp marks a place of a queue with the time at which the card passes it.
func (w *stopwatch) stamp(q queue) (mark, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var event uintptr
	if last := len(w.spare) - 1; last >= 0 {
		event, w.spare = uintptr(w.spare[last]), w.spare[:last]
	} else if err := w.do(w.cu.eventCreate, uintptr(unsafe.Pointer(&event)), 0); err != nil {
		return 0, err
	}
	return mark(event), w.do(w.cu.eventRecord, event, w.streams[q])
}

// settle adds up what lies between marks that the card has passed.
func (w *stopwatch) settle() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.open {
		var ms float32
		if err := w.do(w.cu.eventElapsed, uintptr(unsafe.Pointer(&ms)), uintptr(i.from), uintptr(i.to)); err != nil {
			return err
		}
		t := w.times[i.name]
		if t == nil {
			t = &KernelTime{Name: i.name}
			w.times[i.name] = t
		}
		t.Calls++
		t.Seconds += float64(ms) / 1e3
		w.spare = append(w.spare, i.from, i.to)
	}
	w.open = w.open[:0]
	return nil
}

// take hands over the times so far.
func (w *stopwatch) take() (list []KernelTime) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.times {
		list = append(list, *t)
	}
	clear(w.times)
	slices.SortFunc(list, func(a, b KernelTime) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Name, b.Name))
	})
	return list
}
