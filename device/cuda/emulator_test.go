//go:build linux && (amd64 || arm64)

package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"hone/device/cuda/kernels"
	"hone/internal/arena"
	"hone/internal/dl"
)

// emulatorLibrary is the kernels compiled as C++ for the host, with what runs them; see testdata/emulator.
type emulatorLibrary struct {
	*dl.Library
	launch, product uintptr
}

// emulators builds the library once for all tests.
var emulators = sync.OnceValues(buildEmulator)

var errNoCompiler = errors.New("g++ is not installed here, which the kernels are built with to run on the host")

// needEmulator is the library, and skips a test where there is no compiler to build it with.
func needEmulator(t testing.TB) *emulatorLibrary {
	t.Helper()
	l, err := emulators()
	if errors.Is(err, errNoCompiler) {
		t.Skipf("%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func buildEmulator() (*emulatorLibrary, error) {
	compiler, err := exec.LookPath("g++")
	if err != nil {
		return nil, errNoCompiler
	}
	dir, err := os.MkdirTemp("", "hone-emulator-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // an open library stays mapped
	if err := os.CopyFS(filepath.Join(dir, "kernels"), kernels.FS); err != nil {
		return nil, err
	}
	var all strings.Builder
	all.WriteString("#define HONE_EMULATED\n#include \"emulated.h\"\n#include \"kernels/common.cuh\"\n")
	for _, file := range kernels.Files() {
		fmt.Fprintf(&all, "namespace %s_file {\n#include \"kernels/%s.cu\"\n}\n", file, file)
	}
	if err := os.WriteFile(filepath.Join(dir, "all.cpp"), []byte(all.String()), 0o600); err != nil {
		return nil, err
	}
	shim, err := filepath.Abs(filepath.Join("testdata", "emulator"))
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "emulator.so")
	cmd := exec.Command(compiler, "-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused",
		"-I"+shim, "-I"+dir, "-o", out, filepath.Join(dir, "all.cpp"), filepath.Join(shim, "emulator.cpp"), filepath.Join(shim, "driver.cpp"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the kernels for the host: %w\n%s", err, text)
	}
	l := &emulatorLibrary{}
	if l.Library, err = dl.Open(out); err != nil {
		return nil, err
	}
	return l, l.Functions(map[string]*uintptr{"hone_launch": &l.launch, "hone_product": &l.product})
}

// emulated is a driver that runs the kernels on the host.
type emulated struct {
	*emulatorLibrary
	queued
	order   order
	regions []region
	sizes   map[function]int // of argument structures
	names   map[function]string
	pins    map[unsafe.Pointer][]byte
	guard   bool // reservations end where memory does
	graphs  int  // that there are
	sets    int  // launches of graphs that were changed
	mu      sync.Mutex
}

// order is that in which the threads of a block run, and the blocks.
type order int

const (
	rising order = iota
	falling
	both // each kernel twice, and the results must be the same bits
)

// region is a reservation with inaccessible pages around it.
type region struct {
	mapping []byte
	base    uintptr
	size    int64
}

func (e *emulated) card() card {
	return card{name: "emulated", arch: 90, memory: 1 << 30, processors: 1, shared: 227 << 10, warpgroups: true}
}

func (e *emulated) Reserve(size int64) (uintptr, bool) {
	const page = 4096
	whole := (size + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, int(whole+2*page), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return 0, false
	}
	base := uintptr(unsafe.Pointer(&m[page]))
	if e.guard {
		base += uintptr(whole - size)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.regions = append(e.regions, region{m, base, size})
	return base, true
}

// Commit makes the memory accessible and fills it with what is NaN in every type.
func (e *emulated) Commit(base uintptr, lo, hi int64) bool {
	const page = 4096
	r := e.regionOf(base)
	start := int64(base - uintptr(unsafe.Pointer(&r.mapping[0])))
	from, to := (start+lo)/page*page, (start+hi+page-1)/page*page
	if unix.Mprotect(r.mapping[from:to], unix.PROT_READ|unix.PROT_WRITE) != nil {
		return false
	}
	fresh := r.mapping[start+lo : start+hi]
	for i := range fresh {
		fresh[i] = 0xff
	}
	return true
}

func (e *emulated) regionOf(p uintptr) *region {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.regions {
		if r := &e.regions[i]; p >= r.base && p < r.base+uintptr(r.size) {
			return r
		}
	}
	return nil
}

func (e *emulated) pin(size int64) (unsafe.Pointer, error) {
	m, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pins[unsafe.Pointer(&m[0])] = m
	return unsafe.Pointer(&m[0]), nil
}

func (e *emulated) unpin(p unsafe.Pointer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.pins[p]
	delete(e.pins, p)
	return unix.Munmap(m)
}

func (e *emulated) copy(q queue, dst, src pointer, n int64) error {
	return e.push(q, func() error {
		copy(unsafe.Slice((*byte)(dl.Pointer(uintptr(dst))), n), unsafe.Slice((*byte)(dl.Pointer(uintptr(src))), n))
		return nil
	})
}

func (e *emulated) clear(dst pointer, n int64) error {
	return e.push(compute, func() error {
		clear(unsafe.Slice((*byte)(dl.Pointer(uintptr(dst))), n))
		return nil
	})
}

func (e *emulated) load(k kernel) (function, error) {
	p, err := e.Function(k.name)
	if err != nil {
		return 0, err
	}
	size, err := e.Function(k.name + "_bytes")
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sizes[function(p)], e.names[function(p)] = int(*(*uint64)(dl.Pointer(size))), k.name
	return function(p), nil
}

func (e *emulated) launch(f function, s shape, args unsafe.Pointer, size uintptr) error {
	if int(size) != e.sizes[f] {
		return fmt.Errorf("%s takes %d bytes of arguments and is given %d: the structures in Go and CUDA differ", e.names[f], e.sizes[f], size)
	}
	own := bytes.Clone(unsafe.Slice((*byte)(args), size))
	return e.push(compute, func() error { return e.ordered(f, s, unsafe.Pointer(&own[0])) })
}

// emulatedGraph is what would be on the card of a graph.
type emulatedGraph struct {
	e *emulated
	l launches
}

func (e *emulated) graph(l *launches) (graph, error) {
	e.graphs++
	return &emulatedGraph{e, launches{calls: slices.Clone(l.calls), words: slices.Clone(l.words)}}, nil
}

func (g *emulatedGraph) set(i int, l *launches) error {
	if c := &g.l.calls[i]; c.f != l.calls[i].f {
		return fmt.Errorf("launch %d of a graph is of %s and shall be of %s", i, c.name, l.calls[i].name)
	}
	g.e.sets++
	g.l.calls[i].s = l.calls[i].s
	copy(g.l.args(i), l.args(i))
	return nil
}

// queue runs what the graph is now whenever the queue does.
func (g *emulatedGraph) queue() error {
	now := launches{calls: slices.Clone(g.l.calls), words: slices.Clone(g.l.words)}
	for i, c := range now.calls {
		if size := g.e.sizes[c.f]; int(c.size) != size {
			return fmt.Errorf("%s takes %d bytes of arguments and is given %d: the structures in Go and CUDA differ", c.name, size, c.size)
		}
		if err := g.e.push(compute, func() error { return g.e.ordered(c.f, c.s, unsafe.Pointer(&now.args(i)[0])) }); err != nil {
			return err
		}
	}
	return nil
}

func (g *emulatedGraph) free() error {
	g.e.graphs--
	return nil
}

// ordered runs a kernel in the driver's order of its threads.
func (e *emulated) ordered(f function, s shape, args unsafe.Pointer) error {
	if e.order != both {
		return e.once(f, s, args, e.order == falling)
	}
	before := e.touched(f, args)
	if err := e.once(f, s, args, false); err != nil {
		return err
	}
	after := make([][]byte, len(before))
	for i, b := range before {
		after[i] = bytes.Clone(b.now)
		copy(b.now, b.was)
	}
	if err := e.once(f, s, args, true); err != nil {
		return err
	}
	for i, b := range before {
		for at := range b.now {
			if b.now[at] != after[i][at] {
				return fmt.Errorf("%s has a race: byte %d of a buffer of %d depends on the order of its threads", e.names[f], at, len(b.now))
			}
		}
	}
	return nil
}

// snapshot is memory that a kernel is told of.
type snapshot struct{ now, was []byte }

// touched copies the regions that the arguments point into.
func (e *emulated) touched(f function, args unsafe.Pointer) []snapshot {
	var list []snapshot
	seen := map[*byte]bool{}
	for _, word := range unsafe.Slice((*uint64)(args), e.sizes[f]/8) {
		now := e.memoryAt(uintptr(word))
		if now == nil || seen[&now[0]] {
			continue
		}
		seen[&now[0]] = true
		list = append(list, snapshot{now, bytes.Clone(now)})
	}
	return list
}

// memoryAt is the reservation or the pinned memory that an address lies in, nil for none.
func (e *emulated) memoryAt(p uintptr) []byte {
	if r := e.regionOf(p); r != nil {
		return unsafe.Slice((*byte)(dl.Pointer(r.base)), r.size)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for base, m := range e.pins {
		if p >= uintptr(base) && p < uintptr(base)+uintptr(len(m)) {
			return m
		}
	}
	return nil
}

func (e *emulated) once(f function, s shape, args unsafe.Pointer, falling bool) error {
	grid := [4]uint32{uint32(s.x), uint32(s.y), uint32(s.z), uint32(s.threads)}
	text, down := make([]byte, 512), uintptr(0)
	if falling {
		down = 1
	}
	code := dl.Call(e.emulatorLibrary.launch, uintptr(f), uintptr(args), uintptr(unsafe.Pointer(&grid)), uintptr(s.shared), down, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	if int32(code) != 0 {
		return fmt.Errorf("%s: %s", e.names[f], dl.String(uintptr(unsafe.Pointer(&text[0]))))
	}
	return nil
}

// emulatedProduct is struct Product of testdata/emulator/emulator.cpp.
type emulatedProduct struct {
	a, b, c, bias                                                          pointer
	m, n, k, lda, ldb, ldc, transA, transB, half, halfC, accumulate, batch int64
	strideA, strideB, strideC                                              int64
	scale                                                                  float32
}

// gemm multiplies what the library would, but for odd strides, which go to the device's own kernel.
func (e *emulated) gemm(g *gemm) error {
	if g.halfC && !g.half {
		return errors.New("cuBLASLt has no F32 product with a BF16 result")
	}
	if g.lda%2 != 0 {
		return errNoProduct
	}
	p := emulatedProduct{a: g.a, b: g.b, c: g.c, bias: g.bias, m: int64(g.m), n: int64(g.n), k: int64(g.k), lda: int64(g.lda), ldb: int64(g.ldb), ldc: int64(g.ldc),
		transA: int64(bit(g.transA)), transB: int64(bit(g.transB)), half: int64(bit(g.half)), halfC: int64(bit(g.halfC)), accumulate: int64(bit(g.accumulate)),
		batch: int64(g.batch), strideA: int64(g.strideA), strideB: int64(g.strideB), strideC: int64(g.strideC), scale: g.scale}
	return e.push(compute, func() error {
		dl.Call(e.product, uintptr(unsafe.Pointer(&p)))
		return nil
	})
}

func (e *emulated) close() (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.regions {
		err = errors.Join(err, unix.Munmap(r.mapping))
	}
	for _, m := range e.pins {
		err = errors.Join(err, unix.Munmap(m))
	}
	return err
}

// openEmulated returns a device on the host, or skips without a compiler. With guard every buffer ends where the memory does.
func openEmulated(t testing.TB, o order, guard bool) *Device {
	t.Helper()
	return openLate(t, o, guard, copiesLate)
}

// openLate is openEmulated with what is late said.
func openLate(t testing.TB, o order, guard bool, l lateness) *Device {
	t.Helper()
	return openLimited(t, o, guard, l, 0)
}

// openLimited is openLate with no more memory than limit, if that is above 0.
func openLimited(t testing.TB, o order, guard bool, l lateness, limit int64) *Device {
	t.Helper()
	library := needEmulator(t)
	e := &emulated{emulatorLibrary: library, queued: queued{late: l}, order: o, guard: guard, sizes: map[function]int{}, names: map[function]string{}, pins: map[unsafe.Pointer][]byte{}}
	sizes := sizesFor(e.card(), limit)
	if guard {
		sizes = arena.Sizes{SmallAlign: 16, LargeAlign: 16, SmallSegment: 16, LargeSegment: 16}
	}
	d, err := newDevice(e, sizes)
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, d)
}

// closedAfter is d, which is closed when the test is over.
func closedAfter(t testing.TB, d *Device) *Device {
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
