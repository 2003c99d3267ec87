package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// writeRun makes a run folder of steps updates whose texts try to break out of the page.
func writeRun(t *testing.T, steps int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo<run>")
	var b strings.Builder
	fmt.Fprintf(&b, `{"event":"info","step":0,"values":{"parameters":3412992,"unigram_loss":6.31,"bigram_loss":4.52,"data":["a<b>.go"],"corpus_bytes":104857600}}`+"\n")
	for i := 1; i <= steps; i++ {
		x := float64(i) / float64(steps)
		loss := 2.9 + 5.4*math.Exp(-7*x) + 0.15*math.Sin(float64(i*i))
		fmt.Fprintf(&b, `{"event":"step","step":%d,"loss":%.4f,"lr":%.6g,"grad_norm":%.4f,"step_tokens":4096,"tokens":%d,"tokens_per_s":%.1f,"step_seconds":0.2,"seconds":%.2f}`+"\n",
			i, loss, 0.001*min(1, x*20)*(1-0.9*x), 0.4+2*math.Exp(-9*x)+0.1*math.Sin(float64(i)), i*4096, 20000+800*math.Sin(float64(i)/9), float64(i)*0.2)
		if i%max(1, steps/10) == 0 {
			fmt.Fprintf(&b, `{"event":"eval","step":%d,"metrics":{"loss":%.4f,"perplexity":%.3f,"bits_per_byte":%.4f},"best":true,"took":1,"seconds":2}`+"\n", i, loss+0.1, math.Exp(loss+0.1), loss/2.4)
			sample, _ := json.Marshal(map[string]any{"event": "sample", "step": i, "prompt": "func (b *Buffer) ", "text": "Write(p []byte) (n int, err error) {\n\tif len(p) < 1 && x > 0 {\n\t\treturn 0, nil // </pre></script><script>alert(1)</script>\n\t}\n}\n"})
			b.Write(append(sample, '\n'))
		}
	}
	b.WriteString(`{"event":"skip","step":3,"reason":"gradients of <w> are not finite"}` + "\n" + `{"event":"unknown","step":3}` + "\n" + `{"event":"step","st`)
	files := map[string]string{"metrics.jsonl": b.String(), "recipe.yaml": "data: [\"<script>alert(2)</script>\"]\nsteps: 100\n", "model/config.json": `{"model_type": "llama"}`}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustWrite(t *testing.T, dir string) string {
	t.Helper()
	path, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(html)
}

func TestPageEscapesAllText(t *testing.T) {
	html := mustWrite(t, writeRun(t, 40))
	if strings.Contains(html, "alert(1)</script>") || strings.Contains(html, "<script>alert") || strings.Contains(html, "demo<run>") || strings.Contains(html, "<w>") {
		t.Error("text of the run stands in the page as markup")
	}
	for _, want := range []string{"demo&lt;run&gt;", "&lt;script&gt;alert(2)", "return 0, nil // &lt;/pre&gt;", "skipped: gradients of &lt;w&gt;", "a&lt;b&gt;.go", "model_type"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(html, "<script"); n != 5 { // one for each of four charts, and page.js
		t.Errorf("the page has %d script elements, want 5", n)
	}
	if strings.Contains(html, "ZgotmplZ") {
		t.Error("html/template refused a value")
	}
}

func TestPageNeedsNoOtherFile(t *testing.T) {
	html := mustWrite(t, writeRun(t, 40))
	if found := regexp.MustCompile(`(?i)(src|href)\s*=|url\(|@import|https?://`).FindString(html); found != "" {
		t.Errorf("the page refers to something outside: %q", found)
	}
}

// TestPageOnPaper: legends keep their colours, charts stay with their titles, and tables are not cut where they would be scrolled. The rules
// stand last, or those for the screen would win.
func TestPageOnPaper(t *testing.T) {
	for name, css := range map[string]string{"page.css": pageCSS, "curation.css": curationCSS} {
		at := strings.LastIndex(css, "@media")
		if at < 0 || !strings.HasPrefix(css[at:], "@media print") || !strings.Contains(css[at:], "print-color-adjust: exact") || !strings.Contains(css[at:], "max-height: none") {
			t.Errorf("%s does not end with the rules of paper", name)
		}
	}
	if !strings.Contains(pageCSS[strings.LastIndex(pageCSS, "@media"):], "figure, .tile, tr { break-inside: avoid; }") {
		t.Error("charts are broken between pages")
	}
}

// TestDrawingsAreWellFormed parses every svg as XML and compares places with hand values.
func TestDrawingsAreWellFormed(t *testing.T) {
	html := mustWrite(t, writeRun(t, 3000))
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(html, -1)
	if len(drawings) != 4 {
		t.Fatalf("the page has %d drawings, want 4", len(drawings))
	}
	for _, svg := range drawings {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("a drawing is not XML: %v", err)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Error("a drawing has a coordinate that is no number")
		}
		if n := strings.Count(svg, "L"); n > 3*maxPoints {
			t.Errorf("a drawing has %d points", n)
		}
	}
	for _, want := range []string{"unigram 6.31", "bigram 4.52", `class="curve val"`, `class="curve raw"`} {
		if !strings.Contains(drawings[0], want) {
			t.Errorf("the loss chart lacks %q", want)
		}
	}
}

func TestChartPlacesPoints(t *testing.T) {
	f := &figure{Title: "x", w: 166, h: 142, zero: true, Curves: []curve{{Name: "c", Class: "train", X: []float64{1, 2, 3}, Y: []float64{0, math.NaN(), 20}}}}
	svg := string(f.SVG())
	// The plot is 100 wide from 52 and 100 high up to 12; the axis ends 5 % above 20.
	if want := `d="M52.0 112.0M152.0 16.8"`; !strings.Contains(svg, want) {
		t.Errorf("the drawing %s lacks %s", svg, want)
	}
	data, err := f.Data()
	if err != nil {
		t.Fatal(err)
	}
	if want := `"x":[1,2,3],"y":["0","NaN","20"]`; !strings.Contains(string(data), want) {
		t.Errorf("the data %s lacks %s", data, want)
	}
}

func TestThinKeepsSpikes(t *testing.T) {
	xs, ys := make([]float64, 10000), make([]float64, 10000)
	for i := range xs {
		xs[i] = float64(i)
	}
	ys[4321], ys[777] = 9, -9
	x, y := thin(xs, ys)
	if len(x) > maxPoints || len(x) != len(y) {
		t.Fatalf("%d points are left", len(x))
	}
	seen := map[float64]float64{}
	for i := range x {
		seen[x[i]] = y[i]
		if i > 0 && x[i] <= x[i-1] {
			t.Fatalf("steps do not ascend at %v", x[i])
		}
	}
	if seen[4321] != 9 || seen[777] != -9 {
		t.Error("a spike is gone")
	}
}

func TestTicksAreRound(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		n      int
		whole  bool
		want   string
	}{
		{0, 10, 5, false, "[0 2 4 6 8 10]"}, {2.9, 8.2, 8, false, "[3 4 5 6 7 8]"}, {0, 0.001, 4, false, "[0 0.00025 0.0005 0.00075 0.001]"}, {-1, 1, 4, false, "[-1 -0.5 0 0.5 1]"},
		{0, 5, 12, false, "[0 0.5 1 1.5 2 2.5 3 3.5 4 4.5 5]"}, {0, 5, 12, true, "[0 1 2 3 4 5]"}, {0.5, 1.5, 4, true, "[1]"}, {1, 99, 4, true, "[20 40 60 80]"}, {1, 120, 4, true, "[25 50 75 100]"},
	} {
		if got := fmt.Sprint(ticks(c.lo, c.hi, c.n, c.whole)); got != c.want {
			t.Errorf("ticks(%v, %v, %d, %v) = %s, want %s", c.lo, c.hi, c.n, c.whole, got, c.want)
		}
	}
}

