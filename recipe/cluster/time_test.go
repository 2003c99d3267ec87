package cluster

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hone/model"
	"hone/plan"
	"hone/recipe/config"
)

// opened is an estimator of keys that has counted the model.
func opened(t *testing.T, keys ...string) *estimator {
	t.Helper()
	c := DefaultEstimate()
	if err := config.Override(&c, keys); err != nil {
		t.Fatal(err)
	}
	if err := c.validate(); err != nil {
		t.Fatal(err)
	}
	e := &estimator{c: &c, steps: map[string]plan.Memory{}}
	for _, step := range []func() error{e.readModel, e.readPrices, e.measure, e.measureRollout} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// TestEveryLimitOfTimeIsKept, also where so many GPUs are needed that each of them does less.
func TestEveryLimitOfTimeIsKept(t *testing.T) {
	e := opened(t, "model=gpt2-1.5b", "tokens=300e9", "gpu=h100")
	few, many := 0, 0
	for hours := 400.0; hours > 4; hours *= 0.97 {
		e.c.MaxHours = hours
		r, err := e.cheapest()
		if err != nil {
			t.Fatal(err)
		}
		if r.Hours > hours {
			t.Errorf("at most %v hours: it takes %v on %d GPUs", hours, r.Hours, r.GPUs)
		}
		if r.GPUs > plan.FewGPUs {
			many++
		} else {
			few++
		}
	}
	if few == 0 || many == 0 {
		t.Errorf("%d plans are of few GPUs and %d of many: both must be looked at", few, many)
	}
}

// TestSizes: a size makes a model of about so many parameters, whose heads and layers can be.
func TestSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := 50e6 * math.Pow(10, rapid.Float64Range(0, 4.5).Draw(t, "exponent"))
		text, err := sizedShape(n, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.Declare(text, plan.NewDevice())
		if err != nil {
			t.Fatal(err)
		}
		var params float64
		for _, p := range m.Params {
			params += float64(p.Len())
		}
		if math.Abs(params/n-1) > 0.05 {
			t.Errorf("%.4g parameters become %.4g: %s", n, params, text)
		}
		if s := m.Shape(); s.HeadDim != 128 || s.Hidden != 128*s.Heads || s.Layers < 1 {
			t.Errorf("%.4g parameters have the shape %+v", n, s)
		}
	})
}

// TestCounts: numbers with the units of the field, and what is none.
func TestCounts(t *testing.T) {
	for text, want := range map[string]float64{"7B": 7e9, " 1.5b ": 1.5e9, "300e9": 300e9, "2T": 2e12, "10M": 10e6, "5k": 5000, "0": 0, "-3": -3, "1e3K": 1e6} {
		if got, err := parseCount(text); err != nil || math.Abs(got-want) > 1e-6*math.Abs(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "7 billion", "nan", "inf", "1e300", "1e18T", "7BB", "0x7Q"} {
		if got, err := parseCount(text); err == nil || !strings.Contains(err.Error(), "is no number such as 300e9, 7B or 2T") {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]int{"auto": 0, "1": 1, "1048576": 1 << 20} {
		if got, err := number("gpus", text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-1", "1.5", "1048577", "many", ""} {
		if _, err := number("gpus", text); err == nil || !strings.HasPrefix(err.Error(), "gpus is "+text+"; it must be a whole number of 1 to 1048576, or auto") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for usd, want := range map[float64]string{0: "0.00", 0.456: "0.46", 99.99: "99.99", 100: "100", 999.6: "1,000", 1234567: "1,234,567"} {
		if got := Money(usd); got != want {
			t.Errorf("$%v is written %s, want %s", usd, got, want)
		}
	}
}

// TestAPriceIsOfAGPU: without one the search would go on with the prices of the table, and say nothing.
func TestAPriceIsOfAGPU(t *testing.T) {
	_, err := estimateOf("model=7B", "usd_per_gpu_hour=2")
	if err == nil || err.Error() != "usd_per_gpu_hour is the price of one kind of GPU, and gpu is not set; name it, as in gpu=h100" {
		t.Errorf("a price of no GPU: %v", err)
	}
	if r := estimated(t, "model=7B", "gpu=h100", "usd_per_gpu_hour=2", "max_hours=1000"); r.USDPerGPUHour != 2 || r.Price.Provider != "yours" {
		t.Errorf("an hour costs $%v of %+v", r.USDPerGPUHour, r.Price)
	}
}

// TestRemedies: changes to choose from, or a sentence where none is enough.
func TestRemedies(t *testing.T) {
	if r := estimated(t, "model=gpt2-1.5b", "stage=sft", "tokens=1M", "gpu=t4", "gpus=1"); r.Fits || r.Remedy() != "change one of: "+strings.Join(r.Lower, ", ") {
		t.Errorf("%v: %s", r.Lower, r.Remedy())
	}
	r := estimated(t, "model=20T", "gpu=h100", "gpus=1")
	if r.Fits || r.Remedy() != "no single change is enough: use a GPU with more memory, a smaller model, or several changes at once" {
		t.Errorf("%v: %s", r.Lower, r.Remedy())
	}
	c := DefaultEstimate()
	if _, _, err := c.Job(r, "slurm"); err == nil || !strings.HasSuffix(err.Error(), "1 h100, so no job is written; "+r.Remedy()) {
		t.Errorf("a job of it: %v", err)
	}
	for hours, want := range map[float64]string{0.01234: "0.01234", 48: "48", 3391.2: "3391", 9999.7: "10,000", 12345.6: "12,346", 1.5e6: "1,500,000"} {
		if got := Hours(hours); got != want {
			t.Errorf("%v hours are written %s, want %s", hours, got, want)
		}
	}
}
