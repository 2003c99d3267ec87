package filters

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"hone/data"
	"hone/data/curate/document"
	"hone/data/curate/words"
)

// Format rejects records that no recipe of fine-tuning or preferences can read, and such with an empty answer.
func Format() document.Step {
	return document.Step{Name: "format", Apply: func(d *document.Doc) string {
		t := d.Talk()
		if t.Problem != "" {
			return t.Problem
		}
		for _, a := range t.Answers {
			if !strings.ContainsFunc(a, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsSymbol(r) }) {
				return "empty answer"
			}
		}
		d.Score("format.prompt_characters", float64(utf8.RuneCountInString(t.Prompt)))
		d.Score("format.answer_characters", float64(t.AnswerLength()))
		return ""
	}}
}

// Refusals rejects records whose answer refuses or speaks of being a model.
type Refusals struct {
	Lists  []string `yaml:"lists" doc:"files with a phrase a line, beside the built-in ones"`
	Within int      `yaml:"within" doc:"characters at the beginning of an answer in which a phrase must stand; 0: anywhere"`
}

// DefaultRefusals looks at the beginning of answers.
func DefaultRefusals() Refusals { return Refusals{Within: 200} }

// refusals are phrases that models refuse with, in lower case, with straight apostrophes.
var refusals = []string{
	"as an ai", "as a language model", "as a large language model", "as an artificial intelligence", "i'm just an ai", "i am just an ai", "i'm an ai", "i am an ai",
	"i'm sorry, but i", "i am sorry, but i", "i'm sorry, i can", "i apologize, but i", "sorry, but i can't", "sorry, but i cannot", "sorry, i can't", "sorry, i cannot",
	"i cannot assist", "i can't assist", "i cannot help with", "i can't help with", "i cannot fulfill", "i can't fulfill", "i cannot provide", "i can't provide",
	"i cannot comply", "i can't comply", "i must decline", "i'm unable to", "i am unable to", "i'm not able to", "i am not able to", "i don't have access to",
	"my knowledge cutoff", "my training data only",
}

// Step reads the lists and makes the step.
func (c Refusals) Step() (document.Step, error) {
	if c.Within < 0 {
		return document.Step{}, fmt.Errorf("refusals.within is %d; it must be at least 0", c.Within)
	}
	phrases := refusals
	if len(c.Lists) > 0 {
		more, err := readLists(c.Lists)
		if err != nil {
			return document.Step{}, err
		}
		phrases = append(phrases[:len(phrases):len(phrases)], more...)
	}
	m, err := newMatcher(phrases)
	if err != nil {
		return document.Step{}, err
	}
	return document.Step{Name: "refusals", Apply: func(d *document.Doc) string {
		for _, a := range d.Talk().Wanted() {
			// Models write both apostrophes; the phrases have the straight one.
			a = strings.ReplaceAll(strings.ToLower(a), "’", "'")
			if m.count([]byte(firstRunes(a, c.Within))) > 0 {
				return "refused answer"
			}
		}
		return ""
	}}, nil
}

// firstRunes is the first n characters of a text; all of it when n is 0.
func firstRunes(text string, n int) string {
	if n == 0 {
		return text
	}
	for i := range text {
		if n--; n < 0 {
			return text[:i]
		}
	}
	return text
}

// Outliers rejects records whose prompt or answer is far shorter or longer than most: outside of Tukey's fences of the logarithms of the lengths
// ("Exploratory Data Analysis", 1977), Fence times the distance of the quartiles away from them.
type Outliers struct {
	Fence float64 `yaml:"fence" doc:"distances of the quartiles; 3 is what Tukey calls far out"`
}

// DefaultOutliers has Tukey's value.
func DefaultOutliers() Outliers { return Outliers{Fence: 3} }

