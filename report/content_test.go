package report

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data/curate"
	"hone/data/curate/document"
)

// TestSmoothing: the average is over 1 + i/10 steps at first, and then over a fiftieth of the run, but no more than 100. Behind a loss of 1 and zeros
// each value is the one before times 1 - 1/steps.
func TestSmoothing(t *testing.T) {
	for n, longest := range map[int]float64{10: 1, 50: 1, 200: 4, 20_000: 100} {
		steps := make([]step, n)
		steps[0].Loss = 1
		out := smoothed(steps)
		for i := 1; i < n && out[i-1] > 1e-9; i++ {
			if want := out[i-1] * (1 - 1/min(longest, 1+float64(i)/10)); math.Abs(out[i]-want) > 1e-12 {
				t.Errorf("of %d steps number %d is %v, want %v", n, i, out[i], want)
				break
			}
		}
	}
	gaps := smoothed([]step{{Loss: math.NaN()}, {Loss: math.Inf(1)}, {Loss: 3}, {Loss: math.NaN()}})
	if !math.IsNaN(gaps[0]) || !math.IsNaN(gaps[1]) || gaps[2] != 3 || gaps[3] != 3 {
		t.Errorf("around gaps the loss is smoothed to %v", gaps)
	}
}

// TestCurves: the points of each figure are those of the events.
func TestCurves(t *testing.T) {
	r := &run{
		steps:    []step{{Step: 5, Loss: 4, LR: 0.5, GradNorm: 2, TokensPerS: 100, Metrics: map[string]float64{"b": 7}}, {Step: 6, Loss: 3, LR: 0.25, GradNorm: 1, TokensPerS: 200}},
		evals:    []eval{{Step: 5, Metrics: map[string]float64{"loss": 4.5}}, {Step: 6, Metrics: map[string]float64{"accuracy": 1}}},
		rollouts: []rollout{{Step: 5, Metrics: map[string]float64{"a": 1}}, {Step: 6, Metrics: map[string]float64{"a": 2, "b": 8}}},
		info:     map[string]any{"bigram_loss": 3.5, "unigram_loss": 6.0},
	}
	points := func(f *figure, curves ...[][2]float64) {
		t.Helper()
		for i, want := range curves {
			var got [][2]float64
			for k := range f.Curves[i].X {
				got = append(got, [2]float64{f.Curves[i].X[k], f.Curves[i].Y[k]})
			}
			if !slices.Equal(got, want) {
				t.Errorf("curve %d of %s is %v, want %v", i, f.Title, got, want)
			}
		}
		if len(f.Curves) != len(curves) {
			t.Errorf("%s has %d curves", f.Title, len(f.Curves))
		}
	}
	loss := r.lossFigure()
	points(loss, [][2]float64{{5, 4}, {6, 3}}, [][2]float64{{5, 4}, {6, 3}}, [][2]float64{{5, 4.5}})
	if !slices.Equal(loss.Rules, []rule{{"unigram", "unigram", 6}, {"bigram", "bigram", 3.5}}) || len(loss.Marks) != 0 || !loss.Curves[2].Dots {
		t.Errorf("beside the curves stand %v and %v", loss.Rules, loss.Marks)
	}
	points(r.rateFigure(), [][2]float64{{5, 0.5}, {6, 0.25}})
	points(r.normFigure(), [][2]float64{{5, 2}, {6, 1}})
	points(r.speedFigure(), [][2]float64{{5, 100}, {6, 200}})
	answers, figures := r.metricFigures()
	if len(answers) != 0 || len(figures) != 2 || figures[0].Title != "a" || figures[1].Title != "b" || figures[0].zero || !r.rateFigure().zero {
		t.Fatalf("the figures of metrics are %v", figures)
	}
	points(figures[0], [][2]float64{{5, 1}, {6, 2}})
	points(figures[1], [][2]float64{{5, 7}, {6, 8}})
	data, err := r.rateFigure().Data()
	if want := `{"box":[52,306,12,160],"width":320,"range":[5,6],"curves":[{"name":"Learning rate","class":"train","x":[5,6],"y":["0.500","0.250"]}]}`; err != nil || string(data) != want {
		t.Errorf("for the page's script it is %s, %v, want %s", data, err, want)
	}
}

