package data

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

// TestBuildConfigBounds: each value at both sides of its bounds, and what stands for a zero.
func TestBuildConfigBounds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*BuildConfig)
		want   string
	}{
		"as it is":              {func(*BuildConfig) {}, ""},
		"no vocabulary":         {func(c *BuildConfig) { c.Vocab, c.End = 0, nil }, "vocabulary size 0 is out of range"},
		"the smallest":          {func(c *BuildConfig) { c.Vocab, c.End = 1, nil }, ""},
		"the largest":           {func(c *BuildConfig) { c.Vocab = math.MaxInt32 }, ""},
		"one more":              {func(c *BuildConfig) { c.Vocab = math.MaxInt32 + 1 }, "vocabulary size 2147483648 is out of range"},
		"nothing held out":      {func(c *BuildConfig) { c.Validation = 0 }, ""},
		"less than nothing":     {func(c *BuildConfig) { c.Validation = -0.01 }, "validation fraction -0.01 must be at least 0 and below 1"},
		"no fraction":           {func(c *BuildConfig) { c.Validation = math.NaN() }, "validation fraction NaN"},
		"all held out":          {func(c *BuildConfig) { c.Validation = 1 }, "validation fraction 1"},
		"nearly all":            {func(c *BuildConfig) { c.Validation = 0.999 }, ""},
		"the last id ends":      {func(c *BuildConfig) { c.End = []int32{256} }, ""},
		"the one behind":        {func(c *BuildConfig) { c.End = []int32{1, 257} }, "document mark 257 is outside the vocabulary of 257"},
		"an id below 0":         {func(c *BuildConfig) { c.End = []int32{-1} }, "document mark -1"},
		"begins so":             {func(c *BuildConfig) { c.Begin = []int32{-1} }, "document mark -1"},
		"the first id is a one": {func(c *BuildConfig) { c.Begin = []int32{0} }, ""},
	} {
		cfg := byteConfig("")
		c.change(&cfg)
		if err := cfg.complete(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	cfg := byteConfig("")
	if err := cfg.complete(); err != nil || cfg.ShardBytes != 8<<20 || cfg.Workers != runtime.GOMAXPROCS(0) || cfg.Stats == nil {
		t.Errorf("zeros become %d bytes, %d workers, %v, %v", cfg.ShardBytes, cfg.Workers, cfg.Stats, err)
	}
	stats := &Stats{Files: 3}
	cfg.ShardBytes, cfg.Workers, cfg.Stats = 1, 7, stats
	if err := cfg.complete(); err != nil || cfg.ShardBytes != 1 || cfg.Workers != 7 || cfg.Stats != stats {
		t.Errorf("what is set becomes %d bytes, %d workers, %v, %v", cfg.ShardBytes, cfg.Workers, cfg.Stats, err)
	}
}

// TestProgressCounts: documents and bytes that were read, shards that are done, and which of these were there: by hand for shards of 4 bytes.
func TestProgressCounts(t *testing.T) {
	cfg := byteConfig(t.TempDir())
	cfg.ShardBytes, cfg.Workers = 4, 1
	var last Progress
	cfg.Progress = func(p Progress) { last = p }
	buildTest(t, cfg, "abcd", "ab", "c", "d", "xyzzy", "e") // a shard of just 4 bytes, one that reaches 4, one longer, the rest; each document has an end
	if want := (Progress{Documents: 6, Bytes: 14, Shards: 4, Tokens: 20}); last != want {
		t.Errorf("%+v, want %+v", last, want)
	}
	buildTest(t, cfg, "abcd", "ab", "c", "d", "new", "!")
	if want := (Progress{Documents: 6, Bytes: 12, Shards: 3, Reused: 2, Tokens: 18}); last != want {
		t.Errorf("with two shards of the first: %+v, want %+v", last, want)
	}
}

// TestShardNames: each thing that decides on a shard's tokens is part of its name, and nothing else is.
func TestShardNames(t *testing.T) {
	of := func(change func(*BuildConfig), docs ...Document) string {
		cfg := byteConfig("")
		change(&cfg)
		return cfg.shardName(&job{docs: docs})
	}
	same := func(*BuildConfig) {}
	doc := func(text string) Document { return Document{Text: []byte(text)} }
	names := map[string]string{}
	for what, name := range map[string]string{
		"two documents": of(same, doc("ab"), doc("c")), "cut elsewhere": of(same, doc("a"), doc("bc")), "one": of(same, doc("abc")), "none": of(same), "an empty one": of(same, doc("")),
		"goes on":         of(same, Document{Text: []byte("ab"), Continued: true}, doc("c")),
		"tokenizer":       of(func(c *BuildConfig) { c.Fingerprint = "other" }, doc("ab"), doc("c")),
		"vocabulary":      of(func(c *BuildConfig) { c.Vocab = 300 }, doc("ab"), doc("c")),
		"a mark in front": of(func(c *BuildConfig) { c.Begin = []int32{1} }, doc("ab"), doc("c")),
		"no mark":         of(func(c *BuildConfig) { c.End = nil }, doc("ab"), doc("c")),
		"marks exchanged": of(func(c *BuildConfig) { c.Begin, c.End = c.End, c.Begin }, doc("ab"), doc("c")),
	} {
		if other := names[name]; other != "" {
			t.Errorf("%s and %s have one name", what, other)
		}
		names[name] = what
	}
	placed := doc("ab")
	placed.Source, placed.Record, placed.ID = "x", 7, "y"
	if got := of(func(c *BuildConfig) { c.Workers, c.ShardBytes, c.Validation = 9, 9, 0.5 }, placed, doc("c")); names[got] != "two documents" {
		t.Error("a shard's name depends on where its text comes from, or on what does not change its tokens")
	}
}

// TestContinuedDocuments: only the last piece of a text gets its end.
func TestContinuedDocuments(t *testing.T) {
	cfg := byteConfig(t.TempDir())
	cfg.Begin = []int32{1}
	pieces := func(yield func(Document, error) bool) {
		_ = yield(Document{Text: []byte("ab"), Continued: true}, nil) && yield(Document{Text: []byte("c")}, nil)
	}
	s, _, err := Build(context.Background(), pieces, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.appendTokens(nil, 0, s.Tokens()); !slices.Equal(got, []int32{1, 'a', 'b', 1, 'c', endMark}) {
		t.Errorf("the tokens are %v", got)
	}
}

// TestTokenFolder: what stands in it beside the lock stays, with the lock; what another wrote is no reason to remove it.
func TestTokenFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "tokens")
	for range 2 { // made, found
		leave, err := prepareDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		leave()
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Errorf("left are %v, %v", entries, err)
		}
	}
}

