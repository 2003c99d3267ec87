package filters

import (
	"fmt"
	"slices"
	"strings"

	"hone/data/curate/document"
	"hone/data/curate/words"
)

// Language keeps documents of some languages. It tells 84 languages apart by their script and, within a script, by the ranks of their most frequent trigrams
// (Cavnar and Trenkle, 1994). Source code is told as the language of its comments, with little confidence where there are few.
type Language struct {
	Keep          []string `yaml:"keep" doc:"two-letter codes of ISO 639-1 (three-letter ones of 639-3 where there is none) of the languages to keep; empty: all"`
	MinConfidence float64  `yaml:"min_confidence" doc:"from 0 to 1; below it a document is rejected as uncertain, as short ones and such in several languages are"`
	Sample        int      `yaml:"sample" doc:"bytes to look at, from the beginning, the middle and the end; 0: all"`
}

// DefaultLanguage only notes the language.
func DefaultLanguage() Language {
	return Language{MinConfidence: words.Certain, Sample: words.LanguageSample}
}

// Validate reports the first value that cannot be meant.
func (c Language) Validate() error {
	if !(c.MinConfidence >= 0 && c.MinConfidence <= 1) || c.Sample < 0 {
		return fmt.Errorf("language.min_confidence is %v and language.sample %d; the one must be between 0 and 1, the other at least 0", c.MinConfidence, c.Sample)
	}
	known := words.Languages()
	for _, code := range c.Keep {
		if !slices.Contains(known, code) {
			return fmt.Errorf("language.keep names %q; known are %s", code, strings.Join(known, ", "))
		}
	}
	return nil
}

// Step makes the step.
func (c Language) Step() document.Step {
	return document.Step{Name: "language", Apply: func(d *document.Doc) string {
		code, confidence := words.Language(d.Text, c.Sample)
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
