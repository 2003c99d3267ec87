package plan_test

import (
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/nn"
	"hone/plan"
	"hone/tensor"
)

// TestCachedPass: tokens behind those of a cache are planned to take what they take on a device, and their keys and values a call each for
// all sequences.
func TestCachedPass(t *testing.T) {
	const heads, d, each = 1, 16, 16 // a device's buffers are multiples of 64 bytes
	pass := func(dev device.Device) int64 {
		c := nn.NewCache(dev, device.F32, nn.Shape{Layers: 1, KVHeads: heads, HeadDim: d}, 3, 2*each)
		defer c.Free()
		tape := tensor.NewTape(dev, device.F32)
		tape.Infer()
		defer tape.Reset()
		in, err := c.Feed(tape, []int{2, 0}, [][]int32{make([]int32, each), make([]int32, each)})
		if err != nil {
			t.Fatal(err)
		}
		row := func() *tensor.Tensor { return tape.Floats(make([]float32, 2*each*d), 2*each, d) }
		in.Attend(0, row(), row(), row(), tensor.AttentionShape{Heads: heads, KVHeads: heads, D: d, Scale: 1})
		return dev.Memory().Peak
	}
	dev, planned := cpu.New(cpu.Options{Threads: 1}), plan.NewDevice()
	defer dev.Close()
	if got, want := pass(planned), pass(dev); got != want {
		t.Errorf("%d bytes are planned, %d are taken", got, want)
	}
	if calls := planned.Work().Calls; calls != 3 {
		t.Errorf("%d calls are planned, want keys, values and attention", calls)
	}
}