// TestWalkEnds: whole documents until so many tokens were given, all for 0.
func TestWalkEnds(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), "abc", "de", "f") // ends make them 4, 3 and 2
	for most, want := range map[int64]int{0: 3, 1: 1, 4: 1, 5: 2, 7: 2, 8: 3, 100: 3} {
		n := 0
		s.walk(most, func([]int32) { n++ })
		if n != want {
			t.Errorf("up to %d tokens %d documents are read, want %d", most, n, want)
		}
	}
	short, err := Baselines(s, s, 4, 4)
	if err != nil || short.Tokens != 3 {
		t.Errorf("of the first document %d tokens are judged, %v", short.Tokens, err)
	}
	if all, err := Baselines(s, s, 0, 0); err != nil || all.Tokens != 6 || all.Unigram == short.Unigram {
		t.Errorf("of all %+v, of the first %+v, %v", all, short, err)
	}
}

// TestBaselinesTakeTheBestStrength: where pairs of training mislead, the bigram leans on the unigram with the largest strength, and pairs count as often as
// they stand in the held-out text.
func TestBaselinesTakeTheBestStrength(t *testing.T) {
	train, _ := buildTest(t, byteConfig(t.TempDir()), strings.Repeat("ab", 50)+"c")
	held, _ := buildTest(t, byteConfig(t.TempDir()), "acacacb")
	got, err := Baselines(train, held, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	uni := func(c float64) float64 { return (c + 1) / (101 + 257) } // of 101 predicted tokens: 49 a, 50 b, c, the end
	want, at := math.Inf(1), 0.0
	for _, a := range pairStrengths {
		ac := a * uni(1) / (50 + a) // never seen
		ca := a * uni(49) / (1 + a)
		cb := a * uni(50) / (1 + a)
		bEnd := a * uni(1) / (50 + a)
		if nats := -(3*math.Log(ac) + 2*math.Log(ca) + math.Log(cb) + math.Log(bEnd)) / 7; nats < want {
			want, at = nats, a
		}
	}
	if at != pairStrengths[len(pairStrengths)-1] || !(math.Abs(got.Bigram-want) <= 1e-12) || got.Tokens != 7 {
		t.Errorf("%+v, want a bigram of %v with the strength %v", got, want, at)
	}
}

// TestFaultsInOrder: a record with several faults always gives the same error, and answers with a verdict are told what learns from them.
func TestFaultsInOrder(t *testing.T) {
	for record, want := range map[string]string{
		`{"prompt":"a","completion":"b","label":true}`: "no preference between two; hone dpo learns from such records with loss_type=kto",
		`{"completion":"b","label":true,"chosen":"c"}`: "a preference needs chosen and rejected",
		`{"completion":"b"}`:                           "a preference needs chosen and rejected",
		`{"rejected":"b"}`:                             "a preference needs chosen and rejected",
		`{"chosen":7,"rejected":8}`:                    "chosen is neither a text nor a list of messages",
		`{"chosen":[],"rejected":[]}`:                  "chosen: the conversation is empty",
		`{"chosen":[1],"rejected":8}`:                  "chosen: the conversation is empty",
		`{"prompt":7,"chosen":"a","rejected":"b"}`:     "prompt is no text, but chosen and rejected are",
		`{"prompt":7,"chosen":["a"],"rejected":["b"]}`: "prompt is neither a text nor a list of messages",
		`{"prompt":"a","chosen":"","rejected":""}`:     "an answer is empty",
		`{"chosen":"ab","rejected":"abc"}`:             "an answer is empty", // what is common is the prompt
		`{"prompt":"a","chosen":"b","rejected":[]}`:    "must both be texts or both lists of messages",
		`{"prompt":"a","chosen":[],"rejected":"b"}`:    "must both be texts or both lists of messages",
	} {
		for range 8 { // of maps, whose order changes
			if _, err := ParsePreference([]byte(record)); err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%s: %v, want %q", record, err, want)
			}
		}
	}
	for range 8 {
		if _, err := ParseExample([]byte(`{"system":1,"instruction":2,"input":3,"output":4}`)); err == nil || !strings.Contains(err.Error(), "system is no text") {
			t.Fatalf("%v", err)
		}
	}
}

