package report

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/data/curate"
	"hone/internal/atomicfile"
)

//go:embed curation.html
var curationHTML string

//go:embed curation.css
var curationCSS string

//go:embed curation.js
var curationJS string

// curation is what curation.html shows.
type curation struct {
	frame
	Funnel     []funnelRow
	Tokens     string // heading of the tokens: counted or estimated
	Reasons    []reasonRow
	Histograms []*histogram
	Labels     []labelled
	Clusters   []clusterView
	Recipe     string
}

// funnelRow is what a step left.
type funnelRow struct {
	Name, Documents, Text, Tokens, Share string
	Percent                              float64 // of the text that was read
	Lost                                 float64 // percent that this step took
	Note                                 string
}

// reasonRow is a rule of a step, with documents that it rejected.
type reasonRow struct {
	Step, Reason, Number, Text string
	Examples                   []curate.Example
}

// labelled is the words that a step judged by.
type labelled struct {
	Title string
	Rows  []labelRow
}

type labelRow struct {
	Name           string
	Kept, Rejected string
	Percent        float64 // of the most frequent
}

// bytesPerToken is about what tokenizers of English text and code reach; it is used where tokens were not counted.
const bytesPerToken = 4

// WriteCuration reads the folder of a finished curation and writes dir/report.html, which it returns the path of.
func WriteCuration(dir string) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("report on %s: %w", dir, err) }
	text, err := os.ReadFile(filepath.Join(dir, "curation.json"))
	if err != nil {
		return fail(err)
	}
	var r curate.Result
	if err := json.Unmarshal(text, &r); err != nil {
		return fail(fmt.Errorf("curation.json is damaged: %w", err))
	}
	p := curationPage(&r)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fail(err)
	}
	p.Title = filepath.Base(abs)
	if p.Recipe, err = readText(filepath.Join(dir, "recipe.yaml")); err != nil {
		return fail(err)
	}
	html, err := execute(curationHTML, p)
	if err != nil {
		return fail(err)
	}
	path := filepath.Join(dir, "report.html")
	return path, atomicfile.WriteFile(path, html)
}

// curationPage lays out what a curation counted; what it did not measure has no heading.
func curationPage(r *curate.Result) *curation {
	p := &curation{
		frame: frame{CSS: template.CSS(pageCSS + curationCSS), JS: template.JS(curationJS), Tiles: curationTiles(r),
			Subtitle: fmt.Sprintf("%s documents read · %s kept", grouped(float64(r.Read.Documents)), grouped(float64(r.Kept.Documents)))},
		Tokens: "tokens", Funnel: funnelRows(r), Reasons: reasonRows(r), Labels: labels(r),
	}
	if r.Read.Tokens == 0 {
		p.Tokens = fmt.Sprintf("tokens, at %d bytes each", bytesPerToken)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Scores)) {
		if len(r.Scores[name]) == 0 {
			continue // of no document was it measured
		}
		p.Histograms = append(p.Histograms, newHistogram(name, r.Scores[name]))
	}
	for _, c := range r.Clusters {
		p.Clusters = append(p.Clusters, viewCluster(c))
	}
	return p
}

func curationTiles(r *curate.Result) []tile {
	copies := r.Exact.Documents + r.Near.Documents
	return []tile{
		{"documents kept", grouped(float64(r.Kept.Documents)), percent(r.Kept.Documents, r.Read.Documents) + " of those read"},
		{"text kept", bytesText(r.Kept.Bytes), percent(r.Kept.Bytes, r.Read.Bytes) + " of " + bytesText(r.Read.Bytes)},
		{"tokens kept", tokensText(r.Kept), "of " + tokensText(r.Read)},
		{"copies removed", grouped(float64(copies)), fmt.Sprintf("%s exact, %s near", grouped(float64(r.Exact.Documents)), grouped(float64(r.Near.Documents)))},
	}
}

