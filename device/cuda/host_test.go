package cuda

import (
	"slices"
	"testing"

	"hone/device"
)

func TestSortRows(t *testing.T) {
	order, starts, unique := sortRows([]int32{5, 0, 5, 2, 0, 5}, 6)
	for name, v := range map[string][2][]int32{"order": {order, {1, 4, 3, 0, 2, 5}}, "starts": {starts, {0, 2, 3, 6}}, "unique": {unique, {0, 2, 5}}} {
		if !slices.Equal(v[0], v[1]) {
			t.Errorf("%s is %v, want %v", name, v[0], v[1])
		}
	}
}

func TestErrorOfOutOfMemory(t *testing.T) {
	e := &device.OutOfMemory{Device: "cuda", Asked: 3 << 20, For: device.Activations, InUse: 80 << 20, Total: 81 << 20,
		Holders: []device.Holder{{Use: device.OptimizerState, Name: "optim.New", Bytes: 60 << 20}, {Use: device.Activations, Name: "tensor.Linear", Bytes: 10 << 20},
			{Use: device.Activations, Name: "tensor.Add", Bytes: 2 << 20}, {Use: device.Weights, Name: "nn.Alloc", Bytes: 8 << 20}}}
	want := "cuda is out of memory: 3 MiB asked for activations with 80 MiB in use of 81 MiB: the optimizer's state 60 MiB (most by optim.New), " +
		"activations 12 MiB (most by tensor.Linear), weights 8 MiB (most by nn.Alloc); lower batch_size or sequence_length, or set recompute=layers; " +
		"or set optimizer.name=adamw8bit or optimizer.paged=true"
	if e.Error() != want {
		t.Errorf("the error is %q, want %q", e, want)
	}
}
