package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hone/data/curate/document"
)

// has fails unless the parts stand in text one behind the other.
func has(t *testing.T, name, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		var found bool
		if _, rest, found = strings.Cut(rest, part); !found {
			t.Errorf("%s lacks %q, or has it too early:\n%s", name, part, text)
			return
		}
	}
}

// TestAxes: a plot is 100 wide from 52 on and 100 high up to 12; 5 % are left free above, and below where the axis does not begin at 0, but of what
// may be a share nothing outside 0 to 1.
func TestAxes(t *testing.T) {
	nan := math.NaN()
	line := func(ys ...float64) []curve {
		c := curve{}
		for i, y := range ys {
			c.X, c.Y = append(c.X, float64(10*(i+1))), append(c.Y, y)
		}
		return []curve{c}
	}
	for name, c := range map[string]struct {
		f      figure
		x0, x1 float64
		y0, y1 float64
	}{
		"rises":                 {figure{Curves: line(5, 10)}, 10, 20, 4.75, 10.25},
		"falls":                 {figure{Curves: line(10, 5, nan)}, 10, 20, 4.75, 10.25}, // what is no number has no place on either axis
		"rules beside it":       {figure{Curves: line(5, 10), Rules: []rule{{Y: 1}, {Y: 21}}}, 10, 20, 0, 22},
		"rules within":          {figure{Curves: line(5, 10), Rules: []rule{{Y: 6}, {Y: 9}}}, 10, 20, 4.75, 10.25},
		"from 0":                {figure{Curves: line(5, 10), zero: true}, 10, 20, 0, 10.5},
		"from 0, with less":     {figure{Curves: line(-5, 5), zero: true}, 10, 20, -5, 5.5},
		"nothing":               {figure{}, 0, 1, 0, 1},
		"nothing but a gap":     {figure{Curves: line(nan)}, 0, 1, 0, 1},
		"always right":          {figure{Curves: line(1, 1)}, 10, 20, 0.45, 1}, // a share is not above 1
		"often right":           {figure{Curves: line(0.8, 0.8)}, 10, 20, 0.36, 1},
		"a share that rises":    {figure{Curves: line(0, 0.98)}, 10, 20, 0, 1},
		"small":                 {figure{Curves: line(0.01, 0.03)}, 10, 20, 0.009, 0.031},
		"no share":              {figure{Curves: line(0.5, 1.5)}, 10, 20, 0.45, 1.55},
		"two curves":            {figure{Curves: append(line(5, 6), line(3, 4, 23)...)}, 10, 30, 2, 24},
		"below 0 up to it":      {figure{Curves: line(-10, 0)}, 10, 20, -10.5, 0.5},
		"a point has some room": {figure{Curves: line(4)}, 5, 15, 1.8, 6.2},
	} {
		c.f.w, c.f.h = 166, 142
		x, y := c.f.axes()
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
		if !near(x.lo, c.x0) || !near(x.hi, c.x1) || !near(y.lo, c.y0) || !near(y.hi, c.y1) || x.from != 52 || x.to != 152 || y.from != 112 || y.to != 12 {
			t.Errorf("%s: axes %v and %v, want %v to %v and %v to %v", name, x, y, c.x0, c.x1, c.y0, c.y1)
		}
	}
}

