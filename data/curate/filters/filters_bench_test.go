package filters

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/data/curate/classifier"
	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

// addresses are URLs for the benchmark, of hosts and words that scripts/peers/curate.py makes too.
func addresses(n int) []string {
	r := rand.New(rand.NewPCG(4, 4))
	var list []string
	for range n {
		list = append(list, fmt.Sprintf("https://www.host%d.example/news/%d/an-article-about-word%d-and-word%d.html", r.IntN(5000), r.IntN(3000), r.IntN(5000), r.IntN(5000)))
	}
	return list
}

// numbered are n entries of a list.
func numbered(prefix, suffix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(prefix, 7*i, suffix))
	}
	return list
}

// listSteps are the steps that read files: a list of 400 words, an evaluation of 1000 questions, a classifier of the texts against others.
func listSteps(b *testing.B, texts []string) []document.Step {
	dir := b.TempDir()
	write := func(name string, lines []string) []string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			b.Fatal(err)
		}
		return []string{path}
	}
	words, err := Words{Lists: write("words.txt", numbered("badword", "", 400)), MaxCount: 1 << 30}.Step()
	if err != nil {
		b.Fatal(err)
	}
	d := DefaultDecontaminate()
	var quiz, good, bad []string
	for i := range 1000 {
		quiz = append(quiz, fmt.Sprintf(`{"question": "question %d asks for the number of %s"}`, i, strings.Join(numbered("thing", "", 12), " ")))
	}
	for i, text := range texts {
		good = append(good, fmt.Sprintf("{\"text\": %q}", strings.ToValidUTF8(text, "")))
		bad = append(bad, fmt.Sprintf("{\"text\": %q}", curatetest.Prose(i+1)))
	}
	d.Against = write("quiz.jsonl", quiz)
	decontaminate, _, err := d.Step()
	if err != nil {
		b.Fatal(err)
	}
	c := classifier.Default()
	c.Training.Words, c.Training.Epochs = 1<<20, 1
	c.Positive, c.Negative = write("good.jsonl", good), write("bad.jsonl", bad)
	m, err := c.Train()
	if err != nil {
		b.Fatal(err)
	}
	return []document.Step{DefaultLanguage().Step(), words, decontaminate, m.Step(0)}
}

// BenchmarkURLs is the filter of addresses, in documents.
func BenchmarkURLs(b *testing.B) {
	c := DefaultURLs()
	c.Hosts = []string{curatetest.ListFile(b, numbered("bad", ".example", 1000)...)}
	c.Words, c.Parts, c.SoftWords = []string{curatetest.ListFile(b, numbered("hard", "", 100)...)}, []string{curatetest.ListFile(b, numbered("part", "", 100)...)}, []string{curatetest.ListFile(b, numbered("soft", "", 100)...)}
	step, err := c.Step()
	if err != nil {
		b.Fatal(err)
	}
	list := addresses(1000)
	for i := 0; b.Loop(); i++ {
		step.Apply(&document.Doc{URL: list[i%len(list)]})
	}
}
