package bench

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/corpus"
	"hone/data"
	"hone/data/curate"
	"hone/data/curate/dedup"
	"hone/internal/gosource"
)

// dedupRow is a corpus and a setting of hone bench dedup.
type dedupRow struct {
	Corpus  string `json:"corpus"`
	Setting string `json:"setting"`
	*curate.NearMeasure
}

// dedupCommand compares what near duplicates are found with all there are, which a corpus of a benchmark's size allows to be counted.
func dedupCommand(a *cli.App) *cobra.Command {
	s := data.Sources{}
	cmd := &cobra.Command{
		Use: "dedup [DATA...]", Short: "Compare near duplicates found with exact Jaccard similarities of all pairs",
		Long: "Searches for near duplicates as hone data curate does, computes the exact similarity of all pairs of documents that are alike, and prints recall\n" +
			"(pairs found, of those that reach a similarity) and precision (documents removed that reach it with the one kept). Without DATA on the\n" +
			"source of Go's standard library and on made web pages with copies changed to known degrees.",
		Example: "  hone bench dedup\n  hone bench dedup crawl/ --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			corpora := map[string]iter.Seq2[data.Document, error]{}
			names := []string{"Go's standard library", "made web pages"}
			if s.Paths = args; len(args) > 0 {
				names = []string{strings.Join(args, " ")}
			} else {
				src, err := gosource.Packages(cmd.Context())
				if err != nil {
					return fmt.Errorf("%w; name files or folders to read", err)
				}
				s.Paths = src
				corpora[names[1]] = madePages(4000, 1)
			}
			corpora[names[0]] = s.Documents(&data.Stats{})
			var rows []dedupRow
			for _, name := range names {
				more, err := dedupRows(cmd.Context(), name, corpora[name])
				if err != nil {
					return err
				}
				rows = append(rows, more...)
			}
			return a.Result(rows, func(w io.Writer) { showDedup(w, rows) })
		},
	}
	corpus.SourceFlags(cmd, &s)
	return cmd
}

// dedupRows measures the default setting, and those that compare less.
func dedupRows(ctx context.Context, name string, docs iter.Seq2[data.Document, error]) ([]dedupRow, error) {
	var rows []dedupRow
	for _, how := range []struct {
		threshold float64
		exact     bool
	}{{0.8, true}, {0.8, false}, {0, false}} {
		near := dedup.DefaultMinHash()
		near.Threshold, near.Exact = how.threshold, how.exact
		found, err := curate.MeasureNear(ctx, docs, near, []float64{0.75, 0.8, 0.85, 0.9}, runtime.GOMAXPROCS(0))
		if err != nil {
			return nil, err
		}
		setting := fmt.Sprintf("near.threshold=%v near.exact=%v", near.Threshold, near.Exact)
		rows = append(rows, dedupRow{name, setting, found})
	}
	return rows, nil
}

// showDedup prints, for each similarity, the share of such pairs that was found (recall) and of what was removed the share that was so alike (precision).
func showDedup(out io.Writer, rows []dedupRow) {
	for _, r := range rows {
		fmt.Fprintf(out, "%s, %d texts, %s: %.1f s\n", r.Corpus, r.Documents, r.Setting, r.Seconds)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "similarity\tpairs\tfound\trecall\tremoved\tof them alike\tprecision\t")
		for _, a := range r.Agreement {
			fmt.Fprintf(w, "%.2f\t%d\t%d\t%.4f\t%d\t%d\t%.4f\t\n", a.Threshold, a.Pairs, a.Found, a.Recall, a.Removed, a.Right, a.Precision)
		}
		w.Flush()
		fmt.Fprintln(out)
	}
}

// madePages are texts like web pages of n families: words by Zipf's law in sentences between a menu and a notice that many share, and of each family
// up to three copies with words replaced, so that similarities from 0.5 to 1 are all there.
func madePages(n int, seed uint64) iter.Seq2[data.Document, error] {
	return func(yield func(data.Document, error) bool) {
		r := rand.New(rand.NewPCG(seed, 2))
		record := 0
		for range n {
			page := madePage(r)
			for copies := range 1 + r.IntN(4) {
				words := page
				if copies > 0 {
					words = changed(r, page, 1-math.Pow(2/(1/(0.5+0.5*r.Float64())+1), 0.2)) // a similarity s needs a share 2s/(1+s) of 5-grams without a change
				}
				record++
				if !yield(data.Document{Text: []byte(strings.Join(words, " ")), Source: "made", Record: record}, nil) {
					return
				}
			}
		}
	}
}

// madeWord is a word by its rank: short ones are frequent.
func madeWord(rank uint64) string {
	const syllables = "batecidofugalemirosuvawexyizo"
	word := ""
	for rank++; rank > 0; rank /= 14 {
		at := 2 * (rank % 14)
		word += syllables[at : at+2]
	}
	return word
}

// madePage is a page of a menu, sentences and a notice. The exponent of Zipf's law is that of English words, about 1.1.
func madePage(r *rand.Rand) []string {
	zipf := rand.NewZipf(r, 1.1, 2.7, 1<<16)
	words := strings.Fields([]string{"Home News About Contact Search", "Shop Cart Account Help", "Start Forum Members Rules"}[r.IntN(3)])
	for range 8 + r.IntN(40) {
		for i := range 6 + r.IntN(14) {
			w := madeWord(zipf.Uint64())
			if i == 0 {
				w = strings.ToUpper(w[:1]) + w[1:]
			}
			words = append(words, w)
		}
		words[len(words)-1] += "."
	}
	return append(words, strings.Fields("All rights reserved. By using this site you agree to our use of cookies.")...)
}

// changed is a page with a share of its words replaced.
func changed(r *rand.Rand, page []string, share float64) []string {
	out := make([]string, len(page))
	for i, w := range page {
		if out[i] = w; r.Float64() < share {
			out[i] = madeWord(1<<20 + r.Uint64N(1<<20))
		}
	}
	return out
}