// TestDrawing has every element of a chart at places worked out by hand: steps 1 to 4 are 33.3 apart from 52 on, and 21 units of the other axis are 100 high.
func TestDrawing(t *testing.T) {
	f := &figure{Title: "a<b", w: 166, h: 142, zero: true,
		Curves: []curve{{Class: "train", X: []float64{1, 2, 3, 4}, Y: []float64{0, 10, math.NaN(), 20}}, {Class: "val", Dots: true, X: []float64{2, 3}, Y: []float64{20, math.NaN()}},
			{Class: "one", X: []float64{4}, Y: []float64{10}}},
		Rules: []rule{{Name: "x&y", Class: "unigram", Y: 10}}, Marks: []mark{{Name: "<here>", X: 2}}}
	svg := string(f.SVG())
	has(t, "the drawing", svg, `<svg viewBox="0 0 166 142" role="img" aria-label="a&lt;b">`,
		`<line class="grid" x1="52" x2="152" y1="112.0" y2="112.0"/><text class="tick" text-anchor="end" x="45" y="116.0">0</text>`,
		`<line class="grid" x1="52" x2="152" y1="64.4" y2="64.4"/><text class="tick" text-anchor="end" x="45" y="68.4">10</text>`,
		`y1="16.8" y2="16.8"/><text class="tick" text-anchor="end" x="45" y="20.8">20</text>`,
		`<text class="tick" text-anchor="middle" x="85.3" y="132">2</text>`, `<text class="tick" text-anchor="middle" x="152.0" y="132">4</text>`,
		`<line class="axis" x1="52" x2="152" y1="112" y2="112"/>`, `<line class="rule unigram" x1="52" x2="152" y1="64.4" y2="64.4"/>`,
		`<line class="mark" x1="85.3" x2="85.3" y1="112" y2="12"/><text class="rulename" x="90.3" y="24">&lt;here&gt;</text>`,
		`<path class="curve train" d="M52.0 112.0L85.3 64.4M152.0 16.8"/>`,
		`<path class="curve val" d="M85.3 16.8"/><circle class="dot val" r="3" cx="85.3" cy="16.8"/>`,
		`<path class="curve one" d="M152.0 64.4"/><circle class="dot one" r="3" cx="152.0" cy="64.4"/>`, // a single point would not be seen as a line
		`<text class="rulename" text-anchor="end" x="152" y="59.4">x&amp;y 10</text>`, `</svg>`)
	if n := strings.Count(svg, "<circle"); n != 2 {
		t.Errorf("there are %d dots, want 2: none of a curve, nor of what is no number", n)
	}
	if n := strings.Count(svg, `class="tick"`); n != 3+2 {
		t.Errorf("there are %d ticks", n)
	}
}

// TestDotsByRoom: as long as they stand apart; hundreds of evaluations would be a line three times as thick as the others, and hide them.
func TestDotsByRoom(t *testing.T) {
	for n, want := range map[int]int{2: 2, 12: 12, 13: 0, 250: 0} { // 100 units of width
		c := curve{Class: "val", Dots: true}
		for i := range n {
			c.X, c.Y = append(c.X, float64(i)), append(c.Y, float64(i))
		}
		f := &figure{w: 166, h: 142, Curves: []curve{c}}
		if got := strings.Count(string(f.SVG()), "<circle"); got != want {
			t.Errorf("of %d points %d have dots, want %d", n, got, want)
		}
	}
}

// TestTicksByRoom: one for each 45 units up, and one for each 80 across.
func TestTicksByRoom(t *testing.T) {
	f := &figure{w: 960, h: 380, Curves: []curve{{X: []float64{0, 1200}, Y: []float64{0, 7.6}}}}
	svg := string(f.SVG())
	for _, step := range []string{"100", "200", "1100", "1200"} {
		has(t, "the drawing", svg, `text-anchor="middle"`, `y="370">`+step+"</text>")
	}
	for v := range 8 {
		has(t, "the drawing", svg, fmt.Sprintf(`">%d</text>`, v))
	}
	if strings.Contains(svg, ">0.5</text>") || strings.Contains(svg, ">50</text>") {
		t.Error("there are more ticks than have room")
	}
	f.Curves[0].Y[1] = 0.76 // of steps there are no fractions, of values there are
	has(t, "the drawing of a share", string(f.SVG()), `">0.2</text>`, `">0.6</text>`)
}

// TestTickDigits: no more than nine digits, whatever is asked, and those that small differences need.
func TestTickDigits(t *testing.T) {
	for want, at := range map[string][]float64{"[1 1]": {1, 1 + 1e-10}, "[1.234e-4 1.235e-4]": {1.234e-4, 1.235e-4}, "[12250 12251]": {12250, 12251}, "[1.23456789 1.23456789]": {1.23456789, 1.234567892}} {
		if got := fmt.Sprint(tickTexts(at)); got != want {
			t.Errorf("ticks at %v are %s, want %s", at, got, want)
		}
	}
	for got, want := range map[string]string{short(1e-3): "0.001", short(9.99e-4): "9.99e-4", exact(1e5): "100k", exact(99999): "99999", exact(1e-3): "0.00100", exact(9.99e-4): "9.99e-04"} {
		if got != want {
			t.Errorf("%s is written, want %s", got, want)
		}
	}
}