// TestTickTexts: numbers at ticks stand for their places, no two are the same, and all of an axis are in one notation.
func TestTickTexts(t *testing.T) {
	for want, at := range map[string][]float64{
		"[1 1.025 1.05 1.075 1.1]": {1, 1.025, 1.05, 1.075, 1.1}, "[100.2 100.4 100.6]": {100.2, 100.4, 100.6}, "[12.25k 12.5k]": {12250, 12500},
		"[3 3.5]": {3, 3.5}, "[1000 1500]": {1000, 1500}, "[0 1e-4]": {0, 1e-4}, "[7]": {7}, "[]": nil, "[-0.05 0]": {-0.05, 0}, "[0.1 0.3]": {0.1, 3 * 0.1},
		// one notation: of the largest number
		"[0 0.00025 0.0005 0.00075 0.001]": {0, 2.5e-4, 5e-4, 7.5e-4, 1e-3}, "[0 2.5e-4 5e-4 7.5e-4]": {0, 2.5e-4, 5e-4, 7.5e-4},
		"[0.5e-5 1e-5 1.5e-5]": {5e-6, 1e-5, 1.5e-5}, "[-4e-5 0 4e-5]": {-4e-5, 0, 4e-5}, "[-20k 0]": {-2e4, 0}, "[0 0]": {0, math.Copysign(0, -1)},
		"[500 1000 1500]": {500, 1000, 1500}, "[2500 5000 7500]": {2500, 5000, 7500}, "[2.5k 5k 7.5k 10k]": {2500, 5000, 7500, 10000},
		"[0.5M 1M]": {5e5, 1e6}, "[100.2k 100.4k]": {100200, 100400}, "[1000001 1000002]": {1000001, 1000002}, "[1T 2T]": {1e12, 2e12},
	} {
		if got := fmt.Sprint(tickTexts(at)); got != want {
			t.Errorf("ticks at %v are %s, want %s", at, got, want)
		}
	}
}

