package curate

import (
	"math/rand/v2"
	"testing"

	"hone/data"
)

func TestAlikePairsAreAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := DefaultMinHash()
	var sets [][]uint64
	for range 30 {
		for _, changed := range []float64{0.002, 0.01, 0.03, 0.08} {
			a, b := variants(r, 20+r.IntN(200), changed)
			sets = append(sets, c.grams(a), c.grams(b))
		}
	}
	sets = append(sets, nil, c.grams("one"), c.grams("one"))
	for _, least := range []float64{0.3, 0.6, 0.8, 1} {
		want := map[[2]uint64]float64{}
		for i := range sets {
			for j := range i {
				if s := exactSimilarity(sets[i], sets[j]); s >= least {
					want[[2]uint64{uint64(j), uint64(i)}] = s
				}
			}
		}
		got := alikePairs(sets, least)
		for _, p := range got {
			if s, ok := want[[2]uint64{p.a, p.b}]; !ok || s != p.similarity {
				t.Fatalf("least %v: %+v, want %v", least, p, s)
			}
		}
		if len(got) != len(want) || least < 1 && len(want) < 25 {
			t.Errorf("least %v: %d pairs of %d", least, len(got), len(want))
		}
	}
}

func TestGramsAreThoseOfTheSignature(t *testing.T) {
	a, b := variants(rand.New(rand.NewPCG(1, 1)), 300, 0.02)
	if got, want := exactSimilarity(DefaultMinHash().grams(a), DefaultMinHash().grams(b)), jaccard(a, b, 5); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestRecallOfNearDuplicates holds the search to what docs/curate.md states: of pairs with a similarity of 0.8 or more, 95% are found.
func TestRecallOfNearDuplicates(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var docs []data.Document
	const families = 100
	for range families {
		for _, changed := range []float64{0, 0.005, 0.01, 0.02, 0.04} { // similarities of up to 0.98 and down to 0.69
			a, b := variants(r, 100+r.IntN(300), changed)
			docs = append(docs, data.Document{Text: []byte(a)}, data.Document{Text: []byte(b)})
		}
	}
	near := DefaultMinHash()
	near.Threshold = 0
	measured, err := MeasureNear(t.Context(), stream(docs, goOn), near, []float64{0.8, 0.9}, 2)
	if err != nil {
		t.Fatal(err)
	}
	all, n := measured.Agreement, measured.Documents
	if n >= len(docs) || all[0].Pairs < families {
		t.Errorf("%d of %d documents, %+v", n, len(docs), all)
	}
	if all[0].Recall < 0.95 || all[1].Recall < 0.99 {
		t.Errorf("recall %+v", all)
	}
	near.Threshold, near.Exact = 0.8, false
	measured, err = MeasureNear(t.Context(), stream(docs, goOn), near, []float64{0.75, 0.8}, 2)
	if err != nil {
		t.Fatal(err)
	}
	strict := measured.Agreement
	if strict[0].Precision < 0.95 || strict[1].Precision <= all[0].Precision {
		t.Errorf("precision %+v, without a threshold %+v", strict, all)
	}
	near.Exact = true
	measured, err = MeasureNear(t.Context(), stream(docs, goOn), near, []float64{0.8}, 2)
	if err != nil {
		t.Fatal(err)
	}
	exact := measured.Agreement
	if exact[0].Recall < 0.95 || exact[0].Precision != 1 { // families are of two, so that nothing is removed for a third
		t.Errorf("compared exactly %+v", exact)
	}
}