// TestAnswersComeFirst: score and KL stand apart from the other numbers, with what evaluations say of them; one of them alone is as wide as the page.
func TestAnswersComeFirst(t *testing.T) {
	scored := func(step int, score float64) rollout {
		return rollout{Step: step, Metrics: map[string]float64{"objective/scores": score, "completions/mean_length": 9}}
	}
	r := &run{rollouts: []rollout{scored(1, 0.25), scored(5, 0.5)}, evals: []eval{{Step: 3, Metrics: map[string]float64{"loss": 1}}, {Step: 4, Metrics: map[string]float64{"objective/scores": 0.3}}}}
	answers, others := r.metricFigures()
	if len(answers) != 1 || answers[0].Title != "objective/scores" || answers[0].w != 960 || len(others) != 1 || others[0].Title != "completions/mean_length" {
		t.Fatalf("the figures are %v and %v", answers, others)
	}
	curves := answers[0].Curves
	if len(curves) != 2 || !slices.Equal(curves[0].X, []float64{1, 5}) || !slices.Equal(curves[1].X, []float64{4}) || !slices.Equal(curves[1].Y, []float64{0.3}) {
		t.Errorf("the curves of scores are %v", curves)
	}
	r.rollouts[1].Metrics["objective/kl"] = 2
	if answers, _ = r.metricFigures(); len(answers) != 2 || answers[1].Title != "objective/kl" || answers[0].w != answers[1].w || len(answers[1].Curves) != 1 {
		t.Errorf("with KL the figures are %v", answers)
	}
}

