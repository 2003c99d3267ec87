package generate

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// kept is the set of tokens that can be drawn, found by looking inside the sampler after one draw.
func kept(t *testing.T, opt Sampling, logits []float32, history []int32) []int32 {
	t.Helper()
	s := NewSampler(opt)
	if _, err := s.Pick(slices.Clone(logits), history, 0, 0); err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for _, c := range s.cands {
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	return ids
}

func logs(probs ...float64) []float32 {
	out := make([]float32, len(probs))
	for i, p := range probs {
		out[i] = float32(math.Log(p))
	}
	return out
}

func TestFiltersKeepTheRightTokens(t *testing.T) {
	probs := logs(0.1, 0.4, 0.05, 0.3, 0.15)
	cases := []struct {
		name   string
		change func(*Sampling)
		logits []float32
		want   []int32
	}{
		{"none", func(*Sampling) {}, probs, []int32{0, 1, 2, 3, 4}},
		{"top_k 2", func(s *Sampling) { s.TopK = 2 }, probs, []int32{1, 3}},
		{"top_k above the vocabulary", func(s *Sampling) { s.TopK = 9 }, probs, []int32{0, 1, 2, 3, 4}},
		{"top_k keeps ties", func(s *Sampling) { s.TopK = 2 }, []float32{1, 3, 2, 2, 0}, []int32{1, 2, 3}},
		{"top_k 1 keeps ties", func(s *Sampling) { s.TopK = 1 }, []float32{1, 3, 2, 3, 0}, []int32{1, 3}},
		{"top_p inside a token", func(s *Sampling) { s.TopP = 0.6 }, probs, []int32{1, 3}},
		{"top_p below the first token", func(s *Sampling) { s.TopP = 0.01 }, probs, []int32{1}},
		{"top_p just above two tokens", func(s *Sampling) { s.TopP = 0.72 }, probs, []int32{1, 3, 4}},
		{"top_p cuts the higher ids among equals", func(s *Sampling) { s.TopP = 0.5 }, []float32{2, 2, 2, 2}, []int32{0, 1}},
		{"min_p", func(s *Sampling) { s.MinP = 0.3 }, probs, []int32{1, 3, 4}},
		{"min_p 1 keeps the best", func(s *Sampling) { s.MinP = 1 }, probs, []int32{1}},
		// After top_k 3 the kept probabilities are .4 .3 .15 of .85, so .7 of them needs two tokens, where .7
		// of all needs two as well but .75 does not.
		{"top_p renormalises after top_k", func(s *Sampling) { s.TopK = 3; s.TopP = 0.82 }, probs, []int32{1, 3}},
		{"top_p alone at the same level", func(s *Sampling) { s.TopP = 0.82 }, probs, []int32{1, 3, 4}},
		// Temperature comes first: at 0.5 the probabilities are squared: .01 .16 .0025 .09 .0225 of .285.
		{"temperature before top_p", func(s *Sampling) { s.Temperature = 0.5; s.TopP = 0.56 }, probs, []int32{1}},
		{"-Inf is never drawn", func(*Sampling) {}, []float32{0, float32(math.Inf(-1)), 1}, []int32{0, 2}},
	}
	for _, c := range cases {
		opt := defaultSampling()
		c.change(&opt)
		if got := kept(t, opt, c.logits, nil); !slices.Equal(got, c.want) {
			t.Errorf("%s: tokens %v can be drawn, want %v", c.name, got, c.want)
		}
	}
}

func TestRepetitionPenalty(t *testing.T) {
	opt := defaultSampling()
	opt.RepetitionPenalty = 2
	s := NewSampler(opt)
	logits := []float32{4, -3, 1, 0}
	s.penalise(logits, []int32{0, 1, 0, 1, 3, 4, 99, -1})
	if want := []float32{2, -6, 1, 0}; !slices.Equal(logits, want) {
		t.Errorf("penalised logits are %v, want %v", logits, want)
	}
}

func TestPickPenalises(t *testing.T) {
	opt := defaultSampling()
	opt.Temperature, opt.RepetitionPenalty = 0, 2
	for want, history := range map[int32][]int32{0: {2}, 1: {2, 0}} {
		if got, err := NewSampler(opt).Pick([]float32{4, 3, 1}, history, 0, 0); err != nil || got != want {
			t.Errorf("after %v came %d, %v, want %d", history, got, err, want)
		}
	}
}

// TestDrawAtBorders: a token has the random numbers from the end of the one before up to its own, which is
// the next one's.
func TestDrawAtBorders(t *testing.T) {
	s := NewSampler(defaultSampling())
	s.cands = []candidate{{5, 1}, {9, 1}}
	for random, want := range map[uint64]int32{0: 5, 1<<63 - 1: 5, 1 << 63: 9, math.MaxUint64: 9} {
		if got := s.draw(random); got != want {
			t.Errorf("%#x draws %d, want %d", random, got, want)
		}
	}
	if tied([]float32{1, 3, 2}, 1) || !tied([]float32{3, 1, 3}, 0) {
		t.Error("a tie is one with a token that comes later")
	}
}

func TestGreedyTakesTheFirstMaximum(t *testing.T) {
	opt := defaultSampling()
	opt.Temperature = 0
	got, err := NewSampler(opt).Pick([]float32{1, 5, 2, 5}, nil, 7, 7)
	if err != nil || got != 1 {
		t.Errorf("greedy took token %d (%v), want 1", got, err)
	}
}

func TestPickRefusesDamagedLogits(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, row := range [][]float32{{}, {0, nan}, {nan, 0}, {0, inf}, {-inf, -inf}} {
		for _, temperature := range []float64{0, 1} {
			opt := defaultSampling()
			opt.Temperature = temperature
			if id, err := NewSampler(opt).Pick(row, nil, 0, 0); err == nil {
				t.Errorf("logits %v at temperature %v gave token %d, want an error", row, temperature, id)
			}
		}
	}
}

// TestDrawsFollowTheDistribution compares 40,000 draws with the exact probabilities by the chi-square statistic, whose
// 99.99 % point for up to 39 degrees of freedom is below 85.
func TestDrawsFollowTheDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	row := make([]float32, 40)
	for i := range row {
		row[i] = float32(rng.NormFloat64() * 1.5)
	}
	for _, opt := range []Sampling{
		{Temperature: 1, TopP: 1, RepetitionPenalty: 1},
		{Temperature: 0.7, TopP: 1, RepetitionPenalty: 1, Seed: 3},
		{Temperature: 1.5, TopK: 12, TopP: 0.9, MinP: 0.05, RepetitionPenalty: 1, Seed: 9},
	} {
		want := exact(row, opt)
		const n = 40000
		counts := make([]float64, len(row))
		s := NewSampler(opt)
		for i := range n {
			id, err := s.Pick(slices.Clone(row), nil, uint64(i%7), i/7)
			if err != nil {
				t.Fatal(err)
			}
			counts[id]++
		}
		chi := 0.0
		for i, p := range want {
			if p == 0 && counts[i] > 0 {
				t.Errorf("%+v: token %d was drawn %v times but is filtered out", opt, i, counts[i])
			} else if p > 0 {
				chi += (counts[i] - n*p) * (counts[i] - n*p) / (n * p)
			}
		}
		if chi > 85 {
			t.Errorf("%+v: chi-square of the draws is %.1f, want below 85", opt, chi)
		}
	}
}

