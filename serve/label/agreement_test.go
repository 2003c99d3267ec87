package label

import (
	"fmt"
	"math"
	"testing"
)

// TestAlpha is the worked example with missing data of Krippendorff's alpha: three coders, fifteen units, nominal 0.691.
func TestAlpha(t *testing.T) {
	coders := []string{
		"*****34121133*3",
		"1*213343*******",
		"**21344*21133*4",
	}
	var all []Judgement
	for c, row := range coders {
		for unit, v := range row {
			if v != '*' {
				all = append(all, Judgement{Pair: int64(unit), Annotator: fmt.Sprint(c), Verdict: Verdict(v)})
			}
		}
	}
	got := Agree(all)
	if math.Abs(got.Alpha-0.691) > 0.0005 {
		t.Errorf("alpha is %.4f, want 0.691", got.Alpha)
	}
	if got.Annotators != 3 || !got.HasAlpha {
		t.Errorf("%+v", got)
	}
}

func TestAgreementEdges(t *testing.T) {
	j := func(pair int64, who string, v Verdict) Judgement {
		return Judgement{Pair: pair, Annotator: who, Verdict: v}
	}
	for _, c := range []struct {
		name string
		all  []Judgement
		want Agreement
	}{
		{"nothing", nil, Agreement{}},
		{"one annotator", []Judgement{j(1, "x", A), j(2, "x", B)}, Agreement{Annotators: 1}},
		{"one verdict only has no alpha", []Judgement{j(1, "x", A), j(1, "y", A)}, Agreement{Annotators: 2, Shared: 1, Percent: 100}},
		{"a skip does not count", []Judgement{j(1, "x", A), j(1, "y", Skip)}, Agreement{Annotators: 2}},
		{"agreement", []Judgement{j(1, "x", A), j(1, "y", A), j(2, "x", B), j(2, "y", B)}, Agreement{Annotators: 2, Shared: 2, Percent: 100, Alpha: 1, HasAlpha: true}},
		// observed disagreement 1 of 1, expected by chance with one A and one B: 1; so alpha is 0
		{"disagreement", []Judgement{j(1, "x", A), j(1, "y", B)}, Agreement{Annotators: 2, Shared: 1, Alpha: 0, HasAlpha: true}},
	} {
		if got := Agree(c.all); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
