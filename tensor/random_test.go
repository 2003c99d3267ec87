package tensor

import (
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

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
	var v [5]float32
	named.Normal(v[:3], 2)
	named.Uniform(v[3:], 2)
	if v != [5]float32{1.4502589, 1.5137511, -3.2838802, 0.5893622, -0.98837775} {
		t.Errorf("normal and uniform numbers %v", v)
	}
	tape := NewTape(devicetest.NewReference(), device.F32) // and a run that is resumed drops the same
	if tape.Train(1, 2, 3); tape.random != NewRandom(1, 2, 3) {
		t.Error("a pass draws from other numbers")
	}
}

// TestRandomKeys: generators of other numbers, of the same in another order, of one more or of another name
// are unrelated.
func TestRandomKeys(t *testing.T) {
	seen := map[uint64]int{}
	for i, r := range []Random{NewRandom(), NewRandom(0), NewRandom(0, 0), NewRandom(1), NewRandom(1, 2), NewRandom(2, 1), NewRandom(1, 2, 0), NewRandom(3),
		NewRandomFor(1, "a"), NewRandomFor(1, "b"), NewRandomFor(1, "ab"), NewRandomFor(1, "ba"), NewRandomFor(2, "a"), NewRandomFor(1, "")} {
		for range 4 {
			n := r.Uint64()
			if j, twice := seen[n]; twice {
				t.Errorf("generators %d and %d both give %#x", j, i, n)
			}
			seen[n] = i
		}
	}
}

// chiSquare is the sum of (observed - expected)²/expected over equal bins of [0, 1).
func chiSquare(bins int, n int, next func() float64) float64 {
	counts := make([]float64, bins)
	for range n {
		counts[int(next()*float64(bins))]++ // panics outside of [0, 1)
	}
	expected, sum := float64(n)/float64(bins), 0.0
	for _, c := range counts {
		sum += (c - expected) * (c - expected) / expected
	}
	return sum
}

// TestRandomDistributions: uniform numbers fill their range evenly, normal ones have their distribution
// function. Of 50 bins, 1 in 1000 chi-squares is above 85 and 1 in 1000 below 24; the seeds are fixed.
func TestRandomDistributions(t *testing.T) {
	const bins, n = 50, 20000
	r := NewRandom(5)
	v := make([]float32, n)
	at := 0
	check := func(what string, next func() float64) {
		t.Helper()
		if x := chiSquare(bins, n, next); x > 85 || x < 24 {
			t.Errorf("%s: chi-square is %.1f", what, x)
		}
		at = 0
	}
	check("Float64", r.Float64)
	r.Uniform(v, 0.25)
	check("Uniform", func() float64 { at++; return float64(v[at-1])*2 + 0.5 })
	if least, most := slices.Min(v), slices.Max(v); least < -0.25 || most >= 0.25 {
		t.Errorf("uniform numbers within ±0.25 go from %v to %v", least, most)
	}
	r.Normal(v, 3)
	cdf := func(x float64) float64 { return min(0.5*math.Erfc(-x/math.Sqrt2), 1-1e-12) }
	check("Normal", func() float64 { at++; return cdf(float64(v[at-1]) / 3) })
	pairs := 0.0 // the two numbers of a pair have nothing to do with each other
	for i := 0; i < n; i += 2 {
		pairs += float64(v[i]) * float64(v[i+1]) / 9 / (n / 2)
	}
	if math.Abs(pairs) > 0.04 { // four standard deviations
		t.Errorf("numbers of a pair correlate by %v", pairs)
	}
}

// TestNormalInPieces: an odd number of numbers is the beginning of one more, and pieces of even numbers
// follow on each other.
func TestNormalInPieces(t *testing.T) {
	whole, odd, pieces := make([]float32, 10), make([]float32, 9), make([]float32, 10)
	for i, list := range [][][]float32{{whole}, {odd}, {pieces[:4], pieces[4:6], pieces[6:]}} {
		r := NewRandom(8)
		for _, v := range list {
			r.Normal(v, 1)
		}
		if i > 0 && !slices.Equal(slices.Concat(list...), whole[:len(slices.Concat(list...))]) {
			t.Errorf("%v, whole %v", list, whole)
		}
	}
}