// TestThinned: of equal points the first of each stretch stays, steps ascend, and a stretch that begins with a gap shows its numbers.
func TestThinned(t *testing.T) {
	series := func(n int, y func(i int) float64) (xs, ys []float64) {
		for i := range n {
			xs, ys = append(xs, float64(i)), append(ys, y(i))
		}
		return xs, ys
	}
	flat := func(int) float64 { return 7 }
	if x, _ := thin(series(maxPoints, flat)); len(x) != maxPoints {
		t.Errorf("%d of %d points are left, which have room", len(x), maxPoints)
	}
	x, _ := thin(series(4*maxPoints, flat)) // stretches of 8
	if len(x) != maxPoints/2 || x[0] != 0 || x[1] != 8 {
		t.Errorf("%d equal points are left, %v first", len(x), x[:2])
	}
	if x, _ = thin(series(4*maxPoints, func(i int) float64 { return float64(i) })); len(x) != maxPoints || x[0] != 0 || x[1] != 7 || x[2] != 8 {
		t.Errorf("of a line that rises %d points are left, %v first", len(x), x[:3])
	}
	x, y := thin(series(4*maxPoints, func(i int) float64 {
		if i%8 == 0 {
			return math.NaN()
		}
		return -float64(i)
	}))
	if len(x) != maxPoints || !slices.IsSorted(x) || x[0] != 1 || x[1] != 7 || slices.ContainsFunc(y, math.IsNaN) {
		t.Errorf("of stretches that begin with a gap and fall %d points are left, %v first", len(x), x[:2])
	}
}

// lcs is the length of a longest common subsequence, by its definition.
func lcs(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	if a[0] == b[0] {
		return 1 + lcs(a[1:], b[1:])
	}
	return max(lcs(a[1:], b), lcs(a, b[1:]))
}

// TestCommonIsLongest: what is marked as common is a subsequence of both, and none is longer.
func TestCommonIsLongest(t *testing.T) {
	if got := common([]string{"x", "y", "z"}, []string{"y", "z", "x"}); !slices.Equal(got, []bool{true, true, false}) { // x alone is common, too
		t.Errorf("%v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 7)
		a, b := words.Draw(t, "a"), words.Draw(t, "b")
		var picked []string
		for i, in := range common(a, b) {
			if in {
				picked = append(picked, b[i])
			}
		}
		if len(picked) != lcs(a, b) {
			t.Fatalf("%q is common, a longest has %d", picked, lcs(a, b))
		}
		rest := a
		for _, word := range picked {
			at := slices.Index(rest, word)
			if at < 0 {
				t.Fatalf("%q is no subsequence of %q", picked, a)
			}
			rest = rest[at+1:]
		}
	})
}

// TestShownDifference: 120 bytes in front of the first difference and 500 in all, with marks on words only.
func TestShownDifference(t *testing.T) {
	const five = "aaaa "
	many := func(n int) string { return strings.Repeat(five, n) }
	for name, c := range map[string]struct{ kept, text, want string }{
		"whole":             {"a b", "a X b Y", "a <mark>X</mark> b <mark>Y</mark>"},
		"just in reach":     {many(24) + "x", many(24) + "y", many(24) + "<mark>y</mark>"},
		"beyond":            {many(100) + "x", many(100) + "y", "… " + many(24) + "<mark>y</mark>"},
		"ends with 500":     {"x", "y " + many(99) + "bbb", "<mark>y</mark> " + strings.ReplaceAll(many(99), "aaaa", "<mark>aaaa</mark>") + "<mark>bbb</mark>"},
		"goes on":           {"x", "y " + many(99) + "bbb c", "<mark>y</mark> " + strings.ReplaceAll(many(99), "aaaa", "<mark>aaaa</mark>") + "<mark>bbb</mark> …"},
		"white space, too":  {"a b", "a\n\nb", "a\n\nb"},
		"at the beginning":  {"a", " a", " a"},
		"only the end is":   {"a b c", "a b c d", "a b c <mark>d</mark>"},
		"of nothing":        {"", "a", "<mark>a</mark>"},
		"nothing":           {"a", "", ""},
		"markup is escaped": {"a", "<b> a", "<mark>&lt;b&gt;</mark> a"},
	} {
		if got, same := differences(c.kept, c.text); string(got) != c.want || same {
			t.Errorf("%s: %q, %v, want %q", name, got, same, c.want)
		}
	}
	for text, want := range map[string][]string{" a  b\n": {" ", "a", "  ", "b", "\n"}, "ab": {"ab"}, "": {""}, " ": {" "}, "é\u00a0ü": {"é", "\u00a0", "ü"}} {
		if got := pieces(text); !slices.Equal(got, want) {
			t.Errorf("the pieces of %q are %q, want %q", text, got, want)
		}
	}
	if full := strings.Repeat("x", shownText); clip(full) != full || clip(full+"y") != full+" …" {
		t.Error("a text of just the length that is shown is cut, or a longer one is not")
	}
}

