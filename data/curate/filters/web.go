package filters

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"hone/data/curate/document"
	"hone/data/curate/words"
)

// C4 are the rules of the Colossal Clean Crawled Corpus (Raffel et al., 2020, section 2.2): citation markers and lines that are no sentences go, and
// documents of which little is left, or that are pages without a text.
type C4 struct {
	MinSentences     int  `yaml:"min_sentences" doc:"a document keeps at least this many sentences"`
	MinWords         int  `yaml:"min_words" doc:"a line of fewer words goes"`
	MaxWordLength    int  `yaml:"max_word_length" doc:"a line with a word of more characters goes; 0: any length"`
	Punctuation      bool `yaml:"punctuation" doc:"a line that ends neither as a sentence does nor with a quotation mark goes, and so does one cut short by an ellipsis"`
	RejectCurly      bool `yaml:"reject_curly" doc:"a document with a curly bracket is rejected as code"`
	RejectLoremIpsum bool `yaml:"reject_lorem_ipsum" doc:"a document with placeholder text is rejected"`
}

// DefaultC4 has the values of the paper.
func DefaultC4() C4 {
	return C4{MinSentences: 5, MinWords: 3, MaxWordLength: 1000, Punctuation: true, RejectCurly: true, RejectLoremIpsum: true}
}

// citations are the marks of Wikipedia's footnotes, as the code that made C4 has them. A line that ends in one is a sentence, too.
var citations = regexp.MustCompile(`\[\d*\]|\[edit\]|\[citation needed\]`)

// notices are phrases of lines that are about the site and not of the text.
var notices = []string{"terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"}

// Step makes the step.
func (c C4) Step() document.Step { return document.Step{Name: "c4", Apply: c.apply} }

func (c C4) apply(d *document.Doc) string {
	lower := strings.ToLower(d.Text)
	if c.RejectLoremIpsum && strings.Contains(lower, "lorem ipsum") {
		return "lorem ipsum"
	}
	// Before lines go, as the paper has it: a page is rejected for code also where the lines of code would have gone by themselves.
	if c.RejectCurly && strings.Contains(d.Text, "{") {
		return "curly brackets"
	}
	var kept []string
	sentences := 0
	for _, line := range d.Lines() {
		if strings.Contains(line, "[") { // expressions are slow
			line = strings.TrimSpace(citations.ReplaceAllString(line, ""))
		}
		if c.keeps(line) {
			kept = append(kept, line)
			// A line that is kept is a sentence at least, also where Punctuation is off and nothing ends it.
			sentences += max(1, countSentences(line))
		}
	}
	d.Score("c4.sentences", float64(sentences))
	if sentences < c.MinSentences {
		return "too few sentences"
	}
	d.SetText(strings.Join(kept, "\n"))
	return ""
}

func (c C4) keeps(line string) bool {
	list := words.Fields(line)
	if len(list) < c.MinWords || c.Punctuation && !endsLine(line) {
		return false
	}
	for _, w := range list {
		if c.MaxWordLength > 0 && len(w) > c.MaxWordLength && utf8.RuneCountInString(w) > c.MaxWordLength {
			return false
		}
	}
	lower := strings.ToLower(line)
	if strings.Contains(lower, "javascript") {
		return false
	}
	for _, n := range notices {
		if strings.Contains(lower, n) {
			return false
		}
	}
	return true
}

// endsLine reports whether a line ends as C4 asks: a quotation mark is enough, whatever is in front of it, and an ellipsis is not.
func endsLine(line string) bool {
	if strings.HasSuffix(line, "...") || strings.HasSuffix(line, "…") {
		return false
	}
	last, _ := utf8.DecodeLastRuneInString(line)
	return endsSentence(line) || strings.ContainsRune("\"'”’»", last)
}

// countSentences counts the words of a line that end a sentence.
func countSentences(line string) int {
	n := 0
	for _, w := range words.Fields(line) {
		if endsSentence(w) {
			n++
		}
	}
	return n
}

// FineWeb are the rules that were found for FineWeb on top of Gopher's and C4's (Penedo et al., 2024, section 3.6). Bounds that are 0 do not hold.
type FineWeb struct {
	MinPunctuation float64 `yaml:"min_punctuation" doc:"share of lines that end as a sentence does"`
	MaxShortLines  float64 `yaml:"max_short_lines" doc:"share of lines of at most 30 characters"`
	MaxDupChars    float64 `yaml:"max_dup_chars" doc:"share of characters in lines that stood before"`
	MaxNewlines    float64 `yaml:"max_newlines" doc:"line ends per word"`
}

// DefaultFineWeb has the values of datatrove's filter, which made FineWeb. The paper gives the first two, allows ten times as many repeated characters
// (0.1) and has no bound on line ends.
func DefaultFineWeb() FineWeb {
	return FineWeb{MinPunctuation: 0.12, MaxShortLines: 0.67, MaxDupChars: 0.01, MaxNewlines: 0.3}
}

// Validate reports the first value that cannot be meant.
func (c FineWeb) Validate() error {
	if !(c.MaxNewlines >= 0) {
		return fmt.Errorf("fineweb.max_newlines is %v; it must be at least 0", c.MaxNewlines)
	}
	return validShares(share{"fineweb.min_punctuation", c.MinPunctuation}, share{"fineweb.max_short_lines", c.MaxShortLines}, share{"fineweb.max_dup_chars", c.MaxDupChars})
}

// shortLine is the length up to which a line is short.
const shortLine = 30

// Step makes the step.
func (c FineWeb) Step() document.Step { return document.Step{Name: "fineweb", Apply: c.apply} }

func (c FineWeb) apply(d *document.Doc) string {
	lines := d.Lines()
	if len(lines) == 0 {
		return "empty"
	}
	ends, short, characters := 0, 0, 0
	for _, line := range lines {
		if endsSentence(line) {
			ends++
		}
		// Bytes decide for nearly all lines: no more than shortLine of them are no more characters, and more than four times as many are more.
		if len(line) <= shortLine || len(line) <= utf8.UTFMax*shortLine && utf8.RuneCountInString(line) <= shortLine {
			short++
		}
		characters += len(line)
	}
	_, again := repeated(lines)
	punctuation, shorts, dup := document.Share(ends, len(lines)), document.Share(short, len(lines)), document.Share(again, characters)
	newlines := document.Share(strings.Count(d.Text, "\n"), d.CountWords())
	d.Score("fineweb.punctuation", punctuation)
	d.Score("fineweb.short_lines", shorts)
	d.Score("fineweb.dup_chars", dup)
	d.Score("fineweb.newlines", newlines)
	switch {
	case punctuation < c.MinPunctuation:
		return "lines without punctuation"
	case above(shorts, c.MaxShortLines):
		return "short lines"
	case above(dup, c.MaxDupChars):
		return "repeated lines"
	case above(newlines, c.MaxNewlines):
		return "more lines than sentences"
	}
	return ""
}
