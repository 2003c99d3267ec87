package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

// byteEncoder gives each byte an id of its own; ids 256 and up are free for marks.
type byteEncoder struct{ calls *atomic.Int64 }

func (e byteEncoder) Encode(dst []int32, d Document, _ func(Reason)) ([]int32, error) {
	if e.calls != nil {
		e.calls.Add(1)
	}
	for _, b := range d.Text {
		dst = append(dst, int32(b))
	}
	return dst, nil
}

const endMark = 256

func byteConfig(dir string) BuildConfig {
	return BuildConfig{
		Dir: dir, Fingerprint: "bytes", Vocab: 257, End: []int32{endMark},
		Encoder: func() Encoder { return byteEncoder{} },
	}
}

func documents(texts ...string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for i, t := range texts {
			if !yield(Document{Text: []byte(t), Source: "test", Record: i + 1}, nil) {
				return
			}
		}
	}
}

// randomTexts makes n documents of 0 to 200 bytes.
func randomTexts(n int, seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 0))
	texts := make([]string, n)
	for i := range texts {
		b := make([]byte, r.IntN(200))
		for j := range b {
			b[j] = byte(r.IntN(256))
		}
		texts[i] = string(b)
	}
	return texts
}

func buildTest(t testing.TB, cfg BuildConfig, texts ...string) (train, held *Store) {
	t.Helper()
	train, held, err := Build(context.Background(), documents(texts...), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		train.Close()
		if held != nil {
			held.Close()
		}
	})
	return train, held
}

// texts decodes a store of bytes, checking that each document ends with the mark.
func storeTexts(t testing.TB, s *Store) []string {
	t.Helper()
	var out []string
	for d := range s.Documents() {
		from, to := s.Document(d)
		ids := make([]int32, to-from)
		s.Read(ids, from)
		if ids[len(ids)-1] != endMark {
			t.Fatalf("document %d does not end with the end mark: %v", d, ids)
		}
		var b []byte
		for _, id := range ids[:len(ids)-1] {
			b = append(b, byte(id))
		}
		out = append(out, string(b))
	}
	return out
}

func nonEmpty(texts []string) []string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

func TestStoreKeepsDocuments(t *testing.T) {
	texts := randomTexts(300, 1)
	for _, vocab := range []int{257, 1 << 16, 1<<16 + 1} {
		cfg := byteConfig(t.TempDir())
		cfg.ShardBytes, cfg.Vocab = 1000, vocab
		s, _ := buildTest(t, cfg, texts...)
		if diff := cmp.Diff(nonEmpty(texts), storeTexts(t, s)); diff != "" {
			t.Errorf("vocabulary %d: %s", vocab, diff)
		}
		if len(s.shards) < 10 {
			t.Errorf("only %d shards: the test misses reads across shards", len(s.shards))
		}
		want := 0
		for _, x := range texts {
			want += len(x)
		}
		if s.Bytes() != int64(want) || s.Tokens() != int64(want)+s.Documents() {
			t.Errorf("%d bytes, %d tokens, %d documents; want %d bytes", s.Bytes(), s.Tokens(), s.Documents(), want)
		}
		all := make([]int32, s.Tokens())
		s.Read(all, 0)
		for at := int64(0); at < s.Tokens()-70; at += 61 { // reads that start and end anywhere
			part := make([]int32, 70)
			s.Read(part, at)
			if !slices.Equal(part, all[at:at+70]) {
				t.Fatalf("read at %d differs", at)
			}
		}
	}
}

func TestBuildIndependentOfWorkers(t *testing.T) {
	texts := randomTexts(400, 2)
	var want map[string]string
	for _, workers := range []int{1, 2, 7} {
		cfg := byteConfig(t.TempDir())
		cfg.ShardBytes, cfg.Workers, cfg.Validation, cfg.SourceKey = 500, workers, 0.1, "k"
		buildTest(t, cfg, texts...)
		got := folder(t, cfg.Dir)
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d workers: %s", workers, diff)
		}
	}
}