// exact is the filtered distribution by the definitions, in float64 and with a full sort.
func exact(row []float32, opt Sampling) []float64 {
	type tok struct {
		id int
		p  float64
	}
	var toks []tok
	for i, x := range row {
		toks = append(toks, tok{i, math.Exp(float64(x) / opt.Temperature)})
	}
	slices.SortFunc(toks, func(a, b tok) int {
		if a.p > b.p {
			return -1
		}
		return 1
	})
	if opt.TopK > 0 {
		toks = toks[:opt.TopK]
	}
	normalise := func() {
		sum := 0.0
		for _, t := range toks {
			sum += t.p
		}
		for i := range toks {
			toks[i].p /= sum
		}
	}
	normalise()
	cum := 0.0
	for i, t := range toks {
		if cum >= opt.TopP {
			toks = toks[:i]
			break
		}
		cum += t.p
	}
	top := toks[0].p
	toks = slices.DeleteFunc(toks, func(t tok) bool { return t.p < opt.MinP*top })
	normalise()
	out := make([]float64, len(row))
	for _, t := range toks {
		out[t.id] = t.p
	}
	return out
}

func uniform(seed, sequence, position uint64) float64 {
	return float64(Bits(seed, sequence, position)>>11) / (1 << 53)
}

// TestBitsStay: the same seed writes the same text with a later build.
func TestBitsStay(t *testing.T) {
	if got := Bits(1, 2, 3); got != 0x6ae515c1c0ac7e37 {
		t.Errorf("got %#x", got)
	}
}

