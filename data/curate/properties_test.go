package curate

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hone/data"
	"hone/safetensors"
)

// everyStep is one of each step that looks at a document alone.
func everyStep(t *testing.T) []Step {
	t.Helper()
	list := listFile(t, "darn", "悪い")
	against := DefaultDecontaminate()
	against.Against, against.Action, against.Around = evaluationFiles(t), "cut", 10
	decontaminate, _, err := against.Step()
	if err != nil {
		t.Fatal(err)
	}
	urls := DefaultURLs()
	urls.Hosts, urls.Words = []string{list}, []string{list}
	made := map[string]func() (Step, error){"urls": urls.Step, "words": Words{Lists: []string{list}}.Step, "refusals": DefaultRefusals().Step,
		"outliers": func() (Step, error) {
			return DefaultOutliers().Step(t.Context(), stream(documents(degenerate), goOn), 2)
		}}
	classifier := &TextClassifier{NGram: 2, Words: 50, Weights: make([]float32, 256)}
	steps := []Step{Mend(), DefaultPII().Step(), Length{MinChars: 5, MaxChars: 50}.Step(), DefaultLanguage().Step(), DefaultGopherQuality().Step(), DefaultGopherRepetition().Step(), DefaultC4().Step(),
		DefaultFineWeb().Step(), DefaultCode().Step(), decontaminate, classifier.Step(0.5), Format(), SameAnswers(), ScriptMix{Keep: []string{"Latin"}}.Step()}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		s, err := made[name]()
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s, OnTalk(s, true))
	}
	return steps
}

// degenerate are documents that are hardly any: without text, of one line or character, very long ones, and such that are no UTF-8.
var degenerate = []string{
	"", " ", "\n", "\n\n\n \n", "\x00", "x", ".", "…", "#", "{", "人", "\u0301", "\ufeff", "\xff", "\xc3", "a\xffb\n\xf0\x9f", "\r\n\r", "{}", "[]", "null", `{"text":""}`, `{"prompt":"","completion":""}`,
	`{"messages":[]}`, `{"chosen":null,"rejected":1}`, "one line", "one line\n", strings.Repeat("a", 40_000), strings.Repeat("a ", 20_000), strings.Repeat("\n", 20_000), strings.Repeat("\xff", 5000),
	strings.Repeat("人", 10_000), strings.Repeat("a.b@c.", 5000), strings.Repeat("+1 ", 5000), strings.Repeat("1.", 10_000), strings.Repeat("Ã", 5000), strings.Repeat(`{"a":`, 5000), strings.Repeat("//\n", 5000),
}

// TestDegenerateDocuments: no step fails at one; each says the same twice, in words that do not depend on the document, notes no number that JSON
// has not, and leaves UTF-8 as it was.
func TestDegenerateDocuments(t *testing.T) {
	for _, s := range everyStep(t) {
		for _, text := range degenerate {
			a, b := &Doc{Text: text, URL: text[:min(50, len(text))]}, &Doc{Text: text, URL: text[:min(50, len(text))]}
			first, again := s.Apply(a), s.Apply(b)
			if first != again || a.Text != b.Text || fmt.Sprint(a.notes) != fmt.Sprint(b.notes) {
				t.Errorf("%s of %.20q: %q and %q", s.Name, text, first, again)
			}
			if strings.ContainsFunc(first, func(r rune) bool { return '0' <= r && r <= '9' }) || len(first) > 200 {
				t.Errorf("%s rejects %.20q because of %q", s.Name, text, first)
			}
			if utf8.ValidString(text) && !utf8.ValidString(a.Text) {
				t.Errorf("%s breaks %.20q", s.Name, text)
			}
			for _, n := range a.notes {
				if v, ok := n.value.(float64); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
					t.Errorf("%s of %.20q notes %v", s.Name, text, n)
				}
			}
		}
	}
}

