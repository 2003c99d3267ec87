// Package reward scores answers by rules: built-in ones, and programs that read JSON lines and print numbers.
//
// A Source gives a number to each Answer; Parse makes one of a word in a recipe (reward=go_parser). Models
// that score are recipe/judge's.
package reward

import (
	"context"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Answer is a text that a model wrote.
type Answer struct {
	Prompt string `json:"prompt"` // as the model saw it
	Text   string `json:"answer"`
	Tokens int    `json:"tokens"` // of the answer
	Ended  bool   `json:"ended"`  // by the model itself and not by the limit of length
}

// Source gives scores to answers.
type Source interface {
	// Score returns a finite number for each answer. A cancelled context ends it with its error.
	Score(ctx context.Context, answers []Answer) ([]float64, error)
}

// Options are for programs.
type Options struct {
	Timeout time.Duration // of one try at a batch of answers
	Retries int           // further tries after a failure
}

// Rules says which sources Parse knows, for messages.
const Rules = "go_parser, gofmt, length:TOKENS, format:REGEX and program:PATH ARGUMENTS"

// Parse reads a source: go_parser is 1 for Go that parses, gofmt 1 for Go in gofmt's form, length:N from 0 down
// to -1 with the distance from N tokens, format:REGEX 1 for answers that match, program:PATH runs a program,
// which must be there. ok tells whether spec is a rule at all; otherwise it may be the folder of a reward model.
func Parse(spec string, o Options) (s Source, ok bool, err error) {
	name, arg, more := strings.Cut(spec, ":")
	if more && (name == "go_parser" || name == "gofmt") {
		return nil, true, fmt.Errorf("reward %q has something behind %s, which takes nothing; write %s", spec, name, name)
	}
	switch name {
	case "go_parser":
		return rule(func(a Answer) float64 { return share(Parses(a.Prompt, a.Text)) }), true, nil
	case "gofmt":
		return rule(func(a Answer) float64 { return share(Formatted(a.Prompt, a.Text)) }), true, nil
	case "length":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			return nil, true, fmt.Errorf("reward %q has no number of tokens above 0; write length:50", spec)
		}
		return rule(func(a Answer) float64 { return -min(math.Abs(float64(a.Tokens)/float64(n)-1), 1) }), true, nil
	case "format":
		if arg == "" { // which every answer matches
			return nil, true, fmt.Errorf("reward %q has no pattern; write format:REGEX, as in format:^[0-9]+$", spec)
		}
		re, err := regexp.Compile(arg)
		if err != nil {
			return nil, true, fmt.Errorf("reward %q: %w; write a regular expression of Go's", spec, err)
		}
		return rule(func(a Answer) float64 { return share(re.MatchString(a.Text)) }), true, nil
	case "program":
		args := strings.Fields(arg)
		if _, err := exec.LookPath(arg); err == nil { // also a path with spaces, which goes without arguments
			args = []string{arg}
		}
		if len(args) == 0 {
			return nil, true, fmt.Errorf("reward program: names no program; write program:PATH ARGUMENTS")
		}
		if _, err := exec.LookPath(args[0]); err != nil { // now, not when a model has written answers for it
			return nil, true, fmt.Errorf("reward program cannot be run: %w; give the path of an executable file", err)
		}
		return &program{args: args, o: o, linger: time.Second}, true, nil
	}
	return nil, false, nil
}

// share is the score of a rule that holds or does not.
func share(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// rule scores each answer by itself.
type rule func(Answer) float64

// Score implements Source.
func (r rule) Score(ctx context.Context, answers []Answer) ([]float64, error) {
	scores := make([]float64, len(answers))
	for i, a := range answers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		scores[i] = r(a)
	}
	return scores, nil
}

// Parses tells whether an answer is Go: a whole file or declarations, alone, in its first fenced block, or as
// the end of what the prompt begins.
func Parses(prompt, answer string) bool {
	_, ok := goSource(prompt, answer)
	return ok
}

// Formatted tells whether an answer parses and is as gofmt writes it, but for space at its end.
func Formatted(prompt, answer string) bool {
	src, ok := goSource(prompt, answer)
	if !ok {
		return false
	}
	out, err := format.Source([]byte(src))
	return err == nil && strings.TrimSpace(string(out)) == strings.TrimSpace(src)
}

// goSource is the Go in an answer: of its first fenced block if there is one, else of prompt and answer
// together or of the answer alone, with a package clause put before declarations. ok is false where nothing
// of it parses, or where it declares nothing.
func goSource(prompt, answer string) (src string, ok bool) {
	texts := []string{prompt + answer, answer}
	if code, fenced := fence(answer); fenced {
		texts = []string{code}
	}
	for _, text := range texts {
		for _, src := range []string{text, "package p\n\n" + text} {
			if f, err := parser.ParseFile(token.NewFileSet(), "", src, parser.SkipObjectResolution); err == nil && len(f.Decls) > 0 {
				return src, true
			}
		}
	}
	return "", false
}

// fence is the content of the first fenced block of Markdown, which begins on a line of its own: three
// backquotes in a sentence or in a comment of Go begin none.
func fence(s string) (code string, ok bool) {
	for s != "" {
		line, after, _ := strings.Cut(s, "\n")
		if strings.HasPrefix(strings.TrimLeft(line, " \t"), "```") {
			code, _, ok = strings.Cut(after, "```") // behind the language
			return code, ok
		}
		s = after
	}
	return "", false
}

// check refuses scores that are no numbers or not as many as answers.
func check(scores []float64, answers int) error {
	if len(scores) != answers {
		return fmt.Errorf("gave %d scores for %d answers", len(scores), answers)
	}
	for i, s := range scores {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("gave the score %v to answer %d", s, i+1)
		}
	}
	return nil
}

// line is what a program reads for each answer: the answer's own keys.
func line(a Answer) ([]byte, error) {
	text, err := json.Marshal(a)
	return append(text, '\n'), err
}
