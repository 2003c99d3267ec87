package data

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// marked are ids, upper-case letters supervised.
func marked(text string) (marks []int32) {
	for _, b := range []byte(text) {
		marks = append(marks, Mark(int32(b), b >= 'A' && b <= 'Z'))
	}
	return marks
}

// TestBatchByHand: rows, targets and positions of two sequences, and what lists of rows are made of them.
func TestBatchByHand(t *testing.T) {
	var b Batch
	b.AppendMarked(marked("aBC"))
	b.AppendMarked(marked("dE"))
	b.AppendMarked(marked("x"))
	const no = Ignore
	want := [][][3]int32{{{'a', 'B', 0}, {'B', 'C', 1}, {'C', no, 2}}, {{'d', 'E', 0}, {'E', no, 1}}, {{'x', no, 0}}}
	if diff := cmp.Diff(want, sequences(b)); diff != "" || b.Rows() != 6 || b.Supervised() != 3 {
		t.Errorf("%d rows, %d supervised: %s", b.Rows(), b.Supervised(), diff)
	}
	rows, targets, owner := b.SupervisedRows()
	if !slices.Equal(rows, []int32{0, 1, 3}) || !slices.Equal(targets, []int32{'B', 'C', 'E'}) || !slices.Equal(owner, []int32{0, 0, 1}) {
		t.Errorf("supervised are the rows %v with the targets %v of the sequences %v", rows, targets, owner)
	}
	for pad, want := range map[int32][]int32{-1: {2, 4, 5}, 'C': {1, 4, 5}, 'B': {2, 4, 5}, 'E': {2, 3, 5}, 'x': {2, 4, 5}} {
		if last := b.LastRows(pad); !slices.Equal(last, want) {
			t.Errorf("the last rows that are not %d are %v, want %v", pad, last, want)
		}
	}
	b.Tokens = 9
	if got := b.String(); got != "6 rows in 3 sequences, 3 of 9 supervised" {
		t.Errorf("%q", got)
	}
	var c Batch
	c.AppendContexts(marked("aBC"))
	c.AppendContexts(marked("dE"))
	if diff := cmp.Diff([][][3]int32{{{'a', 'B', 0}, {'B', 'C', 1}}, {{'d', 'E', 0}}}, sequences(c)); diff != "" || len(c.Targets) != 3 {
		t.Errorf("contexts: %s", diff)
	}
	zero := Batch{Targets: []int32{0, Ignore}, Offsets: []int32{0, 2}}
	if rows, _, _ := zero.SupervisedRows(); len(rows) != 1 { // token 0 is a token
		t.Errorf("of a target 0 and none the rows %v are supervised", rows)
	}
}

// TestMarks: ids of the whole range come back with their mark, and equal lists, cut otherwise, have another hash.
func TestMarks(t *testing.T) {
	for _, id := range []int32{0, 1, 1<<30 - 1} {
		for _, supervised := range []bool{false, true} {
			if got, s := Unmark(Mark(id, supervised)); got != id || s != supervised {
				t.Errorf("%d %v comes back as %d %v", id, supervised, got, s)
			}
		}
	}
	hashes := map[uint64]string{}
	for _, lists := range [][][]int32{{}, {{}}, {{}, {}}, {{1}}, {{1}, {}}, {{}, {1}}, {{1, 2}}, {{1}, {2}}, {{2, 1}}, {{1 << 8}}, {{1 << 16}}, {{1 << 24}}} {
		h := HashMarks(lists...)
		if other, twice := hashes[h]; twice {
			t.Errorf("%v hashes as %s", lists, other)
		}
		if hashes[h] = fmt.Sprint(lists); HashMarks(lists...) != h {
			t.Errorf("%v hashes otherwise a second time", lists)
		}
	}
}

