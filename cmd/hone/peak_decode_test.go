package main

import (
	"testing"

	"hone/device"
	"hone/plan"
)

// TestMeasureDecoding: rates are measured of the types that are asked for, and a kernel takes some of the time of a token.
func TestMeasureDecoding(t *testing.T) {
	d, err := measureDecoding(0, device.BF16)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", d)
	if !(d.BF16.GBs > 0 && d.BF16.GFLOPS > 0 && d.CallUS >= 0) || d.F32 != (plan.FewRows{}) {
		t.Errorf("rates of bf16 are %+v", d)
	}
}

// TestDecodeModel: models of as many weights differ by their kernels alone, by which they are told apart.
func TestDecodeModel(t *testing.T) {
	calls := func(c, layers int) int64 {
		m, err := newDecodeModel(plan.NewDevice(), device.F32, c, layers)
		if err != nil {
			t.Fatal(err)
		}
		return m.calls
	}
	s := decodeSlow
	wide, narrow := calls(s.wide, 1), calls(s.narrow, (s.wide/s.narrow)*(s.wide/s.narrow))
	if more := narrow - wide; more < 15*10 || more%15 != 0 {
		t.Errorf("%d kernels in one wide layer, %d in 16 narrow ones", wide, narrow)
	}
}
