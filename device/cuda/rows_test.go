//go:build linux && (amd64 || arm64)

package cuda

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
)

// TestCrossEntropyPartsEmulated: the loss of a row has the same bits whether it is computed by one block or by many.
func TestCrossEntropyPartsEmulated(t *testing.T) {
	testCrossEntropyParts(t, openLate(t, both, true, kernelsLate))
}

// TestCrossEntropyParts does on a real card.
func TestCrossEntropyParts(t *testing.T) { testCrossEntropyParts(t, openCard(t)) }

func testCrossEntropyParts(t *testing.T, d *Device) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 5
	for _, c := range []device.CrossEntropy{{V: leastPartedRow}, {V: leastPartedRow + 3, ZLoss: 0.01}, {V: 70001, Smoothing: 0.1}} {
		logits := make([]float32, n*c.V)
		for i := range logits {
			logits[i] = float32(3 * r.NormFloat64())
		}
		infinite, nan := logits[2*c.V:3*c.V], logits[3*c.V:4*c.V]
		for i := range c.V - 100 {
			infinite[i] = float32(math.Inf(-1))
		}
		nan[c.V/2] = float32(math.NaN())
		c.Logits, c.Targets = d.Alloc(len(logits), device.F32), d.Alloc(n, device.I32)
		d.Write(c.Logits, logits)
		d.Write(c.Targets, []int32{0, int32(c.V - 1), int32(c.V - 3), 5, -1})
		parts, whole := c, c
		parts.Loss, whole.Loss, whole.DLogits = d.Alloc(n, device.F32), d.Alloc(n, device.F32), d.Alloc(len(logits), device.F32)
		d.CrossEntropy(parts)
		d.CrossEntropy(whole)
		got, want := make([]float32, n), make([]float32, n)
		for b, to := range map[device.Buffer][]float32{parts.Loss: got, whole.Loss: want} {
			if err := d.Read(to, b); err != nil {
				t.Fatal(err)
			}
		}
		same := func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y }
		if !slices.EqualFunc(got, want, same) || !(got[0] > 0) || got[4] != 0 {
			t.Errorf("%d columns: losses %v by parts, %v by whole rows", c.V, got, want)
		}
		for _, b := range []device.Buffer{c.Logits, c.Targets, parts.Loss, whole.Loss, whole.DLogits} {
			d.Free(b)
		}
	}
}