// TestHistogramBars: a value at an edge is in the bin above it, but for the last; heights are shares of 118 for the most frequent, and at least 1.
func TestHistogramBars(t *testing.T) {
	h := newHistogram("a_b", document.Distribution{0: {Kept: 300, Rejected: 100}, 15: {Kept: 1}, 16: {Rejected: 200}, 30: {Rejected: 1}})
	if h.Title != "a b" || h.log || h.find(0) != 0 || h.find(0.99) != 0 || h.find(7) != 7 || h.find(29) != 29 || h.find(30) != 29 || len(h.bars) != histogramBins || len(h.edges) != histogramBins+1 {
		t.Errorf("%+v", h)
	}
	svg := string(h.SVG()) // bars are 10.4 apart from 4 on
	has(t, "the histogram", svg, `<svg viewBox="0 0 320 150" role="img" aria-label="a b"><g><title>0 to 1: 300 kept, 100 rejected</title><rect class="hit" x="4.0" y="0" width="10.4" height="126"/>`,
		`<rect class="kept" x="4.5" y="37.5" width="9.4" height="88.5"/><rect class="rejected" x="4.5" y="8.0" width="9.4" height="29.5"/></g>`,
		`<g><title>15 to 16: 1 kept, 0 rejected</title><rect class="hit" x="160.0" y="0" width="10.4" height="126"/><rect class="kept" x="160.5" y="125.0" width="9.4" height="1.0"/></g>`,
		`<g><title>16 to 17: 0 kept, 200 rejected</title>`, `<rect class="rejected" x="170.9" y="67.0" width="9.4" height="59.0"/></g>`,
		`<g><title>29 to 30: 0 kept, 1 rejected</title>`, `<rect class="rejected" x="306.1" y="125.0" width="9.4" height="1.0"/></g>`,
		`<line class="axis" x1="4" x2="316" y1="126" y2="126"/>`, `<text class="tick" text-anchor="start" x="4.0" y="142">0</text>`,
		`<text class="tick" text-anchor="middle" x="160.0" y="142">15</text>`, `<text class="tick" text-anchor="end" x="316.0" y="142">30</text></svg>`)
	if n := strings.Count(svg, "<g>"); n != 4 {
		t.Errorf("there are %d bars, want none of empty bins", n)
	}
	small := string(newHistogram("s", document.Distribution{0: {Kept: 1}, 0.001: {Kept: 1}}).SVG())
	has(t, "an axis of one notation", small, `>0</text>`, `>0.0005</text>`, `>0.001</text>`)
}

