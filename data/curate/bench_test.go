package curate

import (
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/spans"
)

// BenchmarkPasses is whole runs on one worker, from documents in memory to parts on the disk: without a pass, and with each.
func BenchmarkPasses(b *testing.B) {
	for name, texts := range curatetest.BenchTexts(b) {
		for _, p := range []struct {
			name   string
			passes []spans.Pass
		}{{"nothing", nil}, {"paragraphs", []spans.Pass{spans.DefaultParagraphs().Paragraphs()}}, {"lines", []spans.Pass{spans.DefaultLines().Lines()}}, {"substring", []spans.Pass{spans.DefaultSubstring().Pass()}}} {
			bytes := 0
			for _, text := range texts {
				bytes += len(text)
			}
			b.Run(name+"/"+p.name, func(b *testing.B) {
				b.SetBytes(int64(bytes))
				for b.Loop() {
					cfg := Config{Dir: b.TempDir(), Passes: p.passes, ShardBytes: 256 << 20, Workers: 1}
					if _, err := Run(b.Context(), curatetest.Stream(curatetest.Documents(texts), curatetest.GoOn), cfg); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLook is hone data stats on one worker.
func BenchmarkLook(b *testing.B) {
	for name, texts := range curatetest.BenchTexts(b) {
		bytes := 0
		for _, text := range texts {
			bytes += len(text)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(bytes))
			for b.Loop() {
				if _, err := Look(b.Context(), curatetest.Stream(curatetest.Documents(texts), curatetest.GoOn), SurveyConfig{Workers: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
