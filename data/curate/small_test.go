package curate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data"
)

// TestEveryCountOfARun: all that a run counts and shows, by hand, of 300 documents in three batches: a hundred that are too short, a hundred that a step
// changes, and a copy.
func TestEveryCountOfARun(t *testing.T) {
	text := func(i int) string {
		switch {
		case i == 297:
			i = 0 // the copy
		case i%3 == 1:
			return "short"
		case i%3 == 2:
			return fmt.Sprintf("padded %03d  ", i) // two bytes go
		}
		return fmt.Sprintf("number %03d of the corpus", i)
	}
	var docs []data.Document
	bytes := int64(0)
	for i := range 300 {
		docs = append(docs, data.Document{Text: []byte(text(i)), Source: "c.jsonl", Record: i + 1})
		bytes += int64(len(text(i)))
	}
	trim := Step{Name: "trim", Apply: func(d *Doc) string {
		if s := strings.TrimSpace(d.Text); s != d.Text {
			d.SetText(s)
		}
		d.Label("trim.first", d.Text[:1])
		return ""
	}}
	place := func(i int) string { return fmt.Sprintf("c.jsonl:%d", i+1) }
	short := func(i int) Example { return Example{"length", "too short", place(i), "short"} }
	want := &Result{
		Read: Count{Documents: 300, Bytes: bytes},
		Steps: []StepCount{
			{Name: "length", Kept: Count{Documents: 200, Bytes: bytes - 500}, Rejected: map[string]Count{"too short": {Documents: 100, Bytes: 500}}},
			{Name: "trim", Kept: Count{Documents: 200, Bytes: bytes - 500 - 200}, Changed: 100, Rejected: map[string]Count{}},
		},
		Exact: Count{Documents: 1, Bytes: 24}, Kept: Count{Documents: 199, Bytes: bytes - 700 - 24}, Searched: []string{"exact"},
		Examples: []Example{short(1), short(4), short(7)},
		Scores:   map[string]Distribution{"length.characters": {5: {Rejected: 100}, 12: {Kept: 100}, 24: {Kept: 100}}, documentBytes: {5: {Rejected: 100}, 12: {Kept: 100}, 24: {Kept: 100}}},
		Labels:   map[string]map[string]Tally{"trim.first": {"n": {Kept: 100}, "p": {Kept: 100}}},
		Clusters: []Cluster{{Kind: "exact", Rule: "the first of equal texts", Size: 2, Members: []Member{
			{Place: place(0), Bytes: 24, Similarity: 1, Text: text(0)}, {Place: place(297), Bytes: 24, Similarity: 1, Text: text(0)}}}},
	}
	for _, workers := range []int{1, 3} {
		dir := t.TempDir()
		got, err := Run(t.Context(), stream(docs, goOn), Config{Dir: dir, Exact: true, Workers: workers, ShardBytes: 1500, SortEntries: 50, Steps: []Step{Length{MinChars: 10}.Step(), trim}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with %d workers: %s", workers, diff)
		}
		gone, err := os.ReadFile(filepath.Join(dir, duplicatesName))
		if err != nil || string(gone) != `{"removed":"c.jsonl:298","kept":"c.jsonl:1","kind":"exact"}`+"\n" {
			t.Errorf("with %d workers the copies are %q, %v", workers, gone, err)
		}
		left := parts(t, dir)
		for i := range docs {
			if kept := strings.TrimSpace(text(i)); i%3 != 1 && i != 297 && left[i+1] != kept || (i%3 == 1 || i == 297) && left[i+1] != "" {
				t.Errorf("with %d workers of document %d %q is left", workers, i+1, left[i+1])
			}
		}
	}
}

// TestScoresOfRepetition: shares of the text's bytes in what stood before, not the other way round.
func TestScoresOfRepetition(t *testing.T) {
	d := &Doc{Text: "ab cd\n\nab cd\n\nx\nab cd\n"} // 22 bytes; one paragraph of 5 again, two lines of 5
	(GopherRepetition{}).Step().Apply(d)
	want := map[string]any{"gopher_repetition.dup_paragraph_chars": 0.2273, "gopher_repetition.dup_line_chars": 0.4545}
	if diff := cmp.Diff(want, d.scores()); diff != "" {
		t.Error(diff)
	}
	n := &Doc{Text: "añb"}
	Length{}.Step().Apply(n)
	if diff := cmp.Diff(map[string]any{"length.characters": 3.0}, n.scores()); diff != "" {
		t.Error(diff)
	}
}

// TestQuickLooksAreNarrow: what is looked for before the slow expressions is not in every text with points and signs.
func TestQuickLooksAreNarrow(t *testing.T) {
	for text, want := range map[string]bool{
		"1.2.3.4": true, "x1.22.333.4": true, "1.2.34567.8": false, "1.2.3": false, "1.2.3.": false, "1.2..3.4": false, "1.2 3.4.5": false, "1.2.a.3.4": false, "1234.5.6.7": true, "": false, ".1.2.3.4": true,
	} {
		if got := hasDottedNumbers(text); got != want {
			t.Errorf("%q is looked at: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"+1": true, "+": false, "a+b": false, "a++1": true, "1+": false, "+ 1": false, "": false} {
		if got := hasPlusDigit(text); got != want {
			t.Errorf("%q is looked at: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"a\tb\n": true, "a\rb": false, "a\x7f": false, "a\x1f": false, "é": false, "": true, "~ ": true} {
		if got := plainASCII(text); got != want {
			t.Errorf("%q has nothing to mend: %v, want %v", text, got, want)
		}
	}
}

// TestValuesThatJustMean: zeros are bounds that do not hold, and no errors.
func TestValuesThatJustMean(t *testing.T) {
	if err := (ScriptMix{}).Validate(); err != nil {
		t.Error(err)
	}
	if _, err := (Refusals{}).Step(); err != nil {
		t.Error(err)
	}
	if _, err := (Refusals{Within: -1}).Step(); err == nil || !strings.Contains(err.Error(), "refusals.within is -1") {
		t.Error(err)
	}
	if got := (ScriptMix{Keep: []string{"Latin"}}).Step().Apply(&Doc{Text: record(map[string]any{"prompt": "1", "completion": "2"})}); got != "" {
		t.Errorf("a record without letters is %q", got)
	}
}

// TestDamagedRuns: sorted entries that end within one, or are gone, are an error and no end.
func TestDamagedRuns(t *testing.T) {
	s := &sorter{dir: t.TempDir(), name: "s", limit: 2}
	for i := range 6 {
		if err := s.add(entry{key: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (n int, last error) {
		for _, err := range members(s.sorted()) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := read(); n != 6 || err != nil {
		t.Fatalf("%d entries, %v", n, err)
	}
	if err := os.Truncate(s.runs[1], 2*entryBytes-1); err != nil {
		t.Fatal(err)
	}
	if n, err := read(); n > 4 || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "sort: ") {
		t.Errorf("of a run that is cut %d entries come, %v", n, err)
	}
	if err := os.Truncate(s.runs[1], entryBytes-1); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a run that is cut in its first entry: %v", err)
	}
	if err := os.Truncate(s.runs[1], 0); err != nil {
		t.Fatal(err)
	}
	if n, err := read(); n != 4 || err != nil {
		t.Errorf("beside an empty run %d entries come, %v", n, err)
	}
	if err := os.Remove(s.runs[2]); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a run that is gone: %v", err)
	}
	if s.remove(); len(s.runs) != 0 || len(s.buffer) != 0 {
		t.Errorf("after all %v and %v are held", s.runs, s.buffer)
	}
}

// TestLastReadReadsOnce while the document stays, the first one, number 0, among them; what failed is read again.
func TestLastReadReadsOnce(t *testing.T) {
	var l lastRead[string]
	reads, broken := 0, errors.New("broken")
	of := func(doc uint64, fails error) (string, error) {
		return l.of(doc, func(doc uint64) (string, error) { reads++; return fmt.Sprint("text ", doc), fails })
	}
	for i, c := range []struct {
		doc   uint64
		fails error
		reads int
	}{{0, broken, 1}, {0, nil, 2}, {0, nil, 2}, {7, broken, 3}, {0, nil, 3}, {7, nil, 4}, {7, broken, 4}, {8, nil, 5}} {
		got, err := of(c.doc, c.fails)
		if reads != c.reads || err == nil && got != fmt.Sprint("text ", c.doc) {
			t.Errorf("call %d for %d: %q, %v, after %d reads", i, c.doc, got, err, reads)
		}
	}
}

// TestScoresByHand: what the rules of Gopher and for code note of a document, each number from its definition.
func TestScoresByHand(t *testing.T) {
	d := &Doc{Text: "the cat # of a1 ...\n- x…"} // 8 words of 17 characters in 2 lines
	(GopherQuality{}).Step().Apply(d)
	want := map[string]any{"gopher_quality.words": 8.0, "gopher_quality.word_length": 2.125, "gopher_quality.letters": 0.625, "gopher_quality.stop_words": 2.0,
		"gopher_quality.hash_signs": 0.125, "gopher_quality.ellipses": 0.25, "gopher_quality.bullets": 0.5, "gopher_quality.cut_lines": 1.0}
	if diff := cmp.Diff(want, d.scores()); diff != "" {
		t.Error(diff)
	}
	c := &Doc{Text: "ab\ncdef\n1\n"} // 7 of 10 characters in 3 lines
	(Code{}).Step().Apply(c)
	if diff := cmp.Diff(map[string]any{"code.longest_line": 4.0, "code.mean_line": 2.3333, "code.alphanumeric": 0.7}, c.scores()); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{"a.txt.zst": ".txt", "a.JSONL.GZ": ".jsonl", "a": "none", "a.gz": "none", "a.go": ".go"} {
		if got := extension(path); got != want {
			t.Errorf("the extension of %s is %s, want %s", path, got, want)
		}
	}
}

// TestValidatesEachSide of what the sections of recipes may hold.
func TestValidatesEachSide(t *testing.T) {
	for want, err := range map[string]error{
		"decontaminate.min_words 0":       Decontaminate{NGram: 13, MinWords: 0, Action: "cut", Pieces: 1}.Validate(),
		"decontaminate.action is \"ask\"": Decontaminate{NGram: 1, MinWords: 1, Action: "ask", Pieces: 1}.Validate(),
		"x.min_chars is -1":               Repeats{MinChars: -1}.Validate("x"),
		"x.min_left -1":                   Repeats{MinLeft: -1}.Validate("x"),
		"words.max_share -1":              Words{MaxShare: -1}.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for name, err := range map[string]error{
		"decontaminate": Decontaminate{NGram: 1, MinWords: 1, Action: "cut", Pieces: 1}.Validate(), "words": Words{}.Validate(), "repeats": Repeats{}.Validate("x"),
	} {
		if err != nil {
			t.Errorf("%s at its least: %v", name, err)
		}
	}
}

// TestBoundsOfTraining: each number of a classifier's training at its bounds, and just past them.
func TestBoundsOfTraining(t *testing.T) {
	for name, c := range map[string]struct {
		set         func(*Classifier, int)
		least, most int // within; most 0: any
	}{
		"ngram":    {func(c *Classifier, n int) { c.Training.NGram = n }, 1, 10},
		"words":    {func(c *Classifier, n int) { c.Training.Words = n }, 1, 1 << 20},
		"epochs":   {func(c *Classifier, n int) { c.Training.Epochs = n }, 1, 0},
		"examples": {func(c *Classifier, n int) { c.Training.Examples = n }, 10, 0},
	} {
		valid := func(n int) bool {
			d := DefaultClassifier()
			d.Model = "x"
			c.set(&d, n)
			return d.Validate() == nil
		}
		if !valid(c.least) || valid(c.least-1) || c.most > 0 && (!valid(c.most) || valid(c.most+1)) {
			t.Errorf("%s: %d to %d", name, c.least, c.most)
		}
	}
}

// TestBatchSteps: a step that looks at many documents at once has a reason for each, and its error ends the run and names the step.
func TestBatchSteps(t *testing.T) {
	failed := errors.New("failed")
	for _, fails := range []bool{false, true} {
		cfg := Config{Dir: t.TempDir(), Fingerprint: "f", Workers: 2, ShardBytes: 500, Steps: []Step{Mend(), {Name: "judge", Batch: func(_ context.Context, docs []*Doc) (reasons []string, err error) {
			for _, d := range docs {
				if fails && d.Record == 300 {
					err = failed
				}
				reasons = append(reasons, map[bool]string{true: "odd"}[d.Record%2 == 1])
				d.Score("judge.score", float64(d.Record%2))
			}
			return reasons, err
		}}}}
		r, err := Run(t.Context(), stream(documents(slices.Repeat([]string{"a text"}, 400)), goOn), cfg)
		if fails {
			if !errors.Is(err, failed) || err.Error() != "curate: judge: failed" {
				t.Errorf("error %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if s := r.Steps[1]; r.Kept.Documents != 200 || s.Rejected["odd"].Documents != 200 || s.Kept.Documents != 200 || r.Scores["judge.score"][1] != (Tally{Rejected: 200}) {
			t.Errorf("%+v", r)
		}
		for record := range parts(t, cfg.Dir) {
			if record%2 == 1 {
				t.Fatalf("document %d is kept", record)
			}
		}
	}
}

// TestWhatIsComparedOfUnits: letters of any script in lower case, digits of any as 0, single spaces between, and all of what is nothing but signs.
func TestWhatIsComparedOfUnits(t *testing.T) {
	for text, want := range map[string]string{"  Home,  PAGE 12! ": "home page 00", "\u0663 Äb - Ω": "0 äb ω", "«…» !": "«…» !", "a\u2003b": "a b", "": "", "1": "0", "€5": "€0"} {
		if got := string(Repeats{Normalize: true}.normal(nil, text)); got != want {
			t.Errorf("%q is compared as %q, want %q", text, got, want)
		}
		if got := string(Repeats{}.normal(nil, text)); got != text {
			t.Errorf("%q is compared as %q without normalize", text, got)
		}
	}
}

// TestRecordsAreCompared by their prompts, and where they have none by their answers; what is written of one is a line without insignificant space.
func TestRecordsAreCompared(t *testing.T) {
	for text, want := range map[string]string{`{"prompt":"a","completion":"b"}`: "a", `{"prompt":"","completion":"b"}`: "b", `{"text":"c"}`: "c",
		`{"messages":[{"role":"user","content":[{"type":"text","text":"d"},{"type":"text","text":"e"}]},{"role":"assistant","content":"f"}]}`: "d\ne"} {
		if got := (&Doc{Text: text}).compared(true); got != want {
			t.Errorf("%s is compared by %q, want %q", text, got, want)
		}
		if got := (&Doc{Text: text}).compared(false); got != text {
			t.Errorf("as a text %s is compared by %q", text, got)
		}
	}
	if got, err := compact("{ \"a\" : [ 1,\n2 ] }"); err != nil || string(got) != "{\"a\":[1,2]}\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := compact("{"); err == nil {
		t.Error("half a record was written")
	}
}

// TestFencesHaveWidth: outliers are asked for at some distance, which is a number.
func TestFencesHaveWidth(t *testing.T) {
	for _, fence := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := (Outliers{Fence: fence}).Step(t.Context(), stream(nil, goOn), 1); err == nil || !strings.Contains(err.Error(), "outliers.fence is") {
			t.Errorf("%v: %v", fence, err)
		}
	}
	broken := errors.New("broken")
	if _, err := DefaultOutliers().Step(t.Context(), stream(documents([]string{"{}"}), func(int) error { return broken }), 1); err != broken {
		t.Errorf("records that cannot be read: %v", err)
	}
}

// TestProgressIsTold: of a survey after each batch, of a mix after each document.
func TestProgressIsTold(t *testing.T) {
	var seen []int64
	if _, err := Look(t.Context(), stream(documents(slices.Repeat([]string{"x"}, batchDocs+1)), goOn), SurveyConfig{Workers: 2, Progress: func(n int64) { seen = append(seen, n) }}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []int64{batchDocs, batchDocs + 1}) {
		t.Errorf("of a survey %v", seen)
	}
	var last [2]int64
	m, err := Mix(t.Context(), MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{ingredient("a", 5, 10, 1)}, ShardBytes: 1 << 20, Progress: func(documents, sum int64) { last = [2]int64{documents, sum} }})
	if err != nil || last != [2]int64{5, m.Total.Bytes} {
		t.Errorf("of a mix %v, want %+v, %v", last, m, err)
	}
}

// TestHalfOfAPair: a record with one answer of a preference alone is a preference that lacks the other, not an example.
func TestHalfOfAPair(t *testing.T) {
	for _, record := range []string{`{"prompt":"a","chosen":"b"}`, `{"prompt":"a","rejected":"b"}`, `{"prompt":"a","completion":"c","chosen":"b"}`, `{"prompt":"a","completion":"c","rejected":"b"}`} {
		if got := Format().Apply(&Doc{Text: record}); !strings.Contains(got, "chosen") {
			t.Errorf("%s is rejected because of %q", record, got)
		}
	}
}

// TestWordsBetweenAnySpace: what Unicode calls white space parts words, too.
func TestWordsBetweenAnySpace(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, " a b ": 2, "a\u2003b": 2, "a\u00a0\u3000 b\u0085c": 3, "\u2003": 0, "größe über": 2, "a\u200bb": 1} {
		if got := countWords(text); got != want || len((&Doc{Text: text}).Words()) != want {
			t.Errorf("%q has %d words, want %d", text, got, want)
		}
	}
}
