package label

import "math"

// Agreement says how far annotators who judged the same pairs agree. A skip is no verdict and does not count.
type Agreement struct {
	Annotators int     `json:"annotators"`
	Shared     int     `json:"shared"` // pairs judged by two annotators or more
	Percent    float64 `json:"percent"`
	// Alpha is Krippendorff's alpha for nominal data: 1 is perfect, 0 what chance gives (Krippendorff, Content Analysis,
	// 2004, chapter 11). It is meaningful only when Shared is positive and more than one verdict occurs: HasAlpha.
	Alpha    float64 `json:"alpha"`
	HasAlpha bool    `json:"has_alpha"`
}

// Agree measures the agreement of judgements. Percent is the share of the pairs of annotators, over all shared
// pairs of answers, who gave the same verdict.
func Agree(all []Judgement) Agreement {
	units := map[int64]map[Verdict]float64{}
	annotators := map[string]bool{}
	for _, j := range all {
		annotators[j.Annotator] = true
		if j.Verdict == Skip {
			continue
		}
		if units[j.Pair] == nil {
			units[j.Pair] = map[Verdict]float64{}
		}
		units[j.Pair][j.Verdict]++
	}
	r := Agreement{Annotators: len(annotators)}
	var same, pairs, disagreed float64 // disagreed: the sum over units of disagreeing ordered pairs / (m-1)
	totals := map[Verdict]float64{}
	for _, counts := range units {
		var m, equal float64
		for _, n := range counts {
			m += n
			equal += n * (n - 1)
		}
		// one verdict can be neither agreed nor disagreed with
		if m < 2 {
			continue
		}
		r.Shared++
		same += equal
		pairs += m * (m - 1)
		disagreed += (m*(m-1) - equal) / (m - 1)
		for v, n := range counts {
			totals[v] += n
		}
	}
	if pairs == 0 {
		return r
	}
	r.Percent = 100 * same / pairs
	// alpha = 1 - D_observed/D_expected, with D_observed = Σ_units disagreeing ordered pairs/(m-1) / n and D_expected = Σ_v t_v·(n-t_v) / (n·(n-1)).
	var n, expected float64
	for _, t := range totals {
		n += t
	}
	for _, t := range totals {
		expected += t * (n - t)
	}
	if expected > 0 {
		r.HasAlpha = true
		r.Alpha = 1 - (n-1)*disagreed/expected
		r.Alpha = math.Round(r.Alpha*1e12) / 1e12 // sums over a map come in any order
	}
	return r
}
