package curation

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/document"
	"hone/eval"
	"hone/recipe"
	"hone/tokenizer"
)

// TestJudgedByBits: bounds and parts, at their borders; bits are rounded to four places, so that no batch turns a document over a bound.
func TestJudgedByBits(t *testing.T) {
	of := func(bits float64) eval.Document {
		return eval.Document{Nats: bits * 100 * math.Ln2, Tokens: 25, Bytes: 100}
	}
	for _, c := range []struct {
		c    Perplexity
		bits float64
		want string
	}{
		{Perplexity{}, 99, ""},
		{Perplexity{MinBitsPerByte: 0.5, MaxBitsPerByte: 2}, 0.4999, "too predictable"},
		{Perplexity{MinBitsPerByte: 0.5, MaxBitsPerByte: 2}, 0.5, ""},
		{Perplexity{MinBitsPerByte: 0.5, MaxBitsPerByte: 2}, 0.49996, ""}, // 0.5 as it is written
		{Perplexity{MinBitsPerByte: 0.5, MaxBitsPerByte: 2}, 2.00004, ""},
		{Perplexity{MinBitsPerByte: 0.5, MaxBitsPerByte: 2}, 2.0001, "too surprising"},
		{Perplexity{Keep: []string{"head"}}, 1, ""},
		{Perplexity{Keep: []string{"head"}}, 1.5, "middle"},
		{Perplexity{Keep: []string{"head", "middle"}}, 1.5, ""},
		{Perplexity{Keep: []string{"head", "middle"}}, 3, "tail"},
		{Perplexity{Keep: []string{"head"}, MinBitsPerByte: 0.5}, 0.1, "too predictable"},
	} {
		g := &gauge{Perplexity: c.c, limits: thresholds{Head: 1, Tail: 2}}
		if got := g.judge(&document.Doc{}, of(c.bits)); got != c.want {
			t.Errorf("%v bits with %+v: %q, want %q", c.bits, c.c, got, c.want)
		}
	}
	if got := (&gauge{}).judge(&document.Doc{}, eval.Document{}); got != "nothing to measure" {
		t.Errorf("a document of nothing: %q", got)
	}
}

// TestFirstTokensOfLongTexts: what is measured of a document begins with as many tokens as are asked for, the same as those of the whole, however long they are.
func TestFirstTokensOfLongTexts(t *testing.T) {
	rule, prose := strings.Repeat(strings.Repeat("-", 64)+"\n", 200), strings.Repeat("one and two are thrée\n", 500)
	docs := func(yield func([]byte, error) bool) { yield([]byte(rule+prose), nil) }
	tok, err := tokenizer.Train(t.Context(), docs, tokenizer.TrainConfig{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{rule, prose, strings.Repeat("é", 3000), "short", ""} {
		for _, n := range []int{0, 2, 40, 1 << 60, math.MaxInt} {
			g := &gauge{Perplexity: Perplexity{Tokens: n}, model: eval.Model{Tokenizer: tok}}
			part := g.beginning(text)
			first := func(text string) []int32 {
				ids := tok.Encode(nil, []byte(text))
				return ids[:min(len(ids), n)]
			}
			if !strings.HasPrefix(text, part) || !slices.Equal(first(part), first(text)) || n == 0 && part != text {
				t.Errorf("of %.20q the first %d tokens are looked for in %d bytes: %d, and not %d", text, n, len(part), len(first(part)), len(first(text)))
			}
			if n == 2 && len(part) > 2048 {
				t.Errorf("of %.20q %d bytes are made tokens for two", text, len(part))
			}
		}
	}
}

// TestDrawnSample: as many documents as asked for, the same ones whatever the order of the files, and not those at one end of the data.
func TestDrawnSample(t *testing.T) {
	dir := t.TempDir()
	const files, each = 20, 25
	for i := range files {
		var b strings.Builder
		for k := range each {
			fmt.Fprintf(&b, "{\"text\": \"document %d of file %d\"}\n", k, i)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.jsonl", i)), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	env := recipe.Env{}.WithDefaults()
	draw := func(n int, paths ...string) []string {
		list, err := drawn(t.Context(), env, data.Sources{Paths: paths, Field: "text"}, n)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	some := draw(60, dir)
	if len(some) != 60 || len(slices.Compact(slices.Sorted(slices.Values(some)))) != 60 {
		t.Errorf("%d documents are drawn", len(some))
	}
	first := 0
	for _, text := range some {
		if strings.HasSuffix(text, "file 0") || strings.HasSuffix(text, "file 1") || strings.HasSuffix(text, "file 2") || strings.HasSuffix(text, "file 3") {
			first++
		}
	}
	if first < 3 || first > 25 { // a fifth of the data: 12 of 60 on average
		t.Errorf("%d of the documents are of the first four files", first)
	}
	if more := draw(120, dir); !slices.Equal(more[:60], some) {
		t.Error("a larger sample does not begin with the smaller one")
	}
	if all := draw(10_000, dir); len(all) != files*each {
		t.Errorf("of %d documents %d are drawn", files*each, len(all))
	}
	if _, err := drawn(t.Context(), env, data.Sources{Paths: []string{filepath.Join(dir, "none")}}, 3); err == nil {
		t.Error("of a file that is not there a sample is drawn")
	}
}

// TestWhatIsGoneOnWith: places, policies and threads do not begin a curation anew; what decides a document does.
func TestWhatIsGoneOnWith(t *testing.T) {
	base := DefaultCurate()
	base.Data, base.Out = []string{"d"}, "o"
	for _, c := range []struct {
		name string
		set  func(*Curate)
		same bool
	}{
		{"out", func(c *Curate) { c.Out = "p" }, true}, {"threads", func(c *Curate) { c.Threads = 3 }, true}, {"on_bad_record", func(c *Curate) { c.OnBadRecord = "skip" }, true},
		{"on_bad_file", func(c *Curate) { c.OnBadFile = "skip" }, true}, {"on_same_id", func(c *Curate) { c.OnSameID = "skip" }, true}, {"filters", func(c *Curate) { c.Filters = []string{"mend"} }, false},
		{"shard_mib", func(c *Curate) { c.ShardMiB = 1 }, false}, {"near.threshold", func(c *Curate) { c.Near.Threshold = 0.5 }, false}, {"text_field", func(c *Curate) { c.TextField = "t" }, false},
	} {
		other := base
		c.set(&other)
		if got := other.fingerprint("files") == base.fingerprint("files"); got != c.same {
			t.Errorf("with another %s a curation goes on: %v", c.name, got)
		}
	}
	if base.fingerprint("files") == base.fingerprint("other files") {
		t.Error("with other files a curation goes on")
	}
	base.Dedup = []string{"substring", "lines", "exact", "paragraphs"}
	var names []string
	for _, p := range base.passes() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"paragraphs", "lines", "substring"}) { // the largest first, however they are written
		t.Errorf("copies are cut out by %q", names)
	}
}

// TestTokensAreCounted by the tokenizer that is named, and not without one.
func TestTokensAreCounted(t *testing.T) {
	if counter, err := TokenCounter(""); counter != nil || err != nil {
		t.Errorf("without a tokenizer: %v", err)
	}
	if _, err := TokenCounter(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a tokenizer that is not there counts")
	}
	bad := errors.New("bad")
	r := &stepRun{frees: []func(){func() { bad = nil }}}
	if r.free(); bad != nil {
		t.Error("what a filter holds is not given back")
	}
}