// Step looks at all records once to learn the quartiles, and makes the step.
func (c Outliers) Step(ctx context.Context, docs iter.Seq2[data.Document, error], workers int) (document.Step, error) {
	if !(c.Fence > 0) || math.IsInf(c.Fence, 0) {
		return document.Step{}, fmt.Errorf("outliers.fence is %v; it must be above 0", c.Fence)
	}
	prompts, answers := document.Distribution{}, document.Distribution{}
	work := func() func([]data.Document) [2]document.Distribution {
		return func(docs []data.Document) [2]document.Distribution {
			found := [2]document.Distribution{{}, {}}
			for _, d := range docs {
				if t := document.ParseTalk(d.Text); t.Problem == "" {
					found[0].Add(float64(utf8.RuneCountInString(t.Prompt)), document.LengthDigits, true)
					found[1].Add(float64(t.AnswerLength()), document.LengthDigits, true)
				}
			}
			return found
		}
	}
	err := document.EachBatch(ctx, docs, workers, work, func(found [2]document.Distribution) error {
		prompts.Merge(found[0])
		answers.Merge(found[1])
		return nil
	})
	if err != nil {
		return document.Step{}, err
	}
	prompt, answer := c.fences(prompts), c.fences(answers)
	return document.Step{Name: "outliers", Apply: func(d *document.Doc) string {
		t := d.Talk()
		if reason := prompt.outside(utf8.RuneCountInString(t.Prompt), "prompt"); reason != "" {
			return reason
		}
		return answer.outside(t.AnswerLength(), "answer")
	}}, nil
}

// fences are the lengths between which one is no outlier.
type fences struct{ low, high float64 }

func (c Outliers) fences(d document.Distribution) fences {
	// Logarithms, as lengths spread by factors: plain fences of short answers would begin below zero and catch none that is too short.
	q1, q3 := max(1, d.Quantile(0.25)), max(1, d.Quantile(0.75))
	ratio := max(q3/q1, 1.5) // lengths that are all alike have no far ones within this
	return fences{q1 / math.Pow(ratio, c.Fence), q3 * math.Pow(ratio, c.Fence)}
}

func (f fences) outside(n int, what string) string {
	switch {
	case float64(n) < f.low && n > 0: // records without a prompt are no outliers
		return what + " far shorter than most"
	case float64(n) > f.high:
		return what + " far longer than most"
	}
	return ""
}

// ScriptMix notes the script of prompts and answers, and rejects records of which too many letters are of other scripts than the kept ones.
type ScriptMix struct {
	Keep     []string `yaml:"keep" doc:"scripts to keep, such as Latin, Han, Cyrillic; empty: all"`
	MaxOther float64  `yaml:"max_other" doc:"share of the letters that may be of others"`
}

// Validate reports the first value that cannot be meant.
func (c ScriptMix) Validate() error {
	for _, name := range c.Keep {
		if !words.IsScript(name) {
			return fmt.Errorf("scripts.keep names %q; known are %s", name, words.ScriptNames())
		}
	}
	if !(c.MaxOther >= 0 && c.MaxOther <= 1) {
		return fmt.Errorf("scripts.max_other is %v; it must be between 0 and 1", c.MaxOther)
	}
	return nil
}

// Step makes the step.
func (c ScriptMix) Step() document.Step {
	return document.Step{Name: "scripts", Apply: func(d *document.Doc) string {
		t := d.Talk()
		asked, answered := words.Scripts(t.Prompt), words.Scripts(strings.Join(t.Answers, "\n"))
		label := words.MainScript(answered)
		if p := words.MainScript(asked); p != label && p != "" && label != "" {
			label = p + " to " + label
		}
		d.Label("scripts.main", label)
		if len(c.Keep) == 0 {
			return ""
		}
		kept, all := int64(0), int64(0)
		for _, counts := range []map[string]int64{asked, answered} {
			for name, n := range counts {
				all += n
				if slices.Contains(c.Keep, name) {
					kept += n
				}
			}
		}
		if all > 0 && float64(all-kept) > c.MaxOther*float64(all) {
			return "another script"
		}
		return ""
	}}
}

// SameAnswers rejects preferences whose answers differ by no more than case, punctuation and layout (operators tell them apart), and records whose answer is the prompt.
func SameAnswers() document.Step {
	return document.Step{Name: "same_answers", Apply: func(d *document.Doc) string {
		t := d.Talk()
		if t.Rejected {
			if plain := plainAnswer(t.Answers[0]); plain != "" && plain == plainAnswer(t.Answers[1]) {
				return "chosen and rejected differ in layout only"
			}
			return ""
		}
		for _, a := range t.Answers {
			// From 20 bytes on: "yes" may well answer "yes?".
			if plain := plainAnswer(a); len(plain) >= 20 && plain == plainAnswer(t.Prompt) {
				return "the answer is the prompt"
			}
		}
		return ""
	}}
}
