package filters

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"hone/data/curate/document"
	"hone/data/curate/words"
)

// GopherQuality are the rules for what is prose (Rae et al., 2021, table A1). Bounds that are 0 do not hold.
type GopherQuality struct {
	MinWords      int     `yaml:"min_words" doc:"a document has at least this many words"`
	MaxWords      int     `yaml:"max_words" doc:"and at most this many"`
	MinWordLength float64 `yaml:"min_word_length" doc:"mean characters per word"`
	MaxWordLength float64 `yaml:"max_word_length" doc:"mean characters per word"`
	MaxSymbols    float64 `yaml:"max_symbols" doc:"hash signs, and ellipses, per word"`
	MaxBullets    float64 `yaml:"max_bullets" doc:"share of lines that begin with a bullet"`
	MaxEllipses   float64 `yaml:"max_ellipses" doc:"share of lines that end with an ellipsis"`
	MinLetters    float64 `yaml:"min_letters" doc:"share of words with a letter"`
	MinStopWords  int     `yaml:"min_stop_words" doc:"different ones of: the be to of and that have with"`
}

// DefaultGopherQuality has the values of the paper.
func DefaultGopherQuality() GopherQuality {
	return GopherQuality{MinWords: 50, MaxWords: 100_000, MinWordLength: 3, MaxWordLength: 10, MaxSymbols: 0.1, MaxBullets: 0.9, MaxEllipses: 0.3,
		MinLetters: 0.8, MinStopWords: 2}
}

// Validate reports the first value that cannot be meant.
func (c GopherQuality) Validate() error {
	switch {
	case c.MinWords < 0 || c.MaxWords < 0 || c.MaxWords > 0 && c.MaxWords < c.MinWords:
		return fmt.Errorf("gopher_quality.min_words is %d and max_words %d; no document has such a number", c.MinWords, c.MaxWords)
	case !(c.MinWordLength >= 0) || !(c.MaxWordLength >= 0) || c.MaxWordLength > 0 && c.MaxWordLength < c.MinWordLength:
		return fmt.Errorf("gopher_quality.min_word_length is %v and max_word_length %v; no document has such words", c.MinWordLength, c.MaxWordLength)
	case c.MinStopWords < 0 || c.MinStopWords > len(stopWords):
		return fmt.Errorf("gopher_quality.min_stop_words is %d; it must be from 0 to %d", c.MinStopWords, len(stopWords))
	case !(c.MaxSymbols >= 0):
		return fmt.Errorf("gopher_quality.max_symbols is %v; it must be at least 0", c.MaxSymbols)
	}
	return validShares(share{"gopher_quality.max_bullets", c.MaxBullets}, share{"gopher_quality.max_ellipses", c.MaxEllipses}, share{"gopher_quality.min_letters", c.MinLetters})
}

var stopWords = map[string]bool{"the": true, "be": true, "to": true, "of": true, "and": true, "that": true, "have": true, "with": true}

// Step makes the step.
func (c GopherQuality) Step() document.Step {
	return document.Step{Name: "gopher_quality", Apply: c.apply}
}

func (c GopherQuality) apply(d *document.Doc) string {
	list := d.Words()
	letters, characters, alone := 0, 0, 0 // alone: words of scripts without spaces
	seen, mixed := map[string]bool{}, words.HasUnspaced(d.Text)
	for _, w := range list {
		if mixed && words.HasUnspaced(w) {
			alone++
		} else {
			characters += utf8.RuneCountInString(w)
		}
		if hasLetter(w) {
			letters++
		}
		if stopWords[w] {
			seen[w] = true
		}
	}
	// words are what white space parts, punctuation included, as the paper counts them; characters of scripts without spaces have no length to judge
	mean := document.Share(characters, len(list)-alone)
	bullets, ellipses := lineMarks(d.Lines())
	n := len(list)
	spaced := 2*alone <= n // of fewer words, as the names and numbers in a Chinese text, the mean says nothing about it
	d.Score("gopher_quality.words", float64(n))
	d.Score("gopher_quality.word_length", mean)
	d.Score("gopher_quality.letters", document.Share(letters, n))
	d.Score("gopher_quality.stop_words", float64(len(seen)))
	hashes, dots := document.Share(strings.Count(d.Text, "#"), n), document.Share(strings.Count(d.Text, "...")+strings.Count(d.Text, "…"), n)
	d.Score("gopher_quality.hash_signs", hashes)
	d.Score("gopher_quality.ellipses", dots)
	d.Score("gopher_quality.bullets", bullets)
	d.Score("gopher_quality.cut_lines", ellipses)
	// In the order in which the paper lists them, so that a document which breaks several rules counts under the first of them.
	switch {
	case n < c.MinWords:
		return "too few words"
	case c.MaxWords > 0 && n > c.MaxWords:
		return "too many words"
	case spaced && mean < c.MinWordLength:
		return "short words"
	case spaced && above(mean, c.MaxWordLength):
		return "long words"
	case above(hashes, c.MaxSymbols):
		return "hash signs"
	case above(dots, c.MaxSymbols):
		return "ellipses"
	case above(bullets, c.MaxBullets):
		return "bullet lists"
	case above(ellipses, c.MaxEllipses):
		return "lines cut short"
	case document.Share(letters, n) < c.MinLetters:
		return "words without letters"
	case len(seen) < c.MinStopWords:
		return "no English function words"
	}
	return ""
}

