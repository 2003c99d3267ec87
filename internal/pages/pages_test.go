package pages

import (
	"testing"
	"unsafe"
)

// TestFloats: a slice has its length and no more, is zero, and begins on a cache line, a long one on a huge page.
func TestFloats(t *testing.T) {
	for _, n := range []int{0, 1, 17, hugeSize/4 - 1, hugeSize / 4, hugePage/4 + 3} {
		f, align := Floats(n), uintptr(64)
		if 4*n >= hugeSize {
			align = hugePage
		}
		if len(f) != n || cap(f) != n || uintptr(unsafe.Pointer(unsafe.SliceData(f)))%align != 0 {
			t.Errorf("%d elements: %d of %d at %p", n, len(f), cap(f), unsafe.SliceData(f))
		}
		for i, v := range f {
			if v != 0 {
				t.Fatalf("%d elements: number %d is %v", n, i, v)
			}
		}
	}
}

// TestGrow: a slice that is long enough stays as it is.
func TestGrow(t *testing.T) {
	var buf []float32
	Grow(&buf, 8)
	buf[7] = 1
	if Grow(&buf, 5); len(buf) != 8 || buf[7] != 1 {
		t.Errorf("what is long enough became %v", buf)
	}
	if Grow(&buf, 9); len(buf) != 9 {
		t.Errorf("%d elements, want 9", len(buf))
	}
}

// TestMap: memory is zero and can be written from one end to the other.
func TestMap(t *testing.T) {
	b := Map(hugePage + 5)
	if len(b) != hugePage+5 || b[0] != 0 || b[len(b)-1] != 0 {
		t.Fatalf("%d bytes, the ends %v and %v", len(b), b[0], b[len(b)-1])
	}
	b[0], b[len(b)-1] = 1, 1
	Unmap(b)
}