func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

func TestBuildGoesOnAfterInterruption(t *testing.T) {
	texts := randomTexts(200, 3)
	cfg := byteConfig(t.TempDir())
	cfg.ShardBytes, cfg.Workers = 500, 2
	broken := errors.New("pulled plug")
	half := func(yield func(Document, error) bool) {
		for d := range documents(texts[:100]...) {
			if !yield(d, nil) {
				return
			}
		}
		yield(Document{}, broken)
	}
	if _, _, err := Build(context.Background(), half, cfg); !errors.Is(err, broken) {
		t.Fatalf("got %v, want the source's error", err)
	}
	leftover := filepath.Join(cfg.Dir, ".x.tokens.tmp-123")
	if err := os.WriteFile(leftover, []byte("half a shard"), 0o644); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	var last Progress
	cfg.Encoder = func() Encoder { return byteEncoder{&calls} }
	cfg.Progress = func(p Progress) { last = p }
	s, _ := buildTest(t, cfg, texts...)
	if diff := cmp.Diff(nonEmpty(texts), storeTexts(t, s)); diff != "" {
		t.Error(diff)
	}
	if n := calls.Load(); n == 0 || n > 110 {
		t.Errorf("%d documents encoded; want about 100 of 200", n)
	}
	if last.Reused < 5 || last.Shards != len(s.shards) || last.Tokens != s.Tokens() {
		t.Errorf("progress %+v", last)
	}
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Error("the leftover is still there")
	}
}

