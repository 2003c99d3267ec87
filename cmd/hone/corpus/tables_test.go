package corpus

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"hone/cmd/hone/clitest"
	"hone/data/curate"
)

// TestFunnelInWords: what each step of a curation left, in units that suit the size, with reasons by their number.
func TestFunnelInWords(t *testing.T) {
	c := func(n, size int64) curate.Count { return curate.Count{Documents: n, Bytes: size} }
	r := &curate.Result{Read: c(100, 2_000_000), Searched: []string{"exact"}, Exact: c(10, 100_000),
		Steps: []curate.StepCount{{Name: "words", Kept: c(60, 1_000_000), Changed: 3, Rejected: map[string]curate.Count{"few": c(30, 1), "odd": c(10, 1)}}}}
	var out bytes.Buffer
	Funnel(&out, r, "documents")
	want := []string{"documents text of all", "read 100 2.0 MB 100.0%", "words 60 1.0 MB 50.0% 3 changed, 30 few, 10 odd", "exact duplicates 50 0.9 MB 45.0% 10 removed"}
	if got := clitest.Squeezed(out.String()); !slices.Equal(got, want) {
		t.Errorf("the funnel is %q, want %q", got, want)
	}
	out.Reset()
	r = &curate.Result{Read: curate.Count{Documents: 1, Bytes: 500, Tokens: 120}}
	Funnel(&out, r, "records")
	if got, want := clitest.Squeezed(out.String()), []string{"records text tokens of all", "read 1 0.5 kB 120 100.0%"}; !slices.Equal(got, want) {
		t.Errorf("of little, with tokens: %q, want %q", got, want)
	}
}

// TestReasonsInWords: four of them and how many more there are.
func TestReasonsInWords(t *testing.T) {
	s := curate.StepCount{Rejected: map[string]curate.Count{}}
	if got := reasons(s); got != "" {
		t.Errorf("of nothing %q", got)
	}
	for i, name := range []string{"a", "b", "c", "d"} {
		s.Rejected[name] = curate.Count{Documents: int64(i / 2)}
	}
	if got, want := reasons(s), "1 c, 1 d, 0 a, 0 b"; got != want {
		t.Errorf("four are %q, want %q", got, want)
	}
	s.Rejected["e"], s.Rejected["f"], s.Changed = curate.Count{Documents: 9}, curate.Count{}, 2
	if got, want := reasons(s), "2 changed, 9 e, 1 c, 1 d, 0 a, 2 more reasons"; got != want {
		t.Errorf("six are %q, want %q", got, want)
	}
}

// TestMixInWords: what a mix has of each source, what was wanted, and how often a source was read.
func TestMixInWords(t *testing.T) {
	m := &curate.Mixed{Unit: "bytes", Parts: 2, Total: curate.Count{Documents: 30, Bytes: 3_000_000}, Sources: []curate.MixedSource{
		{Name: "wiki", Count: curate.Count{Documents: 20, Bytes: 2_000_000}, Share: 0.667, Wanted: 0.7, Repeated: curate.Count{Documents: 12, Bytes: 1_200_000}},
		{Name: "code", Count: curate.Count{Documents: 10, Bytes: 1_000_000}, Share: 0.333, Wanted: 0.3}}}
	var out bytes.Buffer
	showMix(&out, m, "mixed")
	want := []string{"documents text of bytes (wanted)", "wiki 20 2.0 MB 66.7% (70.0%) upsampled 2.5 times: 12 documents are repeats", "code 10 1.0 MB 33.3% (30.0%)", "all 30 3.0 MB", "",
		"2 parts in mixed", "next: hone pretrain data=mixed out=runs/first"}
	if got := clitest.Squeezed(out.String()); !slices.Equal(got, want) {
		t.Errorf("the mix is %q, want %q", got, want)
	}
	out.Reset()
	m.Unit, m.Total.Tokens, m.Sources[0].Count.Tokens, m.Sources[1].Count.Tokens = "tokens", 900, 600, 300
	showMix(&out, m, "my mix")
	if next := "next: hone pretrain data='my mix' out=runs/first\n"; !strings.HasSuffix(out.String(), next) {
		t.Errorf("the mix ends with other than %q: %s", next, out.String())
	}
	want = []string{"documents text tokens of tokens (wanted)", "wiki 20 2.0 MB 600 66.7% (70.0%) upsampled 2.5 times: 12 documents are repeats", "code 10 1.0 MB 300 33.3% (30.0%)", "all 30 3.0 MB 900"}
	if got := clitest.Squeezed(out.String()); !slices.Equal(got[:4], want) {
		t.Errorf("the mix by tokens is %q, want %q", got, want)
	}
	if quotient(3, 0) != 0 || quotient(1, 1) != 1 || quotient(1, 4) != 0.25 {
		t.Errorf("quotients %v, %v and %v", quotient(3, 0), quotient(1, 1), quotient(1, 4))
	}
}