// TestPromptEnd: TRL's rule: where two texts part, less a space, and never inside a character.
func TestPromptEnd(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "b", 0}, {"ab", "ac", 1}, {"a b", "a c", 1}, {"a  b", "a  c", 2}, {"ab", "ab", 2}, {"ab", "abc", 2}, {"ab ", "ab c", 2},
		{"é", "è", 0}, {"xé", "xè", 1}, {"\xa9", "\xa8", 0}, {" a", " b", 0}, {"日本", "日木", 3}, {"a é", "a è", 1},
	} {
		if got := promptEnd(c.a, c.b); got != c.want {
			t.Errorf("%q and %q part at %d, want %d", c.a, c.b, got, c.want)
		}
		if got := promptEnd(c.b, c.a); got != c.want {
			t.Errorf("%q and %q part at %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

// TestStatsAdd: every count, and names up to their limit.
func TestStatsAdd(t *testing.T) {
	a := Stats{Files: 1, Documents: 2, Bytes: 3, InvalidUTF8: 4, Skipped: map[Reason]int{Binary: 5}, Unreadable: []string{"x"}, BadRecords: []string{"y"}}
	b := Stats{Files: 10, Documents: 20, Bytes: 30, InvalidUTF8: 40, Skipped: map[Reason]int{Binary: 50, Empty: 60}}
	for i := range 2 * named {
		b.Unreadable, b.BadRecords = append(b.Unreadable, fmt.Sprint("u", i)), append(b.BadRecords, fmt.Sprint("r", i))
	}
	want := Stats{Files: 11, Documents: 22, Bytes: 33, InvalidUTF8: 44, Skipped: map[Reason]int{Binary: 55, Empty: 60},
		Unreadable: append([]string{"x"}, b.Unreadable[:named-1]...), BadRecords: append([]string{"y"}, b.BadRecords[:named-1]...)}
	a.Add(&b)
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if got := want.String(); got != "22 documents, 33 bytes from 11 files; 44 with invalid UTF-8 (kept as bytes); skipped 55 binary files, 60 empty files or records" {
		t.Errorf("in a line: %s", got)
	}
	if got := (&Stats{}).String(); got != "0 documents, 0 bytes from 0 files" {
		t.Errorf("in a line: %s", got)
	}
	none := Stats{}
	if none.skip(Empty, 0); none.Skipped != nil {
		t.Errorf("nothing is counted as %v", none.Skipped)
	}
}

// TestPieceEnds: behind the last empty line of the second half, else behind its last line, else in front of the last character, which may go on.
func TestPieceEnds(t *testing.T) {
	for text, want := range map[string]int{
		"a\n\nbcd\n\nef": 8, "aaaa\nbbbb\ncc": 10, "\n\naaaabbbb": 10, "aaaaaaaa": 8, "aaa\naaaa": 8, "aaaa\naaa": 5, "aaa\n\naaa": 5, "aa\n\naaaa": 8,
		"aaaé": 3, "aaa\xc3": 3, "aaa\xe6\x97": 3, "aaa\xe6\x97\xa5": 3, "aa😀": 2, "\xa5\xa5\xa5\xa5\xa5\xa5": 6, "": 0, "é": 2,
	} {
		if got := pieceEnd([]byte(text)); got != want {
			t.Errorf("%q is cut at %d, want %d", text, got, want)
		}
	}
}

// TestPromptsOfNothing: what cannot be read is an error of the prompts, too.
func TestPromptsOfNothing(t *testing.T) {
	n := 0
	for _, err := range Prompts(Sources{Paths: []string{filepath.Join(t.TempDir(), "none")}}, &Stats{}) {
		if n++; err == nil || !strings.Contains(err.Error(), "there is no file or folder") {
			t.Errorf("%v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
}

// TestStepsFollowEachOther: the steps of a run, one behind the other, are its units from the first on, whatever a step is made of.
func TestStepsFollowEachOther(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), randomTexts(40, 3)...)
	windows := cut(s, 8)
	for _, cfg := range []MixtureConfig{{BatchSize: 1}, {BatchSize: 3, Seed: 1}, {BatchSize: 2, Accumulation: 3, Seed: 2}} {
		m := mustMix(t, cfg, Weighted{windows, 1})
		var got, want [][][3]int32
		const steps = 4
		for step := range steps {
			got = append(got, all(m.Step(step))...)
		}
		var b Batch
		b.Offsets = []int32{0}
		for g := range steps * m.PerStep() {
			_, at := m.unit(g)
			windows.appendTo(&b, at)
		}
		if want = sequences(b); !cmp.Equal(got, want) {
			t.Errorf("%+v: %d steps are not the first %d units", cfg, steps, steps*m.PerStep())
		}
	}
}

// TestSequentialBatches: as many units in each batch as asked for, the rest in the last; and no unit begun behind so many rows.
func TestSequentialBatches(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), strings.Repeat("x", 39)) // 40 tokens: windows of 8 rows, the last without its last row
	for most, want := range map[int64]string{0: "[16 16 8]", 1: "[8]", 8: "[8]", 9: "[16]", 16: "[16]", 17: "[16 8]", 33: "[16 16 8]", 1000: "[16 16 8]"} {
		var rows []int
		for b := range Sequential(cut(s, 8), 2, most) {
			rows = append(rows, b.Rows())
		}
		if got := fmt.Sprint(rows); got != want {
			t.Errorf("up to %d rows the batches have %s, want %s", most, got, want)
		}
	}
}

// TestSizeOfPieces: about 64 of a single text, of what a packed one unpacks to, from 4 KiB to 1 MiB, which all pieces of several files have.
func TestSizeOfPieces(t *testing.T) {
	file := func(name string, size int64) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		files []string
		want  int
	}{
		{[]string{file("a.txt", 1<<20)}, 1 << 14}, {[]string{file("a.txt.gz", 1<<20)}, 1 << 16}, {[]string{file("a.txt.zst", 1<<20)}, 1 << 16}, {[]string{file("a.txt", 100)}, 4 << 10},
		{[]string{file("a.txt", 64*(4<<10))}, 4 << 10}, {[]string{file("a.txt", 64*(4<<10)+64)}, 4<<10 + 1}, {[]string{file("a.txt", 1<<27)}, 1 << 20}, {[]string{file("a.txt", 100), file("b.txt", 100)}, 1 << 20},
	} {
		files, err := expand(c.files, &Stats{}, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := (Sources{}).pieceBytes(files); got != c.want {
			t.Errorf("%v come in pieces of %d bytes, want %d", c.files, got, c.want)
		}
		if got := (Sources{PieceBytes: 7}).pieceBytes(files); got != 7 {
			t.Errorf("of 7 bytes as asked for they are %d", got)
		}
	}
}

// TestWordsOfBadInput: what an error tells to set is there to be set, and policies for records and for files are told apart.
func TestWordsOfBadInput(t *testing.T) {
	dir := tree(t, map[string]string{"a.jsonl": "{broken\n"})
	for policy, want := range map[BadRecord]string{"": "; repair it or take it out", FailOnBadRecord: "; repair it or set on_bad_record=skip"} {
		if _, _, err := read(Sources{Paths: []string{dir}, OnBadRecord: policy}, dir); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", policy, err, want)
		}
	}
	records, err1 := (Sources{Paths: []string{dir}, OnBadRecord: SkipBadRecord}).Key()
	files, err2 := (Sources{Paths: []string{dir}, OnBadFile: SkipBadRecord}).Key()
	if err1 != nil || err2 != nil || records == files {
		t.Errorf("to skip records and to skip files have one key; %v, %v", err1, err2)
	}
}

// TestBinaryWithinSight: a NUL among the first 8000 bytes makes a file binary, a later one does not.
func TestBinaryWithinSight(t *testing.T) {
	for at, want := range map[int]int{0: 0, sniffBytes - 1: 0, sniffBytes: 1} {
		text := strings.Repeat("a", at) + "\x00b"
		dir := tree(t, map[string]string{"a.txt": text, "b.txt": "text"})
		docs, stats, err := read(Sources{Paths: []string{dir}, PieceBytes: 1 << 20}, dir)
		if err != nil || len(docs) != 1+want || stats.Skipped[Binary] != 1-want {
			t.Errorf("with a NUL at %d: %d documents, %v, %v", at, len(docs), stats.Skipped, err)
		}
	}
}

// TestHalfPairs: half of a surrogate pair is U+FFFD, whatever follows, and what follows stays.
func TestHalfPairs(t *testing.T) {
	for quoted, want := range map[string]string{
		`"\ud83d\ude00"`: "😀", `"\ud83dau1234"`: "\ufffdau1234", `"\ud83d\n12345"`: "\ufffd\n12345", `"\ud83d\u0041"`: "\ufffdA", `"\ude00\ud83d"`: "\ufffd\ufffd", `"\ud83d"`: "\ufffd",
		`"\ud83dxude00"`: "\ufffdxude00", `"\u0041\ude00"`: "A\ufffd", `"\uABcd"`: "\uabcd",
	} {
		if got := string(unquote([]byte(quoted))); got != want {
			t.Errorf("%s is %q, want %q", quoted, got, want)
		}
	}
}

// TestHollowAnswers: answers and messages that are not there are errors of their own kind, not a crash.
func TestHollowAnswers(t *testing.T) {
	for record, want := range map[string]string{
		`{"prompt":"a","chosen":[{"content":"x"}],"rejected":[{"content":"y"}]}`: "chosen: the conversation is empty",
		`{"prompt":"a","chosen":[],"rejected":[]}`:                               "chosen: the conversation is empty",
	} {
		if _, err := ParsePreference([]byte(record)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", record, err, want)
		}
	}
	for _, completion := range []string{`""`, ` [] `, `""  `} {
		var u *Unusable
		if _, err := ParseJudged([]byte(`{"prompt":"a","label":true,"completion":` + completion + `}`)); !errors.As(err, &u) || u.Reason != EmptyAnswer {
			t.Errorf("the answer %s: %v", completion, err)
		}
	}
}

// TestLongestRecord: a row of just the limit, as JSON, is taken.
func TestLongestRecord(t *testing.T) {
	dir := tree(t, map[string]string{"a.parquet": pq("abc")})
	s := Sources{Paths: []string{dir}, Records: true, OnBadRecord: SkipBadRecord}
	bytes := 0
	for d, err := range s.Documents(&Stats{}) {
		if bytes = len(d.Text); err != nil {
			t.Fatal(err)
		}
	}
	for less, want := range []int{1, 0} {
		s.MaxRecord = bytes - less
		docs, stats, err := read(s, dir)
		if err != nil || len(docs) != want || stats.Skipped[TooLong] != 1-want {
			t.Errorf("a record of %d bytes where %d are the most: %q, %v, %v", bytes, s.MaxRecord, docs, stats.Skipped, err)
		}
	}
}

// TestTranscripts: turns of both speakers in turn, the last answer apart, and what only looks like a transcript is a text.
func TestTranscripts(t *testing.T) {
	const talk = "\n\nHuman: one\n\nAssistant: two\n\nHuman: three\n\nAssistant:"
	p, err := ParsePreference([]byte(fmt.Sprintf(`{"chosen":%q,"rejected":%q}`, talk+" four", talk+" five")))
	if err != nil || p.Turns != 3 || len(p.Chosen.Messages) != 4 || p.Chosen.Prompt != talk || p.Chosen.Completion != " four" || p.Rejected.Completion != " five" {
		t.Fatalf("%+v, %v", p, err)
	}
	for i, want := range []string{`{"content":"one","role":"user"}`, `{"content":"two","role":"assistant"}`, `{"content":"three","role":"user"}`, `{"content":"four","role":"assistant"}`} {
		if got := string(p.Chosen.Messages[i]); got != want {
			t.Errorf("turn %d is %s, want %s", i+1, got, want)
		}
	}
	p, err = ParsePreference([]byte(`{"chosen":"Q\n\nAssistant: a","rejected":"Q\n\nAssistant: b"}`))
	if err != nil || p.Chosen.Messages != nil || p.Chosen.Prompt != "Q\n\nAssistant:" || p.Chosen.Completion != " a" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestTablesAsTexts: where no records are asked for a table or a list is a text; and an empty file of a folder is no error, whatever the policy.
func TestTablesAsTexts(t *testing.T) {
	dir := tree(t, map[string]string{"a.csv": "x,y\n1,2\n", "b.tsv": "x\ty\n", "c.json": "[{}]", "d.txt": ""})
	docs, stats, err := read(Sources{Paths: []string{dir}, OnBadFile: FailOnBadRecord}, dir)
	if err != nil || len(docs) != 3 || stats.Skipped[Empty] != 1 {
		t.Errorf("%q, %v, %v", docs, stats.Skipped, err)
	}
	in := &countingReader{r: strings.NewReader("12345")}
	for _, want := range []int64{3, 5, 5} {
		_, _ = in.Read(make([]byte, 3))
		if in.n != want {
			t.Errorf("%d bytes are counted, want %d", in.n, want)
		}
	}
}

// TestSizeOfSources is that of the files together, as long as it tells how much text there is.
func TestSizeOfSources(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "12345", "b.jsonl": "{}\n", "c.txt.gz": "1", "d.parquet": "1"})
	for want, paths := range map[int64][]string{8: {"a.txt", "b.jsonl"}, 5: {"a.txt"}, 0: {"a.txt", "c.txt.gz"}, -1: {"b.jsonl", "d.parquet"}} {
		for i := range paths {
			paths[i] = filepath.Join(dir, paths[i])
		}
		if n, err := (Sources{Paths: paths}).Size(); err != nil || n != max(0, want) {
			t.Errorf("%q: %d bytes, %v", paths, n, err)
		}
	}
	if _, err := (Sources{Paths: []string{filepath.Join(dir, "none")}}).Size(); err == nil {
		t.Error("a file that is not there has a size")
	}
}