// TestRunOfDegenerateDocuments: they go through every part of a run, whatever the workers are, and all are counted.
func TestRunOfDegenerateDocuments(t *testing.T) {
	var want string
	for _, workers := range []int{1, 3} {
		cfg := passConfig(t.TempDir(), workers)
		cfg.Steps, cfg.SortEntries = []Step{Mend()}, 1<<17
		r, err := Run(t.Context(), stream(documents(slices.Concat(degenerate, degenerate)), goOn), cfg)
		if err != nil {
			t.Fatal(err)
		}
		gone := r.Exact.Documents + r.Near.Documents
		for _, c := range r.Cuts {
			gone += c.Dropped.Documents
		}
		if r.Read.Documents != int64(2*len(degenerate)) || gone+r.Kept.Documents != r.Read.Documents || r.Exact.Documents < int64(len(degenerate)) {
			t.Errorf("%d workers: %+v", workers, r)
		}
		if got := content(t, cfg.Dir); want == "" {
			want = got
		} else if got != want {
			t.Errorf("%d workers give another result", workers)
		}
	}
	if s, err := Look(t.Context(), stream(documents(degenerate), goOn), SurveyConfig{Workers: 2, CommonLines: 5}); err != nil || s.Documents != int64(len(degenerate)) || s.InvalidUTF8 != 4 {
		t.Errorf("survey %+v, %v", s, err)
	}
}

// TestRemovalIsDoneAtOnce: what is left of a corpus has no copies left, exact, of shared bands or of lines: a second run removes nothing.
func TestRemovalIsDoneAtOnce(t *testing.T) {
	near := DefaultMinHash()
	near.Threshold = 0
	lines := Repeats{MinChars: 10, Normalize: true}
	for name, cfg := range map[string]Config{"exact": {Exact: true}, "near": {Near: &near}, "lines": {Passes: []Pass{lines.Lines()}}} {
		var texts []string
		for _, d := range slices.Concat(repetitive(60), corpus(60)) {
			texts = append(texts, string(d.Text))
		}
		cfg.ShardBytes, cfg.Workers = 20_000, 2
		left, first := curated(t, cfg, texts...)
		var rest []string
		for _, record := range slices.Sorted(maps.Keys(left)) {
			rest = append(rest, left[record])
		}
		again, second := curated(t, cfg, rest...)
		if len(rest) == 0 || first.Kept.Bytes == first.Read.Bytes {
			t.Errorf("%s: nothing to find: %+v", name, first)
		}
		if second.Kept != second.Read || len(again) != len(rest) {
			t.Errorf("%s: a second run leaves %+v of %+v", name, second.Kept, second.Read)
		}
	}
}

// TestOneOfEachTextStays: of equal texts the first, for any corpus, any shards and any workers.
func TestOneOfEachTextStays(outer *testing.T) {
	few := cases{left: 8}
	rapid.Check(outer, func(t *rapid.T) {
		if few.enough() {
			return
		}
		texts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "a ", "", "\xff", "\xfe"}), 0, 12).Draw(t, "texts")
		cfg := Config{Exact: true, Workers: rapid.IntRange(1, 4).Draw(t, "workers"), ShardBytes: int64(rapid.IntRange(1, 10).Draw(t, "shard")), SortEntries: rapid.IntRange(1, 4).Draw(t, "sorted")}
		left, r := curated(outer, cfg, texts...)
		want, seen := map[int]string{}, map[string]bool{}
		for i, text := range texts {
			if !seen[text] {
				want[i+1] = strings.ToValidUTF8(text, "\ufffd")
			}
			seen[text] = true
		}
		if !maps.Equal(left, want) || r.Exact.Documents != int64(len(texts)-len(want)) {
			few.failed = true
			t.Fatalf("%q leaves %v, want %v", texts, left, want)
		}
	})
}

// TestEstimateOfSimilarity: at any similarity the estimate of k hashes is off by no more than a share that is binomial is, and pairs agree in a
// band as often as 1-(1-s^rows)^bands says.
func TestEstimateOfSimilarity(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, c := range []MinHash{{NGram: 1, Bands: 14, Rows: 8, Seed: 1}, {NGram: 3, Bands: 20, Rows: 3, Seed: 7}} {
		h, k := c.hasher(), float64(c.Bands*c.Rows)
		for _, changed := range []float64{0.02, 0.1, 0.3} {
			const n = 150
			squares, variance, found, promised := 0.0, 0.0, 0.0, 0.0
			for range n {
				a, b := variants(r, 150, changed)
				x, y := h.signature(a), h.signature(b)
				s := jaccard(a, b, c.NGram)
				squares += math.Pow(similarity(x, y)-s, 2)
				variance += s * (1 - s) / k
				promised += 1 - math.Pow(1-math.Pow(s, float64(c.Rows)), float64(c.Bands))
				bands := c.bands(y)
				if slices.ContainsFunc(c.bands(x), func(g uint64) bool { return slices.Contains(bands, g) }) {
					found++
				}
			}
			if ratio := squares / variance; ratio < 0.6 || ratio > 1.5 {
				t.Errorf("%+v, %v of the words changed: the error's variance is %.2f times the binomial one", c, changed, ratio)
			}
			if p := promised / n; math.Abs(found/n-p) > 4*math.Sqrt(max(p*(1-p), 1.0/n)/n) {
				t.Errorf("%+v, %v of the words changed: %.3f of the pairs agree in a band, promised %.3f", c, changed, found/n, p)
			}
		}
	}
}