// TestPartsInWords: the eight largest of a kind.
func TestPartsInWords(t *testing.T) {
	var out bytes.Buffer
	if parts(&out, "files", nil); out.Len() != 0 {
		t.Errorf("of nothing %q", out.String())
	}
	var list []curate.Part
	for _, name := range strings.Split("a b c d e f g h i j", " ") {
		list = append(list, curate.Part{Name: name, Share: 0.1})
	}
	if parts(&out, "files", list); out.String() != "\nfiles: a 10.0%, b 10.0%, c 10.0%, d 10.0%, e 10.0%, f 10.0%, g 10.0%, h 10.0% and 2 more\n" {
		t.Errorf("of ten %q", out.String())
	}
}

// TestSurveyInWords: the quantiles of each unit in its row, and kinds and lines where there are some.
func TestSurveyInWords(t *testing.T) {
	var out bytes.Buffer
	s := &curate.Survey{Documents: 4, Bytes: 4096, Characters: 4000, Words: 700, Lines: 90, DuplicateShare: 0.25, Lengths: map[string]curate.Lengths{
		"words": {Mean: 175, Min: 1, P5: 5, P25: 25, P50: 50, P75: 75, P95: 95, P99: 99, Max: 500}, "bytes": {Mean: 1024, Min: 10, P5: 20, P25: 30, P50: 40, P75: 50, P95: 60, P99: 70, Max: 4000}}}
	s.Duplicates.Documents, s.Duplicates.Bytes = 1, 1<<10
	head := []string{"documents 4", "bytes 4096", "characters 4000", "words 700", "lines 90"}
	table := []string{"copies 1 documents (25.0%), 1 KiB, equal an earlier one", "", "length in mean min 5% 25% median 75% 95% 99% max", "bytes 1024 10 20 30 40 50 60 70 4000", "words 175 1 5 25 50 75 95 99 500"}
	showSurvey(&out, s)
	clitest.Lines(t, out.String(), append(head, table...)...)
	out.Reset()
	s.Tokens, s.Languages, s.LinesMissed = 1024, []curate.Part{{Name: "en", Share: 1}}, 3
	s.CommonLines = []curate.CommonLine{{Text: "a \x1bb", Count: 12}}
	showSurvey(&out, s)
	want := append(append(head, "tokens 1024 (4.00 bytes each)"), table...)
	clitest.Lines(t, out.String(), append(want, "", "languages: en 100.0%", "", "most common lines", "12 a b", "each stands up to 3 times more: there are too many different lines to count all")...)
}

// TestExamplesInWords: the first of each reason in a line, cut, and with the formats that are known where a record has none of them.
func TestExamplesInWords(t *testing.T) {
	var out bytes.Buffer
	showExamples(&out, &curate.Result{})
	showExamples(&out, &curate.Result{Examples: []curate.Example{{Step: "words", Reason: "bad", Place: "a:1", Text: "one\n \x1btwo"}, {Step: "words", Reason: "bad", Place: "a:2", Text: "three"},
		{Step: "format", Reason: "is of no known format", Place: "a:3", Text: strings.Repeat("ä", 200)}}})
	got := clitest.Squeezed(out.String())
	if len(got) != 7 || !slices.Equal(got[:5], []string{"", "for example", "words: bad, a:1", "one two", "format: is of no known format, a:3"}) || got[5] != strings.Repeat("ä", 160) || !strings.HasPrefix(got[6], "give its keys other names; known are ") {
		t.Errorf("told %q", got)
	}
}

func TestKeysOfResults(t *testing.T) {
	clitest.Keys(t, "data curate, data check", curate.Result{}, "read steps exact_duplicates near_duplicates duplicate_ids cuts kept searched notes examples scores labels clusters")
}
