//go:build linux

package cpu

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
	"hone/internal/cpuid"
	"hone/internal/half"
)

// Kernels that handle a last part of a vector may read or write past what they were given and still compute the right numbers. Here
// every kernel of the device works on operands that end where a page ends that may not be touched, and on such that begin behind one.

const (
	fenceSlots = 16       // operands of a call
	fenceBytes = 64 << 10 // of an operand at most
)

// fences is memory in slots with a page before and behind each that may not be touched.
type fences struct {
	mem  []byte
	page int
}

func newFences(t *testing.T) fences {
	page := syscall.Getpagesize()
	pitch := fenceBytes + page
	mem, err := syscall.Mmap(-1, 0, page+fenceSlots*pitch, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	for i := 0; i <= fenceSlots && err == nil; i++ {
		err = syscall.Mprotect(mem[i*pitch:i*pitch+page], syscall.PROT_NONE)
	}
	if err != nil {
		t.Fatalf("map memory between fences: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return fences{mem, page}
}

// slot is slot i.
func (f fences) slot(i int) []byte {
	lo := i*(fenceBytes+f.page) + f.page
	return f.mem[lo : lo+fenceBytes]
}

// Where operands lie.
const (
	placedApart = iota // in the device's own memory, with room around
	placedFirst        // behind a fence
	placedLast         // before a fence
	places
)

// operands makes the operands of one call, and remembers them.
type operands struct {
	*Device
	fences  fences
	place   int
	same    float32 // what all elements of the first operand are, and of the others nearly, where it is not 0
	special float32 // what element 1 of each operand is, where it is not 0
	all     []device.Buffer
	whole   [][]byte // each with what lies around it
	at      []int    // where in it the operand is
	state   uint32
}

// make places n elements of type t.
func (o *operands) make(n int, t device.DType) device.Buffer {
	const room = 256
	size, i := n*t.Size(), len(o.all)
	var whole []byte
	at := room
	switch o.place {
	case placedApart:
		whole = make([]byte, room+size+room)
	case placedFirst:
		whole, at = o.fences.slot(i)[:size+room], 0
	case placedLast:
		whole = o.fences.slot(i)[fenceBytes-room-size:]
	}
	for _, part := range [][]byte{whole[:at], whole[at+size:]} {
		for i := range part {
			part[i] = 0xa5
		}
	}
	b := device.Buffer{Mem: &block{start: unsafe.Pointer(&whole[:at+1][at]), bytes: int64(size)}, Len: n, DType: t}
	if size == 0 {
		b.Mem = &block{start: unsafe.Pointer(unsafe.SliceData(whole))}
	}
	o.all, o.whole, o.at = append(o.all, b), append(o.whole, whole), append(o.at, at)
	return b
}

// of is n numbers of about normal size.
func (o *operands) of(n int, t device.DType) device.Buffer {
	v := make([]float32, n)
	for i := range v {
		o.state = o.state*1664525 + 1013904223
		if v[i] = float32(int32(o.state)>>8) / (1 << 22); o.same != 0 {
			v[i] = o.same * (1 + float32(len(o.all))/8)
		}
	}
	if o.special != 0 && n > 1 {
		v[1] = o.special
	}
	b := o.make(n, t)
	o.Write(b, v)
	return b
}

func (o *operands) f(n int) device.Buffer { return o.of(n, device.F32) }

// positive is n F32 numbers above 0, such as second moments.
func (o *operands) positive(n int) device.Buffer {
	b := o.of(n, device.F32)
	for i, v := range f32s(b) {
		if f32s(b)[i] = v*v + 0.5; i == 1 && o.special != 0 {
			f32s(b)[i] = o.special
		}
	}
	return b
}

// out is what a kernel overwrites: it holds NaN.
func (o *operands) out(n int, t device.DType) device.Buffer {
	b := o.make(n, t)
	switch t {
	case device.F32, device.BF16:
		o.Fill(b, nan32)
	default:
		o.Fill(b, 77)
	}
	return b
}

// ints is an I32 operand.
func (o *operands) ints(v ...int32) device.Buffer {
	b := o.make(len(v), device.I32)
	o.Write(b, v)
	return b
}

// cycle is n of the given numbers over and over.
func (o *operands) cycle(n int, of ...int32) device.Buffer {
	v := make([]int32, n)
	for i := range v {
		v[i] = of[i%len(of)]
	}
	return o.ints(v...)
}

// apart is n different numbers from 0 to n+1, in no order.
func (o *operands) apart(n int) device.Buffer {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(n + 1 - i)
	}
	v[0], v[n-1] = v[n-1], v[0]
	return o.ints(v...)
}

// results are the bytes of all operands after the call; written says of one beside which something was written.
func (o *operands) results() (all [][]byte, written string) {
	for i, b := range o.all {
		whole, at, size := o.whole[i], o.at[i], b.Len*b.DType.Size()
		for j := -at; j < len(whole)-at; j++ {
			if j == 0 {
				j = size
			}
			if j < len(whole)-at && whole[at+j] != 0xa5 {
				written = fmt.Sprintf("operand %d of %d bytes: byte %d was written", i, size, j)
			}
		}
		all = append(all, bytes.Clone(whole[at:at+size]))
	}
	return all, written
}

// fencedPath is a way to compute, as a machine without some instructions has it.
type fencedPath struct {
	kernelPath
	dev *Device
}

// fencedPaths are the portable one, which is the reference for the others, and all that the machine has. A machine with AVX2 alone
// takes the second, which no other test runs through the device's kernels where the processor has AVX-512.
func fencedPaths(t *testing.T) []fencedPath {
	host := cpuid.Host()
	paths := []fencedPath{{kernelPath{vec.Generic, gemm.GenericKernels(host)}, nil}}
	add := func(f cpuid.Features) {
		paths = append(paths, fencedPath{kernelPath{vec.PathOf(f), gemm.NewKernels(f)}, nil})
	}
	best := vec.HostPath()
	if vec.PathOf(host.WithoutAVX512()) == vec.AVX2 {
		add(host.WithoutAVX512())
	}
	if vec.PathOf(host.WithoutAVX512BF16()) == vec.AVX512 {
		add(host.WithoutAVX512BF16())
	}
	if dots := host; best == vec.AVX512BF16 {
		dots.SlowBF16Dots = false
		add(dots)
	}
	if best == vec.NEON {
		add(host)
	}
	for i := range paths {
		paths[i].dev = newDevice(1, 0, paths[i].gemm, paths[i].vec)
		t.Cleanup(paths[i].dev.Close)
	}
	return paths
}

// TestFences: every kernel, on every path, touches nothing but its operands, gives the same bits wherever they lie, and what the portable
// code gives: numbers nearly, NaN and the infinities exactly, which are put into each operand in turn with all kinds of numbers.
func TestFences(t *testing.T) {
	mem, paths := newFences(t), fencedPaths(t)
	specials := []float32{0, nan32, inf32, -inf32}
	switch {
	case len(paths) == 1: // nothing to compare with
		specials = specials[:1]
	case testing.Short():
		specials = specials[:2]
	}
	for i, c := range fencedCalls() {
		if testing.Short() && i%2 != 0 {
			continue
		}
		for _, special := range specials {
			if special != 0 && c.finite {
				continue
			}
			var portable *operands
			for _, p := range paths {
				portable = c.compare(t, p, mem, special, portable)
			}
		}
	}
}

// TestLargeSameBits: every kernel gives the same bits on any number of workers, of which more than one have a part in it.
func TestLargeSameBits(t *testing.T) {
	calls := largeCalls()
	if testing.Short() { // of elements some: all are shared out by one function
		calls = calls[len(calls)/3:]
	}
	wants := make([][][]byte, len(calls))
	for _, threads := range []int{1, 3} {
		d := newDevice(threads, 0, gemm.HostKernels(), vec.HostPath())
		for i, c := range calls {
			o := &operands{Device: d}
			c.run(o)
			got, written := o.results()
			if wants[i] == nil {
				wants[i] = got
			}
			if !slices.EqualFunc(got, wants[i], bytes.Equal) || written != "" {
				t.Errorf("%s on %d threads: other bits; %s", c.name, threads, written)
			}
		}
		d.Close()
	}
}

// TestPlacesGiveSameBits: what becomes of a number does not depend on where it stands: in which register of a loop's body, or in a last part of one.
// An error in one of several registers may be too small for a tolerance.
func TestPlacesGiveSameBits(t *testing.T) {
	const n = 64 + 32 + 16 + 8 + 5
	for _, p := range fencedPaths(t) {
		for _, types := range [][3]device.DType{{typeF, typeF, typeF}, {typeH, typeH, typeH}} {
			for _, c := range elementCalls(n, types[0], types[1], types[2]) {
				if strings.HasPrefix(c.name, "Dropout") || strings.HasPrefix(c.name, "Copy2D") {
					continue
				}
				for _, same := range []float32{0.6171875, -1.734375, 2.890625} {
					o := &operands{Device: p.dev, same: same}
					c.run(o)
					all, _ := o.results()
					for i, b := range all {
						size := o.all[i].DType.Size()
						if !bytes.Equal(b[size:], b[:len(b)-size]) {
							t.Errorf("%s on %s of %v: elements of operand %d differ", c.name, p.vec, same, i)
						}
					}
				}
			}
		}
	}
}

// compare runs the call on path p wherever operands may lie, and compares with the portable path's. Without one it returns its own.
func (c *fencedCall) compare(t *testing.T, p fencedPath, mem fences, special float32, portable *operands) *operands {
	t.Helper()
	var first [][]byte
	var apart *operands
	for place := range places {
		if place > placedApart && special != 0 {
			continue
		}
		o := &operands{Device: p.dev, fences: mem, place: place, special: special}
		what := fmt.Sprintf("%s on %s/%s, special %v, place %d", c.name, p.gemm.Name, p.vec, special, place)
		c.run(o)
		all, written := o.results()
		if written != "" {
			t.Fatalf("%s: %s", what, written)
		}
		if first == nil {
			first, apart = all, o
		}
		for i := range all {
			if !bytes.Equal(all[i], first[i]) && !c.anyNaN {
				t.Fatalf("%s: operand %d differs by where it lies", what, i)
			}
		}
	}
	if portable == nil {
		return apart
	}
	for i := range min(len(apart.all), len(portable.all)) { // a weight may be arranged on one path alone, and give further operands
		if b := apart.all[i]; b.DType == device.F32 || b.DType == device.BF16 {
			closeOperands(t, fmt.Sprintf("%s on %s/%s, special %v: operand %d", c.name, p.gemm.Name, p.vec, special, i), apart.all[i], portable.all[i], c.slack)
		}
	}
	return portable
}

// closeOperands compares numbers.
func closeOperands(t *testing.T, what string, got, want device.Buffer, slack float64) {
	t.Helper()
	read := func(b device.Buffer, i int) float32 {
		if b.DType == device.BF16 {
			return half.BToFloat32(bf16s(b)[i])
		}
		return f32s(b)[i]
	}
	rel, abs := 1e-5, 4e-6
	if got.DType == device.BF16 || slack > 0 {
		rel, abs = max(0x1p-6, slack), max(1e-2, slack)
	}
	for i := range got.Len {
		if g, w := read(got, i), read(want, i); !close32(g, float64(w), rel, abs) {
			t.Fatalf("%s: element %d of %d is %g, and %g by portable code", what, i, got.Len, g, w)
		}
	}
}

// fencedCall is a call of a kernel.
type fencedCall struct {
	name   string
	finite bool    // what is not finite has no place in it
	anyNaN bool    // of several NaN any may come out
	slack  float64 // of paths, where it is more than that of a rounding
	run    func(o *operands)
}
