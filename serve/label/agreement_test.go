package label

import (
	"fmt"
	"math"
	"math/rand/v2"
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

// alphaByPairs is Krippendorff's alpha from its definition: 1 - D_o/D_e, where D_o is the share of different verdicts among all ordered pairs within
// a unit, each of weight 1/(m-1), and D_e that among all ordered pairs of verdicts of units that have several.
func alphaByPairs(all []Judgement) float64 {
	units := map[int64][]Verdict{}
	for _, j := range all {
		if j.Verdict != Skip {
			units[j.Pair] = append(units[j.Pair], j.Verdict)
		}
	}
	var values []Verdict
	observed := 0.0
	for _, unit := range units {
		if len(unit) < 2 {
			continue
		}
		values = append(values, unit...)
		for i := range unit {
			for k := range unit {
				if i != k && unit[i] != unit[k] {
					observed += 1 / float64(len(unit)-1)
				}
			}
		}
	}
	n, expected := float64(len(values)), 0.0
	for i := range values {
		for k := range values {
			if values[i] != values[k] {
				expected++
			}
		}
	}
	return 1 - observed/n/(expected/n/(n-1))
}

// TestAgreementByDefinition: on verdicts drawn at random alpha is that of its definition, whatever the order and the numbers of pairs are; people who
// answer by chance have one near 0, and those who copy each other 1.
func TestAgreementByDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	verdicts := []Verdict{A, B, Tie, Bad, Skip}
	for round := range 50 {
		var all []Judgement
		for pair := range int64(1 + r.IntN(20)) {
			for who := range 4 {
				if r.IntN(3) > 0 {
					all = append(all, Judgement{Pair: pair, Annotator: fmt.Sprint(who), Verdict: verdicts[r.IntN(len(verdicts))]})
				}
			}
		}
		got := Agree(all)
		if want := alphaByPairs(all); got.HasAlpha && math.Abs(got.Alpha-want) > 1e-9 || got.HasAlpha == (math.IsNaN(want) || math.IsInf(want, 0)) {
			t.Fatalf("round %d: alpha is %+v, want %v", round, got, want)
		}
		r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		for i := range all {
			all[i].Pair = 1000 - all[i].Pair
		}
		if again := Agree(all); again != got {
			t.Fatalf("round %d: in another order %+v, want %+v", round, again, got)
		}
	}
	var chance, copied []Judgement
	for pair := range int64(2000) {
		v := verdicts[r.IntN(2)]
		for who := range 2 {
			copied = append(copied, Judgement{Pair: pair, Annotator: fmt.Sprint(who), Verdict: v})
			chance = append(chance, Judgement{Pair: pair, Annotator: fmt.Sprint(who), Verdict: verdicts[r.IntN(2)]})
		}
	}
	if a := Agree(chance); math.Abs(a.Alpha) > 0.1 || math.Abs(a.Percent-50) > 5 {
		t.Errorf("by chance: %+v", a)
	}
	if a := Agree(copied); a.Alpha != 1 || a.Percent != 100 || a.Shared != 2000 {
		t.Errorf("who copy: %+v", a)
	}
}
