package document

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDistribution(t *testing.T) {
	d := Distribution{}
	for i := range 1000 {
		d.Add(float64(i), ScoreDigits, i%2 == 0)
	}
	d.Add(-0.01234, ScoreDigits, true)
	if got := d[-0.012]; got.Kept != 1 {
		t.Errorf("-0.01234 counts as %v", d.Values()[:2])
	}
	if len(d) > 1+100+90+1 {
		t.Errorf("%d values", len(d))
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Distribution
	if err := json.Unmarshal(text, &back); err != nil || !cmp.Equal(d, back) {
		t.Errorf("error %v, read back %s", err, cmp.Diff(d, back))
	}
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 0: -0.012} {
		if got := d.Quantile(q); math.Abs(got-want) > 10 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	doc := &Doc{}
	doc.Score("x", math.NaN())
	doc.Score("y", math.Inf(1))
	if len(doc.Notes()) != 0 || !slices.IsSorted(d.Values()) {
		t.Error("a score that is no number counts")
	}
}

// TestScoresAreFew: a distribution has few values, whatever the scores are.
func TestScoresAreFew(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	d := Distribution{}
	for range 50_000 {
		d.Add(math.Exp(20*r.Float64()-10), ScoreDigits, true)
	}
	if len(d) > 90*10 {
		t.Errorf("%d different values of a score", len(d))
	}
}

// TestDistributions: significant digits, quantiles of both kinds together, and JSON there and back.
func TestDistributions(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 1: 1, 99: 99, 101: 100, 105: 100, 106: 110, 0.00123: 0.0012, -0.999: -1, 1e300: 1e300} {
		if got := Round(v, 2); got != want {
			t.Errorf("%v to two digits is %v, want %v", v, got, want)
		}
	}
	d := Distribution{}
	for i := range 10 { // 1 to 10
		d.Add(float64(i+1), 3, i%2 == 0)
	}
	for q, want := range map[float64]float64{0: 1, 0.1: 1, 0.11: 2, 0.5: 5, 0.51: 6, 0.99: 10, 1: 10} {
		if got := d.Quantile(q); got != want {
			t.Errorf("the quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := (Distribution{}).Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	text, err := json.Marshal(d)
	if err != nil || !strings.HasPrefix(string(text), "[[1,1,0],[2,0,1],[3,1,0]") {
		t.Errorf("%s, %v", text, err)
	}
	var back Distribution
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Error(diff)
	}
	back.Merge(d)
	if back[1] != (Tally{Kept: 2}) || back[2] != (Tally{Rejected: 2}) {
		t.Errorf("twice the same: %v", back)
	}
	doc := &Doc{}
	doc.Score("a", 0.123456)
	doc.Score("b", math.NaN())
	doc.Score("c", math.Inf(1))
	doc.Label("d", "x")
	if diff := cmp.Diff(map[string]any{"a": 0.1235, "d": "x"}, doc.Scores()); diff != "" {
		t.Error(diff)
	}
}
