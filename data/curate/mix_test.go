package curate

import (
	"errors"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data"
)

// ingredient is a source of n documents of about the given length.
func ingredient(name string, n, length int, weight float64) Ingredient {
	return Ingredient{Name: name, Weight: weight, Docs: func() iter.Seq2[data.Document, error] {
		return func(yield func(data.Document, error) bool) {
			for i := range n {
				if !yield(data.Document{Text: []byte(strings.Repeat(name+" ", length+i%7)), Source: name, Record: i + 1}, nil) {
					return
				}
			}
		}
	}}
}

func TestMixKeepsShares(t *testing.T) {
	for _, asParquet := range []bool{false, true} {
		dir := t.TempDir()
		m, err := Mix(t.Context(), MixConfig{Dir: dir, Ingredients: []Ingredient{ingredient("aa", 1000, 20, 6), ingredient("b", 100, 50, 3), ingredient("c", 50, 500, 1)},
			Amount: 200_000, ShardBytes: 50_000, Parquet: asParquet})
		if err != nil {
			t.Fatal(err)
		}
		lines := read(t, dir)
		given, sums := map[string]int64{}, int64(0)
		for _, l := range lines {
			given[l.Source] += int64(len(l.Text))
			sums += int64(len(l.Text))
			for name, want := range map[string]float64{"aa": .6, "b": .3, "c": .1} {
				if off := math.Abs(float64(given[name]) - want*float64(sums)); off > 2500 {
					t.Fatalf("%s is off by %.0f bytes of %d", name, off, sums)
				}
			}
		}
		if m.Total.Bytes != sums || m.Total.Documents != int64(len(lines)) || sums < 200_000 || sums > 202_000 || m.Parts != 4 {
			t.Errorf("%+v, read %d of %d bytes", m, len(lines), sums)
		}
		for _, s := range m.Sources {
			if s.Bytes != given[s.Name] {
				t.Errorf("%+v has %d bytes", s, given[s.Name])
			}
			distinct := map[int]int64{}
			for _, l := range lines {
				if l.Source == s.Name {
					distinct[l.Record]++
				}
			}
			if int(s.Documents-s.Repeated.Documents) != len(distinct) {
				t.Errorf("%s: %d documents, %d repeated, but %d different ones", s.Name, s.Documents, s.Repeated.Documents, len(distinct))
			}
		}
	}
}

func TestMixEnds(t *testing.T) {
	two := []Ingredient{ingredient("large", 300, 100, 1), ingredient("short", 10, 100, 1)}
	first, err := Mix(t.Context(), MixConfig{Dir: t.TempDir(), Ingredients: two, ShardBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if s := first.Sources; s[1].Documents != 10 || s[0].Documents > 11 || s[0].Repeated.Documents+s[1].Repeated.Documents != 0 {
		t.Errorf("until the first ends: %+v", s)
	}
	all, err := Mix(t.Context(), MixConfig{Dir: t.TempDir(), Ingredients: two, ShardBytes: 1 << 20, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := all.Sources; s[0].Documents != 300 || s[0].Repeated.Documents != 0 || s[1].Documents < 290 || s[1].Repeated.Documents != s[1].Documents-10 || s[1].Passes < 29 {
		t.Errorf("until all have ended: %+v", s)
	}
	tokens, err := Mix(t.Context(), MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{ingredient("wide-word", 30, 100, 1), ingredient("a", 30, 100, 1)}, ShardBytes: 1 << 20,
		Tokens: func(s string) int { return len(strings.Fields(s)) }})
	if err != nil {
		t.Fatal(err)
	}
	if s := tokens.Sources; tokens.Unit != "tokens" || math.Abs(s[0].Share-0.5) > 0.02 || s[0].Tokens < 3000 || s[0].Bytes < 4*s[1].Bytes {
		t.Errorf("shares of tokens: %+v", s)
	}
}

func TestMixIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	bad := ingredient("bad", 5, 10, 1)
	bad.Docs = func() iter.Seq2[data.Document, error] {
		return stream(corpus(50), func(i int) error {
			if i == 20 {
				return broken
			}
			return nil
		})
	}
	c := MixConfig{Dir: dir, Ingredients: []Ingredient{ingredient("a", 50, 100, 1), bad}, ShardBytes: 1000, All: true}
	if _, err := Mix(t.Context(), c); !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	if parts, _ := filepath.Glob(filepath.Join(dir, "*.zst")); len(parts) != 0 {
		t.Errorf("%v stand there", parts)
	}
	c.Ingredients = []Ingredient{ingredient("a", 50, 100, 1), ingredient("none", 0, 1, 1)}
	if _, err := Mix(t.Context(), c); err == nil || !strings.Contains(err.Error(), "none holds no document") {
		t.Errorf("error %v", err)
	}
	c.Ingredients = []Ingredient{ingredient("a", 50, 100, 1), ingredient("b", 50, 100, 2)}
	if _, err := Mix(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, workName)); err == nil {
		t.Error("the work folder is left")
	}
	want := read(t, dir)
	if _, err := Mix(t.Context(), c); err == nil || !strings.Contains(err.Error(), "already holds") {
		t.Errorf("error %v", err)
	}
	c.Dir = t.TempDir()
	if _, err := Mix(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, read(t, c.Dir)); diff != "" {
		t.Errorf("the same mix is another one: %s", diff)
	}
}
