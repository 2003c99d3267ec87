//go:build linux && (amd64 || arm64)

package cuda

import (
	"testing"

	"hone/device"
)

// TestTimes: every call counts once, under its kernel's name, until it is asked for. The test's driver says half a millisecond each.
func TestTimes(t *testing.T) {
	d := openOver(t, newStopwatch(fakeDriver(t)))
	a, b := d.AllocZero(100, device.F32), d.AllocZero(100, device.F32)
	if _, err := d.Times(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		d.Binary(device.Add, a, a, b)
	}
	d.MatMul(device.MatMul{A: a, B: b, C: d.Alloc(100, device.F32), M: 10, N: 10, K: 10})
	for _, want := range []map[string]KernelTime{{"binary": {Calls: 3, Seconds: 1.5e-3}, "matmul": {Calls: 1, Seconds: 0.5e-3}}, {}} {
		got, err := d.Times()
		if err != nil {
			t.Fatal(err)
		}
		t.Log(got)
		if len(got) != len(want) {
			t.Fatalf("the times are %+v, want %+v", got, want)
		}
		for _, k := range got {
			if w := want[k.Name]; w.Calls != k.Calls || w.Seconds != k.Seconds {
				t.Errorf("%s took %+v, want %+v", k.Name, k, w)
			}
		}
	}
	if plain := openFake(t); plain != nil {
		if times, err := plain.Times(); times != nil || err != nil {
			t.Errorf("a device without timing has %v, %v", times, err)
		}
	}
}