// funnelRows are what was read and what each step left of it.
func funnelRows(r *curate.Result) []funnelRow {
	before := r.Read
	row := func(name string, left curate.Count, note string) funnelRow {
		out := funnelRow{Name: name, Documents: grouped(float64(left.Documents)), Text: bytesText(left.Bytes), Tokens: tokensText(left),
			Share: percent(left.Bytes, r.Read.Bytes), Percent: 100 * ratio(left.Bytes, r.Read.Bytes), Note: note}
		out.Lost = max(0, 100*ratio(before.Bytes-left.Bytes, r.Read.Bytes))
		before = left
		return out
	}
	// row remembers what was left before, so rows must be made in the order of the steps.
	rows := []funnelRow{row("read", r.Read, "")}
	for _, s := range r.Steps {
		note := removedNote(before.Documents - s.Kept.Documents)
		if s.Changed > 0 {
			note += fmt.Sprintf("; %s changed", grouped(float64(s.Changed)))
		}
		rows = append(rows, row(plain(s.Name), s.Kept, note))
	}
	for _, s := range r.Stages() {
		rows = append(rows, row(s.Name, s.Left, cmp.Or(s.Note, "none removed")))
	}
	return rows
}

func removedNote(documents int64) string {
	if documents == 0 {
		return "none removed"
	}
	return grouped(float64(documents)) + " removed"
}

// reasonRows are the rules that rejected, in the order of the steps, the most frequent of a step first.
func reasonRows(r *curate.Result) []reasonRow {
	examples := map[[2]string][]curate.Example{}
	for _, e := range r.Examples {
		key := [2]string{e.Step, e.Reason}
		examples[key] = append(examples[key], e)
	}
	var rows []reasonRow
	for _, s := range r.Steps {
		reasons := slices.SortedFunc(maps.Keys(s.Rejected), func(a, b string) int {
			return cmp.Or(cmp.Compare(s.Rejected[b].Documents, s.Rejected[a].Documents), cmp.Compare(a, b))
		})
		for _, reason := range reasons {
			c := s.Rejected[reason]
			rows = append(rows, reasonRow{plain(s.Name), reason, grouped(float64(c.Documents)) + " documents", bytesText(c.Bytes), examples[[2]string{s.Name, reason}]})
		}
	}
	for _, c := range r.Cuts {
		const cut = "repeated" // the reason of its examples
		if c.Spans > 0 {
			rows = append(rows, reasonRow{plain(c.Name), "cut out, as it stood before", grouped(float64(c.Spans)) + " places", bytesText(c.Bytes), examples[[2]string{c.Name, cut}]})
		}
	}
	return rows
}

// labels lists the words of each name, the most frequent first.
func labels(r *curate.Result) []labelled {
	const shown = 20
	var out []labelled
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		all := r.Labels[name]
		count := func(w string) int64 { return all[w].Kept + all[w].Rejected }
		words := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(count(b), count(a)), cmp.Compare(a, b)) })
		l := labelled{Title: plain(name)}
		for _, w := range words[:min(len(words), shown)] {
			l.Rows = append(l.Rows, labelRow{w, grouped(float64(all[w].Kept)), grouped(float64(all[w].Rejected)), 100 * ratio(count(w), count(words[0]))})
		}
		out = append(out, l)
	}
	return out
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func percent(a, b int64) string { return fmt.Sprintf("%.1f%%", 100*ratio(a, b)) }

// bytesText writes a size in decimal units: 1.2 MB.
func bytesText(n int64) string {
	text := compact(float64(n))
	if unit := strings.TrimLeft(text, "0123456789."); unit != "" {
		return strings.TrimSuffix(text, unit) + " " + unit + "B"
	}
	return text + " B"
}

// tokensText is the number of tokens, or an estimate marked as one.
func tokensText(c curate.Count) string {
	if c.Tokens > 0 || c.Bytes == 0 {
		return compact(float64(c.Tokens))
	}
	return "≈ " + compact(float64(c.Bytes)/bytesPerToken)
}
