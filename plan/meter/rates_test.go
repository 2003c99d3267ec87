package meter

import (
	"errors"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/cpu/peak"
	"hone/plan"
)

// TestRatesThatAreAskedFor: only what the work needs is measured, and stays.
func TestRatesThatAreAskedFor(t *testing.T) {
	asked := 0
	m := &rateMeter{peak: &Peak{threads: 1}, whole: func(int) peak.Peak {
		asked++
		return peak.Peak{F32: 1, ReadGBs: 2, CopyGBs: 3, UpdateGBs: 4}
	}}
	rates := func(w plan.Work) plan.Rates {
		t.Helper()
		r, err := m.rates(w)
		if err != nil {
			t.Fatal(err)
		}
		if w.Time(r) == 0 {
			t.Errorf("%+v cannot be timed at %+v", w, r)
		}
		return r
	}
	head := rates(plan.Work{F32: plan.Arithmetic{Few: 2000, Weights: 1000}, Moved: 1e6})
	if head.NF4GBs != 0 || head.FewF32.GBs != head.ReadGBs || m.known.FewF32.GBs != 0 {
		t.Errorf("for a step without decoding and packed weights %+v were measured", head)
	}
	packed := rates(plan.Work{NF4: 1e6, Int8: 1e6, Moved: 1e6})
	if !(packed.NF4GBs > 0.01 && packed.Int8GBs > 0.01) || packed.FewF32.GBs != packed.ReadGBs {
		t.Errorf("for packed weights %+v were measured", packed)
	}
	m.known.FewF32, m.known.CallUS = plan.FewRows{GBs: 5, GFLOPS: 6}, 0 // as beside a neighbour
	again := rates(plan.Work{F32: plan.Arithmetic{Few: 2e6, Weights: 1e6}, NF4: 1e6})
	if again.NF4GBs != packed.NF4GBs || again.FewF32.GBs != 5 || again.CallUS != 0 || asked != 1 {
		t.Errorf("measured again: %+v, %d times", again, asked)
	}
}

// TestDecodingTellsOfKernels: where tokens are written, their time tells what a kernel takes, and no further models are made for it. An error of it names
// what was measured.
func TestDecodingTellsOfKernels(t *testing.T) {
	var asked []device.DType
	var broken error
	m := &rateMeter{peak: &Peak{threads: 1}, whole: func(int) peak.Peak { return peak.Peak{F32: 1, BF16: 1, ReadGBs: 2, CopyGBs: 3, UpdateGBs: 4} }}
	m.decode = func(_ *cpu.Device, t device.DType) (plan.FewRows, float64, error) {
		asked = append(asked, t)
		return plan.FewRows{GBs: 5, GFLOPS: 6}, 1e5, broken // no machine's
	}
	for _, w := range []plan.Work{{F32: plan.Arithmetic{Few: 2e6, Weights: 1e6}}, {BF16: plan.Arithmetic{Few: 2e6, Weights: 1e6}}} {
		r, err := m.rates(w)
		if again, _ := m.rates(w); err != nil || r.CallUS != 1e5 || again != r {
			t.Errorf("%+v, then %+v, %v", r, again, err)
		}
	}
	if !slices.Equal(asked, []device.DType{device.F32, device.BF16}) {
		t.Errorf("tokens of %v were measured", asked)
	}
	m.known, broken = plan.Rates{}, errors.New("no room")
	if _, err := m.rates(plan.Work{F32: plan.Arithmetic{Few: 2e6, Weights: 1e6}}); !errors.Is(err, broken) || err.Error() != "measure how fast this machine is: no room" {
		t.Errorf("error %v", err)
	}
}

// TestMeters: runs of a command share what is measured of a machine; nothing is known of a GPU's rates.
func TestMeters(t *testing.T) {
	var r Runs
	if r.Meter(&Peak{fixed: true}) != nil || (&Peak{fixed: true}).Meter(plan.Rates{}) != nil {
		t.Error("a GPU has a meter")
	}
	r.Meter(&Peak{threads: 1})
	r.Meter(&Peak{threads: 1, best: 5})
	r.Meter(&Peak{threads: 1, bf16: true})
	if len(r.meters) != 2 {
		t.Errorf("%d meters of two kinds of runs", len(r.meters))
	}
}

// TestMeasureCall: a kernel takes a time, which small models tell.
func TestMeasureCall(t *testing.T) {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	us, err := measureCall(dev, device.F32)
	if err != nil || !(us >= 0 && us < 1e5) || dev.Memory().InUse != 0 {
		t.Errorf("%v µs, %v, and %d bytes left", us, err, dev.Memory().InUse)
	}
}
