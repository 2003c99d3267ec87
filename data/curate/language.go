package curate

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/abadojack/whatlanggo"
)

// Language keeps documents of some languages. It tells 84 languages apart by their script and, within a script, by the ranks of their most frequent trigrams
// (Cavnar and Trenkle, 1994). Source code is told as the language of its comments, with little confidence where there are few.
type Language struct {
	Keep          []string `yaml:"keep" doc:"two-letter codes of ISO 639-1 (three-letter ones of 639-3 where there is none) of the languages to keep; empty: all"`
	MinConfidence float64  `yaml:"min_confidence" doc:"from 0 to 1; below it a document is rejected as uncertain, as short ones and such in several languages are"`
	Sample        int      `yaml:"sample" doc:"bytes to look at, from the beginning, the middle and the end; 0: all"`
}

// DefaultLanguage only notes the language.
func DefaultLanguage() Language { return Language{MinConfidence: 0.5, Sample: 600} }

// Validate reports the first value that cannot be meant.
func (c Language) Validate() error {
	if !(c.MinConfidence >= 0 && c.MinConfidence <= 1) || c.Sample < 0 {
		return fmt.Errorf("language.min_confidence is %v and language.sample %d; the one must be between 0 and 1, the other at least 0", c.MinConfidence, c.Sample)
	}
	var known []string
	for lang := range whatlanggo.Langs {
		known = append(known, languageCode(lang))
	}
	for _, code := range c.Keep {
		if !slices.Contains(known, code) {
			slices.Sort(known)
			return fmt.Errorf("language.keep names %q; known are %s", code, strings.Join(known, ", "))
		}
	}
	return nil
}

// Step makes the step.
func (c Language) Step() Step {
	return Step{Name: "language", Apply: func(d *Doc) string {
		code, confidence := c.detect(d.Text)
		d.Label("language.code", code)
		d.Score("language.confidence", confidence)
		switch {
		case confidence < c.MinConfidence:
			return "uncertain language"
		case len(c.Keep) > 0 && !slices.Contains(c.Keep, code):
			return "another language"
		}
		return ""
	}}
}

// undetermined is ISO 639-3's code.
const undetermined = "und"

func (c Language) detect(text string) (code string, confidence float64) {
	found := whatlanggo.Detect(sampleOf(text, c.Sample))
	if found.Lang < 0 || found.Confidence <= 0 { // two languages are equally near
		return undetermined, 0
	}
	return languageCode(found.Lang), min(found.Confidence, 1)
}

func languageCode(lang whatlanggo.Lang) string {
	if code := lang.Iso6391(); code != "" {
		return code
	}
	return lang.Iso6393()
}

// sampleOf is three pieces of a long text, cut between words where there are any.
func sampleOf(text string, most int) string {
	if most == 0 || len(text) <= most {
		return text
	}
	n := most / 3
	var b strings.Builder
	// Three places, since pages begin with menus and end with notices, often in another language than theirs.
	for _, at := range []int{0, (len(text) - n) / 2, len(text) - n} {
		b.WriteString(wholeWords(text, at, at+n))
		b.WriteByte(' ')
	}
	return b.String()
}

// wholeWords makes a span shorter until it ends between characters and, if it has white space, between words.
func wholeWords(text string, from, to int) string {
	for from > 0 && from < to && !utf8.RuneStart(text[from]) {
		from++
	}
	for to < len(text) && to > from && !utf8.RuneStart(text[to]) {
		to--
	}
	piece := text[from:to]
	if i := strings.IndexAny(piece, " \n\t"); from > 0 && i >= 0 {
		piece = piece[i:]
	}
	if i := strings.LastIndexAny(piece, " \n\t"); to < len(text) && i > 0 {
		piece = piece[:i]
	}
	return piece
}
