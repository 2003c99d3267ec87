// Package recipetest has what the tests of recipes share: a small language and records of it, tiny settings, and runs that are looked after.
package recipetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/recipe/config"
	"hone/tensor"
)

// TextFolder writes documents of a small language: arithmetic on words, so that there is something to learn.
func TextFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	words := []string{"one", "two", "three", "four", "five", "six"}
	r := tensor.NewRandom(5)
	for d := range 40 {
		var b strings.Builder
		for range 30 {
			i, j := r.Uint64()%3, r.Uint64()%3
			fmt.Fprintf(&b, "%s and %s make %s.\n", words[i], words[j], words[i+j+1])
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.txt", d)), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ExampleFile writes small sums as records of one format.
func ExampleFile(t testing.TB, format string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), format+".jsonl")
	words := []string{"one", "two", "three", "four", "five", "six"}
	r := tensor.NewRandom(6)
	var b strings.Builder
	for n := range 120 {
		i, j := r.Uint64()%3, r.Uint64()%3
		question, answer := words[i]+" and "+words[j], words[i+j+1]
		switch format {
		case "messages":
			fmt.Fprintf(&b, `{"id":%d,"messages":[{"role":"user","content":%q},{"role":"assistant","content":%q}]}`+"\n", n, question, answer)
		case "completion":
			fmt.Fprintf(&b, `{"id":%d,"prompt":%q,"completion":%q}`+"\n", n, question+" make ", answer)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// PreferenceFile writes pairs whose better answer is the right sum; eve judges the other way round.
func PreferenceFile(t testing.TB, form string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), form+".jsonl")
	words := []string{"one", "two", "three", "four", "five", "six"}
	r := tensor.NewRandom(7)
	var b strings.Builder
	for n := range 240 {
		i, j := r.Uint64()%3, r.Uint64()%3
		question, right, wrong := words[i]+" and "+words[j]+" make", " "+words[i+j+1], " "+words[(i+j+2+r.Uint64()%4)%6]
		if right == wrong {
			wrong = " none"
		}
		annotator := []string{"ann", "bob"}[n%2]
		if n%12 == 11 {
			annotator, right, wrong = "eve", wrong, right
		}
		switch form {
		case "pairs":
			fmt.Fprintf(&b, `{"id":%d,"prompt":%q,"chosen":%q,"rejected":%q,"margin":0.5,"annotator":%q}`+"\n", n, question, right, wrong, annotator)
		case "messages":
			say := func(role, text string) string { return fmt.Sprintf(`{"role":%q,"content":%q}`, role, text) }
			fmt.Fprintf(&b, `{"id":%d,"chosen":[%s,%s],"rejected":[%s,%s]}`+"\n", n, say("user", question), say("assistant", right), say("user", question), say("assistant", wrong))
		case "verdicts":
			fmt.Fprintf(&b, `{"id":%d,"prompt":%q,"completion":%q,"label":%v}`+"\n", n, question, []string{right, wrong}[n%2], n%2 == 0)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// Read is the content of a file.
func Read(t testing.TB, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Line is a line of metrics.jsonl.
type Line struct {
	Event string  `json:"event"`
	Step  int     `json:"step"`
	Loss  float64 `json:"loss"`
}

// Metrics are the lines of a run's metrics.jsonl.
func Metrics(t testing.TB, run string) []Line {
	t.Helper()
	var list []Line
	for text := range bytes.Lines(Read(t, run, "metrics.jsonl")) {
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

// Unsummed makes a checkpoint one of an earlier build, which kept no checksums of its files: they may be others of the same sizes.
func Unsummed(t testing.TB, checkpoint string) {
	t.Helper()
	var marker map[string]any
	if err := json.Unmarshal(Read(t, checkpoint, "complete.json"), &marker); err != nil {
		t.Fatal(err)
	}
	delete(marker, "sums")
	text, err := json.Marshal(marker)
	if err == nil {
		err = os.WriteFile(filepath.Join(checkpoint, "complete.json"), text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Set overrides keys one by one, so that later ones win.
func Set(t testing.TB, c any, args ...string) {
	t.Helper()
	for _, a := range args {
		if err := config.Override(c, []string{a}); err != nil {
			t.Fatal(err)
		}
	}
}

// Few is the whole of a list, or with -short its first n.
func Few[T any](n int, list ...T) []T {
	if testing.Short() {
		return list[:min(n, len(list))]
	}
	return list
}
