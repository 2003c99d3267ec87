//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/internal/dl"
)

// TestDriverCalls runs the suite through the real driver's code, over a libcuda of the test that has cuda.h's signatures and
// refuses wrong arguments. No product is there, so that all are the device's own kernel's.
func TestDriverCalls(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return openFake(t) })
}

func openFake(t *testing.T) *Device {
	t.Helper()
	l, err := emulators()
	if errors.Is(err, errNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCU(l.Library)
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.open(Options{Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	n.compiler = &nvrtc{version: "of the test"}
	for _, file := range files() {
		path := filepath.Join(n.cache, cacheName(file, source(file), n.info.arch, n.compiler.version))
		if err := os.WriteFile(path, []byte("compiled"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.lt = noProducts(t, l.Library)
	n.lt.call = n.status
	d, err := newDevice(n, sizesFor(n.info, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// noProducts is a matrix library that describes everything and has nothing.
func noProducts(t *testing.T, l *dl.Library) *cublasLt {
	t.Helper()
	lt := &cublasLt{library: l, products: map[productKey]*product{}}
	to := map[string]*uintptr{"hone_no_product": &lt.heuristic}
	if err := l.Functions(to); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*uintptr{&lt.handle, &lt.descCreate, &lt.descSet, &lt.layoutCreate, &lt.layoutSet, &lt.preferenceCreate, &lt.preferenceSet, &lt.preferenceFree} {
		if err := l.Functions(map[string]*uintptr{"hone_described": f}); err != nil {
			t.Fatal(err)
		}
	}
	return lt
}

// TestOutOfMemoryNamesHolders asks for more than the test's driver makes at once. Functions of this package are passed over as owners.
func TestOutOfMemoryNamesHolders(t *testing.T) {
	d := openFake(t)
	var buffers []device.Buffer
	defer func() {
		var e *device.OutOfMemory
		if err, ok := recover().(error); !ok || !errors.As(err, &e) {
			t.Fatalf("the panic is %v", err)
		}
		if e.Asked != 3<<28 || e.InUse != 1<<29 || len(e.Holders) != 1 || e.Holders[0].Name != "testing.tRunner" || e.Holders[0].Bytes != 1<<29 {
			t.Errorf("the error is %+v", e)
		}
		for _, b := range buffers {
			d.Free(b)
		}
	}()
	buffers = append(buffers, d.Alloc(1<<27, device.F32))
	d.Alloc(3<<26, device.F32)
}

// TestAllocZero gives memory that was used before.
func TestAllocZero(t *testing.T) {
	d := openFake(t)
	d.Free(d.Alloc(5000, device.F32))
	b, got := d.AllocZero(5000, device.F32), make([]float32, 5000)
	if err := d.Read(got, b); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != 0 {
			t.Fatalf("element %d is %g", i, v)
		}
	}
	d.Free(b)
	d.Free(d.AllocZero(0, device.U8))
}
