package optim

import (
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/tensor"
)

// TestOperandsOfAPart: an update of a part of a tensor, as of paged state, takes the scales of the
// part's own blocks of 8-bit moments.
func TestOperandsOfAPart(t *testing.T) {
	const blocks, rest = 5, 7 // whole blocks, and elements of the last one
	dev := devicetest.NewReference()
	p := tensor.NewParam(blocks*device.DynamicBlock+rest, 8)
	p.Set(dev, device.F32, make([]float32, p.Len()))
	o := New(dev, []Param{{Name: "w", Tensor: p}}, Config{EightBit: true})
	defer o.Free()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Train(1, 0, 0)
	tape.Backward(tensor.Sum(tensor.Linear(tape.Floats(make([]float32, 8), 1, 8), p, nil)))
	defer p.FreeGrad()
	s := &o.slots[0]
	n, all := p.Len(), blocks*8+1
	if s.mScale.Len != all || s.vScale.Len != all {
		t.Fatalf("%d and %d scales for %d elements, want %d", s.mScale.Len, s.vScale.Len, n, all)
	}
	for _, c := range []struct{ lo, hi, first, scales int }{{0, n, 0, all}, {0, 2 * device.DynamicBlock, 0, 2}, {2 * device.DynamicBlock, n, 2, all - 2}, {3 * device.DynamicBlock, 4 * device.DynamicBlock, 3, 1}} {
		var k device.AdamW
		s.operands(&k, c.lo, c.hi)
		if k.M.Off != c.lo || k.Grad.Off != c.lo || k.M.Len != c.hi-c.lo || k.MScale.Off != c.first || k.MScale.Len != c.scales || k.VScale.Off != c.first || k.VScale.Len != c.scales {
			t.Errorf("elements %d to %d: codes from %d, %d of them, scales from %d, %d of them", c.lo, c.hi, k.M.Off, k.M.Len, k.MScale.Off, k.MScale.Len)
		}
	}
}