// lineMarks are the shares of lines that begin with a bullet and that end with an ellipsis.
func lineMarks(lines []string) (bullets, ellipses float64) {
	begin, end := 0, 0
	for _, line := range lines {
		if strings.HasPrefix(line, "•") || strings.HasPrefix(line, "-") {
			begin++
		}
		if strings.HasSuffix(line, "...") || strings.HasSuffix(line, "…") {
			end++
		}
	}
	return document.Share(begin, len(lines)), document.Share(end, len(lines))
}

// GopherRepetition are the rules against text that repeats itself (Rae et al., 2021, table A1). All are shares; those of characters
// count the repeated ones. Bounds that are 0 do not hold.
type GopherRepetition struct {
	DupLines          float64   `yaml:"dup_lines" doc:"share of lines that stood before"`
	DupParagraphs     float64   `yaml:"dup_paragraphs" doc:"share of paragraphs that stood before"`
	DupLineChars      float64   `yaml:"dup_line_chars" doc:"share of characters in such lines"`
	DupParagraphChars float64   `yaml:"dup_paragraph_chars" doc:"share of characters in such paragraphs"`
	TopNGrams         []float64 `yaml:"-"` // share of characters in the most frequent 2-, 3-, 4-gram
	DupNGrams         []float64 `yaml:"-"` // share of characters in 5- to 10-grams that stood before
}

// DefaultGopherRepetition has the values of the paper.
func DefaultGopherRepetition() GopherRepetition {
	return GopherRepetition{DupLines: 0.3, DupParagraphs: 0.3, DupLineChars: 0.2, DupParagraphChars: 0.2,
		TopNGrams: []float64{0.20, 0.18, 0.16}, DupNGrams: []float64{0.15, 0.14, 0.13, 0.12, 0.11, 0.10}}
}

// Validate reports the first value that cannot be meant.
func (c GopherRepetition) Validate() error {
	return validShares(share{"gopher_repetition.dup_lines", c.DupLines}, share{"gopher_repetition.dup_paragraphs", c.DupParagraphs},
		share{"gopher_repetition.dup_line_chars", c.DupLineChars}, share{"gopher_repetition.dup_paragraph_chars", c.DupParagraphChars})
}

// Step makes the step.
func (c GopherRepetition) Step() document.Step {
	return document.Step{Name: "gopher_repetition", Apply: c.apply}
}

func (c GopherRepetition) apply(d *document.Doc) string {
	// bytes for characters throughout: the shares are of the same unit above and below, and alphabets of two bytes a letter cancel out
	total := len(d.Text)
	elements, characters := repeated(paragraphs(d.Text))
	d.Score("gopher_repetition.dup_paragraph_chars", document.Share(characters, total))
	if above(elements, c.DupParagraphs) || above(document.Share(characters, total), c.DupParagraphChars) {
		return "repeated paragraphs"
	}
	elements, characters = repeated(d.Lines())
	d.Score("gopher_repetition.dup_line_chars", document.Share(characters, total))
	if above(elements, c.DupLines) || above(document.Share(characters, total), c.DupLineChars) {
		return "repeated lines"
	}
	// By words last, being the slowest; most of what repeats itself is told by its lines.
	p := newPhrases(d)
	for i, most := range c.TopNGrams {
		top := document.Share(p.top(i+2), total)
		if i == 0 {
			d.Score("gopher_repetition.top_2_gram", top)
		}
		if top > most {
			return "one phrase over and over"
		}
	}
	for i, most := range c.DupNGrams {
		again := document.Share(p.again(i+5), total)
		if i == 0 {
			d.Score("gopher_repetition.dup_5_grams", again)
		}
		if again > most {
			return "repeated phrases"
		}
	}
	return ""
}

// paragraphs are what blank lines part.
func paragraphs(text string) []string {
	var list []string
	for p := range strings.SplitSeq(text, "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			list = append(list, p)
		}
	}
	return list
}

// repeated is the share of the elements that stood before, and the bytes in them.
func repeated(list []string) (elements float64, bytes int) {
	seen, n := newTable(len(list)), 0
	for _, s := range list {
		if seen.add(xxh3.HashString(s)) > 1 {
			n++
			bytes += len(s)
		}
	}
	return document.Share(n, len(list)), bytes
}