// TestPacksOfOne: without packing each example is a pack, in the order of the store; supervised rows are counted without making the batch.
func TestPacksOfOne(t *testing.T) {
	s, _ := markedStore(t, "abCD", "eF", "ghI", "no")
	for _, packing := range []bool{false, true} {
		p, err := NewPacks(s, 7, packing, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int64{false: 4, true: 2}[packing]; p.Count() != want || p.maxRows() != 7 {
			t.Errorf("packing %v: %d packs of up to %d rows, want %d", packing, p.Count(), p.maxRows(), want)
		}
		n := 0
		for i := range p.Count() {
			var b Batch
			p.appendTo(&b, i)
			if got := p.supervised(i); got != b.Supervised() || b.Rows() > 7 {
				t.Errorf("packing %v: pack %d has %d supervised rows, counted %d", packing, i, b.Supervised(), got)
			}
			if n += b.Supervised(); !packing && string(rune(b.IDs[0])) != []string{"a", "e", "g", "n"}[i] {
				t.Errorf("pack %d begins with %c", i, b.IDs[0])
			}
		}
		if n != 4 {
			t.Errorf("packing %v: %d rows are supervised, want 4", packing, n)
		}
	}
	if _, err := NewPacks(s, 4, false, nil); err != nil {
		t.Errorf("examples of just the length: %v", err)
	}
	if _, err := NewPacks(s, 3, false, nil); err == nil || !strings.Contains(err.Error(), "example 1 has 4 tokens, more than sequence_length 3") {
		t.Errorf("an example that is too long: %v", err)
	}
}

// TestRooms: the pack with the least space that is enough, across words of 64 bits, and none that is too small.
func TestRooms(t *testing.T) {
	r := newRooms(200)
	for pack, space := range []int{63, 64, 65, 128, 200, 1, 0} {
		r.put(pack, space)
	}
	for _, c := range []struct{ n, pack, space int }{{2, 0, 63}, {64, 1, 64}, {64, 2, 65}, {66, 3, 128}, {2, 4, 200}, {2, -1, 0}} {
		if pack, space := r.take(c.n); pack != c.pack || space != c.space {
			t.Errorf("for %d: pack %d with %d, want %d with %d", c.n, pack, space, c.pack, c.space)
		}
	}
	r.put(7, 100)
	if pack, _ := r.take(101); pack != -1 {
		t.Errorf("pack %d has no room for 101", pack)
	}
	r.put(8, 100)
	a, _ := r.take(100)
	b, _ := r.take(100)
	if c, _ := r.take(100); a+b != 15 || c != -1 {
		t.Errorf("packs %d, %d and %d", a, b, c)
	}
}

// TestMixtureRefuses what cannot be dealt.
func TestMixtureRefuses(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), "some text")
	u := Weighted{cut(s, 4), 1}
	empty := Weighted{&Packs{store: s}, 1}
	for want, c := range map[string]struct {
		cfg     MixtureConfig
		sources []Weighted
	}{
		"no training data":                       {MixtureConfig{BatchSize: 1}, nil},
		"data source 2 holds nothing":            {MixtureConfig{BatchSize: 1}, []Weighted{u, empty}},
		"batch_size is 0":                        {MixtureConfig{}, []Weighted{u}},
		"batch_size 536870912 x 4 tokens is too": {MixtureConfig{BatchSize: 1 << 29}, []Weighted{u}},
		"rank 2 of 2 ranks":                      {MixtureConfig{BatchSize: 1, Rank: 2, Ranks: 2}, []Weighted{u}},
		"rank -1 of 1 ranks":                     {MixtureConfig{BatchSize: 1, Rank: -1}, []Weighted{u}},
		"5000 data sources are too many":         {MixtureConfig{BatchSize: 1}, slices.Repeat([]Weighted{u}, 5000)},
	} {
		if _, err := NewMixture(c.cfg, c.sources...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := NewMixture(MixtureConfig{BatchSize: 1<<29 - 1}, u); err != nil {
		t.Errorf("as many tokens as rows can be numbered: %v", err)
	}
	m := mustMix(t, MixtureConfig{BatchSize: 2, Accumulation: 3, Ranks: 4, Rank: 3}, u, Weighted{cut(s, 2), 1})
	if m.PerStep() != 24 || m.PerEpoch() != 3+5 {
		t.Errorf("%d units a step and %d an epoch", m.PerStep(), m.PerEpoch())
	}
	if _, err := NewWindows(s, 1); err == nil || !strings.Contains(err.Error(), "sequence_length is 1") {
		t.Errorf("windows of one token: %v", err)
	}
	if w, err := NewWindows(s, 2); err != nil || w.Count() != 5 || w.maxRows() != 2 {
		t.Errorf("windows of two tokens: %v", err)
	}
}

// TestStoreByHand: sizes, documents and tokens of two shards, and reads outside of them.
func TestStoreByHand(t *testing.T) {
	cfg := byteConfig(t.TempDir())
	cfg.ShardBytes = 4
	s, _ := buildTest(t, cfg, "abcd", "efg", "hij", "k")
	if s.Tokens() != 15 || s.Documents() != 4 || s.Supervised() != 11 || s.Bytes() != 11 || s.Vocab() != 257 || len(s.shards) < 2 {
		t.Errorf("%d tokens of %d documents, %d supervised, %d bytes, vocabulary %d, %d shards", s.Tokens(), s.Documents(), s.Supervised(), s.Bytes(), s.Vocab(), len(s.shards))
	}
	for d, want := range [][2]int64{{0, 5}, {5, 9}, {9, 13}, {13, 15}} {
		if from, to := s.Document(int64(d)); from != want[0] || to != want[1] {
			t.Errorf("document %d is the tokens %d to %d", d, from, to)
		}
	}
	ids := make([]int32, 7) // from one shard into the next
	if s.Read(ids, 3); !slices.Equal(ids, []int32{'d', endMark, 'e', 'f', 'g', endMark, 'h'}) {
		t.Errorf("read %v", ids)
	}
	s.Read(nil, 15)
	for name, misuse := range map[string]func(){
		"document -1": func() { s.Document(-1) }, "document 4": func() { s.Document(4) }, "token -1": func() { s.Read(ids, -1) }, "behind the last": func() { s.Read(ids, 9) },
	} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.HasPrefix(fmt.Sprint(p), "data: ") {
					t.Errorf("%s: %v", name, p)
				}
			}()
			misuse()
		}()
	}
	none := &Store{tokenStart: []int64{0}, docStart: []int64{0}}
	if none.BytesPerToken() != 0 || none.BitsPerByte(1) != 0 {
		t.Error("an empty store has a size per token")
	}
}

