package preference

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/recipe"
	"hone/recipe/config"
	"hone/train"
)

// pairOf is a preference whose answers have so many tokens behind a prompt of two.
func pairOf(chosen, rejected int) *judged {
	marks := func(n int) []int32 {
		list := []int32{data.Mark(1, false), data.Mark(2, false)}
		for i := range n {
			list = append(list, data.Mark(int32(i), true))
		}
		return list
	}
	return &judged{answers: [][]int32{marks(chosen), marks(rejected)}}
}

// TestWon: who knows nothing is right half of the time.
func TestWon(t *testing.T) {
	for _, c := range []struct{ a, b, want float64 }{{2, 1, 1}, {1, 2, 0}, {1, 1, 0.5}, {math.NaN(), 1, 0}} {
		if got := won(c.a, c.b); got != c.want {
			t.Errorf("%v against %v is %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// TestCalibrationByHand: the error is the mean over the pairs of how far a bin's confidence is from its accuracy.
func TestCalibrationByHand(t *testing.T) {
	gap := func(confidence float64) float64 { return math.Log(confidence / (1 - confidence)) }
	some, much := gap(0.77), gap(0.92)
	pairs := []scoredPair{{chosen: some}, {rejected: some}, {chosen: some}, {chosen: 1 + some, rejected: 1}, {rejected: much}, {chosen: 5, rejected: 5}, {chosen: math.NaN()}, {chosen: 1000}}
	rows, off := calibration(pairs)
	want := [][]string{{"0.50-0.55", "1", "0.500", "0.500"}, {"0.75-0.80", "4", "0.770", "0.750"}, {"0.90-0.95", "1", "0.920", "0.000"}, {"0.95-1.00", "1", "1.000", "1.000"}}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("the bins are %v, want %v", rows, want)
	}
	if want := (4*0.02 + 0.92) / 8; math.Abs(off-want) > 1e-9 {
		t.Errorf("the calibration error is %v, want %v", off, want)
	}
	if rows, off := calibration(nil); rows != nil || off != 0 {
		t.Errorf("of no pair: %v, %v", rows, off)
	}
}

// TestLengthBias: scores that are the number of tokens correlate with it wholly; equal lengths tell nothing.
func TestLengthBias(t *testing.T) {
	var pairs []scoredPair
	for _, n := range [][2]int{{3, 1}, {2, 5}, {4, 2}} {
		pairs = append(pairs, scoredPair{pairOf(n[0], n[1]), 2 * float64(n[0]), 2 * float64(n[1])})
	}
	m := map[string]float64{}
	if lengthBias(pairs, m); math.Abs(m["length_correlation"]-1) > 1e-9 || math.Abs(m["length_gap_correlation"]-1) > 1e-9 {
		t.Errorf("scores by length: %v", m)
	}
	for i := range pairs {
		pairs[i].chosen, pairs[i].rejected = -pairs[i].chosen, -pairs[i].rejected
	}
	if lengthBias(pairs, m); math.Abs(m["length_correlation"]+1) > 1e-9 {
		t.Errorf("and against it: %v", m)
	}
	m = map[string]float64{}
	if lengthBias([]scoredPair{{pairOf(3, 3), 1, 2}, {pairOf(3, 3), 5, 2}}, m); len(m) != 0 {
		t.Errorf("of equal lengths: %v", m)
	}
}

// TestAnnotators: how often the model sides with each, and whom the records do not name is left out.
func TestAnnotators(t *testing.T) {
	of := func(name string, chosen, rejected float64) scoredPair {
		j := pairOf(1, 1)
		j.annotator = name
		return scoredPair{j, chosen, rejected}
	}
	m := map[string]float64{}
	rows := annotators([]scoredPair{of("zoe", 2, 1), of("zoe", 1, 2), of("ann", 2, 1), of("", 1, 2), of("ann", 2, 2)}, m)
	want := [][]string{{"ann", "2", "0.750", "0.198-0.973"}, {"zoe", "2", "0.500", "0.095-0.905"}}
	if fmt.Sprint(rows) != fmt.Sprint(want) || m["agreement/ann"] != 0.75 || m["agreement/zoe"] != 0.5 || len(m) != 2 {
		t.Errorf("%v, %v; want %v", rows, m, want)
	}
	if rows := annotators([]scoredPair{of("", 1, 2)}, m); rows != nil {
		t.Errorf("without names: %v", rows)
	}
	var tables []string
	err := inspect([]scoredPair{of("", 2, 1)}, map[string]float64{}, func(e train.TableEvent) error { tables = append(tables, e.Title); return nil })
	if err != nil || !slices.Equal(tables, []string{"calibration on held-out pairs"}) {
		t.Errorf("without names the tables are %q, %v", tables, err)
	}
}

// TestImplicitRewards: beta times the log-ratio to the reference, or per token where there is none.
func TestImplicitRewards(t *testing.T) {
	s := &preferring{c: &DPO{Beta: 0.1}, meter: train.NewMeter()}
	j := pairOf(4, 2)
	if a, b := s.reward(j, 0, -8), s.reward(j, 1, -8); math.Abs(a+0.2) > 1e-12 || math.Abs(b+0.4) > 1e-12 {
		t.Errorf("without a reference: %v and %v", a, b)
	}
	j.ref = []float32{-10, -5}
	s.measure(&dealt{items: []*judged{j}}, []float64{-8}, []float64{-6})
	want := map[string]float64{"rewards/chosen": 0.2, "rewards/rejected": -0.1, "rewards/margins": 0.3, "rewards/accuracies": 1, "logps/chosen": -8, "logps/rejected": -6}
	got := s.meter.Take()
	for name, v := range want {
		if math.Abs(got[name]-v) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the metrics are %v", got)
	}
}

// TestStepsDealAll: an epoch shows every record once, whatever the size of the micro-batches,
// which know the counts of the whole.
func TestStepsDealAll(t *testing.T) {
	s := &judgements{}
	for i := range 12 {
		j := pairOf(1+i%3, 2)
		s.items = append(s.items, *j)
	}
	c := &recipe.Training{BatchSize: 2, GradientAccumulationSteps: 3, Seed: 5}
	for epoch := range 3 {
		var seen []int
		for step := 2 * epoch; step < 2*epoch+2; step++ {
			batches := s.step(c, step)
			if len(batches) != 3 {
				t.Fatalf("a step has %d micro-batches", len(batches))
			}
			chosen, learned := 0, 0
			for _, b := range batches {
				d := b.Extra.(*dealt)
				if d.whole != 6 || len(d.items) != 2 || len(b.Offsets) != 5 {
					t.Errorf("a micro-batch of %d items of %d has the offsets %v", len(d.items), d.whole, b.Offsets)
				}
				seen = append(seen, d.index...)
				for _, j := range d.items {
					chosen += j.supervised(0)
				}
				learned += b.Supervised()
			}
			for _, b := range batches {
				if d := b.Extra.(*dealt); d.chosen != chosen || b.Tokens != learned {
					t.Errorf("the whole has %d tokens, %d of them chosen; a micro-batch says %d and %d", learned, chosen, b.Tokens, d.chosen)
				}
			}
		}
		slices.Sort(seen)
		for i := range 12 {
			if seen[i] != i {
				t.Fatalf("epoch %d shows %v", epoch, seen)
			}
		}
	}
}

// TestHeldPicks: about as many tokens as are asked for, at least one record, and all of them for 0.
func TestHeldPicks(t *testing.T) {
	s := &judgements{held: []judged{*pairOf(1, 1), *pairOf(2, 2), *pairOf(3, 3)}} // of 6, 8 and 10 tokens
	for most, want := range map[int]int{0: 3, 1: 1, 6: 1, 13: 1, 14: 2, 23: 2, 24: 3, 1000: 3} {
		if got := s.heldPicks(most); len(got) != want || got[0] != 0 {
			t.Errorf("%d tokens are the records %v, want %d of them", most, got, want)
		}
	}
}

// TestFingerprints tell records apart by all that is learned from.
func TestFingerprints(t *testing.T) {
	of := func(change func(*judgements)) string {
		s := &judgements{items: []judged{*pairOf(1, 2), *pairOf(3, 1)}, held: []judged{*pairOf(2, 2)}}
		change(s)
		return s.fingerprint()
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*judgements){
		"as they are": func(*judgements) {}, "another order": func(s *judgements) { slices.Reverse(s.items) }, "a margin": func(s *judgements) { s.items[0].margin = 1 },
		"a verdict": func(s *judgements) { s.items[1].desirable = true }, "one held out": func(s *judgements) { s.held, s.items = append(s.held, s.items[1]), s.items[:1] },
		"one less": func(s *judgements) { s.items = s.items[:1] }, "answers turned": func(s *judgements) { slices.Reverse(s.items[0].answers) },
		"another token": func(s *judgements) { s.items[0].answers[0][0] += 2 }, "another mark": func(s *judgements) { s.items[0].answers[0][1] |= 1 },
	} {
		print := of(change)
		if other, twice := seen[print]; twice {
			t.Errorf("%s and %s have one fingerprint", name, other)
		}
		seen[print] = name
	}
	if of(func(*judgements) {}) != of(func(s *judgements) { s.items[0].annotator = "ann" }) {
		t.Error("who judged changes nothing that is learned")
	}
}

// TestPreferencesAreValidated: each key past its bounds with one sentence that says what to do.
func TestPreferencesAreValidated(t *testing.T) {
	sound := []string{"data=x.jsonl", "model=m", "out=o"}
	for keys, want := range map[string]string{
		"data=":                             "data is not set; name files of preferences",
		"model=":                            "model is not set; name the folder",
		"validation_fraction=1":             "validation_fraction is 1; it must be at least 0 and below 1",
		"epochs=1e9":                        "up to 1e+06",
		"epochs=0":                          "epochs is 0; set it above 0 and up to 1e+06, or set steps",
		"on_bad_record=warn":                `on_bad_record is "warn"; use error or skip`,
		"too_long=keep":                     `too_long is "keep"; use cut, drop or error`,
		"z_loss=0.1":                        "z_loss is set",
		"neftune_noise_alpha=5":             "neftune_noise_alpha is set",
		"loss_type=dpo":                     `loss_type is "dpo"; use one of `,
		"beta=0":                            "beta is 0; it must be above 0",
		"simpo_gamma=-1":                    "simpo_gamma is -1",
		"desirable_weight=-1":               "desirable_weight is -1",
		"loss_type=ipo label_smoothing=0.1": "label_smoothing is set, which loss_type ipo does not have",
		"label_smoothing=0.5":               "label_smoothing is 0.5; it is the chance that a label is wrong and must be below 0.5",
		"loss_type=kto batch_size=1":        "raise batch_size to at least 2",
		"batch_size=0":                      "batch_size is 0",
	} {
		c := DefaultDPO()
		if err := config.Override(&c, sound); err != nil {
			t.Fatal(err)
		}
		if err := config.Override(&c, strings.Fields(keys)); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", keys, err, want)
		}
	}
	for keys, want := range map[string]string{"head=value": `head is "value"; use score or v_head`, "center_rewards_coefficient=-1": "center_rewards_coefficient is -1", "label_smoothing=0.1": "label_smoothing is set",
		"samples.every=5": "samples.every is set"} {
		c := DefaultReward()
		if err := config.Override(&c, append(slices.Clone(sound), keys)); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", keys, err, want)
		}
	}
	c := DefaultDPO()
	if err := config.Override(&c, append(slices.Clone(sound), "loss_type=kto", "batch_size=1", "gradient_accumulation_steps=2", "epochs=0", "steps=3")); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil || c.Optimizer.LearningRate != dpoRate || c.SequenceLength != 1024 {
		t.Errorf("a sound recipe: %v, learning rate %v, length %d", err, c.Optimizer.LearningRate, c.SequenceLength)
	}
}

// TestKeysOfOtherLosses have no effect, which is said.
func TestKeysOfOtherLosses(t *testing.T) {
	for key, users := range map[string][]string{"simpo_gamma": {"simpo"}, "desirable_weight": {"kto"}, "undesirable_weight": {"kto"}, "beta": {"sigmoid", "kto", "simpo"}} {
		for _, kind := range []string{"sigmoid", "simpo", "kto"} {
			c := DefaultDPO()
			c.LossType = kind
			used := slices.Contains(users, kind)
			if got := c.Unused(key); (got == "") != used && key != "beta" || !used && key != "beta" && got != "loss_type="+kind {
				t.Errorf("%s with %s: %q", key, kind, got)
			}
		}
	}
	c := DefaultReward()
	if c.Unused("epochs") != "" || c.Unused("validation_fraction") != "" {
		t.Error("keys that are in use are said to have no effect")
	}
	c.Steps, c.ValidationData = 3, []string{"x"}
	if c.Unused("epochs") != "steps=3" || c.Unused("validation_fraction") != "validation_data" || c.Unused("lora.r") != "method=full" {
		t.Errorf("%q, %q, %q", c.Unused("epochs"), c.Unused("validation_fraction"), c.Unused("lora.r"))
	}
}
