package plan_test

import (
	"errors"
	"testing"
	"time"

	"hone/device"
	"hone/plan"
)

// TestWork counts kernels by kind.
func TestWork(t *testing.T) {
	d := plan.NewDevice()
	buffer := func(n int, dt device.DType) device.Buffer { return d.Alloc(n, dt) }
	product := func(m, n, k int, dt device.DType, transB bool) {
		d.MatMul(device.MatMul{M: m, N: n, K: k, A: buffer(m*k, dt), B: buffer(n*k, dt), C: buffer(m*n, device.F32), TransB: transB})
	}
	product(100, 200, 300, device.F32, true)
	product(100, 16, 300, device.F32, true)
	product(16, 200, 300, device.BF16, true)
	product(16, 200, 300, device.BF16, false) // the gradient of few rows is no decoding
	x, y := buffer(1000, device.F32), buffer(1000, device.BF16)
	d.Unary(device.SiLU, y, x)
	d.AdamW(device.AdamW{Param: x, Grad: x, M: x, V: x})
	d.AdamW(device.AdamW{Param: y, Rest: buffer(2000, device.U8), Grad: x, M: x, V: x})
	d.Unpack(x, device.Packed{Packing: device.Int8, Rows: 10, Cols: 100, Codes: buffer(1000, device.U8)})
	d.Unpack(y, device.Packed{Packing: device.NF4, Rows: 10, Cols: 100, Codes: buffer(500, device.U8)})
	want := plan.Work{
		F32:   plan.Arithmetic{Wide: 2 * 100 * 200 * 300, Narrow: 2 * 100 * 16 * 300},
		BF16:  plan.Arithmetic{Few: 2 * 16 * 200 * 300, Weights: 2 * 200 * 300, Narrow: 2 * 16 * 200 * 300},
		Calls: 9, Moved: 6000, Updated: 7*4000 + 4*2000 + 5*4000, Int8: 5000, NF4: 2500,
	}
	if got := d.Work(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	twice := want
	twice.Add(want, 1)
	if a, b := twice.FLOPs().Total(), want.FLOPs().Total(); a != 2*b || b != want.F32.Wide+want.F32.Narrow+want.BF16.Few+want.BF16.Narrow {
		t.Errorf("%d and %d operations", a, b)
	}
}

// TestTime: each kind of work takes time at its own rate, and nothing is said where a rate is not known.
func TestTime(t *testing.T) {
	few := plan.FewRows{GBs: 10, GFLOPS: 50}
	rates := plan.Rates{F32: 100, BF16: 200, ReadGBs: 10, CopyGBs: 20, UpdateGBs: 40, FewF32: few, FewBF16: few, CallUS: 10, Int8GBs: 5}
	at := func(w plan.Work, r plan.Rates) time.Duration { // cores wait for each other for a twentieth
		return time.Duration(0.95 * float64(w.Time(r))).Round(time.Microsecond)
	}
	for name, c := range map[string]struct {
		work plan.Work
		want time.Duration
	}{
		"products":       {plan.Work{F32: plan.Arithmetic{Wide: 86e9}}, time.Second},
		"bf16":           {plan.Work{BF16: plan.Arithmetic{Wide: 172e9}}, time.Second},
		"attention":      {plan.Work{F32: plan.Arithmetic{Attention: 52e9, Short: 20e9}}, time.Second},
		"its gradient":   {plan.Work{BF16: plan.Arithmetic{AttentionGrad: 76e9, ShortGrad: 20e9}}, time.Second},
		"moved":          {plan.Work{Moved: 20e9}, time.Second},
		"update":         {plan.Work{Updated: 40e9}, time.Second},
		"keys, values":   {plan.Work{Read: 8e9}, time.Second},
		"all, in a line": {plan.Work{Moved: 20e9, Updated: 40e9, F32: plan.Arithmetic{Wide: 86e9}}, 3 * time.Second},
	} {
		if got := at(c.work, rates); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	w := plan.Work{BF16: plan.Arithmetic{Wide: 86e9}}
	if got := at(w, plan.Rates{F32: 100, ReadGBs: 1, CopyGBs: 1, UpdateGBs: 1, FewF32: few, FewBF16: few}); got != time.Second {
		t.Errorf("without an instruction for bf16: %v", got)
	}
	if got := at(w, plan.Rates{F32: 100}); got != 0 {
		t.Errorf("without bandwidths: %v", got)
	}
	unknown := rates
	unknown.FewF32 = plan.FewRows{}
	if got := at(w, unknown); got == 0 {
		t.Error("a rate that is not needed is asked for")
	}
	for name, needs := range map[string]plan.Work{"few rows": {F32: plan.Arithmetic{Weights: 1e9}}, "NF4": {NF4: 1e9}} {
		if got := at(needs, unknown); got != 0 {
			t.Errorf("without the rate of %s: %v", name, got)
		}
	}
}

// TestTimeBy: rates are measured for the work at hand, and without a measure nothing is said.
func TestTimeBy(t *testing.T) {
	w := plan.Work{Int8: 1e9}
	got, err := w.TimeBy(func(asked plan.Work) (plan.Rates, error) {
		if asked != w {
			t.Errorf("measured for %+v", asked)
		}
		return plan.Rates{F32: 1, ReadGBs: 1, CopyGBs: 1, UpdateGBs: 1, Int8GBs: 1}, nil
	})
	if got != time.Second || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := w.TimeBy(func(plan.Work) (plan.Rates, error) { return plan.Rates{}, errors.New("busy") }); got != 0 || err == nil {
		t.Errorf("a failed measure gave %v, %v", got, err)
	}
	if got, err := w.TimeBy(nil); got != 0 || err != nil {
		t.Errorf("no measure gave %v, %v", got, err)
	}
}

// TestTimeMeasuredWhole: weights take the time of reading them with one row, further rows that of multiplying, and calls and unpacking their own; no waiting is added.
func TestTimeMeasuredWhole(t *testing.T) {
	rates := plan.Rates{F32: 1, ReadGBs: 1, CopyGBs: 1, UpdateGBs: 1, FewF32: plan.FewRows{GBs: 20, GFLOPS: 100}, FewBF16: plan.FewRows{GBs: 10, GFLOPS: 50}, CallUS: 5, NF4GBs: 4, Int8GBs: 2}
	for name, c := range map[string]struct {
		work plan.Work
		want time.Duration
	}{
		"one row":     {plan.Work{F32: plan.Arithmetic{Weights: 20e9, Few: 10e9}}, time.Second},
		"three rows":  {plan.Work{F32: plan.Arithmetic{Weights: 20e9, Few: 30e9}}, 1200 * time.Millisecond},
		"bf16":        {plan.Work{BF16: plan.Arithmetic{Weights: 10e9, Few: 30e9}}, 1400 * time.Millisecond},
		"their calls": {plan.Work{Calls: 1000}, 5 * time.Millisecond},
		"unpacked":    {plan.Work{NF4: 4e9, Int8: 4e9}, 3 * time.Second},
	} {
		if got := c.work.Time(rates).Round(time.Microsecond); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