// TestWideTokens: a vocabulary of more than 2^16 takes four bytes a token, one of just as many two.
func TestWideTokens(t *testing.T) {
	for vocab, width := range map[int]int{1 << 16: 2, 1<<16 + 1: 4} {
		dir := t.TempDir()
		c := shardContent{vocab: vocab, ids: []int32{0, int32(vocab - 1), 1}, ends: []int64{3}, textBytes: 5, notes: map[Reason]int{TooShort: 2}}
		if err := c.write(dir, "x"); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(dir, []string{"x"})
		if err != nil {
			t.Fatal(err)
		}
		ids := make([]int32, 3)
		if s.Read(ids, 0); !slices.Equal(ids, c.ids) || s.shards[0].width != width || s.shards[0].notes[TooShort] != 2 {
			t.Errorf("vocabulary %d: %v in %d bytes each, notes %v", vocab, ids, s.shards[0].width, s.shards[0].notes)
		}
		s.Close()
		c.ids[1]++ // outside, with a checksum that is right
		if err := c.write(dir, "y"); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir, []string{"y"}); err == nil && width == 4 || err != nil && !strings.Contains(err.Error(), "outside the vocabulary") {
			t.Errorf("a token %d of %d: %v", c.ids[1], vocab, err)
		}
	}
	dir := t.TempDir()
	for name, vocab := range map[string]int{"a": 10, "b": 11} {
		if err := (&shardContent{vocab: vocab, ids: []int32{1, 2}, ends: []int64{2}}).write(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenStore(dir, []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), "a vocabulary of 11, others with 10") {
		t.Errorf("two vocabularies: %v", err)
	}
	for want, ends := range map[string][]int64{"document 0 ends before": {1}, "document 1 ends before": {2, 3}, "do not cover": {2}, "document 0 ends behind": {math.MaxInt64, 3}} {
		if err := (&shardContent{vocab: 10, ids: []int32{1, 2, 3}, ends: ends}).write(dir, "z"); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir, []string{"z"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("documents that end at %v: %v", ends, err)
		}
	}
}