// TestMemoryIsBounded: of what a run sorts no more than the limit is in memory, batches hold few documents, and scores few values.
func TestMemoryIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := &sorter{dir: t.TempDir(), name: "s", limit: 100}
	for i := range 5000 {
		if err := s.add(entry{key: r.Uint64(), doc: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		if len(s.buffer) > s.limit || cap(s.buffer) > 2*s.limit {
			t.Fatalf("%d entries in memory, room for %d", len(s.buffer), cap(s.buffer))
		}
	}
	if len(s.runs) != 50 {
		t.Errorf("%d runs", len(s.runs))
	}
	s.remove()
	d := Distribution{}
	for range 50_000 {
		d.add(math.Exp(20*r.Float64()-10), scoreDigits, true)
	}
	if len(d) > 90*10 {
		t.Errorf("%d different values of a score", len(d))
	}
	docs := documents(slices.Repeat([]string{"short", strings.Repeat("x", batchBytes/3)}, 400))
	seen := 0
	for b, err := range batched(stream(docs, goOn)) {
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, d := range b {
			bytes += len(d.Text)
			if seen++; d.Record != seen {
				t.Fatalf("document %d comes as number %d", d.Record, seen)
			}
		}
		if last := len(b[len(b)-1].Text); len(b) > batchDocs || bytes-last >= batchBytes {
			t.Errorf("a batch of %d documents and %d bytes", len(b), bytes)
		}
	}
	if seen != len(docs) {
		t.Errorf("%d of %d documents", seen, len(docs))
	}
}

// TestBatchesComeInOrder: results come in the order of the documents; an error of the caller and a cancellation end it.
func TestBatchesComeInOrder(t *testing.T) {
	docs := documents(slices.Repeat([]string{"x"}, 3000))
	broken := fmt.Errorf("broken")
	count := func() func([]data.Document) int { return func(d []data.Document) int { return d[0].Record } }
	for _, workers := range []int{1, 2, 7} {
		last, calls := 0, 0
		err := eachBatch(t.Context(), stream(docs, goOn), workers, count, func(first int) error {
			if calls++; first <= last {
				t.Errorf("%d workers: document %d after %d", workers, first, last)
			}
			last = first
			return nil
		})
		if err != nil || calls != (len(docs)+batchDocs-1)/batchDocs {
			t.Errorf("%d workers: %d batches, %v", workers, calls, err)
		}
		calls = 0
		err = eachBatch(t.Context(), stream(docs, goOn), workers, count, func(int) error {
			if calls++; calls == 3 {
				return broken
			}
			return nil
		})
		if err != broken || calls != 3 {
			t.Errorf("%d workers: %d batches and the error %v", workers, calls, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = eachBatch(ctx, stream(docs, func(i int) error {
			if i == 500 {
				cancel()
			}
			return nil
		}), workers, count, func(int) error { return nil })
		if err != context.Canceled {
			t.Errorf("%d workers: stopped with %v", workers, err)
		}
	}
}

// TestClustersInAnyOrder: sets that are joined are the same, and keep the same documents, in whatever order they are joined.
func TestClustersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [2]uint64 {
			return [2]uint64{rapid.Uint64Range(0, 9).Draw(t, "a"), rapid.Uint64Range(0, 9).Draw(t, "b")}
		}), 0, 12).Draw(t, "pairs")
		sizes := rapid.SliceOfN(rapid.Uint32Range(1, 4), 10, 10).Draw(t, "sizes")
		kept := func(pairs [][2]uint64) (all []uint64) {
			c := newClusters()
			for _, p := range pairs {
				c.join(entry{doc: p[0], bytes: sizes[p[0]]}, entry{doc: p[1], bytes: sizes[p[1]]})
			}
			c.settle()
			for doc := range uint64(10) {
				k, _ := c.keptInstead(doc)
				all = append(all, k)
			}
			return all
		}
		want := kept(pairs)
		for doc, k := range want {
			if sizes[k] < sizes[doc] || sizes[k] == sizes[doc] && k > uint64(doc) || want[k] != k {
				t.Fatalf("document %d of %d bytes goes for %d of %d", doc, sizes[doc], k, sizes[k])
			}
		}
		if got := kept(rapid.Permutation(pairs).Draw(t, "order")); !slices.Equal(got, want) {
			t.Fatalf("%v keeps %v in one order and %v in another", pairs, want, got)
		}
	})
}

