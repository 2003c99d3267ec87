package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"hone/data/curate"
)

// curateResult is the result of hone bench curate.
type curateResult struct {
	Tokens  int64       `json:"tokens"` // that each run trains on
	Seeds   []uint64    `json:"seeds"`
	Texts   []valueText `json:"texts"`           // raw first, curated last
	Kinds   []kindCount `json:"kinds,omitempty"` // of pages, in the made crawl
	Verdict string      `json:"verdict"`

	Copies *pairedSummary `json:"deduplication_after_filters,omitempty"` // filtered less curated
}

// kindCount is how many pages of a kind the crawl has, and how many curation left.
type kindCount struct {
	Kind    string       `json:"kind"`
	Raw     curate.Count `json:"raw"`
	Curated curate.Count `json:"curated"`
}

// pairedSummary describes differences of pairs.
type pairedSummary struct {
	Mean  float64 `json:"mean"`
	Error float64 `json:"standard_error"` // of the mean
	Low   float64 `json:"low"`            // Student's 95% interval
	High  float64 `json:"high"`
}

func (s pairedSummary) String() string {
	return fmt.Sprintf("%.4f ± %.4f (95%%: %.4f to %.4f)", s.Mean, s.Error, s.Low, s.High)
}

// paired summarises a less b, which have equal lengths of at least 2.
func paired(a, b []float64) pairedSummary {
	differences := make([]float64, len(a))
	for i := range a {
		differences[i] = a[i] - b[i]
	}
	mean, deviation := stat.MeanStdDev(differences, nil)
	n := float64(len(a))
	s := pairedSummary{Mean: mean, Error: deviation / math.Sqrt(n)}
	half := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * s.Error
	s.Low, s.High = mean-half, mean+half
	return s
}

// summarise compares each text with the raw one and words what the last comparison says.
func (r *curateResult) summarise() {
	raw := r.Texts[0].Losses
	for i := range r.Texts[1:] {
		s := paired(raw, r.Texts[i+1].Losses)
		r.Texts[i+1].Gain = &s
	}
	curated := r.Texts[len(r.Texts)-1]
	if i := slices.IndexFunc(r.Texts, func(t valueText) bool { return t.Name == filteredText }); i >= 0 {
		s := paired(r.Texts[i].Losses, curated.Losses)
		r.Copies = &s
	}
	s := *curated.Gain
	switch {
	case s.Low > 0:
		r.Verdict = "curated text gives a lower held-out loss than as many tokens of raw text: by " + s.String()
	case s.High < 0:
		r.Verdict = "curated text gives a HIGHER held-out loss than as many tokens of raw text: raw less curated is " + s.String()
	default:
		r.Verdict = fmt.Sprintf("these %d pairs do not show that curated text gives a lower held-out loss: raw less curated is %s", len(raw), s)
	}
}

func showValue(out io.Writer, r *curateResult) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(r.Kinds) > 0 {
		fmt.Fprintln(w, "\nkind of page\tin the crawl\tMB\tkept\tMB\t")
		for _, k := range r.Kinds {
			fmt.Fprintf(w, "%s\t%d\t%.2f\t%d\t%.2f\t\n", k.Kind, k.Raw.Documents, float64(k.Raw.Bytes)/1e6, k.Curated.Documents, float64(k.Curated.Bytes)/1e6)
		}
		w.Flush()
	}
	fmt.Fprintf(out, "\nheld-out loss after about %d tokens of each text, nats per token\n", r.Tokens)
	fmt.Fprint(w, "seed\t")
	for _, t := range r.Texts {
		fmt.Fprintf(w, "%s\t", t.Name)
	}
	fmt.Fprintln(w)
	for i, seed := range r.Seeds {
		fmt.Fprintf(w, "%d\t", seed)
		for _, t := range r.Texts {
			fmt.Fprintf(w, "%.4f\t", t.Losses[i])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintln(w, "\ntext\tdocuments\ttokens\tloss\tdeviation\tpairs of tokens\tlower than raw\t95% interval\t")
	for _, t := range r.Texts {
		mean, deviation := stat.MeanStdDev(t.Losses, nil)
		fmt.Fprintf(w, "%s\t%d\t%d\t%.4f\t%.4f\t%.4f\t", t.Name, t.Count.Documents, t.Count.Tokens, mean, deviation, t.Bigram)
		if t.Gain != nil {
			fmt.Fprintf(w, "%.4f ± %.4f\t%.4f to %.4f\t", t.Gain.Mean, t.Gain.Error, t.Gain.Low, t.Gain.High)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	if r.Copies != nil {
		fmt.Fprintf(out, "\nremoving copies from the filtered text lowers the loss by %s\n", r.Copies)
	}
	fmt.Fprintf(out, "\n%s\n", r.Verdict)
}
