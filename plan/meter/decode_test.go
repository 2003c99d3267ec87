package meter

import (
	"testing"
	"time"

	"hone/device"
	"hone/device/cpu"
	"hone/plan"
)

// TestMeasureDecoding: rates are measured, and a kernel takes some of the time of a token.
func TestMeasureDecoding(t *testing.T) {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	few, call, err := MeasureDecoding(dev, device.BF16)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v, %v µs", few, call)
	if !(few.GBs > 0 && few.GFLOPS > 0 && call >= 0) {
		t.Errorf("rates of bf16 are %+v, of a kernel %v µs", few, call)
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left on the device", left)
	}
}

// TestDecodeRates: the narrow model's further kernels tell what one takes, which is taken off what the wide one reads its weights in; all by mean times.
func TestDecodeRates(t *testing.T) {
	ms := time.Millisecond
	m := &Decoding{
		wide: &decodeModel{calls: 100}, narrow: &decodeModel{calls: 1100}, weights: 1e6,
		one: []time.Duration{1 * ms, 3 * ms}, thin: []time.Duration{5 * ms, 7 * ms}, many: []time.Duration{3 * ms, 5 * ms},
	}
	if call := m.call(); call != 4 {
		t.Errorf("a kernel takes %v µs, want 4", call)
	}
	if got, want := m.few(device.BF16), (plan.FewRows{GBs: 2e6 / 1.6e6, GFLOPS: 30e6 / 2e6}); got != want {
		t.Errorf("rates of few rows %+v, want %+v", got, want)
	}
	if r := m.Rates(device.F32); r.FewF32.GBs != 4e6/1.6e6 || r.FewBF16.GBs != 0 || r.CallUS != 4 {
		t.Errorf("what is known of f32 is %+v", r)
	}
	if r := m.Rates(device.BF16); r.FewBF16.GBs != 2e6/1.6e6 || r.FewF32.GBs != 0 {
		t.Errorf("what is known of bf16 is %+v", r)
	}
	if m.Forget(); len(m.one)+len(m.thin)+len(m.many) != 0 {
		t.Error("samples are kept")
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
	s := decodeSmall
	wide, narrow := calls(s.wide, 1), calls(s.narrow, (s.wide/s.narrow)*(s.wide/s.narrow))
	if more := narrow - wide; more < 15*10 || more%15 != 0 {
		t.Errorf("%d kernels in one wide layer, %d in 16 narrow ones", wide, narrow)
	}
}
