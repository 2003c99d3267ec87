package recipe

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/plan"
	"hone/recipe/config"
	"hone/train"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"6GiB": 6 << 30, "1.5 GB": 1.5e9, "123": 123, "2M": 2 << 20, "1T": 1 << 40, "3KB": 3000, "5 TiB": 5 << 40, "1e3B": 1000, "0.5KiB": 512, "1KiB": 1 << 10, "1MiB": 1 << 20, "1 MB": 1e6, "1K": 1 << 10, "1G": 1 << 30, "1TB": 1e12, "2000000TB": 0, "NaNGiB": 0, "infGB": 0, "GiB": 0, "0": 0, "-1GiB": 0, "many": 0, "": 0, "6Gib": 0} {
		if got, err := parseBytes(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d bytes, %v; want %d", text, got, err, want)
		}
	}
}

// TestLowerChanges: what may take less memory is what the recipe does not have yet, and each change
// sets the key that it is called by.
func TestLowerChanges(t *testing.T) {
	for _, c := range []struct{ keys, dir, want string }{
		{"", "", "batch_size=4 batch_size=2 batch_size=1 sequence_length=128 optimizer.name=adamw8bit optimizer.paged=true dtype=bf16"},
		{"batch_size=1", "base", "sequence_length=128 optimizer.name=adamw8bit optimizer.paged=true method=lora dtype=bf16"},
		{"batch_size=1 sequence_length=4 optimizer.name=adamw8bit optimizer.paged=true dtype=bf16 method=lora device=cuda", "base", "sequence_length=2 activation_offloading=true"},
		{"batch_size=1 sequence_length=3 optimizer.name=adamw8bit optimizer.paged=true dtype=bf16 method=lora device=cuda activation_offloading=true", "base", ""},
	} {
		r := sound()
		if err := config.Override(&r, strings.Fields(c.keys)); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, change := range r.lower(c.dir) {
			names = append(names, change.Key)
			old := r
			change.Make()
			if key, value, _ := strings.Cut(change.Key, "="); config.Flatten(&r)[key] != value {
				t.Errorf("%s makes it %s", change.Key, config.Flatten(&r)[key])
			}
			r = old
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: changes %s, want %s", c.keys, got, c.want)
		}
	}
}

// TestPlanStep: memory is that of the largest micro-batches and work that of the rows there are; with
// every layer run again that is said.
func TestPlanStep(t *testing.T) {
	c := sound()
	c.BatchSize, c.SequenceLength, c.Recompute = 2, 8, "layers"
	shape := []byte(`{"model_type":"llama","vocab_size":50,"hidden_size":8,"intermediate_size":12,"num_hidden_layers":2,"num_attention_heads":2,"max_position_embeddings":16}`)
	full, err := c.PlanStep(shape, "", c.Full)
	if err != nil || full.Recompute != 2 || full.Activations <= 0 || full.Logits <= 0 || full.Weights <= 0 {
		t.Fatalf("%+v, %v", full, err)
	}
	half, err := c.PlanStep(shape, "", func() (Fill, error) {
		f, err := c.Full()
		f.Rows = 0.5
		return f, err
	})
	if err != nil || half.Peak != full.Peak || half.Work != full.Work.Filled(0.5) || half.Work == full.Work {
		t.Errorf("half full it is %+v, %v; full %+v", half, err, full)
	}
	for recompute, want := range map[string]int{"none": 0, "layers": 5, "0": 0, "3": 3, "9": 5} {
		c.Recompute = recompute
		if got, err := c.RecomputedLayers(5); got != want || err != nil {
			t.Errorf("recompute=%s runs %d of 5 layers again, %v", recompute, got, err)
		}
	}
	b, err := c.Full()
	if err != nil || !slices.Equal(b.Largest.Offsets, []int32{0, 8, 16}) {
		t.Errorf("sequences begin at %v, %v", b.Largest.Offsets, err)
	}
	for name, want := range map[string]bool{"adamw": false, "adamw8bit": true} {
		if o := (&Optimizer{Name: name}).config(); o.EightBit != want {
			t.Errorf("%s has moments in 8 bits: %v", name, o.EightBit)
		}
	}
	x := Inputs{Dropout: 0.25, Noise: 5, Recompute: 1}.Of(c.tape(plan.NewDevice(), 0), &data.Batch{IDs: []int32{1}, Positions: []int32{0}, Offsets: []int32{0, 1}})
	if x.Dropout != 0.25 || x.Noise != 5 || x.Recompute != 1 {
		t.Errorf("the input is %+v", x)
	}
}

// TestMeasuredBesidePlanned: what a session took, and by how much the plan was off; nothing of a session
// without a step, no table without a plan.
func TestMeasuredBesidePlanned(t *testing.T) {
	dev := plan.NewDevice()
	dev.Free(dev.Alloc(1000, 0))
	for _, c := range []struct {
		took    []float64
		planned int64
		time    float64
		want    string // rows of the table; "-": none, "": nothing is said
	}{
		{nil, 5000, 1, ""}, {[]float64{9, 2}, 0, 1, "-"},
		{[]float64{9, 2}, 5000, 1, "peak memory|4.9 KiB|3.9 KiB|+25.0%|time of a step|1 s|2 s|-50.0%"}, {[]float64{9, 2}, 3000, 0, "peak memory|2.9 KiB|3.9 KiB|-25.0%"},
	} {
		var events []train.Event
		metrics, err := train.OpenMetrics(filepath.Join(t.TempDir(), metricsName), 0, func(e train.Event) { events = append(events, e) })
		if err != nil {
			t.Fatal(err)
		}
		r := &Run{Env: Env{Device: dev}, Metrics: metrics, clock: &stepClock{took: c.took}, planned: plan.Memory{Peak: c.planned}, stepTime: c.time}
		if err := r.measured(train.Outcome{}); err != nil {
			t.Fatal(err)
		}
		metrics.Close()
		got := ""
		for _, e := range events {
			switch e := e.(type) {
			case train.InfoEvent:
				if got += "-"; e.Values["peak_memory_bytes"] != int64(4000) || e.Values["step_seconds"] != 2.0 {
					t.Errorf("measured %v", e.Values)
				}
			case train.TableEvent:
				got = strings.Join(slices.Concat(e.Rows...), "|")
			}
		}
		if got != c.want {
			t.Errorf("%+v: told %q", c, got)
		}
	}
}
