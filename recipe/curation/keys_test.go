package curation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/tokenizer"
)

// TestUnusedKeys: a key of a section has an effect only where filters, checks or dedup name the section; minhash is another name of near.
func TestUnusedKeys(t *testing.T) {
	curate, check := DefaultCurate(), DefaultCheck()
	curate.Filters, curate.Dedup = []string{"words"}, []string{"minhash", "lines"}
	check.Checks, check.Dedup = []string{"format", "length"}, []string{"near"}
	for key, want := range map[string][2]string{ // of curate, of check
		"threads":          {"", ""},
		"words.lists":      {"", "checks, which lack words"},
		"length.min_chars": {"filters, which lack length", ""},
		"near.ngram":       {"", ""},
		"lines.min_chars":  {"", "dedup, which lacks lines"},
		"substring.length": {"dedup, which lacks substring", "dedup, which lacks substring"},
		"paragraphs.x":     {"dedup, which lacks paragraphs", "dedup, which lacks paragraphs"},
	} {
		if got := [2]string{curate.Unused(key), check.Unused(key)}; got != want {
			t.Errorf("%s is unused beside %q, want %q", key, got, want)
		}
	}
	curate.Dedup, check.Dedup = nil, []string{"exact"}
	for _, got := range []string{curate.Unused("near.ngram"), check.Unused("near.ngram")} {
		if got != "dedup, which lacks near" {
			t.Errorf("near.ngram is unused beside %q", got)
		}
	}
}