// TestTextsAndFiles: texts alone, with the error that ends them; the files that are read; keys that tell what decides on what is read from what decides where reading ends.
func TestTextsAndFiles(t *testing.T) {
	broken := errors.New("broken")
	var got []string
	for text, err := range Texts(func(yield func(Document, error) bool) {
		_ = yield(Document{Text: []byte("a")}, nil) && yield(Document{Text: []byte("b")}, broken) && yield(Document{}, nil)
	}) {
		if got = append(got, string(text)); err != nil {
			got = append(got, err.Error())
			break
		}
	}
	if !slices.Equal(got, []string{"a", "b", "broken"}) {
		t.Errorf("%q", got)
	}
	dir := tree(t, map[string]string{"b.txt": "b", "a.jsonl": "{}", ".hidden": "x"})
	s := Sources{Paths: []string{dir}}
	files, err := s.Files()
	if err != nil || !slices.Equal(files, []string{filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.txt")}) {
		t.Errorf("%q, %v", files, err)
	}
	if _, err := (Sources{Paths: []string{filepath.Join(dir, "none")}}).Files(); err == nil {
		t.Error("files that are not there are listed")
	}
	keys := func(s Sources) (string, string) {
		a, errA := s.Key()
		b, errB := s.PlaceKey()
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	key, place := keys(s)
	for _, c := range []struct {
		s           Sources
		key, places bool // stay the same
	}{
		{Sources{OnBadRecord: SkipBadRecord}, false, true}, {Sources{OnBadFile: SkipBadRecord}, false, true}, {Sources{OnBadFile: FailOnBadRecord}, true, true},
		{Sources{URLField: "url"}, false, false}, {Sources{IDField: "id"}, false, false}, {Sources{Records: true}, false, false}, {Sources{MaxRecord: 5}, false, false}, {Sources{}, true, true},
	} {
		c.s.Paths = s.Paths
		if k, p := keys(c.s); (k == key) != c.key || (p == place) != c.places {
			t.Errorf("%+v: the key stays %v, the places' key %v", c.s, k == key, p == place)
		}
	}
	for _, bad := range []Sources{{Paths: s.Paths, OnBadFile: "x"}, {Paths: s.Paths, OnBadRecord: "x"}} {
		if _, err := bad.Key(); err == nil || !strings.Contains(err.Error(), `"x"; it must be "error" or "skip"`) {
			t.Errorf("%v", err)
		}
	}
}

// TestNamedPlaces that are no files: a device is refused when it is named.
func TestNamedPlaces(t *testing.T) {
	if _, err := (Sources{Paths: []string{os.DevNull}}).Files(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: %v", err)
	}
}

// TestBitsOfASum: bits per byte are nats per predicted token over ln 2, times predicted tokens over bytes.
func TestBitsOfASum(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), "ab", "cdef")
	if got, want := s.BitsPerByte(3), 3/math.Ln2*6/6; math.Abs(got-want) > 1e-12 { // 8 tokens, of which the 2 first are not predicted, for 6 bytes
		t.Errorf("%v, want %v", got, want)
	}
}
