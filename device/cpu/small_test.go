package cpu

import (
	"testing"

	"hone/device"
)

// TestSmallCallsAllocateNothing: what a token asks for between its products leaves nothing on the heap, in either type.
func TestSmallCallsAllocateNothing(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 2})
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		x, y, w, table := d.Alloc(64, dtype), d.Alloc(64, dtype), d.Alloc(64, dtype), d.Alloc(16, device.F32)
		at := d.Alloc(1, device.I32)
		for _, b := range []device.Buffer{x, y, w, table, at} {
			d.Fill(b, 0)
		}
		for name, call := range map[string]func(){
			"Norm": func() { d.Norm(device.Norm{X: x, Y: y, Weight: w, C: 64, Eps: 1e-5}) },
			"Rope": func() {
				d.Rope(device.Rope{X: x, Y: y, Cos: table, Sin: table, Positions: at, Heads: 2, D: 32, Rotary: 32})
			},
			"PutRows": func() { d.PutRows(y, x, at) },
			"Binary":  func() { d.Binary(device.Add, y, x, w) },
			"Gated":   func() { d.Gated(device.SiLU, y, x, w) },
		} {
			if n := testing.AllocsPerRun(20, call); n != 0 {
				t.Errorf("%s of %s makes %v allocations", name, dtype, n)
			}
		}
	}
}
