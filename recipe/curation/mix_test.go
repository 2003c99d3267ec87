package curation

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate"
	"hone/recipe"
	"hone/recipe/recipetest"
)

// corpusFile writes n documents of a name as JSON lines; the line before number bad, if there is one, is no JSON.
func corpusFile(t *testing.T, name string, n, bad int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		if i+1 == bad {
			b.WriteString("{broken\n")
		}
		fmt.Fprintf(&b, "{\"text\": %q}\n", strings.Repeat(fmt.Sprintf("%s %d ", name, i), 40))
	}
	path := filepath.Join(t.TempDir(), name+".jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func mix(t *testing.T, out string, args ...string) (*curate.Mixed, *data.Stats, error) {
	t.Helper()
	c := DefaultMix()
	recipetest.Set(t, &c, append([]string{"out=" + out}, args...)...)
	return c.Run(t.Context(), nil)
}

// TestMixWeights: without weights shares are those of the sizes, to the power of one over the temperature; with weights they are those.
func TestMixWeights(t *testing.T) {
	a, b := corpusFile(t, "aa", 90, 0), corpusFile(t, "bb", 30, 0)
	size := func(path string) (n float64) {
		for d, err := range (data.Sources{Paths: []string{path}}).Documents(&data.Stats{}) {
			if err != nil {
				t.Fatal(err)
			}
			n += float64(len(d.Text))
		}
		return n
	}
	for args, want := range map[string]float64{
		"until=all": size(a) / (size(a) + size(b)), "until=all data_temperature=2": 1 / (1 + math.Sqrt(size(b)/size(a))), "data_weights=1,3": 0.25, "data_weights=1e3,3e3 data_temperature=1e9": 0.5,
	} {
		m, _, err := mix(t, t.TempDir(), append([]string{"data=" + a + "," + b}, strings.Fields(args)...)...)
		if err != nil {
			t.Fatal(err)
		}
		if s := m.Sources[0]; math.Abs(s.Wanted-want) > 1e-6 || math.Abs(s.Share-want) > 0.03 || m.Unit != "bytes" {
			t.Errorf("%s: wanted %v and got %v, want %v", args, s.Wanted, s.Share, want)
		}
	}
}

// TestMixSkipsLater: with weights a mix stops where a record is bad, and goes on when that is skipped, to what it is from the beginning; what was
// made by skipping is not taken for the work of a mix that does not.
func TestMixSkipsLater(t *testing.T) {
	args := []string{"data=" + corpusFile(t, "aa", 9000, 0) + "," + corpusFile(t, "bb", 9000, 6000), "data_weights=1,1", "shard_mib=1"}
	stopped, straight := t.TempDir(), t.TempDir()
	if _, _, err := mix(t, stopped, args...); err == nil || !strings.Contains(err.Error(), "bb.jsonl:6000") {
		t.Fatalf("error %v", err)
	}
	if parts, _ := filepath.Glob(filepath.Join(stopped, "part-*")); len(parts) == 0 {
		t.Fatal("no part was finished before the bad record")
	}
	for _, out := range []string{stopped, straight} {
		if _, stats, err := mix(t, out, append(args, "on_bad_record=skip")...); err != nil || stats.Skipped[data.Malformed] != 1 {
			t.Fatalf("skipped %v, error %v", stats, err)
		}
	}
	if resultFiles(t, straight) != strings.ReplaceAll(resultFiles(t, stopped), stopped, straight) {
		t.Error("a mix that skips later is another")
	}
	if _, _, err := mix(t, straight, args...); err == nil || !strings.Contains(err.Error(), "was made with on_bad_record=skip") {
		t.Errorf("without skip: %v", err)
	}
}