// TestDamagedClassifiers: files that are none, or whose weights are no numbers, are refused and no text makes them fail.
func TestDamagedClassifiers(t *testing.T) {
	write := func(weights []float32, bias float32) string {
		c := &TextClassifier{NGram: 2, Words: 10, Weights: weights, Bias: bias}
		path := filepath.Join(t.TempDir(), "c.safetensors")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if c, err := LoadClassifier(write(make([]float32, 256), 0)); err != nil || c.Probability("a text") != 0.5 {
		t.Errorf("one that is sound: %v", err)
	}
	odd := make([]float32, 256)
	odd[7] = float32(math.NaN())
	other := filepath.Join(t.TempDir(), "other.safetensors")
	w, err := safetensors.Create(other, []safetensors.Info{{Name: "weight", DType: safetensors.F32, Shape: []int{1}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFloat32("weight", []float32{1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	cut := write(make([]float32, 256), 0)
	if err := os.Truncate(cut, 300); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"no weights": write(nil, 0), "few weights": write(make([]float32, 128), 0), "no power of two": write(make([]float32, 300), 0), "no number": write(odd, 0),
		"an infinite bias": write(make([]float32, 256), float32(math.Inf(1))), "another file": other, "a file cut short": cut, "no file": "missing.safetensors"} {
		if c, err := LoadClassifier(path); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v, error %v", name, c, err)
		}
	}
}

// TestMixGoesOnWithSkip: a mix that stopped at what cannot be read goes on when that is to be skipped, and is what it would have been; the other way
// round, and with fewer kinds, it is refused.
func TestMixGoesOnWithSkip(t *testing.T) {
	broken := fmt.Errorf("broken")
	source := func(name string, fails int) Ingredient {
		in := ingredient(name, 60, 100, 1)
		docs := in.Docs
		in.Docs = func() iter.Seq2[data.Document, error] {
			return func(yield func(data.Document, error) bool) {
				for d, err := range docs() {
					if d.Record == fails {
						err = broken
					}
					if !yield(d, err) {
						return
					}
				}
			}
		}
		return in
	}
	mix := func(dir string, fails int, skip ...string) error {
		_, err := Mix(t.Context(), MixConfig{Dir: dir, Fingerprint: "f", Skip: skip, ShardBytes: 5000, Ingredients: []Ingredient{source("a", 0), source("b", fails)}})
		return err
	}
	stopped, straight := t.TempDir(), t.TempDir()
	if err := mix(stopped, 40); err != broken {
		t.Fatalf("error %v", err)
	}
	if parts, _ := filepath.Glob(filepath.Join(stopped, "part-*")); len(parts) < 2 {
		t.Fatalf("%d parts before the bad place", len(parts))
	}
	for _, dir := range []string{stopped, straight} {
		if err := mix(dir, 0, "on_bad_file", "on_bad_record"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, straight), read(t, stopped)); diff != "" {
		t.Errorf("a mix that went on with skip is another: %s", diff)
	}
	for _, skip := range [][]string{nil, {"on_bad_file"}} {
		if err := mix(stopped, 0, skip...); err == nil || !strings.Contains(err.Error(), "was made with on_bad_record=skip; name another folder") && !strings.Contains(err.Error(), "was made with on_bad_file=skip; name another folder") {
			t.Errorf("with skip of %v: error %v", skip, err)
		}
	}
}
