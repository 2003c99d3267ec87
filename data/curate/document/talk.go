package document

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"hone/data"
)

// Talk is a record of fine-tuning data as text: what is asked, and what is answered.
type Talk struct {
	Prompt   string   // what is asked, in all turns
	Answers  []string // of the assistant; chosen and rejected of a preference
	Rejected bool     // the last answer is one that was rejected
	Problem  string   // why no one can learn from the record; empty when one can
}

// Talk reads the record that the text is.
func (d *Doc) Talk() *Talk {
	if d.parsed == nil {
		d.parsed = ParseTalk([]byte(d.Text))
	}
	return d.parsed
}

// ParseTalk reads a record of fine-tuning data or of preferences; one that is neither has a problem.
func ParseTalk(record []byte) *Talk {
	var keys struct{ Chosen, Rejected any } // null where a table has such columns and the record is no preference
	if json.Unmarshal(record, &keys) == nil && (keys.Chosen != nil || keys.Rejected != nil) {
		p, err := data.ParsePreference(record)
		if err != nil {
			return &Talk{Problem: problemOf(err)}
		}
		t, other := talkOf(p.Chosen, p.Turns), talkOf(p.Rejected, p.Turns)
		t.Answers, t.Rejected = []string{strings.Join(t.Answers, "\n"), strings.Join(other.Answers, "\n")}, true
		return t
	}
	e, err := data.ParseExample(record)
	if err != nil {
		return &Talk{Problem: problemOf(err)}
	}
	return talkOf(e, 0)
}

// talkOf is an example whose first messages are asked, whoever says them.
func talkOf(e data.Example, asked int) *Talk {
	t := &Talk{}
	if e.Messages == nil {
		t.Prompt, t.Answers = e.Prompt, []string{e.Completion + e.Text}
		return t
	}
	var prompt []string
	for i, m := range e.Messages {
		var message struct {
			Role    string
			Content json.RawMessage
			Calls   []json.RawMessage `json:"tool_calls"`
		}
		_ = json.Unmarshal(m, &message) // it was parsed
		answer := message.Role == "assistant" || message.Role == "model"
		text := contentText(message.Content)
		for _, call := range message.Calls { // an answer, too, often without any text
			text += string(call)
		}
		switch {
		case answer && i >= asked:
			t.Answers = append(t.Answers, text)
		case message.Role == "user" || answer:
			prompt = append(prompt, text)
		}
	}
	t.Prompt = strings.Join(prompt, "\n")
	return t
}

// contentText is a message's content: a text, or the texts in a list of parts.
func contentText(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []struct{ Text string }
	if json.Unmarshal(content, &parts) != nil {
		return string(content)
	}
	var all []string
	for _, p := range parts {
		all = append(all, p.Text)
	}
	return strings.Join(all, "\n")
}

// Particulars of a record in an error, which would make a reason of their own each.
var (
	keyList     = regexp.MustCompile(`with the keys .* is of`)
	particulars = regexp.MustCompile(`\d+|"[^"]*"`)
)

// problemOf words an error so that it is the same for every record that has it.
func problemOf(err error) string {
	var unusable *data.Unusable
	switch text := err.Error(); {
	case errors.As(err, &unusable) && unusable.Reason == data.EqualAnswers:
		return "chosen and rejected are equal"
	case errors.As(err, &unusable) && unusable.Reason == data.EmptyAnswer, strings.Contains(text, "of the assistant, is empty"), strings.Contains(text, "completion is empty"):
		return "empty answer"
	case strings.Contains(text, "is no JSON object"):
		return "no JSON object"
	default:
		text, _, _ = strings.Cut(keyList.ReplaceAllString(text, "is of"), "; known are")
		return particulars.ReplaceAllString(text, "…")
	}
}

// Compared is the text by which near duplicates are found: of records the prompt, where there is one.
func (d *Doc) Compared(records bool) string {
	if !records {
		return d.Text
	}
	t := d.Talk()
	if t.Prompt != "" {
		return t.Prompt
	}
	return strings.Join(t.Answers, "\n")
}

// AnswerLength is the characters of all answers; of a preference, those of the chosen one.
func (t *Talk) AnswerLength() int {
	n := 0
	for _, a := range t.Wanted() {
		n += utf8.RuneCountInString(a)
	}
	return n
}

// Wanted are the answers that a model is to give.
func (t *Talk) Wanted() []string {
	if t.Rejected {
		return t.Answers[:1]
	}
	return t.Answers
}

// OnTalk makes a step for texts one for records: it looks at the answers, and with all at the prompt too.
func OnTalk(s Step, all bool) Step {
	return Step{Name: s.Name, Apply: func(d *Doc) string {
		t := d.Talk()
		text := strings.Join(t.Wanted(), "\n")
		if all {
			text = t.Prompt + "\n" + strings.Join(t.Answers, "\n")
		}
		of := &Doc{Text: text}
		reason := s.Apply(of)
		d.notes = append(d.notes, of.notes...)
		return reason
	}}
}