// TestDropoutAndNoise: elements are dropped as often as asked for, what is kept makes up for them; noise
// keeps within the bounds of its row; each operation draws anew and each pass the same again.
func TestDropoutAndNoise(t *testing.T) {
	const n, c, p = 40, 250, 0.3
	tape := NewTape(devicetest.NewReference(), device.F32)
	bounds := make([]float32, n)
	for i := range bounds {
		bounds[i] = float32(i%3) * 0.5
	}
	pass := func() (first, second, noise, more []float64) {
		tape.Train(3, 1, 2)
		x := tape.Floats(slicesOf(1, n*c), n, c)
		return float64s(t, Dropout(x, p)), float64s(t, Dropout(x, p)), float64s(t, Noise(x, bounds)), float64s(t, Noise(x, bounds))
	}
	first, second, noise, more := pass()
	dropped, both := 0, 0
	for i, v := range first {
		if v != 0 && math.Abs(v-1/(1-p)) > 1e-6 {
			t.Fatalf("an element of 1 became %v", v)
		}
		if v == 0 {
			dropped++
			if second[i] == 0 {
				both++
			}
		}
	}
	// within four standard deviations of binomial counts
	if d := float64(dropped) - n*c*p; math.Abs(d) > 4*math.Sqrt(n*c*p*(1-p)) {
		t.Errorf("%d of %d elements are dropped at %v", dropped, n*c, p)
	}
	if d := float64(both) - n*c*p*p; math.Abs(d) > 4*math.Sqrt(n*c*p*p*(1-p*p)) {
		t.Errorf("%d of %d elements are dropped by both of two operations at %v", both, n*c, p)
	}
	same := 0
	for i := range n {
		sum, most := 0.0, 0.0
		for j := i * c; j < (i+1)*c; j++ {
			sum, most = sum+noise[j]-1, max(most, math.Abs(noise[j]-1))
			if noise[j] == more[j] && bounds[i] > 0 {
				same++
			}
		}
		// c uniform numbers within ±b: the mean has a standard deviation of b/sqrt(3c), and the largest is
		// beyond 0.9·b but for a chance of 1e-11
		if b := float64(bounds[i]); most > b+1e-7 || most < 0.9*b || math.Abs(sum/c) > 4*b/math.Sqrt(3*c)+1e-12 {
			t.Errorf("noise in row %d, bound %v: the largest is %v, the mean %v", i, b, most, sum/c)
		}
	}
	if same > 0 {
		t.Errorf("%d numbers of two operations' noise are equal", same)
	}
	again, _, noiseAgain, _ := pass()
	if !slices.Equal(again, first) || !slices.Equal(noiseAgain, noise) {
		t.Error("the same pass draws other numbers")
	}
	tape.Train(3, 1, 2) // a layer that is to run again adds its noise the first time, too
	x := tape.Floats(slicesOf(1, n*c), n, c)
	x.needsGrad = true
	third := Recompute(x, func(x *Tensor) *Tensor { Dropout(x, p); Dropout(x, p); return Noise(x, bounds) })
	if !slices.Equal(float64s(t, third), noise) {
		t.Error("noise in a recomputed layer is not that of a layer that is kept")
	}
	tape.Infer()
	if x := tape.Floats(slicesOf(1, 4), 4, 1); Noise(x, make([]float32, 4)) != x {
		t.Error("noise acts outside training")
	}
	tape.Train(3, 1, 2)
	if x := tape.Floats(slicesOf(1, 4), 4, 1); Dropout(x, 0) != x {
		t.Error("a dropout of nothing makes a copy")
	}
	tape.Reset()
}
