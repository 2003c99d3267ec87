package device

import (
	"math"
	"testing"
)

func TestWeight(t *testing.T) {
	worst := 0.0
	for i := range 200000 {
		d := float32(-80 * float64(i) / 200000)
		want := math.Exp(float64(d))
		worst = max(worst, math.Abs(float64(Weight(d))-want)/want)
	}
	// The rounding of d·log2(e) alone costs |d|·6e-8.
	if worst > 6e-6 {
		t.Errorf("worst relative error is %g", worst)
	}
	if Weight(0) != 1 {
		t.Errorf("the best token weighs %v, want 1", Weight(0))
	}
}
