package tensor

import "testing"

// TestRandomStays: the same seed begins with the same weights in a later build.
func TestRandomStays(t *testing.T) {
	r, named := NewRandom(1, 2, 3), NewRandomFor(7, "model.norm.weight")
	if a, b := r.Uint64(), r.Uint64(); a != 0x185bb40c3c12cf8d || b != 0xc038bcd9e9d5e8b4 {
		t.Errorf("numbers %#x and %#x", a, b)
	}
	if f := r.Float64(); f != 0.6782450494979951 {
		t.Errorf("fraction %v", f)
	}
	if n := named.Uint64(); n != 0x2efd645a19389bcc {
		t.Errorf("by name %#x", n)
	}
}
