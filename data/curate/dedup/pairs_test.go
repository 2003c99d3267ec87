package dedup

import (
	"math/rand/v2"
	"testing"

	"hone/data/curate/curatetest"
)

func TestAlikePairsAreAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := DefaultMinHash()
	var sets [][]uint64
	for range 30 {
		for _, changed := range []float64{0.002, 0.01, 0.03, 0.08} {
			a, b := curatetest.Variants(r, 20+r.IntN(200), changed)
			sets = append(sets, c.Grams(a), c.Grams(b))
		}
	}
	sets = append(sets, nil, c.Grams("one"), c.Grams("one"))
	for _, least := range []float64{0.3, 0.6, 0.8, 1} {
		want := map[[2]uint64]float64{}
		for i := range sets {
			for j := range i {
				if s := ExactSimilarity(sets[i], sets[j]); s >= least {
					want[[2]uint64{uint64(j), uint64(i)}] = s
				}
			}
		}
		got := AlikePairs(sets, least)
		for _, p := range got {
			if s, ok := want[[2]uint64{p.A, p.B}]; !ok || s != p.Similarity {
				t.Fatalf("least %v: %+v, want %v", least, p, s)
			}
		}
		if len(got) != len(want) || least < 1 && len(want) < 25 {
			t.Errorf("least %v: %d pairs of %d", least, len(got), len(want))
		}
	}
}

func TestGramsAreThoseOfTheSignature(t *testing.T) {
	a, b := curatetest.Variants(rand.New(rand.NewPCG(1, 1)), 300, 0.02)
	if got, want := ExactSimilarity(DefaultMinHash().Grams(a), DefaultMinHash().Grams(b)), curatetest.Jaccard(a, b, 5); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
