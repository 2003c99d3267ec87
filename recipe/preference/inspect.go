package preference

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"hone/eval"
	"hone/loss"
	"hone/train"
)

// scoredPair is a held-out preference with the scores of its answers.
type scoredPair struct {
	*judged
	chosen, rejected float64
}

// inspect looks at a reward model from the sides that its accuracy does not show, as metrics and as tables: whether its
// confidence is right, whether it only counts words, and with whom it agrees.
func inspect(pairs []scoredPair, metrics map[string]float64, table func(train.TableEvent) error) error {
	lengthBias(pairs, metrics)
	rows, off := calibration(pairs)
	metrics["calibration_error"] = off
	err := table(train.TableEvent{Title: "calibration on held-out pairs",
		Head: []string{"confidence", "pairs", "mean confidence", "accuracy"}, Rows: rows})
	if err != nil {
		return err
	}
	if rows = annotators(pairs, metrics); rows == nil {
		return nil
	}
	return table(train.TableEvent{Title: "agreement with annotators",
		Head: []string{"annotator", "pairs", "agreement", "95% interval"}, Rows: rows})
}

// lengthBias notes the correlation of score and number of answer tokens over all answers, and of both
// differences over pairs. The second is what hacking by length lives on.
func lengthBias(pairs []scoredPair, metrics map[string]float64) {
	var scores, lengths, gaps, longer []float64
	for _, p := range pairs {
		c, r := float64(p.supervised(0)), float64(p.supervised(1))
		scores, lengths = append(scores, p.chosen, p.rejected), append(lengths, c, r)
		gaps, longer = append(gaps, p.chosen-p.rejected), append(longer, c-r)
	}
	for name, v := range map[string]float64{
		"length_correlation": loss.Correlation(scores, lengths), "length_gap_correlation": loss.Correlation(gaps, longer),
	} {
		if !math.IsNaN(v) {
			metrics[name] = v
		}
	}
}

// calibration sorts the pairs by the model's confidence in its own choice, σ|gap|, and compares it with how
// often it is right; off is the expected calibration error (Guo et al., 2017) over ten bins from ½ to 1.
func calibration(pairs []scoredPair) (rows [][]string, off float64) {
	const bins = 10
	var count, confidence, right [bins]float64
	for _, p := range pairs {
		sure := 1 / (1 + math.Exp(-math.Abs(p.chosen-p.rejected)))
		// confidence is of the answer that the model prefers, so it begins at ½
		b := min(int((sure-0.5)*2*bins), bins-1)
		if math.IsNaN(sure) {
			continue
		}
		count[b]++
		confidence[b] += sure
		right[b] += won(p.chosen, p.rejected)
	}
	for b := range bins {
		if count[b] == 0 {
			continue
		}
		mean, accuracy := confidence[b]/count[b], right[b]/count[b]
		off += math.Abs(mean-accuracy) * count[b] / float64(len(pairs))
		lo := 0.5 + float64(b)/(2*bins)
		rows = append(rows, []string{
			fmt.Sprintf("%.2f-%.2f", lo, lo+0.5/bins), fmt.Sprint(count[b]), fmt.Sprintf("%.3f", mean), fmt.Sprintf("%.3f", accuracy),
		})
	}
	return rows, off
}

// annotators is how often the model sides with each annotator; nil where records name none.
func annotators(pairs []scoredPair, metrics map[string]float64) (rows [][]string) {
	count, right := map[string]float64{}, map[string]float64{}
	for _, p := range pairs {
		if p.annotator != "" {
			count[p.annotator]++
			right[p.annotator] += won(p.chosen, p.rejected)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		share := right[name] / count[name]
		metrics["agreement/"+name] = share
		lo, hi := eval.Wilson(right[name], count[name])
		rows = append(rows, []string{name, fmt.Sprint(count[name]), fmt.Sprintf("%.3f", share), fmt.Sprintf("%.3f-%.3f", lo, hi)})
	}
	return rows
}