func TestMixTellsWhatCannotBeMeant(t *testing.T) {
	a := corpusFile(t, "aa", 3, 0)
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	if err := os.WriteFile(empty, []byte("\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const two = "data=A,A"
	for args, want := range map[string]string{
		"data=A": "two sources or more", two + " out=": "out is not set", two + " data_weights=1": "data_weights has 1 numbers for 2 sources", two + " data_weights=1,0": `data_weights has "0"`,
		two + " data_weights=1,x": `data_weights has "x"`, two + " data_temperature=0": "data_temperature is 0", two + " amount=-1": "amount is -1", two + " until=none": `until is "none"`,
		two + " shard_mib=0": "shard_mib is 0", two + " format=csv": `format is "csv"`, two + " on_bad_record=ask": `on_bad_record is "ask"`, "data=A,EMPTY": "holds no text",
		"data=A,missing.jsonl": "missing.jsonl", two + " tokenizer=missing": "missing",
	} {
		args := strings.Fields(args)
		for i := range args { // not before they are cut: folders may have spaces in their names
			args[i] = strings.NewReplacer("A", a, "EMPTY", empty).Replace(args[i])
		}
		out := filepath.Join(t.TempDir(), "out")
		c := DefaultMix()
		c.Out = out
		recipetest.Set(t, &c, args...)
		if _, _, err := c.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: error %v, want %q", args, err, want)
		}
	}
}

// TestSourceWeight: SRC=WEIGHT is told from path=value by its key and its number.
func TestSourceWeight(t *testing.T) {
	var c Mix
	for arg, want := range map[string]bool{"wiki/=0.7": true, "a=b=3": true, "out=3": false, "amount=5": false, "wiki/=many": false, "=3": false, "wiki/": false} {
		n := len(c.Data)
		if got := c.SourceWeight(arg); got != want || (len(c.Data) > n) != want || len(c.Data) != len(c.DataWeights) {
			t.Errorf("%s: %v, sources %v with %v", arg, got, c.Data, c.DataWeights)
		}
	}
}

// TestCheckKeepsSoundRecords: what is kept are the records as they are, without copies; without a folder only a result.
func TestCheckKeepsSoundRecords(t *testing.T) {
	sound := `{"prompt":"What is the tallest mountain of the world?","completion":"Mount Everest is the tallest mountain of the world."}`
	records := []string{sound, `{"prompt":"a"}`, `{"prompt":"Why?","completion":"I'm sorry, but I can't help with that."}`, strings.Replace(sound, `":"`, `": "`, 1), "{broken",
		`{"prompt":"Name one river that flows through the city of Paris","completion":"The Seine flows through it."}`}
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(records, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, threads := range []string{"1", "3"} {
		for _, out := range []string{"", filepath.Join(t.TempDir(), "out")} {
			c := DefaultCheck()
			recipetest.Set(t, &c, "data="+path, "out="+out, "threads="+threads, "checks=format,same_answers,refusals,scripts")
			r, stats, err := c.Run(t.Context(), recipe.Env{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Read.Documents != 5 || r.Kept.Documents != 2 || r.Steps[0].Rejected["a record is of no known format"].Documents+r.Steps[2].Rejected["refused answer"].Documents != 2 ||
				r.Exact.Documents+r.Near.Documents != 1 || stats.Skipped[data.Malformed] != 1 {
				t.Errorf("out %q: %+v, %v", out, r, stats.Skipped)
			}
			if out == "" {
				continue
			}
			var kept []string
			for d, err := range (data.Sources{Paths: []string{out}, Records: true}).Documents(&data.Stats{}) {
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, string(d.Text))
			}
			if !slices.Equal(kept, []string{sound, records[5]}) {
				t.Errorf("kept %q", kept)
			}
		}
	}
}

func TestCheckAndCurateTellWhatCannotBeMeant(t *testing.T) {
	file := corpusFile(t, "aa", 3, 0)
	for args, want := range map[string]string{
		"data=": "data is not set", "shard_mib=0": "shard_mib is 0", "threads=-1": "threads is -1", "checks=": "checks must begin with format", "checks=length": "checks must begin with format",
		"checks=format,spelling": `checks names "spelling"; known are format`, "checks=format,length,length": "checks names length twice", "dedup=lines": `dedup names "lines"`, "near.bands=0": "near.bands is 0",
		"length.min_chars=5 length.max_chars=4": "length.min_chars is 5", "checks=format,words": "words.lists is not set", "outliers.fence=0": "outliers.fence is 0", "refusals.within=-1": "refusals.within is -1",
		"scripts.keep=Klingon": `scripts.keep names "Klingon"`, "on_bad_record=ask": `on_bad_record is "ask"`, "language.min_confidence=2": "language.min_confidence is 2",
	} {
		c := DefaultCheck()
		c.Data = []string{file}
		recipetest.Set(t, &c, strings.Fields(args)...)
		if _, _, err := c.Run(t.Context(), recipe.Env{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("check %s: error %v, want %q", args, err, want)
		}
	}
	for args, want := range map[string]string{
		"data=": "data is not set", "out=": "out is not set", "shard_mib=0": "shard_mib is 0", "threads=-1": "threads is -1", "format=csv": `format is "csv"`, "on_same_id=ask": `on_same_id is "ask"`,
		"filters=mend,mend": "filters names mend twice", "near.rows=0": "near.rows 0", "near.threshold=2": "near.threshold is 2", "tokenizer=missing": "missing", "on_bad_file=ask": `on_bad_file is "ask"`,
		"filters=perplexity perplexity.model=x perplexity.head=70": "perplexity.head is 70", "filters=perplexity perplexity.model=x perplexity.keep=best": `perplexity.keep names "best"`,
		"filters=perplexity perplexity.model=x perplexity.tokens=1": "perplexity.tokens is 1", "filters=perplexity perplexity.model=x perplexity.dtype=f64": "perplexity.dtype",
		"filters=perplexity perplexity.model=x perplexity.min_bits_per_byte=2 perplexity.max_bits_per_byte=1": "no document is between them",
	} {
		c := DefaultCurate()
		c.Data, c.Out = []string{file}, filepath.Join(t.TempDir(), "out")
		recipetest.Set(t, &c, strings.Fields(args)...)
		if _, _, err := c.Run(t.Context(), recipe.Env{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("curate %s: error %v, want %q", args, err, want)
		}
	}
}

// TestThirdsOfASample: what is at a limit is in the part below it.
func TestThirdsOfASample(t *testing.T) {
	limits := thresholds{Head: 1, Tail: 2}
	for bits, want := range map[float64]string{0: "head", 1: "head", math.Nextafter(1, 2): "middle", 2: "middle", math.Nextafter(2, 3): "tail"} {
		if got := limits.part(bits); got != want {
			t.Errorf("%v bits per byte are in the %s, want %s", bits, got, want)
		}
	}
}
