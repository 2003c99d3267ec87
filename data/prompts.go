package data

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
)

// Prompts reads prompts from files: each line of a text file, and each record of the others, by ParsePrompt. Bad records are
// dealt with as s.OnBadRecord says; stats counts.
func Prompts(s Sources, stats *Stats) iter.Seq2[Example, error] {
	s.Records = true
	if s.PieceBytes == 0 { // a line is one prompt, however long: the usual pieces of a small file are shorter than some
		s.PieceBytes = 64 << 20
	}
	return func(yield func(Example, error) bool) {
		for d, err := range s.Documents(stats) {
			if err != nil {
				yield(Example{}, err)
				return
			}
			prompts, err := promptsOf(d)
			if err != nil {
				if err := s.bad(stats, Malformed, fmt.Errorf("%s: %w", d.Place(), err)); err != nil {
					yield(Example{}, err)
					return
				}
				continue
			}
			for _, p := range prompts {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

func promptsOf(d Document) ([]Example, error) {
	// Told by the name of the file, for records of JSON and lines of text come here both as objects.
	if content, _ := kind(d.Source); content != "" {
		p, err := ParsePrompt(d.Text)
		return []Example{p}, err
	}
	var piece struct{ Text string }
	if err := json.Unmarshal(d.Text, &piece); err != nil {
		return nil, err
	}
	var prompts []Example
	for line := range strings.Lines(piece.Text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			prompts = append(prompts, Example{Format: PromptCompletion, Prompt: line})
		}
	}
	return prompts, nil
}