// TestShardsOfOthers: a header whose checksum is right and that this program cannot mean is refused, for what it says.
func TestShardsOfOthers(t *testing.T) {
	for want, change := range map[string]func(header, notes []byte){
		"format version 1, this program reads version 2": func(h, _ []byte) { h[8] = 1 },
		"the header contradicts itself":                  func(h, _ []byte) { h[12] = 4 }, // bytes per token, of a small vocabulary
		"the header contradicts itself ":                 func(h, _ []byte) { h[39] = 0x80 },
		"its notes are damaged":                          func(_, notes []byte) { notes[0] = '[' },
	} {
		dir := t.TempDir()
		c := shardContent{vocab: 10, ids: []int32{1, 2}, ends: []int64{2}, textBytes: 5, notes: map[Reason]int{TooShort: 1}}
		if err := c.write(dir, "x"); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "x"+shardSuffix)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		change(b, b[shardHeader+8+4:]) // behind one end and two tokens
		binary.LittleEndian.PutUint64(b[48:], xxh3.Hash(b[shardHeader:]))
		binary.LittleEndian.PutUint64(b[56:], xxh3.Hash(b[:56]))
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir, []string{"x"}); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestListsOfBuilds: a list of shards that is damaged, or names one that is, is made again from the text.
func TestListsOfBuilds(t *testing.T) {
	texts := randomTexts(60, 9)
	cfg := byteConfig(t.TempDir())
	cfg.SourceKey, cfg.Validation, cfg.ShardBytes = "files", 0.2, 2000
	first, held := buildTest(t, cfg, texts...)
	want := [2]int64{first.Tokens(), held.Tokens()}
	var m manifest
	text, err := os.ReadFile(cfg.manifestPath())
	if err != nil || json.Unmarshal(text, &m) != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"a list cut short":      func() error { return os.WriteFile(cfg.manifestPath(), []byte("{"), 0o644) },
		"a held-out shard gone": func() error { return os.Remove(filepath.Join(cfg.Dir, m.Held[0]+shardSuffix)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		read := int64(0)
		cfg.Progress = func(p Progress) { read = p.Documents }
		train, held := buildTest(t, cfg, texts...)
		if got := [2]int64{train.Tokens(), held.Tokens()}; got != want || read == 0 {
			t.Errorf("%s: %v tokens of %v, of %d documents", name, got, want, read)
		}
	}
}

// noEncoder is one that takes no text.
type noEncoder struct{}

func (noEncoder) Encode([]int32, Document, func(Reason)) ([]int32, error) {
	return nil, errors.New("no such text")
}

// TestEncodersThatFail: the error names the document, and no shard is left.
func TestEncodersThatFail(t *testing.T) {
	cfg := byteConfig(filepath.Join(t.TempDir(), "tokens"))
	cfg.Encoder = func() Encoder { return noEncoder{} }
	if _, _, err := Build(t.Context(), documents("a", "b"), cfg); err == nil || !strings.Contains(err.Error(), "test:1: no such text") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the token folder is left: %v", err)
	}
}

