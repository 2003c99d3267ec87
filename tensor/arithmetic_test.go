package tensor

import (
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// TestEqualOperands: at equal operands Max and Min pass the whole gradient to the first, and Clamp passes
// it at its limits, as torch does.
func TestEqualOperands(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	for _, c := range []struct {
		name   string
		f      func(a, b *Tensor) *Tensor
		da, db []float32
	}{
		{"Max", Max, []float32{1, 0, 1}, []float32{0, 1, 0}},
		{"Min", Min, []float32{1, 1, 0}, []float32{0, 0, 1}},
		{"Clamp", func(a, _ *Tensor) *Tensor { return Clamp(a, 1, 2) }, []float32{1, 1, 0}, []float32{0, 0, 0}},
	} {
		tape.Train(1, 0, 0)
		a, b := tape.Constant([]float32{1, 2, 3}, 3), tape.Constant([]float32{1, 3, 2}, 3)
		a.needsGrad, b.needsGrad = true, true
		tape.Backward(Sum(c.f(a, b)))
		da, errA := a.GradFloat32s()
		db, errB := b.GradFloat32s()
		if errA != nil || errB != nil || !slices.Equal(da, c.da) || !slices.Equal(db, c.db) {
			t.Errorf("%s: gradients %v and %v, want %v and %v", c.name, da, db, c.da, c.db)
		}
		a.FreeGrad()
		b.FreeGrad()
		tape.Reset()
	}
}

// TestGradientThatWasOne: that of the loss is known to be 1 without a look at the device; what
// grows in its memory is looked at.
func TestGradientThatWasOne(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	tape.Train(1, 0, 0)
	x := tape.Constant([]float32{1, 2}, 2)
	x.needsGrad = true
	s := Sum(x)
	six := Scale(Scale(s, 3), 2)
	tape.Backward(Add(Add(s, tape.Constant([]float32{1}, 1)), six)) // s has the loss's gradient alone when that of six comes
	if g, err := x.GradFloat32s(); err != nil || !slices.Equal(g, []float32{7, 7}) {
		t.Errorf("the gradient is %v, %v, want 7", g, err)
	}
	x.FreeGrad()
	tape.Reset()
}

// TestFloat32 widens bf16 and narrows the gradient again.
func TestFloat32(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.BF16)
	tape.Train(1, 0, 0)
	x := tape.Floats([]float32{1, -2.5, 0.125}, 3)
	x.needsGrad = true
	y := Float32(x)
	if v, err := y.Float32s(); err != nil || y.DType() != device.F32 || !slices.Equal(v, []float32{1, -2.5, 0.125}) {
		t.Errorf("%v of type %v, %v", v, y.DType(), err)
	}
	if before := len(tape.entries); Float32(tape.Floats([]float32{1}, 1)).NeedsGrad() || len(tape.entries) != before {
		t.Error("a constant is recorded")
	}
	if Float32(y) != y {
		t.Error("what is F32 already is copied")
	}
	if v := Values(x); !slices.Equal(v, []float64{1, -2.5, 0.125}) {
		t.Errorf("values are %v", v)
	}
	tape.Backward(Sum(Mul(y, y)))
	if g, err := x.GradFloat32s(); err != nil || x.Grad().DType != device.BF16 || !slices.Equal(g, []float32{2, -5, 0.25}) {
		t.Errorf("gradient %v of type %v, %v", g, x.Grad().DType, err)
	}
	x.FreeGrad()
	tape.Reset()
}
