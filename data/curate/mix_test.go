package curate

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hone/data"
)

// ingredient is a source of n documents of about the given length.
func ingredient(name string, n, length int, weight float64) Ingredient {
	return Ingredient{Name: name, Weight: func() (float64, error) { return weight, nil }, Docs: func() iter.Seq2[data.Document, error] {
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

// TestMixKeepsSharesOfManySources: a large source behind many small ones is not behind all of them, as it was while the ratios of what sources had to
// their shares were compared.
func TestMixKeepsSharesOfManySources(t *testing.T) {
	const size = 100 // bytes of each document
	dir, weights := t.TempDir(), map[string]float64{"large": 0.5}
	var list []Ingredient
	for i := range 20 {
		weights[fmt.Sprintf("small-%02d", i)] = 0.025
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(weights))) { // the large one last
		list = append(list, Ingredient{Name: name, Weight: func() (float64, error) { return weights[name], nil }, Docs: func() iter.Seq2[data.Document, error] {
			return func(yield func(data.Document, error) bool) {
				for n := 1; n <= 100 && yield(data.Document{Text: bytes.Repeat([]byte{'a'}, size), Source: name, Record: n}, nil); n++ {
				}
			}
		}})
	}
	if _, err := Mix(t.Context(), MixConfig{Dir: dir, Ingredients: list, Amount: 200 * size, ShardBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	given, sum := map[string]float64{}, 0.0
	for i, l := range read(t, dir) {
		given[l.Source], sum = given[l.Source]+size, sum+size
		for name, want := range weights {
			if off := given[name] - want*sum; off > size || off < -2*size {
				t.Fatalf("after %d documents %s is off by %.2f of one", i+1, name, off/size)
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
	c := MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{ingredient("a", 50, 100, 1), ingredient("none", 0, 1, 1)}}
	if _, err := Mix(t.Context(), c); err == nil || !strings.Contains(err.Error(), "none holds no document") {
		t.Errorf("error %v", err)
	}
	if _, err := (data.Sources{Paths: []string{c.Dir}}).Files(); err == nil || !strings.Contains(err.Error(), "unfinished mix") {
		t.Errorf("error %v", err)
	}
	empty := MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{ingredient("a", 50, 100, 1), ingredient("?", 3, 1, 1)}, Amount: 1 << 20, ShardBytes: 1 << 20,
		Tokens: func(s string) int { return strings.Count(s, "a") }}
	if _, err := Mix(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "the documents of ? have no tokens; leave it out") {
		t.Errorf("error %v", err)
	}
	c.Fingerprint = "other"
	if _, err := Mix(t.Context(), c); err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(filepath.Join(c.Dir, data.MixtureState)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "part-00000.jsonl"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Mix(t.Context(), c); err == nil || !strings.Contains(err.Error(), "already holds") {
		t.Errorf("error %v", err)
	}
}

// TestMixGoesOnWhereItWasStopped: runs that are stopped again and again come to the result of one that is not, and write no part twice.
func TestMixGoesOnWhereItWasStopped(t *testing.T) {
	mix := func(dir string, stopAfter int) (*Mixed, error) {
		given, broken := 0, errors.New("broken")
		c := MixConfig{Dir: dir, ShardBytes: 20_000, All: true, Ingredients: []Ingredient{ingredient("a", 300, 100, 1), ingredient("b", 50, 100, 2), ingredient("c", 30, 10, 1)}}
		for i, from := range c.Ingredients {
			c.Ingredients[i].Docs = func() iter.Seq2[data.Document, error] {
				return func(yield func(data.Document, error) bool) {
					for d := range from.Docs() {
						if given++; given == stopAfter {
							yield(d, broken)
							return
						}
						if !yield(d, nil) {
							return
						}
					}
				}
			}
		}
		m, err := Mix(t.Context(), c)
		if err != nil && !errors.Is(err, broken) {
			t.Fatal(err)
		}
		return m, err
	}
	whole, stopped := t.TempDir(), t.TempDir()
	want, err := mix(whole, 0)
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]time.Time{}
	stops := 0
	var got *Mixed
	for after := 200; ; after += 200 {
		var err error
		got, err = mix(stopped, after)
		parts, _ := filepath.Glob(filepath.Join(stopped, "part-*"))
		for _, part := range parts {
			info, err := os.Stat(part)
			if err != nil {
				t.Fatal(err)
			}
			if was, ok := written[part]; ok && was != info.ModTime() {
				t.Errorf("%s was written again", part)
			}
			written[part] = info.ModTime()
		}
		if err == nil {
			break
		}
		stops++
	}
	if stops < 3 {
		t.Errorf("%d stops", stops)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(read(t, whole), read(t, stopped)); diff != "" {
		t.Error(diff)
	}
	if again, err := mix(stopped, 1); err != nil || !cmp.Equal(want, again) {
		t.Errorf("a finished mix gives %+v, %v", again, err)
	}
}