// TestValuesAtTheirBounds: what just can be meant, of all three recipes.
func TestValuesAtTheirBounds(t *testing.T) {
	check := func(name string, err error, want string) {
		t.Helper()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for args, want := range map[string]string{
		"": "", "on_same_id=keep": "", "on_same_id=skip": "", "on_same_id=error": "", "on_same_id=": `on_same_id is ""`, "format=parquet": "", "shard_mib=1": "", "threads=0": "",
		"filters=": "", "dedup=exact,near,minhash,paragraphs,lines,substring": "", "dedup=far": `dedup names "far"; known are exact, near, minhash, paragraphs, lines, substring`,
		"filters=perplexity perplexity.model=x perplexity.tokens=0 perplexity.batch_tokens=2 perplexity.sample=3":      "",
		"filters=perplexity perplexity.model=x perplexity.tokens=2":                                                    "",
		"filters=perplexity perplexity.model=x perplexity.tokens=-1":                                                   "perplexity.tokens is -1",
		"filters=perplexity perplexity.model=x perplexity.batch_tokens=1":                                              "batch_tokens 1",
		"filters=perplexity perplexity.model=x perplexity.sample=2":                                                    "sample 2",
		"filters=perplexity perplexity.model=x perplexity.min_bits_per_byte=1 perplexity.max_bits_per_byte=1":          "",
		"filters=perplexity perplexity.model=x perplexity.min_bits_per_byte=1":                                         "", // 0 is no bound
		"filters=perplexity perplexity.model=x perplexity.min_bits_per_byte=-1":                                        "min_bits_per_byte is -1",
		"filters=perplexity perplexity.model=x perplexity.max_bits_per_byte=-1":                                        "max_bits_per_byte -1",
		"filters=perplexity perplexity.model=x perplexity.head=50 perplexity.tail=50 perplexity.keep=head,middle,tail": "",
		"filters=perplexity perplexity.model=x perplexity.head=0":                                                      "perplexity.head is 0",
		"filters=perplexity perplexity.model=x perplexity.tail=100":                                                    "perplexity.tail 100",
		"filters=perplexity": "perplexity.model is not set",
		"filters=urls":       "urls has no list to reject by", "filters=urls urls.reject_missing=true": "", "filters=urls urls.parts=x": "",
		"filters=urls urls.hosts=x urls.max_soft_words=-1":                             "urls.max_soft_words is -1",
		"gopher_quality.min_words=6 gopher_quality.max_words=5":                        "gopher_quality.min_words is 6 and max_words 5",
		"gopher_quality.min_words=6 gopher_quality.max_words=0":                        "", // no bound
		"gopher_quality.min_word_length=3 gopher_quality.max_word_length=2":            "gopher_quality.min_word_length is 3 and max_word_length 2",
		"gopher_quality.min_stop_words=9":                                              "gopher_quality.min_stop_words is 9; it must be from 0 to 8",
		"gopher_quality.min_stop_words=8 gopher_quality.max_symbols=2":                 "",
		"gopher_quality.min_letters=80":                                                "gopher_quality.min_letters is 80; it is a share",
		"gopher_repetition.dup_lines=30":                                               "gopher_repetition.dup_lines is 30; it is a share",
		"gopher_repetition.dup_lines=1 gopher_repetition.dup_paragraph_chars=-0.1":     "gopher_repetition.dup_paragraph_chars is -0.1",
		"fineweb.min_punctuation=12":                                                   "fineweb.min_punctuation is 12; it is a share",
		"fineweb.max_newlines=2 fineweb.max_short_lines=1 fineweb.max_dup_chars=0":     "",
		"fineweb.max_newlines=-1":                                                      "fineweb.max_newlines is -1",
		"filters=code code.min_alphanumeric=25":                                        "code.min_alphanumeric is 25; it is a share",
		"filters=code gopher_quality.min_letters=80 fineweb.min_punctuation=12 dedup=": "", // of filters that are not used
		"perplexity.head=0":                                                            "", // of a filter that is not used
	} {
		c := DefaultCurate()
		c.Data, c.Out = []string{"d"}, "o"
		recipetest.Set(t, &c, strings.Fields(args)...)
		check("curate "+args, c.Validate(), want)
	}
	for args, want := range map[string]string{"": "", "shard_mib=1": "", "checks=format": "", "dedup=": "", "dedup=exact": "", "dedup=minhash": `dedup names "minhash"; use exact, near or both`,
		"checks=format,same_answers,refusals,outliers,length,scripts,language,words": ""} {
		c := DefaultCheck()
		c.Data = []string{"d"}
		recipetest.Set(t, &c, strings.Fields(args)...)
		check("check "+args, c.Validate(), want)
	}
	for args, want := range map[string]string{"": "", "data_weights=1,2": "", "data_weights=1,Inf": `data_weights has "Inf"`, "data_weights=1,NaN": `data_weights has "NaN"`, "data_weights=1,2,3": "has 3 numbers for 2 sources",
		"data_temperature=1e-3": "", "amount=0": "", "until=all": "", "shard_mib=1": "", "format=parquet": ""} {
		c := DefaultMix()
		c.Data, c.Out = []string{"a", "b"}, "o"
		recipetest.Set(t, &c, strings.Fields(args)...)
		check("mix "+args, c.Validate(), want)
	}
	for temperature, want := range map[float64]string{math.Inf(1): "data_temperature is +Inf", math.NaN(): "data_temperature is NaN", -1: "data_temperature is -1"} {
		c := DefaultMix()
		c.Data, c.Out, c.DataTemperature = []string{"a", "b"}, "o", temperature
		check(fmt.Sprint("a mix at ", temperature), c.Validate(), want)
	}
}

// TestCheckLeavesNothing where no folder is named; the folder that is has the recipe, and is taken neither for the work of another nor for one that skips.
func TestCheckLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("r.jsonl", []byte(`{"prompt":"What is the tallest mountain?","completion":"Mount Everest is the tallest."}`), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(out string, args ...string) error {
		c := DefaultCheck()
		recipetest.Set(t, &c, append([]string{"data=r.jsonl", "out=" + out, "checks=format"}, args...)...) // with as many workers as there are cores
		r, _, err := c.Run(t.Context(), recipe.Env{})
		if err == nil && r.Kept.Documents != 1 {
			t.Errorf("%d records are kept", r.Kept.Documents)
		}
		return err
	}
	if err := run(""); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{temporary, "."} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "r.jsonl" {
			t.Errorf("in %s are left %v, %v", dir, entries, err)
		}
	}
	for range 2 { // the second finds it done
		if err := run("out"); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join("out", "recipe.yaml")); err != nil || !strings.Contains(string(text), "r.jsonl") {
		t.Errorf("the recipe is %q, %v", text, err)
	}
	for args, want := range map[string]string{"dedup=exact": "of another recipe", "threads=2": "", "on_bad_record=error": "on_bad_record=skip on_bad_file=error", "on_bad_file=skip": "on_bad_record=skip on_bad_file=error"} {
		if err := run("out", args); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with %s: %v, want %q", args, err, want)
		}
	}
}