// TestAxesHaveOneNotation: whatever the range, all numbers but 0 end in the same unit or power of ten, read as their places, and differ.
func TestAxesHaveOneNotation(t *testing.T) {
	number := regexp.MustCompile(`^-?[0-9.]+(e-\d+|[kMGT]?)$`)
	units := strings.NewReplacer("T", "e12", "G", "e9", "M", "e6", "k", "e3")
	rapid.Check(t, func(t *rapid.T) {
		size := math.Pow(10, rapid.Float64Range(-9, 12).Draw(t, "magnitude"))
		lo := size * rapid.Float64Range(-1, 1).Draw(t, "lowest")
		at := ticks(lo, lo+size*rapid.Float64Range(0.05, 2).Draw(t, "range"), rapid.IntRange(2, 8).Draw(t, "most"), false)
		seen, unit := map[string]bool{}, ""
		for i, text := range tickTexts(at) {
			parts := number.FindStringSubmatch(text)
			if parts == nil || seen[text] {
				t.Fatalf("the ticks of %v are %q", at, tickTexts(at))
			}
			seen[text] = true
			v, err := strconv.ParseFloat(units.Replace(text), 64)
			if err != nil || math.Abs(v-at[i]) > 2e-3*(at[1]-at[0]) {
				t.Fatalf("%v is written %s (%v)", at[i], text, err)
			}
			if text == "0" {
				continue
			}
			if unit == "" {
				unit = "unit " + parts[1]
			}
			if unit != "unit "+parts[1] {
				t.Fatalf("the ticks of %v are %q", at, tickTexts(at))
			}
		}
	})
}

// TestSmallChartsHaveTicks: three to five of steps from 1 on, whatever their number; two of some small ones, that fractions would divide.
func TestSmallChartsHaveTicks(t *testing.T) {
	for last := 3; last < 5000; last++ {
		least := 3
		if last < 15 {
			least = 2
		}
		if got := ticks(1, float64(last), 4, true); len(got) < least || len(got) > 5 {
			t.Fatalf("steps 1 to %d have the ticks %v", last, got)
		}
	}
}

// TestConstantsHaveAnAxis: a curve that stays at a value is drawn among numbers of its size, and one at 0 below 1.
func TestConstantsHaveAnAxis(t *testing.T) {
	for v, want := range map[float64]axis{0: {lo: 0, hi: 1}, 4: {lo: 2, hi: 6}, -4: {lo: -6, hi: -2}} {
		if got := (axis{lo: v, hi: v}).widen(); got != want {
			t.Errorf("a curve at %v has the axis %v, want %v", v, got, want)
		}
	}
}

// TestAResumedEndIsOneEvaluation: resuming a run that is done evaluates its last step once more.
func TestAResumedEndIsOneEvaluation(t *testing.T) {
	r := &run{}
	for _, text := range []string{
		`{"event":"message","step":3,"text":"resumed"}`, `{"event":"eval","step":3,"metrics":{"loss":2,"train_loss":1}}`,
		`{"event":"message","step":3,"text":"resumed"}`, `{"event":"eval","step":3,"metrics":{"loss":2.5}}`, `{"event":"eval","step":3}`,
	} {
		if err := r.add([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(r.evals, r.notes), "[{3 map[loss:2.5 train_loss:1] false}] [{3 resumed}]"; got != want {
		t.Errorf("the run holds %s, want %s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{compact(1234567), "1.23M"}, {compact(950), "950"}, {compact(0.5), "0.5"}, {short(0.0003), "3e-4"}, {exact(3.14159), "3.142"}, {exact(math.Copysign(0, -1)), "0"}, {short(math.Copysign(0, -1)), "0"}, {exact(11.6), "11.60"}, {exact(12), "12"}, {exact(0.25), "0.250"}, {exact(1234.5), "1234"},
		{exact(math.NaN()), "NaN"}, {grouped(1234567), "1\u202f234\u202f567"}, {grouped(999), "999"}, {duration(3.14), "3.1s"}, {duration(125.2), "2m5s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestSmoothedStartsAtTheFirstLoss(t *testing.T) {
	steps := make([]step, 200)
	for i := range steps {
		steps[i].Loss = 4
	}
	steps[50].Loss = math.NaN()
	for i, v := range smoothed(steps) {
		if math.Abs(v-4) > 1e-12 {
			t.Fatalf("a constant loss of 4 is smoothed to %v at %d", v, i)
		}
	}
}

func TestUnfinishedRuns(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), "metrics.jsonl") {
		t.Errorf("a folder without a run gave %v", err)
	}
	path := filepath.Join(dir, "metrics.jsonl")
	for _, text := range []string{"", `{"event":"step","step":1,"loss":5,"tokens_per_s":7}` + "\n", `{"event":"eval","step":0,"metrics":{"accuracy":0.5}}` + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if html := mustWrite(t, dir); !strings.Contains(html, "</html>") || strings.Contains(html, "NaN") {
			t.Errorf("metrics %q gave a broken page", text)
		}
	}
	if err := os.WriteFile(path, []byte("{}\nnot json\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), "metrics.jsonl:2") {
		t.Errorf("a damaged line gave %v, want an error that names it", err)
	}
}