func TestUniformIsFlatAndUnrelatedBetweenPlaces(t *testing.T) {
	const n = 20000
	var sum, lag, cross float64
	for i := range uint64(n) {
		u := uniform(42, 3, i) - 0.5
		sum += u
		lag += u * (uniform(42, 3, i+1) - 0.5)
		cross += u * (uniform(42, 4, i) - 0.5)
	}
	// Standard errors: 0.289/sqrt(n) for the mean, 1/12/sqrt(n) for the products; five of them are allowed.
	if math.Abs(sum/n) > 5*0.289/math.Sqrt(n) {
		t.Errorf("mean of the numbers is %v away from one half", sum/n)
	}
	for name, c := range map[string]float64{"next position": lag, "next sequence": cross} {
		if math.Abs(c/n) > 5/12.0/math.Sqrt(n) {
			t.Errorf("covariance with the %s is %v", name, c/n)
		}
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	good := defaultSampling()
	for range 2 { // as it comes, and at every bound
		if err := good.Validate(); err != nil {
			t.Fatal(err)
		}
		good = Sampling{Temperature: 0, TopK: 1, TopP: 1, MinP: 1, RepetitionPenalty: 0.1}
	}
	set := map[string]func(*Sampling, float64){
		"temperature":        func(s *Sampling, v float64) { s.Temperature = v },
		"top_p":              func(s *Sampling, v float64) { s.TopP = v },
		"min_p":              func(s *Sampling, v float64) { s.MinP = v },
		"repetition_penalty": func(s *Sampling, v float64) { s.RepetitionPenalty = v },
		"top_k":              func(s *Sampling, v float64) { s.TopK = int(v) },
	}
	for name, values := range map[string][]float64{
		"temperature": {-1, nan, inf}, "top_k": {-1}, "top_p": {0, 1.1, nan}, "min_p": {-0.1, 1.1, nan}, "repetition_penalty": {0, -1, nan, inf, 1e-7, 1e-300, 1e7, 1e300},
	} {
		for _, v := range values {
			s := defaultSampling()
			set[name](&s, v)
			if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), name+" is ") {
				t.Errorf("%s of %v gave %v", name, v, err)
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	row := make([]float32, 49152)
	for i := range row {
		row[i] = float32(rng.NormFloat64() * 2.5)
	}
	row[17] = 14
	for name, opt := range map[string]Sampling{
		"greedy":     {TopP: 1, RepetitionPenalty: 1},
		"plain":      {Temperature: 1, TopP: 1, RepetitionPenalty: 1},
		"top_k=50":   {Temperature: 1, TopK: 50, TopP: 1, RepetitionPenalty: 1},
		"top_p=0.95": {Temperature: 1, TopP: 0.95, RepetitionPenalty: 1},
	} {
		b.Run(name, func(b *testing.B) {
			s := NewSampler(opt)
			for i := range b.N {
				if _, err := s.Pick(row, nil, 0, i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