// TestHistogramScale: bars of equal ratios where the largest value is more than 50 times the median, or 50 times 1, and none is below 0.
func TestHistogramScale(t *testing.T) {
	for name, c := range map[string]struct {
		d   document.Distribution
		log bool
	}{
		"50 times 1":          {document.Distribution{0: {Kept: 9}, 50: {Kept: 1}}, false},
		"more":                {document.Distribution{0: {Kept: 9}, 50.5: {Kept: 1}}, true},
		"50 times the median": {document.Distribution{2: {Kept: 9}, 100: {Kept: 1}}, false},
		"more than that":      {document.Distribution{2: {Kept: 9}, 101: {Kept: 1}}, true},
		"below 0":             {document.Distribution{-1: {Kept: 9}, 1000: {Kept: 1}}, false},
	} {
		if h := newHistogram(name, c.d); h.log != c.log {
			t.Errorf("%s: equal ratios %v", name, h.log)
		}
	}
	h := newHistogram("m", document.Distribution{0: {Kept: 5}, 1: {Kept: 9}, 1e6: {Kept: 1}}) // 1 to a million in 30 steps of 10^0.2
	if math.Abs(h.edges[5]-10) > 1e-9 || math.Abs(h.edges[15]-1000) > 1e-6 || h.bars[0].Kept != 14 || h.bars[29].Kept != 1 {
		t.Errorf("the edges are %v, the bars %v", h.edges, h.bars)
	}
	has(t, "an axis of magnitudes", string(h.SVG()), `>1</text>`, `>1k</text>`, `>1M</text>`)
}

// TestSpikesAreCut: one loss of 1e9 leaves the rest its height, is marked, is no part of the mean behind it, and is told under the pointer; a fall that
// begins high is none, nor is a run that diverges.
func TestSpikesAreCut(t *testing.T) {
	r := &run{info: map[string]any{"unigram_loss": 5.0}}
	for i := range 500 {
		r.steps = append(r.steps, step{Step: i + 1, Loss: 3 + 7/(1+float64(i)/5), GradNorm: 1 + float64(i%3)})
	}
	whole := r.lossFigure()
	if _, y := whole.axes(); whole.top != 0 || len(whole.Marks) != 0 || y.hi < 10 {
		t.Errorf("without a spike the axis ends at %v with marks %v", y.hi, whole.Marks)
	}
	end := smoothed(r.steps)[499]
	r.steps[400].Loss, r.steps[400].GradNorm = 1e9, 1e6
	f := r.lossFigure()
	if _, y := f.axes(); y.hi < 10 || y.hi > 11 {
		t.Errorf("with a spike the axis ends at %v, want a little above 10", y.hi)
	}
	if len(f.Marks) != 1 || f.Marks[0] != (mark{"up to 1G", 401}) {
		t.Errorf("marks %v", f.Marks)
	}
	has(t, "the drawing", string(f.SVG()), `<text class="rulename" text-anchor="end" x="763.6" y="24">up to 1G</text>`, // where there is room for it
		"L768.6 12.0L") // the spike ends at the frame
	if data, err := f.Data(); err != nil || !strings.Contains(string(data), `"1G"`) {
		t.Errorf("the pointer is not told of the spike: %v", err)
	}
	if got := smoothed(r.steps)[499]; math.Abs(got-end) > 0.01 {
		t.Errorf("the mean ends at %v with a spike and at %v without", got, end)
	}
	if norm := r.normFigure(); norm.top != 3 || len(norm.Marks) != 1 {
		t.Errorf("the norm's axis ends at %v with marks %v", norm.top, norm.Marks)
	}
	for i := 400; i < 500; i++ {
		r.steps[i].Loss = 1e9
	}
	if f := r.lossFigure(); f.top != 0 || smoothed(r.steps)[499] < 1e8 {
		t.Errorf("a run that diverges is cut at %v", f.top)
	}
}

// TestSpikeAboveZero: an axis that ends at 0 where a spike is cut does so, too.
func TestSpikeAboveZero(t *testing.T) {
	r := &run{}
	for i := range 60 {
		r.steps = append(r.steps, step{Step: i + 1, Loss: -0.01 * float64(i%7)})
	}
	r.steps[30].Loss = 5
	if _, y := r.lossFigure().axes(); y.hi > 0.1 {
		t.Errorf("beside losses from -0.06 to 0 and a spike the axis ends at %v", y.hi)
	}
}

// TestRiseAtTheEnd: a loss that rises in the last step is that of the run, and not the one before.
func TestRiseAtTheEnd(t *testing.T) {
	r := &run{}
	for i := range 10 {
		r.steps = append(r.steps, step{Step: i + 1, Loss: 2 - 0.001*float64(i)})
	}
	r.steps[9].Loss = 2.2
	if got := smoothed(r.steps)[9]; got != 2.2 {
		t.Errorf("the mean ends at %v, want 2.2", got)
	}
}
