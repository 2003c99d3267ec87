package data

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// markEncoder marks each byte that is an upper-case letter.
type markEncoder struct{}

func (markEncoder) Encode(dst []int32, d Document, note func(Reason)) ([]int32, error) {
	if string(d.Text) == "bad" {
		return nil, &Left{"examples without an answer"}
	}
	if len(d.Text) > 20 {
		note("examples cut")
		d.Text = d.Text[:20]
	}
	for _, b := range d.Text {
		dst = append(dst, Mark(int32(b), b >= 'A' && b <= 'Z'))
	}
	return dst, nil
}

func markedStore(t testing.TB, texts ...string) (*Store, *Stats) {
	t.Helper()
	cfg := byteConfig(t.TempDir())
	cfg.Encoder, cfg.Vocab, cfg.End = func() Encoder { return markEncoder{} }, 512, nil
	cfg.Stats = &Stats{}
	s, _ := buildTest(t, cfg, texts...)
	return s, cfg.Stats
}

func TestPacksByHand(t *testing.T) {
	s, stats := markedStore(t, "abCD", "bad", "eF", "ghI")
	p, err := NewPacks(s, 7, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got [][][3]int32
	for b := range Sequential(p, 1, 0) {
		if b.Tokens != b.Supervised() || b.Tokens == 0 {
			t.Errorf("%d tokens, %d supervised", b.Tokens, b.Supervised())
		}
		got = append(got, sequences(b)...)
	}
	const no = Ignore
	want := [][][3]int32{ // abCD and ghI fill a pack of 7
		{{'a', no, 0}, {'b', 'C', 1}, {'C', 'D', 2}, {'D', no, 3}},
		{{'g', no, 0}, {'h', 'I', 1}, {'I', no, 2}},
		{{'e', 'F', 0}, {'F', no, 1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := stats.Skipped["examples without an answer"]; n != 1 {
		t.Errorf("%d examples left out, want 1", n)
	}
	if _, err := NewPacks(s, 3, true, nil); err == nil {
		t.Error("an example longer than a pack was accepted")
	}
}

// TestNotesSurviveReuse: a build that finds its shards on disk counts what the first one counted.
func TestNotesSurviveReuse(t *testing.T) {
	cfg := byteConfig(t.TempDir())
	cfg.Encoder, cfg.Vocab, cfg.End = func() Encoder { return markEncoder{} }, 512, nil
	for range 2 {
		cfg.Stats = &Stats{}
		buildTest(t, cfg, "abC", "bad", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaB", "bad")
		want := map[Reason]int{"examples without an answer": 2, "examples cut": 1}
		if diff := cmp.Diff(want, cfg.Stats.Skipped); diff != "" {
			t.Error(diff)
		}
	}
}

// TestBestFit: every document is in one pack, no pack is too long, and there are few of them.
func TestBestFit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		length := rapid.IntRange(2, 200).Draw(rt, "length")
		sizes := rapid.SliceOfN(rapid.Int32Range(2, int32(length)), 1, 300).Draw(rt, "sizes")
		order := make([]int32, len(sizes))
		sum := 0
		for i := range order {
			order[i], sum = int32(i), sum+int(sizes[i])
		}
		slices.SortStableFunc(order, func(a, b int32) int { return int(sizes[b]) - int(sizes[a]) })
		packs := bestFit(order, sizes, length)
		var seen []int32
		for _, pack := range packs {
			n := 0
			for _, d := range pack {
				n += int(sizes[d])
			}
			if n > length {
				rt.Fatalf("a pack of %d tokens, at most %d", n, length)
			}
			seen = append(seen, pack...)
		}
		slices.Sort(seen)
		if len(seen) != len(sizes) || len(slices.Compact(seen)) != len(sizes) {
			rt.Fatal("a document is missing or there twice")
		}
		if least := (sum + length - 1) / length; len(packs) > least*17/10+1 {
			rt.Fatalf("%d packs, %d would hold the tokens", len(packs), least)
		}
	})
}
