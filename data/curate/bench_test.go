package curate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
func listSteps(b *testing.B, texts []string) []Step {
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
		bad = append(bad, fmt.Sprintf("{\"text\": %q}", prose(i+1)))
	}
	d.Against = write("quiz.jsonl", quiz)
	decontaminate, _, err := d.Step()
	if err != nil {
		b.Fatal(err)
	}
	c := DefaultClassifier()
	c.Training.Words, c.Training.Epochs = 1<<20, 1
	c.Positive, c.Negative = write("good.jsonl", good), write("bad.jsonl", bad)
	m, err := c.Train()
	if err != nil {
		b.Fatal(err)
	}
	return []Step{DefaultLanguage().Step(), words, decontaminate, m.Step(0)}
}

// BenchmarkURLs is the filter of addresses, in documents.
func BenchmarkURLs(b *testing.B) {
	c := DefaultURLs()
	c.Hosts = []string{listFile(b, numbered("bad", ".example", 1000)...)}
	c.Words, c.Parts, c.SoftWords = []string{listFile(b, numbered("hard", "", 100)...)}, []string{listFile(b, numbered("part", "", 100)...)}, []string{listFile(b, numbered("soft", "", 100)...)}
	step, err := c.Step()
	if err != nil {
		b.Fatal(err)
	}
	list := addresses(1000)
	for i := 0; b.Loop(); i++ {
		step.Apply(&Doc{URL: list[i%len(list)]})
	}
}

// BenchmarkPasses is whole runs on one worker, from documents in memory to parts on the disk: without a pass, and with each.
func BenchmarkPasses(b *testing.B) {
	for name, texts := range benchTexts(b) {
		for _, p := range []struct {
			name   string
			passes []Pass
		}{{"nothing", nil}, {"paragraphs", []Pass{DefaultParagraphs().Paragraphs()}}, {"lines", []Pass{DefaultLines().Lines()}}, {"substring", []Pass{DefaultSubstring().Pass()}}} {
			bytes := 0
			for _, text := range texts {
				bytes += len(text)
			}
			b.Run(name+"/"+p.name, func(b *testing.B) {
				b.SetBytes(int64(bytes))
				for b.Loop() {
					cfg := Config{Dir: b.TempDir(), Passes: p.passes, ShardBytes: 256 << 20, Workers: 1}
					if _, err := Run(b.Context(), stream(documents(texts), goOn), cfg); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLook is hone data stats on one worker.
func BenchmarkLook(b *testing.B) {
	for name, texts := range benchTexts(b) {
		bytes := 0
		for _, text := range texts {
			bytes += len(text)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(bytes))
			for b.Loop() {
				if _, err := Look(b.Context(), stream(documents(texts), goOn), SurveyConfig{Workers: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