// byteTokenizer is a folder with a tokenizer of letters, and of the one word that the texts of corpusFile repeat.
func byteTokenizer(t *testing.T) string {
	t.Helper()
	docs := func(yield func([]byte, error) bool) { yield([]byte(strings.Repeat("aa 1 bb 2 ", 50)), nil) }
	tok, err := tokenizer.Train(context.Background(), iter.Seq2[[]byte, error](docs), tokenizer.TrainConfig{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTokensOfATokenizer: texts are counted, one after the other, shares and amounts are of tokens, and so is what a curation kept.
func TestTokensOfATokenizer(t *testing.T) {
	dir := byteTokenizer(t)
	counter, err := TokenCounter(dir)
	if err != nil {
		t.Fatal(err)
	}
	count := counter()
	long, short := count(strings.Repeat("q", 100)), count("q")
	if long != 100 || short != 1 || count("") != 0 {
		t.Errorf("a hundred letters are %d tokens, one is %d, none %d", long, short, count(""))
	}
	a, b := corpusFile(t, "aa", 30, 0), corpusFile(t, "bb", 10, 0)
	m, _, err := mix(t, t.TempDir(), "data="+a+","+b, "until=all", "tokenizer="+dir)
	if err != nil || m.Unit != "tokens" {
		t.Fatalf("%+v, %v", m, err)
	}
	size := func(path string) (n float64) {
		for d, err := range (data.Sources{Paths: []string{path}}).Documents(&data.Stats{}) {
			if err != nil {
				t.Fatal(err)
			}
			n += float64(count(string(d.Text)))
		}
		return n
	}
	if want := size(a) / (size(a) + size(b)); fmt.Sprintf("%.6f", m.Sources[0].Wanted) != fmt.Sprintf("%.6f", want) {
		t.Errorf("the share of the first is %v, want %v", m.Sources[0].Wanted, want)
	}
	r, err := runCurate(t, t.Context(), curated(t, a, t.TempDir(), "filters=", "tokenizer="+dir, "threads=0"), 1, quietly)
	if err != nil || float64(r.Kept.Tokens) != size(a) || r.Kept.Documents != 30 {
		t.Errorf("a curation kept %+v, want %v tokens, %v", r, size(a), err)
	}
}

// TestFormatsAndCopies: parts are of the format that is named, and minhash is near.
func TestFormatsAndCopies(t *testing.T) {
	text := strings.Fields("one of these two texts is a copy of the other but for its very last word which some other word stands for here as it may stand anywhere in a crawl of the web")
	docs := fmt.Sprintf("{\"text\": %q}\n{\"text\": %q}\n", strings.Join(text, " "), strings.Join(append(slices.Clone(text[:len(text)-1]), "net"), " "))
	from := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(from, []byte(docs), 0o644); err != nil {
		t.Fatal(err)
	}
	for format, suffix := range map[string]string{"jsonl.zst": "part-*.jsonl.zst", "parquet": "part-*.parquet"} {
		for dedup, want := range map[string]int64{"": 2, "exact": 2, "minhash": 1, "near": 1} {
			out := filepath.Join(t.TempDir(), "out")
			r, err := runCurate(t, t.Context(), curated(t, from, out, "filters=", "format="+format, "dedup="+dedup), 1, quietly)
			if err != nil || r.Kept.Documents != want {
				t.Errorf("dedup=%s keeps %+v, %v", dedup, r, err)
			}
			if parts, err := filepath.Glob(filepath.Join(out, suffix)); err != nil || len(parts) != 1 {
				t.Errorf("format=%s writes %v, %v", format, parts, err)
			}
		}
	}
}

// TestNotesAndDevices: what a filter has to say is among the notes, and what needs a device says that there is none.
func TestNotesAndDevices(t *testing.T) {
	from := corpusFile(t, "aa", 3, 0)
	short := filepath.Join(t.TempDir(), "short.jsonl")
	if err := os.WriteFile(short, []byte("{\"text\": \"too few words\"}\n{\"text\": \"one two three four five six seven eight nine ten eleven twelve thirteen fourteen\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := runCurate(t, t.Context(), curated(t, from, t.TempDir(), "filters=decontaminate", "decontaminate.against="+short), 1, quietly)
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "1") {
		t.Errorf("the notes are %q, %v", r.Notes, err)
	}
	for field, want := range map[string]int{"url": 0, "uri": 1} { // the second is no key of the documents
		web := filepath.Join(t.TempDir(), "web.jsonl")
		if err := os.WriteFile(web, []byte("{\"text\": \"a b\", \"url\": \"http://a.example\"}\n{\"text\": \"c d\", \"url\": \"http://b.example\"}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		hosts := curatetest.ListFile(t, "b.example")
		r, err := runCurate(t, t.Context(), curated(t, web, t.TempDir(), "filters=urls", "urls.hosts="+hosts, "url_field="+field), 1, quietly)
		if err != nil || len(r.Notes) != want || r.Kept.Documents != int64(1+want) || want == 1 && !strings.Contains(r.Notes[0], `under the key "uri"`) {
			t.Errorf("url_field=%s: the notes are %q, kept %+v, %v", field, r.Notes, r.Kept, err)
		}
	}
	c := curated(t, from, t.TempDir(), "filters=perplexity", "perplexity.model="+t.TempDir())
	if err := os.WriteFile(filepath.Join(c.Perplexity.Model, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Perplexity.Model, "y.txt"), []byte("y"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Run(t.Context(), recipe.Env{}); err == nil || !strings.Contains(err.Error(), "there is no device to run the model on") || errors.Is(err, context.Canceled) {
		t.Errorf("without a device: %v", err)
	}
}
