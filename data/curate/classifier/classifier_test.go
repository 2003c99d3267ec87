package classifier

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

// taste makes examples of one vocabulary in which some word pairs are of the positive set only, and writes them.
func taste(t testing.TB, n int, positive bool, seed uint64) (path string, texts []string) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	for range n {
		var words []string
		for len(words) < 80 {
			words = append(words, fmt.Sprint("word", r.IntN(300)))
			switch {
			case r.IntN(30) > 0:
			case positive:
				words = append(words, "quite", "so")
			default:
				words = append(words, "so", "quite")
			}
		}
		texts = append(texts, strings.Join(words, " "))
		fmt.Fprintf(&b, "{\"text\": %q}\n", texts[len(texts)-1])
	}
	path = filepath.Join(t.TempDir(), "examples.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, texts
}

func tasteClassifier(t testing.TB) Config {
	c := Default()
	good, _ := taste(t, 400, true, 1)
	bad, _ := taste(t, 200, false, 2)
	c.Positive, c.Negative, c.Training.Buckets = []string{good}, []string{bad}, 1<<14
	return c
}

// TestEqualExamplesAreOne, also where there are more than are learnt from.
func TestEqualExamplesAreOne(t *testing.T) {
	path, texts := taste(t, 40, true, 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	repeated := filepath.Join(t.TempDir(), "repeated.jsonl") // within one file: a file that is named twice is read once
	if err := os.WriteFile(repeated, bytes.Repeat(text, 3), 0o644); err != nil {
		t.Fatal(err)
	}
	training := Default().Training
	for _, most := range []int{1000, 30} {
		training.Examples = most
		once, err := training.examples([]string{path}, true)
		if err != nil {
			t.Fatal(err)
		}
		thrice, err := training.examples([]string{repeated}, true)
		if err != nil || len(once) != min(len(texts), most) || !slices.EqualFunc(once, thrice, func(a, b example) bool { return a.order == b.order }) {
			t.Errorf("of %d texts at most %d are %d examples, of three times as many %d; %v", len(texts), most, len(once), len(thrice), err)
		}
	}
}

// TestReportByHand: the sets weigh the same, a probability of a half is positive, and equal probabilities are half a pair.
func TestReportByHand(t *testing.T) {
	c := &Model{Weights: []float32{1, -1, 0}}
	c.measure([]example{{keys: []uint32{0}, positive: true}, {keys: []uint32{2}, positive: true}, {keys: []uint32{1}}, {keys: []uint32{2}}, {keys: []uint32{0}}})
	want := Report{HeldOut: 5, Recall: 1, Rejected: 1.0 / 3, Accuracy: 2.0 / 3, AUC: 4.0 / 6} // pairs: 1 + 1 + 1/2, and 1 + 1/2 + 0
	if got := c.Report; got.HeldOut != 5 || got.Recall != 1 || math.Abs(got.Rejected-want.Rejected)+math.Abs(got.Accuracy-want.Accuracy)+math.Abs(got.AUC-want.AUC) > 1e-12 {
		t.Errorf("report %+v, want %+v", got, want)
	}
}

// TestFeaturesOfLongWords: as many words as were asked for, of usual lengths.
func TestFeaturesOfLongWords(t *testing.T) {
	f := &features{}
	for words, want := range map[int]int{3: 3, 4: 4, 9: 4} {
		if got := len(f.of(strings.Repeat("characteristically ", words), 1, 4, 1<<10)); got != want {
			t.Errorf("of %d long words %d are looked at, want %d", words, got, want)
		}
	}
}

// TestClassifierLearnsPairs: only the order of two words tells the sets apart, so words alone would not do.
func TestClassifierLearnsPairs(t *testing.T) {
	c := tasteClassifier(t)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	m, err := c.Train()
	if err != nil {
		t.Fatal(err)
	}
	r := m.Report
	if r.Positive+r.Negative+r.HeldOut != 600 || r.HeldOut < 30 || r.Accuracy < 0.9 || r.AUC < 0.95 {
		t.Errorf("report %+v", r)
	}
	for positive, want := range map[bool]string{true: "", false: "like the negative examples"} {
		_, texts := taste(t, 100, positive, 3)
		right := 0
		for _, text := range texts {
			if m.Step(0.5).Apply(&document.Doc{Text: text}) == want {
				right++
			}
		}
		if right < 85 {
			t.Errorf("of 100 new documents %d are told right, positive %v", right, positive)
		}
	}
	c.Training.NGram = 1
	if m, err := c.Train(); err != nil || m.Report.Accuracy > 0.75 {
		t.Errorf("words alone tell the sets apart: %+v, %v", m.Report, err)
	}
}

func TestClassifierIsDeterministicAndSaved(t *testing.T) {
	c := tasteClassifier(t)
	c.Training.Examples = 100 // of 400 and 200
	a, err := c.Train()
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Report.Positive + a.Report.Negative + a.Report.HeldOut; n != 200 {
		t.Errorf("%d examples are used, want 100 of each set", n)
	}
	b, err := c.Train()
	if err != nil || !slices.Equal(a.Weights, b.Weights) || a.Bias != b.Bias {
		t.Errorf("two trainings differ, error %v", err)
	}
	path := filepath.Join(t.TempDir(), "c.safetensors")
	if err := a.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	_, texts := taste(t, 5, true, 9)
	for _, text := range append(texts, "", "never seen") {
		if p, q := a.Probability(text), loaded.Probability(text); p != q {
			t.Errorf("%.30q has probability %v, and %v when the classifier is loaded", text, p, q)
		}
	}
	if loaded.Report != a.Report || loaded.Probability("") != 0.5 {
		t.Errorf("loaded %+v, want %+v", loaded.Report, a.Report)
	}
}

// TestClassifierGradient: the first step from zero goes down the logistic loss.
func TestClassifierGradient(t *testing.T) {
	loss := func(c *Model, keys []uint32) float64 { return 1 - c.probability(keys) }
	c := &Model{Weights: make([]float32, 256), Report: Report{Positive: 1, Negative: 1}}
	e := []example{{keys: []uint32{3, 5, 5}, positive: true}}
	before := loss(c, e[0].keys)
	c.learn(Training{Epochs: 1, LearningRate: 0.1}, e)
	if after := loss(c, e[0].keys); after >= before || c.Weights[3] <= 0 || c.Weights[5] <= c.Weights[3] || c.Weights[4] != 0 {
		t.Errorf("loss from %v to %v, weights %v", before, after, c.Weights[:6])
	}
}

func TestClassifierRefusesWhatCannotBeMeant(t *testing.T) {
	if err := Default().Validate(); err == nil || !strings.Contains(err.Error(), "neither") {
		t.Errorf("no examples: error %v", err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Threshold = 1.1 }, func(c *Config) { c.Training.NGram = 0 }, func(c *Config) { c.Training.Buckets = 1000 },
		func(c *Config) { c.Training.HeldOut = 0 }, func(c *Config) { c.Training.LearningRate = -1 },
		func(c *Config) { c.Training.HeldOut = 1 }, func(c *Config) { c.Training.LearningRate = math.Inf(1) }, func(c *Config) { c.Training.LearningRate = 0 },
		func(c *Config) { c.Training.Buckets = minBuckets / 2 }, func(c *Config) { c.Training.Buckets = 1 << 29 },
	} {
		c := Default()
		c.Model = "x"
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&c); c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	path := curatetest.ListFile(t, "no classifier")
	if _, err := Load(path); err == nil {
		t.Error("a file of text is a classifier")
	}
	c := Default()
	one := filepath.Join(t.TempDir(), "one.txt")
	if err := os.WriteFile(one, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Positive, c.Negative, c.Training.HeldOut = []string{one}, []string{one}, 0.999
	if _, err := c.Train(); err == nil || !strings.Contains(err.Error(), "give more") {
		t.Errorf("one example: error %v", err)
	}
}
