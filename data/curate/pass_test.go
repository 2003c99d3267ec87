package curate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/spans"
)

// curated runs a configuration on texts and returns what is left of them, by record, and the result.
func curated(t testing.TB, cfg Config, texts ...string) (map[int]string, *Result) {
	t.Helper()
	cfg.Dir, cfg.Fingerprint = t.TempDir(), "f"
	if cfg.ShardBytes == 0 {
		cfg.ShardBytes = 500
	}
	cfg.Workers = max(1, cfg.Workers)
	result, err := Run(context.Background(), curatetest.Stream(curatetest.Documents(texts), curatetest.GoOn), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return parts(t, cfg.Dir), result
}

// parts are the texts of a result by their record.
func parts(t testing.TB, dir string) map[int]string {
	t.Helper()
	left := map[int]string{}
	if parts, _ := filepath.Glob(filepath.Join(dir, "part-*")); len(parts) == 0 {
		return left
	}
	for _, l := range read(t, dir) {
		left[l.Record] = l.Text
	}
	return left
}

func TestLinesAndParagraphsStayOnce(t *testing.T) {
	menu, own := "Home | Products | About Our Company", func(i int) string {
		return fmt.Sprintf("Document %c has a line of its own that is long enough.", 'a'+i)
	}
	texts := []string{menu + "\n" + own(0) + "\n", own(1) + "\n  HOME, products: about our company!  \n" + own(2), "x\n" + menu + "\nx\n"}
	lines := spans.DefaultLines()
	lines.MinLeft = 5
	left, result := curated(t, Config{Passes: []spans.Pass{lines.Lines()}}, texts...)
	want := map[int]string{1: texts[0], 2: own(1) + "\n" + own(2)}
	if fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", left, want)
	}
	c := result.Cuts[0]
	if c.Spans != 2 || c.Changed != 1 || c.Dropped.Documents != 1 || c.Kept != result.Kept || result.Kept.Documents != 2 {
		t.Errorf("counts %+v", c)
	}
	if len(result.Examples) == 0 || !strings.Contains(result.Examples[0].Text, "HOME") {
		t.Errorf("examples %+v", result.Examples)
	}
	lines.MaxCopies = 2 // the menu stands three times
	if left, _ := curated(t, Config{Passes: []spans.Pass{lines.Lines()}}, texts...); left[1] != own(0)+"\n" {
		t.Errorf("a line that stands too often stays: %v", left)
	}
	lines.MaxCopies, lines.Normalize = 0, false
	if left, _ := curated(t, Config{Passes: []spans.Pass{lines.Lines()}}, texts...); left[2] != texts[1] {
		t.Errorf("another case and other punctuation are the same without normalize: %v", left)
	}
	notice := "All rights reserved.\nNothing here may be copied by anyone."
	texts = []string{own(0) + "\n\n" + notice + "\n\n" + own(1), own(2) + "\n\n" + notice + "\n\n\n" + own(3), "Nothing here may be copied by anyone.\n" + own(4)}
	left, _ = curated(t, Config{Passes: []spans.Pass{spans.DefaultParagraphs().Paragraphs()}}, texts...)
	want = map[int]string{1: texts[0], 2: own(2) + "\n\n" + own(3), 3: texts[2]}
	if fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", left, want)
	}
}

// plainSubstring is what Substring guarantees, by looking at every window.
func plainSubstring(c spans.Substring, texts []string) map[int]string {
	type place struct{ doc, at int }
	pass, first := c.Pass(), map[string]place{}
	left := map[int]string{}
	for doc, text := range texts {
		gone := make([]bool, len(text))
		for at := 0; at+c.Length <= len(text); at++ {
			w := text[at : at+c.Length]
			f, stood := first[w]
			if !stood {
				first[w] = place{doc, at}
			} else if f.doc < doc || f.at+c.Length <= at {
				for i := range c.Length {
					gone[at+i] = true
				}
			}
		}
		kept := []byte{}
		for from := 0; from < len(text); {
			to := from
			for to < len(text) && gone[to] == gone[from] {
				to++
			}
			if cuts := pass.Cuts(text, []spans.Mark{{At: from, N: to - from}}); gone[from] && len(cuts) > 0 {
				m := cuts[0]
				kept = append(append(kept, text[from:m.At]...), text[m.At+m.N:to]...)
			} else {
				kept = append(kept, text[from:to]...)
			}
			from = to
		}
		if s := string(kept); s == text || utf8.RuneCountInString(strings.TrimSpace(s)) >= max(1, c.MinLeft) {
			left[doc+1] = s
		}
	}
	return left
}

// cases bounds how many of the drawn cases a test runs, because each writes files. Once one has failed all are run, so that rapid can make it smaller.
type cases struct {
	left   int
	failed bool
}

func (c *cases) enough() bool {
	c.left--
	return c.left < 0 && !c.failed
}

// TestSubstringIsWhatItGuarantees compares with every window on corpora made of few pieces, so that repeats overlap, meet and nest.
func TestSubstringIsWhatItGuarantees(outer *testing.T) {
	few := cases{left: 40}
	rapid.Check(outer, func(t *rapid.T) {
		if few.enough() {
			return
		}
		c := spans.Substring{Length: rapid.IntRange(16, 40).Draw(t, "length"), Whole: rapid.SampledFrom([]string{"characters", "words", "lines"}).Draw(t, "whole"), MinLeft: 3}
		pieces := rapid.SliceOfN(rapid.StringMatching(`[ab \nüx]{1,30}`), 1, 6).Draw(t, "pieces")
		var texts []string
		for range rapid.IntRange(1, 8).Draw(t, "documents") {
			text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 12).Draw(t, "text"), "")
			texts = append(texts, text+rapid.StringMatching(`[a-z]{0,9}`).Draw(t, "end"))
		}
		left, _ := curated(outer, Config{Workers: 2, ShardBytes: 600, SortEntries: 200, Passes: []spans.Pass{c.Pass()}}, texts...)
		if want := plainSubstring(c, texts); fmt.Sprint(left) != fmt.Sprint(want) {
			few.failed = true
			t.Fatalf("length %d, whole %s: of %q\n%v is left, want\n%v", c.Length, c.Whole, texts, left, want)
		}
	})
}