// TestReadersThatStop: whoever wants no more documents is asked no more, whatever the file is.
func TestReadersThatStop(t *testing.T) {
	for name, content := range map[string]string{"x.txt": "one\ntwo\nthree\nfour\n", "x.jsonl": "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", "x.json": `[{"a":1},{"a":2}]`, "x.csv": "a,b\n1,2\n3,4\n"} {
		dir := tree(t, map[string]string{name: content})
		for _, records := range []bool{true, false} {
			stats, n := &Stats{}, 0
			for _, err := range (Sources{Paths: []string{dir}, Records: records, PieceBytes: 8}).Documents(stats) {
				if n++; err != nil {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			if n != 1 || stats.Documents != 1 {
				t.Errorf("%s: %d documents come, %d are counted", name, n, stats.Documents)
			}
		}
	}
}

// TestRoomsOfAnySize: a pack has its place whatever the length is, and goes to what fits.
func TestRoomsOfAnySize(t *testing.T) {
	for _, length := range []int{2, 63, 64, 65, 8320, 1 << 16} {
		r := newRooms(length)
		for space := max(minDocument, length-130); space <= length; space++ {
			r.put(space, space)
			if pack, got := r.take(max(minDocument, space-70)); pack != space || got != space {
				t.Errorf("of %d: for %d the pack %d with room for %d", length, space, pack, got)
			}
			if pack, _ := r.take(minDocument); pack != -1 {
				t.Errorf("of %d: the pack %d is there twice", length, pack)
			}
		}
	}
}
