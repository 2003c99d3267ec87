package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"hone/device"
)

// launches are kernels in the order in which they run, each with its arguments.
type launches struct {
	calls []call
	words []uint64 // all arguments
}

// call is a launch.
type call struct {
	name string // of the kernel
	f    function
	s    shape
	at   int // its arguments are bytes from word at on
	size uintptr
}

func (l *launches) add(c call, args unsafe.Pointer) {
	c.at = len(l.words)
	l.words = append(l.words, make([]uint64, (c.size+7)/8)...)
	l.calls = append(l.calls, c)
	copy(l.args(len(l.calls)-1), unsafe.Slice((*byte)(args), c.size))
}

// args are the arguments of launch i.
func (l *launches) args(i int) []byte {
	c := &l.calls[i]
	return unsafe.Slice((*byte)(unsafe.Pointer(&l.words[c.at])), c.size)
}

// alike says whether m has the same kernels in the same order.
func (l *launches) alike(m *launches) bool {
	return slices.EqualFunc(l.calls, m.calls, func(a, b call) bool { return a.f == b.f && a.size == b.size })
}

// differs says whether launch i is another than that of m.
func (l *launches) differs(i int, m *launches) bool {
	return l.calls[i].s != m.calls[i].s || !bytes.Equal(l.args(i), m.args(i))
}

func (l *launches) clear() { l.calls, l.words = l.calls[:0], l.words[:0] }

// grapher is a driver that queues many launches as one.
type grapher interface {
	// graph makes a graph of launches that run one after the other.
	graph(l *launches) (graph, error)
}

// graph is launches that the card was told of before they are queued.
type graph interface {
	// set changes launch i of the graph to that of l, which is of the same kernel. What is queued stays as it is.
	set(i int, l *launches) error
	// queue queues all of them on compute. After an error none is.
	queue() error
	// free lets go of the graph, which the card must be done with.
	free() error
}

// keptGraph is a graph and what it launches.
type keptGraph struct {
	graph
	launches
}

// bundle is what is queued together. What is held is locked while it is touched.
type bundle struct {
	open     bool
	waited   bool // the host has waited for the card since: launches are queued one by one, for the card has nothing else to do
	off      bool // launches are queued one by one: the driver makes no graphs, or once could not
	launches      // that wait
	kept     []*keptGraph
	graphs   int // queued so far
}

const (
	fewestLaunches = 16 // of a graph: fewer are queued one by one
	// mostAlike is how many graphs of the same kernels there are: one runs while the next is prepared, and buffers that two passes
	// use in turns are where they were.
	mostAlike  = 2
	mostGraphs = 4 * mostAlike
)

var _ device.Bundler = (*Device)(nil)

// Bundle queues the kernels that f asks for as one graph, as far as nothing else lies between them and the host does not wait for the card;
// see device.Bundler.
func (d *Device) Bundle(f func()) {
	if !d.openBundle() {
		f()
		return
	}
	defer d.closeBundle() // also when f panics: the device goes by what it was told to do
	f()
}

func (d *Device) openBundle() bool {
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	b := &d.bundle
	if b.open || b.off {
		return false
	}
	b.open, b.waited = true, false
	return true
}

func (d *Device) closeBundle() {
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	d.release()
	d.unbundle()
	d.bundle.open = false
}

// unbundle queues what waits, since something else comes next; what is held is locked and queued before.
func (d *Device) unbundle() {
	b := &d.bundle
	if len(b.calls) == 0 {
		return
	}
	defer b.clear()
	if len(b.calls) >= fewestLaunches && !b.off {
		if d.queueGraph() == nil {
			b.graphs++
			return
		}
		b.off = true // it takes longer so, and if the card has failed, the launches say so
	}
	for i := range b.calls {
		c := &b.calls[i]
		if err := d.driver.launch(c.f, c.s, unsafe.Pointer(&b.words[c.at]), c.size); err != nil {
			d.fail(fmt.Errorf("cuda: %s: %w", c.name, err))
		}
	}
}

var errNoGraphs = errors.New("the driver makes no graphs")

// queueGraph queues what waits as a graph, that of an earlier pass where it has the same kernels.
func (d *Device) queueGraph() error {
	b := &d.bundle
	maker, ok := d.driver.(orderly).driver.(grapher)
	if !ok {
		return errNoGraphs
	}
	var k *keptGraph // the one of the same kernels that was queued the longest ago
	alike := 0
	for _, other := range b.kept {
		if other.alike(&b.launches) {
			if alike++; k == nil {
				k = other
			}
		}
	}
	if alike < mostAlike {
		g, err := maker.graph(&b.launches)
		if err != nil {
			return err
		}
		k = &keptGraph{graph: g, launches: launches{calls: slices.Clone(b.calls), words: slices.Clone(b.words)}}
		b.kept = append(b.kept, k)
	}
	for i := range b.calls {
		if b.differs(i, &k.launches) {
			if err := k.set(i, &b.launches); err != nil {
				return err
			}
		}
	}
	k.launches, b.launches = b.launches, k.launches
	at := slices.Index(b.kept, k)
	b.kept = append(slices.Delete(b.kept, at, at+1), k)
	err := k.queue()
	if err != nil { // what waits is queued one by one
		k.launches, b.launches = b.launches, k.launches
		return err
	}
	if len(b.kept) > mostGraphs {
		d.fail(d.driver.(orderly).driver.sync())
		d.fail(b.kept[0].free())
		b.kept = slices.Delete(b.kept, 0, 1)
	}
	return nil
}

// dropGraphs lets go of all graphs, which the card is done with.
func (d *Device) dropGraphs() (err error) {
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	for _, k := range d.bundle.kept {
		err = errors.Join(err, k.free())
	}
	d.bundle.kept = nil
	return err
}

// Graphs is how many graphs were queued so far.
func (d *Device) Graphs() int {
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	return d.bundle.graphs
}