// TestMoreTiles: those of rewards and of training, each where its number is known.
func TestMoreTiles(t *testing.T) {
	r := &run{
		steps:    []step{{Step: 1, Loss: 8, Tokens: 10, TokensPerS: 1, Seconds: 10}, {Step: 2, Loss: 2, Tokens: 20, TokensPerS: 1, Seconds: 10}},
		rollouts: []rollout{{Metrics: map[string]float64{"objective/scores": 0.25}}, {Metrics: map[string]float64{"objective/scores": 0.75, "objective/kl": 1.5, "completions/mean_length": 13.6, "completions/eos_share": 0.5}}},
	}
	for label, want := range map[string]tile{
		"score":         {Value: "0.750", Note: "of answers; the first was 0.250"},
		"KL":            {Value: "1.500", Note: "nats an answer from the reference"},
		"answer":        {Value: "14", Note: "tokens; 50% end by themselves"},
		"training loss": {Value: "2", Note: "smoothed; the first was 8"},
		"time":          {Value: "10s", Note: "20 tokens"},
	} {
		if got := tileOf(t, r, label); got.Value != want.Value || got.Note != want.Note {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if got := (&run{rollouts: []rollout{{Metrics: map[string]float64{"other": 1}}}}).tiles(); len(got) != 0 {
		t.Errorf("a run that tells none of them has the tiles %v", got)
	}
	same := &run{evals: []eval{{Metrics: map[string]float64{"loss": 2}}}, info: map[string]any{"bigram_loss": 2.0}}
	if got := tileOf(t, same, "validation loss").Note; got != "0 below bigram's 2" {
		t.Errorf("a loss as large as the baseline is %q", got)
	}
}

// TestFactsNearBorders: sizes in their unit, whole numbers in groups, lists and objects in a line and in order.
func TestFactsNearBorders(t *testing.T) {
	r := &run{info: map[string]any{"b_bytes": 1 << 20 * 1.0, "a_bytes": 1<<20 - 1.0, "c_count": 1234.0, "d": 0.5, "e": "text", "f": []any{1.0, "x", 2048.0}, "empty": "",
		"g": map[string]any{"z": 1.0, "y_bytes": 1.0, "x": 3.0, "w": 0.25}, "h": true}}
	want := []fact{{"a", "1024 KiB"}, {"b", "1.0 MiB"}, {"c count", "1\u202f234"}, {"d", "0.500"}, {"e", "text"}, {"f", "1, x, 2\u202f048"}, {"g", "w 0.250, x 3, y 1 KiB, z 1"}, {"h", "true"}}
	for range 5 { // of maps, whose order changes
		if got := r.facts(); !slices.Equal(got, want) {
			t.Fatalf("the facts are %q, want %q", got, want)
		}
	}
}

// TestEventsOfARun: of what kind a line is decides where it goes; each kind with a number that is none is an error, and kinds that are not known are passed over.
func TestEventsOfARun(t *testing.T) {
	r := &run{info: map[string]any{}}
	for _, text := range []string{
		`{"event":"eval","step":3}`, `{"event":"eval","step":3,"metrics":{"loss":2}}`, `{"event":"sample","step":4,"prompt":"p","text":"t"}`,
		`{"event":"skip","step":5,"reason":"why"}`, `{"event":"message","step":5,"text":"m"}`, `{"event":"info","values":{"a":1}}`, `{"event":"info","values":{"a":2,"b":3}}`,
		`{"event":"table","title":"x","rows":[["1"]]}`, `{"event":"table","title":"y"}`, `{"event":"table","title":"x","rows":[["2"]]}`, `{"event":"newer"}`,
		`{"event":"rollout","step":6}`, `{"event":"step","step":7}`,
	} {
		if err := r.add([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if len(r.evals) != 2 || len(r.steps) != 1 || len(r.rollouts) != 1 || r.samples[0] != (sample{4, "p", "t"}) || r.notes[0] != (note{5, "skipped: why"}) || r.notes[1] != (note{5, "m"}) {
		t.Errorf("the run holds %+v", r)
	}
	if v, ok := r.number("a"); v != 2 || !ok || len(r.tables) != 2 || r.tables[0].Title != "x" || r.tables[0].Rows[0][0] != "2" {
		t.Errorf("the run holds %v and %v", r.info, r.tables)
	}
	for _, text := range []string{
		`{"event":"step","loss":"x"}`, `{"event":"eval","metrics":1}`, `{"event":"rollout","iteration":"x"}`, `{"event":"table","rows":1}`, `{"event":"step","step":"x"}`, `[]`,
	} {
		if err := r.add([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestOverfittingBounds: three evaluations are the fewest, the lowest is the first of equal ones, and training must have gone on falling since just then.
func TestOverfittingBounds(t *testing.T) {
	type point struct {
		step int
		loss float64
	}
	for name, c := range map[string]struct {
		train, held []point
		want        int // step; 0: none
	}{
		"three":                  {[]point{{1, 4}, {2, 3}, {3, 2}}, []point{{1, 2}, {2, 3}, {3, 4}}, 1},
		"no step":                {nil, []point{{1, 2}, {2, 3}, {3, 4}}, 0},
		"the first of equals":    {[]point{{1, 4}, {2, 3}, {3, 2}}, []point{{1, 2}, {2, 2}, {3, 4}}, 1},
		"training stands still":  {[]point{{1, 2}, {2, 2}, {3, 2}}, []point{{1, 2}, {2, 3}, {3, 4}}, 0},
		"it rose again":          {[]point{{1, 4}, {2, 1}, {3, 2}}, []point{{1, 4}, {2, 2}, {3, 4}}, 0},
		"it fell before":         {[]point{{1, 4}, {2, 2}, {3, 2}}, []point{{1, 4}, {2, 2}, {3, 4}}, 0},
		"between steps":          {[]point{{1, 4}, {3, 1}, {4, 2}}, []point{{1, 4}, {2, 2}, {4, 4}}, 0}, // the next step's loss is 1
		"before the last step":   {[]point{{2, 9}}, []point{{5, 2}, {6, 3}, {7, 4}}, 0},
		"one percent is noise":   {[]point{{1, 4}, {2, 3}, {3, 2}}, []point{{1, 100}, {2, 100.5}, {3, 101}}, 0},
		"a little more is not":   {[]point{{1, 4}, {2, 3}, {3, 2}}, []point{{1, 100}, {2, 100.5}, {3, 101.1}}, 1},
		"the end is what counts": {[]point{{1, 4}, {2, 3}, {3, 2}}, []point{{1, 100}, {2, 150}, {3, 100}}, 0},
	} {
		r := &run{}
		for _, p := range c.train {
			r.steps = append(r.steps, step{Step: p.step, Loss: p.loss})
		}
		for _, p := range c.held {
			r.evals = append(r.evals, eval{Step: p.step, Metrics: map[string]float64{"loss": p.loss}})
		}
		if at, ok := r.overfitting(); ok != (c.want > 0) || ok && at.Step != c.want {
			t.Errorf("%s: from step %d, %v, want %d", name, at.Step, ok, c.want)
		}
	}
}

// TestCurationNumbers: what the tiles and the funnel of a curation say, of one whose tokens were counted and of one whose were not.
func TestCurationNumbers(t *testing.T) {
	r := &curate.Result{
		Read:  curate.Count{Documents: 1000, Bytes: 8_000_000},
		Steps: []curate.StepCount{{Name: "a_step", Kept: curate.Count{Documents: 1000, Bytes: 8_000_000}}, {Name: "b", Kept: curate.Count{Documents: 900, Bytes: 6_000_000}, Changed: 1}},
		Exact: curate.Count{Documents: 30}, Near: curate.Count{Documents: 20}, Kept: curate.Count{Documents: 850, Bytes: 4_000_000},
	}
	p := curationPage(r)
	want := []tile{
		{"documents kept", "850", "85.0% of those read"}, {"text kept", "4 MB", "50.0% of 8 MB"}, {"tokens kept", "≈ 1M", "of ≈ 2M"}, {"copies removed", "50", "30 exact, 20 near"},
	}
	if !slices.Equal(p.Tiles, want) || p.Tokens != "tokens, at 4 bytes each" {
		t.Errorf("the tiles are %q under %q, want %q", p.Tiles, p.Tokens, want)
	}
	rows := p.Funnel
	if rows[0].Lost != 0 || rows[1].Note != "none removed" || rows[2].Note != "100 removed; 1 changed" || rows[2].Lost != 25 || rows[2].Percent != 75 || rows[2].Share != "75.0%" || rows[1].Name != "a step" {
		t.Errorf("the funnel is %+v", rows)
	}
	for want, c := range map[string]curate.Count{"0": {}, "5": {Tokens: 5}, "7": {Tokens: 7, Bytes: 100}, "≈ 25": {Bytes: 100}} {
		if got := tokensText(c); got != want {
			t.Errorf("the tokens of %+v are %s, want %s", c, got, want)
		}
	}
	equal := labels(&curate.Result{Labels: map[string]map[string]document.Tally{"l": {"b": {Kept: 1}, "a": {Rejected: 1}, "c": {Kept: 2}}}})
	if rows := equal[0].Rows; rows[0].Name != "c" || rows[1].Name != "a" || rows[2].Name != "b" || rows[2].Percent != 50 {
		t.Errorf("the labels are %+v", rows)
	}
	dir := filepath.Join(t.TempDir(), "clean corpus")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "curation.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := WriteCuration(dir)
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(html), "<title>clean corpus") {
		t.Errorf("the page is not titled by its folder: %v, %.300s", err, html)
	}
	if err := os.WriteFile(filepath.Join(dir, "curation.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteCuration(dir); err == nil || !strings.Contains(err.Error(), "report on "+dir) {
		t.Errorf("a damaged curation gives %v", err)
	}
}