// The test binary starts itself, with -test.run naming this test, to be killed in the middle of a build, which it does not get past before.
func TestBuildSurvivesKill(t *testing.T) {
	const killAt, waitAt = 40, 80 // shards
	texts := randomTexts(3000, 11)
	if dir := os.Getenv("HONE_TEST_BUILD_DIR"); dir != "" {
		cfg := byteConfig(dir)
		cfg.ShardBytes, cfg.Workers = 300, 2
		cfg.Progress = func(p Progress) {
			if fmt.Println("shard", p.Shards); p.Shards == waitAt {
				_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or whoever wanted to is gone
			}
		}
		Build(context.Background(), documents(texts...), cfg)
		return
	}
	cfg := byteConfig(t.TempDir())
	cfg.ShardBytes = 300
	child := exec.Command(os.Args[0], "-test.run=^TestBuildSurvivesKill$")
	child.Env = append(os.Environ(), "HONE_TEST_BUILD_DIR="+cfg.Dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := child.StdinPipe(); err != nil { // which stays open and empty
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; n < killAt && lines.Scan(); n++ {
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	var last Progress
	cfg.Progress = func(p Progress) { last = p }
	s, _ := buildTest(t, cfg, texts...)
	if diff := cmp.Diff(nonEmpty(texts), storeTexts(t, s)); diff != "" {
		t.Error(diff)
	}
	if last.Reused < killAt || last.Reused >= last.Shards {
		t.Errorf("%d of %d shards were reused; %d were finished before the kill", last.Reused, last.Shards, killAt)
	}
}

func TestBuildReusesManifest(t *testing.T) {
	cfg := byteConfig(t.TempDir())
	cfg.SourceKey, cfg.Validation, cfg.ShardBytes = "files", 0.2, 100
	cfg.Stats = &Stats{Files: 7, InvalidUTF8: 3}
	texts := randomTexts(50, 4)
	first, _ := buildTest(t, cfg, texts...)
	cfg.Stats = &Stats{}
	unread := func(func(Document, error) bool) { t.Error("the text was read again") }
	again, held, err := Build(context.Background(), unread, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if again.Tokens() != first.Tokens() || held.Tokens() == 0 {
		t.Errorf("%d and %d tokens, want %d and some", again.Tokens(), held.Tokens(), first.Tokens())
	}
	if cfg.Stats.Files != 7 || cfg.Stats.InvalidUTF8 != 3 {
		t.Errorf("the counts were not restored: %+v", cfg.Stats)
	}
	for _, change := range []func(*BuildConfig){
		func(c *BuildConfig) { c.SourceKey = "other files" },
		func(c *BuildConfig) { c.Fingerprint = "other" },
		func(c *BuildConfig) { c.End = nil },
		func(c *BuildConfig) { c.Begin = []int32{endMark} },
		func(c *BuildConfig) { c.Vocab = 300 },
		func(c *BuildConfig) { c.Validation = 0.3 },
		func(c *BuildConfig) { c.Content = bytes.ToLower },
	} {
		read := false
		docs := func(yield func(Document, error) bool) {
			read = true
			documents(texts...)(yield)
		}
		other := cfg
		change(&other)
		if _, _, err := Build(context.Background(), docs, other); err != nil {
			t.Error(err)
		}
		if !read {
			t.Errorf("%+v: the text was not read", other)
		}
	}
}

func TestDamagedShards(t *testing.T) {
	damage := []struct {
		name   string
		change func([]byte) []byte
	}{
		{"cut in the header", func(b []byte) []byte { return b[:20] }},
		{"cut in the tokens", func(b []byte) []byte { return b[:len(b)-3] }},
		{"empty", func(b []byte) []byte { return nil }},
		{"longer", func(b []byte) []byte { return append(b, 0) }},
		{"flipped bit in the header", func(b []byte) []byte { b[17] ^= 1; return b }},
		{"flipped bit in the tokens", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"flipped bit in the ends", func(b []byte) []byte { b[shardHeader] ^= 1; return b }},
		{"another file", func(b []byte) []byte { return []byte(strings.Repeat("x", 100)) }},
	}
	texts := randomTexts(30, 5)
	for _, d := range damage {
		t.Run(d.name, func(t *testing.T) {
			cfg := byteConfig(t.TempDir())
			cfg.SourceKey = "files"
			first, _ := buildTest(t, cfg, texts...)
			want := first.Tokens()
			first.Close()
			paths, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"+shardSuffix))
			b, err := os.ReadFile(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			good := bytes.Clone(b)
			if err := os.WriteFile(paths[0], d.change(b), 0o644); err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(filepath.Base(paths[0]), shardSuffix)
			if _, err := OpenStore(cfg.Dir, []string{name}); err == nil || !strings.Contains(err.Error(), paths[0]) {
				t.Errorf("opening the damaged shard gave %v, want an error that names it", err)
			}
			again, _ := buildTest(t, cfg, texts...)
			if again.Tokens() != want {
				t.Errorf("%d tokens after the repair, want %d", again.Tokens(), want)
			}
			if b, _ := os.ReadFile(paths[0]); !bytes.Equal(b, good) {
				t.Error("the shard was not built again as it was")
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	cases := []struct {
		name   string
		texts  []string
		change func(*BuildConfig)
		want   string
	}{
		{"no documents", nil, func(*BuildConfig) {}, "no text to train on"},
		{"one document to split", []string{"one"}, func(c *BuildConfig) { c.Validation = 0.5 }, "single record"},
		{"one document to split, whose hash is low", []string{"one"}, func(c *BuildConfig) { c.Validation = 0.9999 }, "single record"},
		{"id outside the vocabulary", []string{"\xff\xff"}, func(c *BuildConfig) { c.Vocab, c.End = 100, nil }, "test:1: the tokenizer gave id 255"},
		{"mark outside the vocabulary", []string{"x"}, func(c *BuildConfig) { c.End = []int32{257} }, "mark 257"},
		{"bad fraction", []string{"x"}, func(c *BuildConfig) { c.Validation = 1 }, "validation fraction"},
		{"no vocabulary", []string{"x"}, func(c *BuildConfig) { c.Vocab = 0 }, "vocabulary size 0"},
	}
	for _, c := range cases {
		cfg := byteConfig(filepath.Join(t.TempDir(), "tokens"))
		c.change(&cfg)
		_, _, err := Build(context.Background(), documents(c.texts...), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
		if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the token folder is left: %v", c.name, err)
		}
	}
	all := byteConfig(t.TempDir())
	all.Validation = 0.9999
	if _, _, err := Build(context.Background(), documents("one", "two"), all); err == nil || !strings.Contains(err.Error(), "lower validation_fraction") {
		t.Errorf("all documents held out: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Build(ctx, documents("a", "b"), byteConfig(t.TempDir())); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled build gave %v", err)
	}
}

// TestFoundFolderStays where nothing is built in it, as it was.
func TestFoundFolderStays(t *testing.T) { foundFolderStays(t, t.TempDir()) }

func foundFolderStays(t *testing.T, found string) {
	t.Helper()
	if _, _, err := Build(context.Background(), documents(), byteConfig(found)); err == nil {
		t.Fatal("tokens were built of no text")
	}
	if entries, err := os.ReadDir(found); err != nil || len(entries) > 0 {
		t.Errorf("%s: left are %v, %v", found, entries, err)
	}
}

func TestSplitProperties(t *testing.T) {
	for n := 2; n < 40; n++ {
		for _, fraction := range []float64{0.001, 0.02, 0.5, 0.999} {
			var texts []string
			chosen := 0
			for i := range n {
				texts = append(texts, fmt.Sprintf("document %d of %d", i, n))
				if math.Ldexp(float64(xxh3.HashString(texts[i])>>11), -53) < fraction {
					chosen++
				}
			}
			got := map[string]bool{}
			held := 0
			for p, err := range Split(documents(texts...), fraction, false, nil) {
				if err != nil {
					t.Fatalf("n=%d, fraction %v: %v", n, fraction, err)
				}
				got[string(p.Text)] = true
				if p.Held {
					held++
				}
			}
			if len(got) != n || held != max(1, chosen) && chosen < n {
				t.Errorf("n=%d fraction=%v: %d documents came out, %d held, and the hash chose %d", n, fraction, len(got), held, chosen)
			}
		}
	}
}

func TestSplitSingle(t *testing.T) {
	for _, c := range []struct {
		text       string
		fraction   float64
		head, tail string
	}{
		{"one\ntwo\nthree\nfour\n", 0.2, "one\ntwo\nthree\n", "four\n"},
		{"no end of a line in here", 0.25, "no end of a line i", "n here"},
		{"low\nhash\nfour\nfive\n", 0.5, "low\nhash\n", "four\nfive\n"},
		{"abcde", 0.01, "abcd", "e"},         // at least something
		{"aa\nbbbcc", 0.25, "aa\nbbb", "cc"}, // no line ends in the second half
	} {
		var got []string
		for p, err := range Split(documents(c.text), c.fraction, true, nil) {
			if err != nil || p.Held != (len(got) == 1) {
				t.Fatalf("%q: part %d is held: %v; %v", c.text, len(got), p.Held, err)
			}
			got = append(got, string(p.Text))
		}
		if !slices.Equal(got, []string{c.head, c.tail}) {
			t.Errorf("%q is cut into %q", c.text, got)
		}
	}
}

func TestSplitByContent(t *testing.T) {
	var texts []string
	for i := range 5000 {
		texts = append(texts, fmt.Sprint("text ", i))
	}
	side := map[string]bool{}
	held := 0
	for p := range Split(documents(texts...), 0.1, false, nil) {
		side[string(p.Text)] = p.Held
		if p.Held {
			held++
		}
	}
	if held < 400 || held > 600 {
		t.Errorf("%d of 5000 held out, want about 500", held)
	}
	for i, j := 0, len(texts)-1; i < j; i, j = i+1, j-1 {
		texts[i], texts[j] = texts[j], texts[i]
	}
	for p := range Split(documents(append(texts[:3000:3000], texts[:100]...)...), 0.1, false, nil) {
		if side[string(p.Text)] != p.Held {
			t.Fatalf("%q changed sides with the order of the documents", p.Text)
		}
	}
}

// TestSplitCopies: where the hash chooses none of so few texts, the copies of the one that is held out are, too.
func TestSplitCopies(t *testing.T) {
	for n := 1; n < 12; n++ {
		for _, fraction := range []float64{0.001, 0.5} {
			var texts []string
			for i := range 5 * n {
				texts = append(texts, fmt.Sprint("text ", i%n, "\n of ", n))
			}
			side, count := map[string]bool{}, map[bool]int{}
			for p, err := range Split(documents(texts...), fraction, true, nil) {
				if held, seen := side[string(p.Text)]; seen && held != p.Held || err != nil {
					t.Errorf("%q of %d texts is on both sides, %v", p.Text, n, err)
				}
				side[string(p.Text)] = p.Held
				count[p.Held]++
			}
			if count[true]%5 != 0 || count[true] == 0 || count[false]%5 != 0 {
				t.Errorf("%d texts: %v, 5 of each", n, count)
			}
		}
	}
	for _, err := range Split(documents("a", "a"), 0.5, false, nil) {
		if err == nil || !strings.Contains(err.Error(), "copies of one") {
			t.Errorf("copies of one record: %v", err)
		}
	}
}

func FuzzShard(f *testing.F) {
	dir := f.TempDir()
	content := shardContent{vocab: 300, ids: []int32{1, 2, 256, 3, 256}, ends: []int64{3, 5}, textBytes: 3}
	if err := content.write(dir, "x"); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "x"+shardSuffix))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:70])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= shardHeader { // give the fuzzer a right checksum, or it never gets past it
			binary.LittleEndian.PutUint64(b[48:], xxh3.Hash(b[shardHeader:]))
			binary.LittleEndian.PutUint64(b[56:], xxh3.Hash(b[:56]))
		}
		path := filepath.Join(t.TempDir(), "f"+shardSuffix)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(filepath.Dir(path), []string{"f"})
		if err != nil {
			return
		}
		defer s.Close()
		for d := range s.Documents() {
			from, to := s.Document(d)
			s.Read(make([]int32, to-from), from)
		}
	})
}

// TestFingerprint: any token, and any place where a document ends, tells stores apart; how they are cut into shards does not.
func TestFingerprint(t *testing.T) {
	texts := randomTexts(2000, 3)
	same, other := byteConfig(t.TempDir()), byteConfig(t.TempDir())
	same.ShardBytes, other.ShardBytes = 1000, 7777
	train, _ := buildTest(t, same, texts...)
	want := train.Fingerprint()
	if again, _ := buildTest(t, other, texts...); again.Fingerprint() != want {
		t.Errorf("in other shards it is %s, not %s", again.Fingerprint(), want)
	}
	cut := same
	cut.Dir, cut.End = t.TempDir(), nil // so that only the places of the ends differ
	one, _ := buildTest(t, cut, "abcdef", "gh")
	two, _ := buildTest(t, cut, "abcd", "efgh")
	if one.Tokens() != two.Tokens() || one.Fingerprint() == two.Fingerprint() {
		t.Errorf("%s where documents end elsewhere than in %s", one.Fingerprint(), two.Fingerprint())
	}
	for i := 7; i < len(texts); i += 271 {
		if texts[i] == "" {
			continue
		}
		was := texts[i]
		b := []byte(was)
		b[len(b)/2] ^= 1
		texts[i] = string(b)
		if changed, _ := buildTest(t, same, texts...); changed.Fingerprint() == want {
			t.Errorf("a changed token of document %d does not show", i)
		}
		texts[i] = was
	}
}
