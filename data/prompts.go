package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Prompt is what a model is asked: a text to continue, or a conversation that ends where the model speaks.
type Prompt struct {
	Text     string            // "" for a conversation
	Messages []json.RawMessage // objects with role and content; nil for a text
}

// JSON is the prompt as preference records hold it: a string, or a list of messages.
func (p Prompt) JSON() json.RawMessage {
	var v any = p.Text
	if p.Messages != nil {
		v = p.Messages
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	_ = out.Encode(v) // texts and valid JSON always can be
	return bytes.TrimSpace(b.Bytes())
}

// Prompts reads prompts from files: each line of a text file, and each record of the others, by ParsePrompt. Bad records are
// dealt with as s.OnBadRecord says; stats counts.
func Prompts(s Sources, stats *Stats) iter.Seq2[Prompt, error] {
	s.Records = true
	return func(yield func(Prompt, error) bool) {
		for d, err := range s.Documents(stats) {
			if err != nil {
				yield(Prompt{}, err)
				return
			}
			prompts, err := promptsOf(d)
			if err != nil && s.OnBadRecord == SkipBadRecord {
				stats.skip(Malformed, 1)
				continue
			}
			if err != nil {
				yield(Prompt{}, fmt.Errorf("%s: %w; repair it or set on_bad_record=skip", d.Place(), err))
				return
			}
			for _, p := range prompts {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

func promptsOf(d Document) ([]Prompt, error) {
	if content, _ := kind(d.Source); content != "" {
		p, err := ParsePrompt(d.Text)
		return []Prompt{p}, err
	}
	var piece struct{ Text string }
	if err := json.Unmarshal(d.Text, &piece); err != nil {
		return nil, err
	}
	var prompts []Prompt
	for line := range strings.Lines(piece.Text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			prompts = append(prompts, Prompt{Text: line})
		}
	}
	return prompts, nil
}

// ParsePrompt reads the prompt of a record: `prompt`, a text or a list of messages; or else that of a record that
// ParseExample knows, up to its last answer; or else `text`.
func ParsePrompt(record []byte) (Prompt, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(record, &fields); err != nil {
		return Prompt{}, fmt.Errorf("the record is no JSON object: %w", err)
	}
	if given := fields["prompt"]; !isNull(given) {
		return promptOf(given)
	}
	ex, err := ParseExample(record)
	if err != nil && isNull(fields["messages"]) {
		return Prompt{}, err
	}
	messages := ex.Messages
	if err != nil { // a conversation without an answer is no example, but it is a prompt
		return promptOf(fields["messages"])
	}
	if messages == nil {
		return checkedPrompt(Prompt{Text: ex.Text})
	}
	return checkedPrompt(Prompt{Messages: beforeAnswer(messages)})
}

func promptOf(given json.RawMessage) (p Prompt, err error) {
	if json.Unmarshal(given, &p.Text) == nil {
		return checkedPrompt(p)
	}
	if json.Unmarshal(given, &p.Messages) != nil {
		return p, errors.New("the prompt is neither a text nor a list of messages")
	}
	for i, m := range p.Messages {
		var t turn
		if json.Unmarshal(m, &t) != nil || t.Role == nil {
			return p, fmt.Errorf("message %d of the prompt has no role", i+1)
		}
	}
	p.Messages = beforeAnswer(p.Messages)
	return checkedPrompt(p)
}

// beforeAnswer cuts the answers at the end off.
func beforeAnswer(messages []json.RawMessage) []json.RawMessage {
	for len(messages) > 0 {
		var t turn
		if json.Unmarshal(messages[len(messages)-1], &t) != nil || t.Role == nil || *t.Role != "assistant" && *t.Role != "model" {
			break
		}
		messages = messages[:len(messages)-1]
	}
	return messages
}

func checkedPrompt(p Prompt) (Prompt, error) {
	if len(p.Messages) == 0 && strings.TrimSpace(p.Text) == "" {
		return p, errors.New("the prompt is empty")
	}
	return p, nil
}
