package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hone/data/curate"
	"hone/data/curate/document"
)

// TestNumbersNearTheirBorders: a unit is chosen for the number as it is shown, and small numbers keep the digits that count.
func TestNumbersNearTheirBorders(t *testing.T) {
	for v, want := range map[float64]string{999: "999", 999.4: "999", 999.6: "1k", 1000: "1k", 999_499: "999k", 999_999: "1M", 1e9 - 1: "1G", 1e12 - 1: "1T", 15.6e12: "15.6T",
		-1234: "-1.23k", 0: "0", 1e-9: "1e-9", 0.000123456: "1.23e-4", 0.01234: "0.0123"} {
		if got := compact(v); got != want {
			t.Errorf("compact(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{0.0015: "0.00150", 0.0123: "0.0123", 0.25: "0.250", 0.999: "0.999", 1.5: "1.500", 10.25: "10.25", 100.5: "100.5", 99999.5: "100000", 123456: "123k",
		-0.042: "-0.0420", 0.00012345: "1.23e-04", 7: "7", -3: "-3", math.Inf(1): "+Inf"} {
		if got := exact(v); got != want {
			t.Errorf("exact(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 12: "12", 1000: "1 000", -999: "-999", -1000: "-1 000", 123456789: "123 456 789", 1e15: "1 000 000 000 000 000"} {
		if got := strings.ReplaceAll(grouped(v), "\u202f", " "); got != want {
			t.Errorf("grouped(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1_234_567: "1.23 MB", 3e12: "3 TB"} {
		if got := bytesText(v); got != want {
			t.Errorf("bytesText(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0s", 0.04: "0s", 9.96: "10s", 59.9: "1m0s", 3599.6: "1h0m0s", 90061: "25h1m1s"} {
		if got := duration(v); got != want {
			t.Errorf("duration(%v) = %s, want %s", v, got, want)
		}
	}
}

// TestNumbersAreNearWhatTheyShow: whatever the number, what is shown is within half of the last of its three digits.
func TestNumbersAreNearWhatTheyShow(t *testing.T) {
	units := strings.NewReplacer("T", "e12", "G", "e9", "M", "e6", "k", "e3")
	rapid.Check(t, func(t *rapid.T) {
		v := math.Pow(10, rapid.Float64Range(-8, 14).Draw(t, "exponent"))
		for _, text := range []string{compact(v), exact(v), short(v)} {
			var got float64
			if _, err := fmt.Sscan(units.Replace(text), &got); err != nil || math.Abs(got-v) > 0.00501*v {
				t.Errorf("%v is shown as %s", v, text)
			}
		}
	})
}

// TestThinKeepsSpikesBeforeGaps: a value that is no number hides none beside it.
func TestThinKeepsSpikesBeforeGaps(t *testing.T) {
	const n = 10 * maxPoints
	xs, ys := make([]float64, n), make([]float64, n)
	for i := range xs {
		xs[i] = float64(i)
	}
	ys[1002], ys[1004], ys[1006] = 9, math.NaN(), -9 // of one stretch of twenty
	for i := 2000; i < 2020; i++ {
		ys[i] = math.NaN()
	}
	x, y := thin(xs, ys)
	for at, want := range map[float64]float64{1002: 9, 1006: -9} {
		if i := slices.Index(x, at); i < 0 || y[i] != want {
			t.Errorf("the point at %v is gone", at)
		}
	}
	gap := slices.IndexFunc(y, math.IsNaN)
	if gap < 0 || x[gap] < 2000 || x[gap] >= 2020 {
		t.Error("a stretch of gaps is drawn over")
	}
}

// tileOf is the tile of a label, with what stands in it.
func tileOf(t *testing.T, r *run, label string) tile {
	t.Helper()
	for _, one := range r.tiles() {
		if one.Label == label {
			return one
		}
	}
	t.Fatalf("there is no tile %q in %v", label, r.tiles())
	return tile{}
}

// TestTiles: the numbers that a person looks for first, of the weights that are kept, against the baselines that there are.
func TestTiles(t *testing.T) {
	steps := []step{{Step: 1, Loss: 8, Tokens: 1000, TokensPerS: 500, Seconds: 2}, {Step: 2, Loss: 6, Tokens: 2000, TokensPerS: 700, Seconds: 4}, {Step: 3, Loss: 6, Tokens: 3000, TokensPerS: 100, Seconds: 75}}
	lm := map[string]float64{"loss": 2.5, "perplexity": 12.18, "bits_per_byte": 1.25, "general_loss": 3.5, "forgetting": 0.25}
	r := &run{steps: steps, evals: []eval{{Step: 3, Metrics: lm}}, info: map[string]any{"parameters": 3412992.0, "unigram_loss": 6.0, "bigram_loss": 4.0}}
	for label, want := range map[string]tile{
		"validation loss": {Value: "2.500", Note: "1.500 below bigram's 4"},
		"perplexity":      {Value: "12.18", Note: "of the next held-out token"},
		"forgetting":      {Value: "0.250", Note: "loss on general text above the base's 3.250"},
		"bits per byte":   {Value: "1.250", Note: "comparable between tokenizers"},
		"throughput":      {Value: "500", Note: "tokens per second, median"},
		"time":            {Value: "1m15s", Note: "3k tokens"},
	} {
		if got := tileOf(t, r, label); got.Value != want.Value || got.Note != want.Note {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if got, want := strings.ReplaceAll(r.subtitle(), "\u202f", " "), "3.41M parameters · 3 steps · 3k tokens · 1m15s"; got != want {
		t.Errorf("below the title stands %q, want %q", got, want)
	}
	if one := (&run{steps: []step{{Step: 1, Tokens: 10, Seconds: 1}}}).subtitle(); one != "1 step · 10 tokens · 1s" {
		t.Errorf("of a single step the page says %q", one)
	}
	for info, want := range map[string]string{"bigram_loss": "0.500 above bigram's 2", "unigram_loss": "0.500 above unigram's 2", "parameters": "nats per held-out token"} {
		r.info = map[string]any{info: 2.0}
		if got := tileOf(t, r, "validation loss").Note; got != want {
			t.Errorf("with %s the loss is %q, want %q", info, got, want)
		}
	}
	r = &run{evals: []eval{{Step: 3, Metrics: map[string]float64{"loss": 0.5, "rewards/accuracies": 0.625}}}}
	if got := tileOf(t, r, "accuracy"); got.Value != "62.5%" || len(r.tiles()) != 2 {
		t.Errorf("the tiles of preferences are %v", r.tiles())
	}
}

// TestThroughputIsTheMedian of the steps, in any order: few that had to wait do not count.
func TestThroughputIsTheMedian(t *testing.T) {
	for n := 1; n < 12; n++ {
		r := &run{}
		for i := range n {
			r.steps = append(r.steps, step{TokensPerS: float64((7*i + 3) % n)}) // 0 to n-1, as 7 divides no n here but its own
		}
		if n == 7 {
			continue
		}
		if got := r.medianSpeed(); got != float64(n/2) {
			t.Errorf("of %d speeds the median is %v, want %v", n, got, n/2)
		}
	}
}

// TestOverfittingBeforeDivergence: the loss of a model that broke is no number, so its event has none, and the tile says the last there was.
func TestOverfittingBeforeDivergence(t *testing.T) {
	r := &run{}
	for i, losses := range [][2]float64{{4, 4}, {3, 3}, {2, 3.5}, {1, 3.75}} {
		r.steps = append(r.steps, step{Step: i + 1, Loss: losses[0]})
		r.evals = append(r.evals, eval{Step: i + 1, Metrics: map[string]float64{"loss": losses[1]}})
	}
	r.evals = append(r.evals, eval{Step: 5, Metrics: map[string]float64{"train_loss": 0.5}})
	if got := tileOf(t, r, "overfitting from"); got.Value != "step 2" || got.Note != "lowest validation loss 3, later 3.750" {
		t.Errorf("the tile is %+v", got)
	}
}

// TestEvalTable: at most fifty rows, evenly spread and the last among them; a column for every metric that ever was, in order.
func TestEvalTable(t *testing.T) {
	for n := 1; n < 260; n++ {
		r := &run{}
		for i := range n {
			e := eval{Step: 10 * (i + 1), Metrics: map[string]float64{"loss": float64(i)}}
			if i == n-1 {
				e.Metrics["bits_per_byte"] = 0.5
			}
			r.evals = append(r.evals, e)
		}
		table := r.evalTable()
		if !slices.Equal(table.Head, []string{"step", "bits per byte", "loss"}) {
			t.Fatalf("the columns are %q", table.Head)
		}
		last := table.Rows[len(table.Rows)-1]
		if rows := len(table.Rows); rows != int(math.Ceil(float64(n)/math.Ceil(float64(n)/50))) || last[0] != grouped(float64(10*n)) || last[1] != "0.500" || last[2] != exact(float64(n-1)) {
			t.Errorf("of %d evaluations %d are listed, the last as %q", n, rows, last)
		}
		if len(table.Rows) > 1 && table.Rows[0][1] != "" {
			t.Errorf("a metric that was not measured is shown as %q", table.Rows[0][1])
		}
	}
	if (&run{}).evalTable() != nil {
		t.Error("a run without evaluations has a table of them")
	}
}

// TestFacts: what is known of a run, as words and with units.
func TestFacts(t *testing.T) {
	r := &run{info: map[string]any{"train_tokens": 1234567.0, "corpus_bytes": 104857600.0, "shared_base_bytes": 1500.0, "pack_fill": 0.912, "device": "cpu", "resume": false, "data": []any{"a", "b"},
		"planned_memory": map[string]any{"peak_bytes": 2097152.0, "recompute_layers": 3.0}, "note": ""}}
	want := []fact{{"corpus", "100.0 MiB"}, {"data", "a, b"}, {"device", "cpu"}, {"pack fill", "0.912"}, {"plan", "peak 2.0 MiB, recompute layers 3"}, {"resume", "false"},
		{"shared base", "2 KiB"}, {"train tokens", "1\u202f234\u202f567"}}
	if got := r.facts(); !slices.Equal(got, want) {
		t.Errorf("the facts are %q, want %q", got, want)
	}
}

// TestCurvesAndRules of the loss: raw and smoothed, held-out points as dots, baselines as lines.
func TestCurvesAndRules(t *testing.T) {
	r := &run{steps: []step{{Step: 1, Loss: 4}, {Step: 2, Loss: 2}}, evals: []eval{{Step: 1, Metrics: map[string]float64{"loss": 3}}, {Step: 2, Metrics: map[string]float64{"accuracy": 1}}},
		info: map[string]any{"bigram_loss": 2.5, "unigram_loss": "unknown"}}
	f := r.lossFigure()
	if len(f.Curves) != 3 || f.Curves[2].Name != "validation" || !f.Curves[2].Dots || len(f.Curves[2].X) != 1 || len(f.Rules) != 1 || f.Rules[0] != (rule{"bigram", "bigram", 2.5}) {
		t.Errorf("the figure has %+v and %+v", f.Curves, f.Rules)
	}
	if (&run{}).lossFigure() != nil || (&run{}).rateFigure() != nil {
		t.Error("a run without steps has curves")
	}
	short := smoothed(r.steps)
	if short[0] != 4 || math.Abs(short[1]-2) > 1e-12 { // of two steps none is averaged with another
		t.Errorf("two steps are smoothed to %v", short)
	}
}

// TestFunnel: what each step left and took, in percent of the text that was read.
func TestFunnel(t *testing.T) {
	r := &curate.Result{Read: curate.Count{Documents: 1000, Bytes: 4000}, Exact: curate.Count{Documents: 100, Bytes: 400}, Searched: []string{"exact", "near"},
		Steps: []curate.StepCount{{Name: "too_short", Kept: curate.Count{Documents: 600, Bytes: 3000}, Changed: 5}}}
	rows := funnelRows(r)
	want := []struct {
		name, share, note string
		percent, lost     float64
	}{{"read", "100.0%", "", 100, 0}, {"too short", "75.0%", "400 removed; 5 changed", 75, 25}, {"exact duplicates", "65.0%", "100 removed", 65, 10}, {"near duplicates", "65.0%", "none removed", 65, 0}}
	if len(rows) != len(want) {
		t.Fatalf("the rows are %+v", rows)
	}
	for i, w := range want {
		if got := rows[i]; got.Name != w.name || got.Share != w.share || got.Note != w.note || math.Abs(got.Percent-w.percent) > 1e-9 || math.Abs(got.Lost-w.lost) > 1e-9 {
			t.Errorf("row %d is %+v, want %+v", i, got, w)
		}
	}
	if rows[0].Tokens != "≈ 1k" || curationPage(r).Tokens != "tokens, at 4 bytes each" { // an estimate says that it is one
		t.Errorf("uncounted tokens are %q under %q", rows[0].Tokens, curationPage(r).Tokens)
	}
	if r.Read.Tokens = 900; curationPage(r).Tokens != "tokens" || funnelRows(r)[0].Tokens != "900" {
		t.Errorf("counted tokens are %q", funnelRows(r)[0].Tokens)
	}
}

// TestReasonsInOrder: those of a step by their number, the first step's first, with what was cut behind them.
func TestReasonsInOrder(t *testing.T) {
	c := func(n int64) curate.Count { return curate.Count{Documents: n, Bytes: 10 * n} }
	r := &curate.Result{
		Steps:    []curate.StepCount{{Name: "a_step", Rejected: map[string]curate.Count{"x": c(1), "z": c(3), "y": c(3)}}, {Name: "b", Rejected: map[string]curate.Count{"w": c(9)}}},
		Cuts:     []curate.CutCount{{Name: "lines", Spans: 4, Bytes: 44}, {Name: "paragraphs"}},
		Examples: []curate.Example{{Step: "a_step", Reason: "x", Text: "one"}, {Step: "b", Reason: "x", Text: "of another step"}, {Step: "lines", Reason: "repeated", Text: "cut"}},
	}
	var got []string
	for _, row := range reasonRows(r) {
		texts := ""
		for _, e := range row.Examples {
			texts += e.Text
		}
		got = append(got, fmt.Sprintf("%s/%s/%s/%s/%s", row.Step, row.Reason, row.Number, row.Text, texts))
	}
	want := []string{"a step/y/3 documents/30 B/", "a step/z/3 documents/30 B/", "a step/x/1 documents/10 B/one", "b/w/9 documents/90 B/", "lines/cut out, as it stood before/4 places/44 B/cut"}
	if !slices.Equal(got, want) {
		t.Errorf("the reasons are %q, want %q", got, want)
	}
}

// TestLabelsAreTheMostFrequent twenty, each as long as its share of the first.
func TestLabelsAreTheMostFrequent(t *testing.T) {
	words := map[string]document.Tally{}
	for i := range int64(30) {
		words[fmt.Sprintf("w%02d", i)] = document.Tally{Kept: i, Rejected: 1}
	}
	got := labels(&curate.Result{Labels: map[string]map[string]document.Tally{"the_language": words}})
	if len(got) != 1 || got[0].Title != "the language" || len(got[0].Rows) != 20 {
		t.Fatalf("the labels are %+v", got)
	}
	first, last := got[0].Rows[0], got[0].Rows[19]
	if first != (labelRow{"w29", "29", "1", 100}) || last.Name != "w10" || math.Abs(last.Percent-100*11.0/30) > 1e-9 {
		t.Errorf("the first is %+v, the last %+v", first, last)
	}
}

// TestNothingWasMeasured: a score without a document has no histogram.
func TestNothingWasMeasured(t *testing.T) {
	if ratio(3, 0) != 0 || ratio(1, 1) != 1 {
		t.Errorf("of nothing it is %v, of all %v", ratio(3, 0), ratio(1, 1))
	}
	p := curationPage(&curate.Result{Scores: map[string]document.Distribution{"empty": {}, "full": {1: {Kept: 1}}}})
	if len(p.Histograms) != 1 || p.Histograms[0].Title != "full" {
		t.Errorf("%d histograms", len(p.Histograms))
	}
}

// TestClusters: the kept text is whole but for its end, the others begin near their first difference; what is not listed is counted.
func TestClusters(t *testing.T) {
	long := strings.Repeat("word ", 200)
	v := viewCluster(curate.Cluster{Kind: "near", Size: 2500, Members: []curate.Member{{Place: "a:1", Bytes: 1000, Text: long}, {Place: "b:2", Bytes: 1200, Similarity: 0.876, Text: long + "<b>"}}})
	if v.Kept != "a:1" || v.Hidden != 2498 || v.Size != "2\u202f500" || !v.Members[0].Kept || v.Members[1].Kept {
		t.Errorf("the cluster is shown as %+v", v)
	}
	kept, other := string(v.Members[0].Text), string(v.Members[1].Text)
	if len(kept) > shownText+10 || !strings.HasSuffix(kept, " …") || v.Members[0].Similarity != "" || v.Members[1].Similarity != "0.88" || v.Members[1].Bytes != "1.2 kB" {
		t.Errorf("the members are %+v", v.Members)
	}
	if !strings.HasPrefix(other, "… ") || !strings.HasSuffix(other, "<mark>&lt;b&gt;</mark>") || len(other) > shownBefore+50 {
		t.Errorf("the difference is %q", other)
	}
	if got := clip(strings.Repeat("é", shownText)); strings.ContainsRune(got, '\ufffd') || len(got) > shownText+5 {
		t.Errorf("a letter is cut: %q", got[len(got)-8:])
	}
}
