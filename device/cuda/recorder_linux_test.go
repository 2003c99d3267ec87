package cuda

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"hone/device"
)

// recorder is a driver without a card: memory is the host's, copies run at once, of kernels the one that writes runs and the others are only noted.
// What a device asks of a driver, and when, can be tested with it anywhere, without a compiler.
type recorder struct {
	regions [][]byte
	names   map[function]string
	log     []string         // of what is asked, as "launch fill"
	fails   map[string]error // of a call by its name in the log, or its first word
	marks   mark
	missing bool // the matrix library has no product
}

const recorderMemory = 32 << 20

func newRecorder() *recorder {
	return &recorder{names: map[function]string{}, fails: map[string]error{}}
}

// openRecorder is a device over a recorder whose log begins when it is open.
func openRecorder(t *testing.T) (*Device, *recorder) {
	t.Helper()
	r := newRecorder()
	d, err := newDevice(r, sizesFor(r.card(), 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	r.log = nil
	return d, r
}

// note writes a call down and says whether it fails.
func (r *recorder) note(call string, detail ...any) error {
	for _, x := range detail {
		call += fmt.Sprint(" ", x)
	}
	r.log = append(r.log, call)
	if err := r.fails[call]; err != nil {
		return err
	}
	for at, c := range call {
		if c == ' ' {
			return r.fails[call[:at]]
		}
	}
	return r.fails[call]
}

// launches are the names of kernels that were launched since the last call.
func (r *recorder) launches() (names []string) {
	for _, l := range r.log {
		var name string
		if n, _ := fmt.Sscanf(l, "launch %s", &name); n == 1 {
			names = append(names, name)
		}
	}
	r.log = nil
	return names
}

func (r *recorder) card() card {
	return card{name: "recorder", arch: 90, memory: recorderMemory, processors: 4, shared: 227 << 10}
}

// memory makes n bytes that begin on a page.
func (r *recorder) memory(n int64) unsafe.Pointer {
	const page = 4096
	whole := make([]byte, n+page)
	base := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	bytes := whole[(page-base%page)%page:][:n]
	r.regions = append(r.regions, bytes)
	return unsafe.Pointer(unsafe.SliceData(bytes))
}

// at is the memory of n bytes from p on.
func (r *recorder) at(p pointer, n int64) []byte {
	for _, b := range r.regions {
		base := pointer(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
		if p >= base && p+pointer(n) <= base+pointer(len(b)) {
			return b[p-base:][:n]
		}
	}
	panic(fmt.Sprintf("%d bytes at %#x are nobody's", n, p))
}

func (r *recorder) Reserve(size int64) (uintptr, bool) {
	if size > recorderMemory {
		return 0, false
	}
	return uintptr(r.memory(size)), true
}

func (r *recorder) Commit(uintptr, int64, int64) bool { return true }

func (r *recorder) pin(size int64) (unsafe.Pointer, error) {
	if err := r.note("pin"); err != nil {
		return nil, err
	}
	return r.memory(size), nil
}

func (r *recorder) unpin(unsafe.Pointer) error { return r.note("unpin") }

func (r *recorder) copy(q queue, dst, src pointer, n int64) error {
	if err := r.note("copy", q); err != nil {
		return err
	}
	copy(r.at(dst, n), r.at(src, n))
	return nil
}

func (r *recorder) clear(dst pointer, n int64) error {
	clear(r.at(dst, n))
	return r.note("clear")
}

func (r *recorder) load(k kernel) (function, error) {
	if err := r.note("load", k.name); err != nil {
		return 0, err
	}
	f := function(len(r.names) + 1)
	r.names[f] = k.name
	return f, nil
}

func (r *recorder) launch(f function, s shape, args unsafe.Pointer, _ uintptr) error {
	if err := r.note("launch", r.names[f]); err != nil {
		return err
	}
	if s.x <= 0 || s.y <= 0 || s.z <= 0 || s.threads <= 0 || s.threads > 1024 {
		return fmt.Errorf("%s over a grid of %+v", r.names[f], s)
	}
	if r.names[f] == kernelWrite.name {
		w := (*writeArgs)(args)
		for i := range w.count {
			copy(r.at(w.to[i], int64(w.ends[i]-w.begins[i])), w.bytes[w.begins[i]:w.ends[i]])
		}
	}
	return nil
}

func (r *recorder) gemm(*gemm) error {
	if r.missing {
		r.log = append(r.log, "gemm")
		return errNoProduct
	}
	return r.note("gemm")
}

func (r *recorder) mark(q queue, old mark) (mark, error) {
	if old == 0 {
		r.marks++
		old = r.marks
	}
	return old, r.note("mark", q)
}

func (r *recorder) wait(mark) error             { return r.note("wait") }
func (r *recorder) await(q queue, m mark) error { return r.note("await", q) }
func (r *recorder) sync() error                 { return r.note("sync") }
func (r *recorder) close() error                { return r.note("close") }

// TestDriverFailures: what the driver cannot do sticks and is what every later Sync and Read says, with the kernel's name, so that nothing goes on
// with half of an update.
func TestDriverFailures(t *testing.T) {
	broken := errors.New("the card fell off")
	for call, f := range map[string]func(d *Device, b device.Buffer){
		"launch fill": func(d *Device, b device.Buffer) { d.Fill(b, 1) },
		"load fill":   func(d *Device, b device.Buffer) { d.Fill(b, 1) },
		"clear":       func(d *Device, _ device.Buffer) { d.AllocZero(3, device.F32) },
		"gemm": func(d *Device, b device.Buffer) {
			d.MatMul(device.MatMul{M: 32, N: 8, K: 8, A: b.Slice(0, 256), B: b.Slice(0, 64), C: b.Slice(256, 512)})
		},
		"copy 1":             func(d *Device, b device.Buffer) { d.Write(b, make([]float32, b.Len)) },
		"copy 2":             func(d *Device, b device.Buffer) { d.Stash(b) },
		"await 0":            func(d *Device, b device.Buffer) { d.Arrived(d.Unstash(d.Stash(b))) },
		"mark 2":             func(d *Device, b device.Buffer) { d.Stash(b) },
		"launch write_bytes": func(d *Device, b device.Buffer) { d.Write(b.Slice(0, 2), []float32{1, 2}) },
	} {
		d, r := openRecorder(t)
		b := d.Alloc(5000, device.F32)
		r.fails[call] = broken
		f(d, b)
		_ = d.Sync()
		delete(r.fails, call)
		for range 2 {
			if err := d.Sync(); !errors.Is(err, broken) {
				t.Errorf("%s fails: Sync says %v", call, err)
			}
		}
		if err := d.Read(make([]float32, 5), b.Slice(0, 5)); !errors.Is(err, broken) {
			t.Errorf("%s fails: Read says %v", call, err)
		}
		if err := d.ReadLater(make([]float32, 5), b.Slice(0, 5))(); !errors.Is(err, broken) {
			t.Errorf("%s fails: ReadLater says %v", call, err)
		}
		if err := d.Close(); !errors.Is(err, broken) || r.log[len(r.log)-1] != "close" {
			t.Errorf("%s fails: Close says %v; the last call is %s", call, err, r.log[len(r.log)-1])
		}
	}
	d, r := openRecorder(t)
	r.fails["close"] = broken
	if err := d.Close(); !errors.Is(err, broken) {
		t.Errorf("close fails: %v", err)
	}
	for _, call := range []string{"pin"} { // what a device needs to begin with
		r := newRecorder()
		r.fails[call] = broken
		if _, err := newDevice(r, sizesFor(r.card(), 0)); !errors.Is(err, broken) {
			t.Errorf("%s fails: the device opens with %v", call, err)
		}
	}
}

// TestReadFailures: a copy to the host that fails, at once or while it is waited for, is an error of that Read, and the next one works.
func TestReadFailures(t *testing.T) {
	broken := errors.New("the card fell off")
	d, r := openRecorder(t)
	b, got := d.Alloc(100, device.F32), make([]float32, 100)
	d.Write(b, slices.Repeat([]float32{2}, 100))
	for _, call := range []string{"copy 0", "mark 0", "wait"} {
		r.fails[call] = broken
		if err := d.Read(got, b); !errors.Is(err, broken) {
			t.Errorf("%s fails: Read says %v", call, err)
		}
		if err := d.ReadLater(got, b)(); !errors.Is(err, broken) {
			t.Errorf("%s fails: ReadLater says %v", call, err)
		}
		delete(r.fails, call)
	}
	clear(got)
	if err := d.Read(got, b); err != nil || got[99] != 2 {
		t.Errorf("Read after failures: %v, %v", got[99], err)
	}
	for range 300 { // more than there are letters, which come back
		clear(got)
		if err := d.ReadLater(got, b)(); err != nil || got[0] != 2 {
			t.Fatalf("ReadLater after failures: %v, %v", got[0], err)
		}
	}
	large := d.Alloc(letterSize, device.F32) // more than a letter
	d.Fill(large, 1)
	if err := d.ReadLater(make([]float32, letterSize), large)(); err != nil {
		t.Errorf("a large result: %v", err)
	}
}

// TestKernelsReport: what a kernel found wrong with its operands is said once, by name, whatever the code; then the device is as it was.
func TestKernelsReport(t *testing.T) {
	d, _ := openRecorder(t)
	for code := 1; code < len(failures)+2; code++ {
		*d.failure = int32(code)
		want := "cuda: " + failures[min(code, len(failures)-1)]
		if err := d.Sync(); err == nil || err.Error() != want {
			t.Errorf("code %d: %v, want %q", code, err, want)
		}
		if err := d.Sync(); err != nil {
			t.Errorf("code %d is said twice: %v", code, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestKernelsAreLoadedOnce: a kernel is compiled when it is first needed and never again; one that could not be is tried again.
func TestKernelsAreLoadedOnce(t *testing.T) {
	d, r := openRecorder(t)
	b := d.Alloc(10, device.F32)
	r.fails["load unary"] = errors.New("no compiler")
	for range 2 {
		d.Fill(b, 1)
		d.Unary(device.SiLU, b, b)
	}
	delete(r.fails, "load unary")
	for range 2 {
		d.Unary(device.SiLU, b, b)
	}
	count := map[string]int{}
	for _, l := range r.log {
		count[l]++
	}
	if count["load fill"] != 1 || count["load unary"] != 3 || count["launch fill"] != 2 || count["launch unary"] != 2 {
		t.Errorf("the driver is asked for %v", count)
	}
	if err := d.Close(); err == nil || err.Error() != "cuda: unary: no compiler" {
		t.Errorf("afterwards Close says %v", err)
	}
}

// TestNothingToLaunch: empty operands launch nothing, and a grid that the card cannot have is refused by name.
func TestNothingToLaunch(t *testing.T) {
	d, r := openRecorder(t)
	none, ids := d.Alloc(0, device.F32), d.Alloc(0, device.I32)
	r.log = nil
	d.Fill(none, 1)
	d.Unary(device.SiLU, none, none)
	d.Binary(device.Add, none, none, none)
	d.Scale(none, 1)
	d.AddScaled(none, 1, none)
	d.Dropout(none, none, 0.5, 1)
	d.Norm(device.Norm{C: 4, X: none, Y: none})
	d.Embedding(none, d.Alloc(8, device.F32), ids)
	d.MatMul(device.MatMul{M: 0, N: 3, K: 2, A: none, B: d.Alloc(6, device.F32), C: none})
	d.CrossEntropy(device.CrossEntropy{V: 3, Logits: none, Targets: ids, Loss: none})
	d.AdamW(device.AdamW{Param: none, Grad: none, M: none, V: none, Step: 1})
	d.Split(d.Alloc(0, device.BF16), d.Alloc(0, device.U8), none)
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	if names := r.launches(); len(names) > 0 {
		t.Errorf("empty operands launch %v", names)
	}
	defer func() {
		if message := fmt.Sprint(recover()); message != "cuda: fill over a grid of 1×70000×1 blocks" {
			t.Errorf("a grid that is too high: %s", message)
		}
	}()
	run(d, kernelFill, shape{x: 1, y: 70000, threads: 1}, &fillArgs{})
}
