package curate

import (
	"math/rand/v2"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
)

// TestRecallOfNearDuplicates holds the search to what docs/curate.md states: of pairs with a similarity of 0.8 or more, 95% are found.
func TestRecallOfNearDuplicates(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var docs []data.Document
	const families = 100
	for range families {
		for _, changed := range []float64{0, 0.005, 0.01, 0.02, 0.04} { // similarities of up to 0.98 and down to 0.69
			a, b := curatetest.Variants(r, 100+r.IntN(300), changed)
			docs = append(docs, data.Document{Text: []byte(a)}, data.Document{Text: []byte(b)})
		}
	}
	near := dedup.DefaultMinHash()
	near.Threshold = 0
	measured, err := MeasureNear(t.Context(), curatetest.Stream(docs, curatetest.GoOn), near, []float64{0.8, 0.9}, 2)
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
	measured, err = MeasureNear(t.Context(), curatetest.Stream(docs, curatetest.GoOn), near, []float64{0.75, 0.8}, 2)
	if err != nil {
		t.Fatal(err)
	}
	strict := measured.Agreement
	if strict[0].Precision < 0.95 || strict[1].Precision <= all[0].Precision {
		t.Errorf("precision %+v, without a threshold %+v", strict, all)
	}
	near.Exact = true
	measured, err = MeasureNear(t.Context(), curatetest.Stream(docs, curatetest.GoOn), near, []float64{0.8}, 2)
	if err != nil {
		t.Fatal(err)
	}
	exact := measured.Agreement
	if exact[0].Recall < 0.95 || exact[0].Precision != 1 { // families are of two, so that nothing is removed for a third
		t.Errorf("compared exactly %+v", exact)
	}
}
