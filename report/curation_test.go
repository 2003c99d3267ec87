package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/data/curate"
	"hone/data/curate/document"
)

// writeCuration makes the folder of a curation whose texts try to break out of the page.
func writeCuration(t *testing.T) string {
	t.Helper()
	const evil = "</pre></script><script>alert(1)</script>"
	scores := document.Distribution{0: {Kept: 3, Rejected: 0}, 0.5: {Kept: 70, Rejected: 2}, 1: {Kept: 7, Rejected: 18}}
	r := curate.Result{
		Read: curate.Count{Documents: 12345, Bytes: 50_000_000, Tokens: 12_000_000},
		Steps: []curate.StepCount{
			{Name: "mend", Kept: curate.Count{Documents: 12345, Bytes: 50_000_000, Tokens: 12_000_000}, Changed: 77},
			{Name: "gopher_quality", Kept: curate.Count{Documents: 9000, Bytes: 40_000_000, Tokens: 9_000_000}, Rejected: map[string]curate.Count{
				"too few words": {Documents: 3000, Bytes: 9_000_000}, "hash signs": {Documents: 345, Bytes: 1_000_000}}},
		},
		Exact: curate.Count{Documents: 1000, Bytes: 4_000_000, Tokens: 900_000}, Near: curate.Count{Documents: 500, Bytes: 2_000_000, Tokens: 500_000},
		Kept:     curate.Count{Documents: 7500, Bytes: 34_000_000, Tokens: 7_600_000},
		Examples: []curate.Example{{Step: "gopher_quality", Reason: "too few words", Place: "a<b>.txt:7", Text: "few " + evil}},
		Scores:   map[string]document.Distribution{"gopher_quality.letters": scores, "document.bytes": {10: {Kept: 5}, 1e6: {Rejected: 1}, 100: {Kept: 9}}},
		Labels:   map[string]map[string]document.Tally{"language.name": {"en": {Kept: 90}, "<i>": {Rejected: 4}}},
		Clusters: []curate.Cluster{{Kind: "near", Rule: "the longest", Size: 9, Members: []curate.Member{
			{Place: "x:1", Bytes: 300, Similarity: 1, Text: "one two three four " + evil}, {Place: "x:2", Bytes: 290, Similarity: 0.87, Text: "one two drei four " + evil}}}},
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"curation.json": string(text), "recipe.yaml": "data: [" + evil + "]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWriteCuration(t *testing.T) {
	path, err := WriteCuration(writeCuration(t))
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(html)
	for _, want := range []string{"60.8%", "34 MB", "7.6M", "gopher quality", "3 345 removed", "77 changed", "too few words", "500 removed", "few &lt;/pre&gt;",
		"a&lt;b&gt;.txt:7", "one two <mark>drei</mark> four", "similarity 0.87", "and 7 more", "Kept: the longest", "&lt;i&gt;", "7 kept, 18 rejected", "median"} {
		if !strings.Contains(strings.ReplaceAll(page, "\u202f", " "), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("a text breaks out of the page, or the page needs the network")
	}
	if strings.Count(page, "<svg") != 2 {
		t.Errorf("%d histograms", strings.Count(page, "<svg"))
	}
	if strings.Contains(page, `class="scroll"`) {
		t.Error("a table is cut to a height: steps that come late would be out of sight")
	}
}

func TestWriteCurationOfNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := WriteCuration(dir); err == nil {
		t.Error("a folder without a curation has a report")
	}
	if err := os.WriteFile(filepath.Join(dir, "curation.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteCuration(dir); err != nil { // nothing was read, nothing is left
		t.Error(err)
	}
}

func TestHistogramHoldsEverything(t *testing.T) {
	for name, d := range map[string]document.Distribution{
		"one value": {5: {Kept: 3}}, "negative": {-3: {Kept: 1}, 2: {Rejected: 2}}, "zero": {0: {Kept: 4}},
		"magnitudes": {0: {Kept: 1}, 1: {Kept: 2}, 50: {Kept: 3, Rejected: 1}, 1e6: {Rejected: 5}}, "small": {1e-7: {Kept: 1}, 0.9: {Kept: 1}},
	} {
		h := newHistogram(name, d)
		want, got := document.Tally{}, document.Tally{}
		for _, c := range d {
			want.Kept, want.Rejected = want.Kept+c.Kept, want.Rejected+c.Rejected
		}
		for _, c := range h.bars {
			got.Kept, got.Rejected = got.Kept+c.Kept, got.Rejected+c.Rejected
		}
		if got != want {
			t.Errorf("%s: %+v of %+v", name, got, want)
		}
		for i := range h.bars {
			if !(h.edges[i] < h.edges[i+1]) {
				t.Errorf("%s: edges %v", name, h.edges)
			}
		}
		if strings.Contains(string(h.SVG()), "NaN") {
			t.Errorf("%s: NaN", name)
		}
	}
}

func TestDifferences(t *testing.T) {
	long := strings.Repeat("word ", 300)
	for _, test := range []struct {
		kept, text, want string
		same             bool
	}{
		{"a b c", "a b c", "a b c", true},
		{"a b c", "a X c", "a <mark>X</mark> c", false},
		{"a b c", "a c", "a c", true}, // nothing is added
		{"", "new", "<mark>new</mark>", false},
		{long + "end", long + "other", "<mark>other</mark>", false},
	} {
		got, same := differences(test.kept, test.text)
		if !strings.Contains(string(got), test.want) || same != test.same || len(got) > 2*shownText {
			t.Errorf("%.20q and %.20q: %q, %v", test.kept, test.text, got, same)
		}
	}
	for _, text := range []string{"", "a", " a  b\n\nc ", "é ü"} {
		if got := strings.Join(pieces(text), ""); got != text {
			t.Errorf("the pieces of %q are %q", text, got)
		}
	}
}
