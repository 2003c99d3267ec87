// Package curatetest has texts, and streams of them, for the tests of the packages around data/curate.
package curatetest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/words"
)

// Documents are texts as the records of a file.
func Documents(texts []string) []data.Document {
	var docs []data.Document
	for i, text := range texts {
		docs = append(docs, data.Document{Text: []byte(text), Source: "x.jsonl", Record: i + 1})
	}
	return docs
}

// Stream yields documents; where stop has an error for the place of one, that comes instead and is the end.
func Stream(docs []data.Document, stop func(i int) error) iter.Seq2[data.Document, error] {
	return func(yield func(data.Document, error) bool) {
		for i, d := range docs {
			if err := stop(i); err != nil {
				yield(data.Document{}, err)
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// GoOn stops nowhere.
func GoOn(int) error { return nil }

// Prose is a text of n sentences that a person could have written, no two alike.
func Prose(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	words := strings.Fields(`farmer captain brother printer winter committee river lantern neighbour house stone ship cargo road town chair walked
		remembered carried mended looked spoke grey old seven broken quiet early under over between after through garden letter bread window`)
	var b strings.Builder
	for range n {
		b.WriteString("The")
		for i := range 8 {
			b.WriteString(" " + words[r.IntN(len(words))])
			if i == 3 {
				b.WriteString(" of the")
			}
		}
		b.WriteString(".\n")
	}
	return b.String()
}

// BenchTexts are Go's net and encoding packages, and made prose.
func BenchTexts(b *testing.B) map[string][]string {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skipf("no go command to find Go's source with: %v", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	source := []string{}
	for d, err := range (data.Sources{Paths: []string{filepath.Join(src, "net"), filepath.Join(src, "encoding")}}).Documents(&data.Stats{}) {
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasSuffix(d.Source, ".go") {
			source = append(source, string(d.Text))
		}
	}
	made := []string{}
	for n := range 400 {
		made = append(made, Prose(20+n))
	}
	return map[string][]string{"source": source, "prose": made}
}

// Variants are a text of n words and a copy with a share of its words replaced.
func Variants(r *rand.Rand, n int, changed float64) (a, b string) {
	x, y := make([]string, n), make([]string, n)
	for i := range x {
		x[i] = fmt.Sprint("w", r.IntN(100000))
		if y[i] = x[i]; r.Float64() < changed {
			y[i] = fmt.Sprint("v", r.IntN(100000))
		}
	}
	return strings.Join(x, " "), strings.Join(y, " ")
}

// Jaccard is the similarity of the sets of word n-grams of two texts, exactly.
func Jaccard(a, b string, n int) float64 {
	x, y := wordGrams(a, n), wordGrams(b, n)
	both := 0
	for g := range x {
		if y[g] {
			both++
		}
	}
	return float64(both) / float64(len(x)+len(y)-both)
}

// wordGrams are the word n-grams of a text; a shorter text is one.
func wordGrams(text string, n int) map[string]bool {
	list := words.Normal(text)
	n = min(n, max(1, len(list)))
	set := map[string]bool{}
	for i := 0; i+n <= len(list); i++ {
		set[strings.Join(list[i:i+n], " ")] = true
	}
	return set
}

// ListFile writes a list.
func ListFile(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Record is a record of fine-tuning data with the given fields.
func Record(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Degenerate are documents that are hardly any: without text, of one line or character, very long ones, and such that are no UTF-8.
var Degenerate = []string{
	"", " ", "\n", "\n\n\n \n", "\x00", "x", ".", "…", "#", "{", "人", "\u0301", "\ufeff", "\xff", "\xc3", "a\xffb\n\xf0\x9f", "\r\n\r", "{}", "[]", "null", `{"text":""}`, `{"prompt":"","completion":""}`,
	`{"messages":[]}`, `{"chosen":null,"rejected":1}`, "one line", "one line\n", strings.Repeat("a", 40_000), strings.Repeat("a ", 20_000), strings.Repeat("\n", 20_000), strings.Repeat("\xff", 5000),
	strings.Repeat("人", 10_000), strings.Repeat("a.b@c.", 5000), strings.Repeat("+1 ", 5000), strings.Repeat("1.", 10_000), strings.Repeat("Ã", 5000), strings.Repeat(`{"a":`, 5000), strings.Repeat("//\n", 5000),
}

//go:embed rights.json
var rightsText []byte

// Rights are two passages each of the Universal Declaration of Human Rights, articles 1, 2 and 7, and 8, 10 and 11, in languages without spaces between words.
func Rights(t *testing.T) map[string][2]string {
	passages := map[string][2]string{}
	if err := json.Unmarshal(rightsText, &passages); err != nil || len(passages) != 6 {
		t.Fatal(len(passages), err)
	}
	return passages
}