// TestSubstringCutsWholeLinesOfCode: a function that was copied into another file goes, its neighbours stay.
func TestSubstringCutsWholeLinesOfCode(t *testing.T) {
	function := "func clamp(x, low, high int) int {\n\tif x < low {\n\t\treturn low\n\t}\n\tif x > high {\n\t\treturn high\n\t}\n\treturn x\n}\n"
	a := "package a\n\n" + function + "\nfunc one() int { return clamp(1, 2, 3) }\n"
	b := "package b\n\nfunc two() string { return \"another file, which uses it\" }\n\n" + function + "\nvar three = clamp(3, 4, 5)\n"
	left, _ := curated(t, Config{Passes: []spans.Pass{spans.Substring{Length: 60, Whole: "lines", MinLeft: 20}.Pass()}}, a, b)
	want := strings.Replace(b, "\n"+function+"\n", "", 1)
	if left[1] != a || left[2] != want {
		t.Errorf("%q, want %q", left[2], want)
	}
}

// repetitive has documents with copies of all kinds: of themselves, lines, paragraphs and spans of words.
func repetitive(n int) []data.Document {
	r := rand.New(rand.NewPCG(3, 4))
	lines := strings.SplitAfter(curatetest.Prose(60), "\n")
	var texts []string
	for i := range n {
		text, _ := curatetest.Variants(r, 60, 0)
		for range r.IntN(4) {
			text += "\n" + lines[r.IntN(len(lines))]
		}
		if i%4 == 1 {
			words := strings.Fields(texts[r.IntN(i)])
			from := r.IntN(len(words) / 2)
			text += "\n\n" + strings.Join(words[from:], " ")
		}
		if i%9 == 2 {
			text = texts[r.IntN(i)]
		}
		texts = append(texts, text)
	}
	return curatetest.Documents(texts)
}

func passConfig(dir string, workers int) Config {
	c := config(dir, workers)
	c.Passes = []spans.Pass{spans.DefaultParagraphs().Paragraphs(), spans.DefaultLines().Lines(), spans.DefaultSubstring().Pass()}
	c.ShardBytes, c.SortEntries = 40_000, 4000 // a shard has more of the longest pass
	return c
}

// TestPassesAreTheSameForAnyWorkersAndAfterStops: in whichever scan a run is stopped.
func TestPassesAreTheSameForAnyWorkersAndAfterStops(t *testing.T) {
	docs := repetitive(300)
	want := t.TempDir()
	result, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), passConfig(want, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range result.Cuts {
		if c.Spans < 20 || c.Changed < 10 {
			t.Errorf("%s found too little to be a test: %+v", c.Name, c)
		}
	}
	for _, workers := range []int{2, 5} {
		dir := t.TempDir()
		if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), passConfig(dir, workers)); err != nil {
			t.Fatal(err)
		}
		if content(t, dir) != content(t, want) {
			t.Errorf("%d workers give another result", workers)
		}
	}
	dir, stops, seen := t.TempDir(), 0, map[string]int{}
	var broken = errors.New("stopped")
	for {
		calls := 0
		cfg := passConfig(dir, 1+stops%3)
		ctx, cancel := context.WithCancelCause(t.Context())
		cfg.Progress = func(stage string, documents int64) { // the second report of a call stops it
			if calls++; calls == 2 {
				seen[stage]++
				cancel(broken)
			}
		}
		_, err := Run(ctx, curatetest.Stream(docs, curatetest.GoOn), cfg)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if stops++; stops > 200 {
			t.Fatal("stopped runs come to no end")
		}
	}
	if content(t, dir) != content(t, want) {
		t.Error("a run that was stopped again and again gives another result")
	}
	for _, stage := range []string{"filters", "paragraphs", "lines", "substring", "parts"} {
		if seen[stage] == 0 {
			t.Errorf("no stop was in %s: %v", stage, seen)
		}
	}
}

// TestScansAreNotRepeated: a run that goes on looks at no shard again that a scan has done.
func TestScansAreNotRepeated(t *testing.T) {
	docs := repetitive(300)
	dir := t.TempDir()
	scans := map[string]int{}
	for stop := true; stop; {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := passConfig(dir, 2)
		cfg.Progress = func(stage string, documents int64) {
			if key := fmt.Sprint(stage, documents); stage != "filters" && stage != "parts" {
				scans[key]++
				cancel()
			}
		}
		_, err := Run(ctx, curatetest.Stream(docs, curatetest.GoOn), cfg)
		cancel()
		stop = err != nil
	}
	var shards int
	for key, n := range scans {
		shards++
		if most := map[bool]int{true: 2, false: 1}[strings.HasPrefix(key, "substring")]; n != most { // which has two scans
			t.Errorf("%s was scanned %d times", key, n)
		}
	}
	if shards < 9 {
		t.Errorf("only %d scans of shards: %v", shards, scans)
	}
}
