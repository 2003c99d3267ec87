package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// Preference is two answers to one prompt, of which the chosen one is better.
type Preference struct {
	Chosen, Rejected Example // the same prompt with two answers, conversations or both prompt and completion
	Turns            int     // messages that the two conversations share: the prompt
	Margin           float64 // how much better the chosen answer is; 0 when the record does not say
	Annotator        string  // who judged; empty when the record does not say
}

// Judged is an answer with a verdict of its own.
type Judged struct {
	Example
	Turns     int // messages of the prompt
	Desirable bool
}

// HashPrompt is a hash of what is asked of the two answers; see (*Example).hashPrompt.
func (p *Preference) HashPrompt() uint64 { return p.Chosen.hashPrompt(p.Turns) }

// HashPrompt is a hash of what is asked; see (*Example).hashPrompt.
func (j *Judged) HashPrompt() uint64 { return j.Example.hashPrompt(j.Turns) }

// hashPrompt is one of a conversation's first messages, however their JSON is written, or of a prompt that is a text.
func (e *Example) hashPrompt(turns int) uint64 {
	if e.Messages == nil {
		return xxh3.HashString(e.Prompt)
	}
	h := xxh3.New()
	for _, m := range e.Messages[:turns] {
		var v any
		_ = json.Unmarshal(m, &v)       // it was parsed
		same, _ := json.Marshal(v)      // keys are in order, and signs are escaped in one way
		_, _ = h.Write(append(same, 0)) // a hash takes every write
	}
	return h.Sum64()
}

// Unusable is the error of a record that is well formed but teaches nothing.
type Unusable struct {
	Reason  Reason
	Problem string
}

// Error gives the problem, in words for the person whose record it is.
func (u *Unusable) Error() string { return u.Problem }

// Reasons for which preferences are left out.
const (
	EqualAnswers Reason = "preferences with equal answers"
	EmptyAnswer  Reason = "preferences with an empty answer"
)

// ParsePreference reads a record with chosen and rejected, each a text or a list of messages, as TRL has them: answers to prompt
// where there is one, else whole transcripts whose common beginning is the prompt. Transcripts in the style of Anthropic's HH
// ("\n\nHuman: …\n\nAssistant: …") become conversations. The prompt may also stand as in LLaMA-Factory's files (instruction and
// input, or conversations, with answers of one turn) or under question. A system beside it begins the conversation. margin, a number, and annotator, a text, may stand beside.
func ParsePreference(record []byte) (Preference, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(record, &fields); err != nil {
		return Preference{}, fmt.Errorf("the record is no JSON object: %w", err)
	}
	if !isNull(fields["completion"]) && !isNull(fields["label"]) && isNull(fields["chosen"]) {
		return Preference{}, errors.New("this is one answer with a verdict (completion and label) and no preference between two; hone dpo learns from such records with loss_type=kto")
	}
	if isNull(fields["chosen"]) || isNull(fields["rejected"]) {
		return Preference{}, errors.New("a preference needs chosen and rejected, with prompt or as whole transcripts")
	}
	var p Preference
	if m := fields["margin"]; !isNull(m) && json.Unmarshal(m, &p.Margin) != nil {
		return p, errors.New("margin is no number")
	}
	if err := text(fields, "annotator", &p.Annotator); err != nil {
		return p, err
	}
	var chosen, rejected string
	errC, errR := text(fields, "chosen", &chosen), text(fields, "rejected", &rejected)
	if v := fields["prompt"]; (isNull(v) || string(v) == `""`) && isHH(chosen) && isHH(rejected) { // they have their questions, whatever stands beside
		delete(fields, "prompt") // a table has an empty one where there is none
		return p, p.texts(fields, chosen, rejected)
	}
	question, err := asked(fields)
	if err != nil {
		return p, err
	}
	switch {
	case question != nil && (errC == nil) == (errR == nil):
		return p, p.conversations(fields, question)
	case errC == nil && errR == nil:
		return p, p.texts(fields, chosen, rejected)
	case errC != nil && errR != nil:
		return p, p.conversations(fields, nil)
	}
	return p, errors.New("chosen and rejected must both be texts or both lists of messages")
}

// asked are the messages of a prompt that stands as in fine-tuning records, or that is a text with a system beside it; nil if there are none.
func asked(fields map[string]json.RawMessage) ([]json.RawMessage, error) {
	var e Example
	var prompt string
	switch {
	case !isNull(fields["prompt"]):
		if text(fields, "prompt", &prompt) != nil {
			return nil, nil
		}
		if err := e.lead(fields); err != nil || e.Messages == nil {
			return nil, err
		}
		e.add("user", prompt)
		return e.Messages, nil
	case !isNull(fields["conversations"]):
		err := cmp.Or(e.shareGPTTurns(fields["conversations"]), e.lead(fields))
		return e.Messages, err
	case !isNull(fields["instruction"]):
		err := e.instructed(fields)
		return e.Messages, err
	case !isNull(fields["question"]):
		if err := cmp.Or(text(fields, "question", &prompt), e.lead(fields)); err != nil {
			return nil, err
		}
		e.add("user", prompt)
		return e.Messages, nil
	}
	return nil, nil
}

// texts takes two answers that are texts.
func (p *Preference) texts(fields map[string]json.RawMessage, chosen, rejected string) error {
	var prompt string
	if err := text(fields, "prompt", &prompt); err != nil {
		return errors.New("prompt is no text, but chosen and rejected are")
	}
	if chosen == rejected && chosen != "" {
		return &Unusable{EqualAnswers, "chosen and rejected are equal"}
	}
	if isNull(fields["prompt"]) {
		if isHH(chosen) && isHH(rejected) {
			return p.transcripts(fields, chosen, rejected)
		}
		var system string
		if err := text(fields, "system", &system); err != nil {
			return err
		}
		if !strings.Contains(chosen, system) || !strings.Contains(rejected, system) { // whole texts have no place for one that they have not yet
			return errors.New("the preference has a system and no prompt; give what was asked as prompt")
		}
		for _, key := range []string{"query", "input", "context", "messages"} { // names of prompts elsewhere; without it the answers would be learned alone
			var beside string
			whole := text(fields, key, &beside) == nil && strings.Contains(chosen, beside) && strings.Contains(rejected, beside) // also where there is none
			if !whole {
				return fmt.Errorf("the preference has no prompt but %s; call it prompt", key)
			}
		}
		at := promptEnd(chosen, rejected)
		prompt, chosen, rejected = chosen[:at], chosen[at:], rejected[at:]
	}
	if chosen == "" || rejected == "" {
		return &Unusable{EmptyAnswer, "an answer is empty"}
	}
	p.Chosen = Example{Format: PromptCompletion, Prompt: prompt, Completion: chosen}
	p.Rejected = Example{Format: PromptCompletion, Prompt: prompt, Completion: rejected}
	return nil
}

// promptEnd is where two transcripts begin to differ, before a space and between characters: TRL's extract_prompt.
func promptEnd(a, b string) int {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	for at > 0 && at < len(a) && !utf8.RuneStart(a[at]) {
		at--
	}
	if at > 0 && a[at-1] == ' ' {
		at--
	}
	return at
}

// The turns of a transcript in HH's style.
const (
	human     = "\n\nHuman:"
	assistant = "\n\nAssistant:"
)

func isHH(s string) bool {
	return strings.HasPrefix(s, human) && strings.Contains(s, assistant)
}

// transcripts reads two transcripts in HH's style. The texts stay beside the messages, for models without a chat template.
func (p *Preference) transcripts(fields map[string]json.RawMessage, chosen, rejected string) error {
	var errs [2]error
	p.Chosen, errs[0] = hhExample(chosen)
	p.Rejected, errs[1] = hhExample(rejected)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	turns := len(p.Chosen.Messages)
	if err := cmp.Or(p.Chosen.lead(fields), p.Rejected.lead(fields)); err != nil {
		return err
	}
	at := strings.LastIndex(chosen[:promptEnd(chosen+" ", rejected+" ")], assistant) + len(assistant)
	if at < len(assistant) {
		return errors.New("the transcripts have no prompt in common")
	}
	if len(p.Chosen.Messages) == turns { // with a system it is a conversation only: the texts lack it
		p.Chosen.Prompt, p.Chosen.Completion = chosen[:at], chosen[at:]
		p.Rejected.Prompt, p.Rejected.Completion = rejected[:at], rejected[at:]
	}
	return p.share()
}

func hhExample(s string) (Example, error) {
	e := Example{Format: Messages}
	for s != "" {
		role, mark := "user", human
		if strings.HasPrefix(s, assistant) {
			role, mark = "assistant", assistant
		}
		s = s[len(mark):]
		end := len(s)
		for _, next := range []string{human, assistant} {
			if i := strings.Index(s, next); i >= 0 {
				end = min(end, i)
			}
		}
		e.add(role, strings.TrimSpace(s[:end]))
		s = s[end:]
	}
	return e, answered(&e)
}

// answered checks the turns of a conversation that ends with an answer.
func answered(e *Example) error {
	var last turn
	if n := len(e.Messages); n == 0 || json.Unmarshal(e.Messages[n-1], &last) != nil || last.Role == nil {
		return errors.New("the conversation is empty")
	}
	if !last.fromModel() {
		return fmt.Errorf("the conversation ends with the role %s and not with an answer of the assistant", *last.Role)
	}
	if content := string(last.Content); (isNull(last.Content) || content == `""`) && !calls(e.Messages[len(e.Messages)-1]) {
		return &Unusable{EmptyAnswer, "an answer is empty"}
	}
	return e.checkTurns()
}

// conversations takes two answers that are lists of messages, or such to a question that is. A prompt that is a text, as in UltraFeedback, or question
// stands at their beginning already; where they have nothing but the answer, it is what was asked.
func (p *Preference) conversations(fields map[string]json.RawMessage, question []json.RawMessage) error {
	var prompt []json.RawMessage
	asked := ""
	if v := fields["prompt"]; !isNull(v) && json.Unmarshal(v, &prompt) != nil && json.Unmarshal(v, &asked) != nil {
		return errors.New("prompt is neither a text nor a list of messages")
	}
	if asked != "" && question == nil {
		question = []json.RawMessage{message("user", asked)}
	}
	for i, e := range []*Example{&p.Chosen, &p.Rejected} { // in this order, so that a record with two faults always gives the same error
		key := [...]string{"chosen", "rejected"}[i]
		list, err := answers(fields[key])
		if err != nil {
			return fmt.Errorf("%s %w", key, err)
		}
		*e = Example{Format: Messages}
		if err := e.readTools(fields["tools"]); err != nil {
			return err
		}
		before := prompt
		var first turn
		if len(list) > 0 && json.Unmarshal(list[0], &first) == nil && first.Role != nil && first.fromModel() {
			before = slices.Concat(question, prompt)
		}
		for _, m := range slices.Concat(before, list) {
			e.Messages = append(e.Messages, compact(m))
		}
		if err := cmp.Or(e.lead(fields), answered(e)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return p.share()
}

// answers are the messages of an answer: a list of them, a single one, or a text.
func answers(v json.RawMessage) ([]json.RawMessage, error) {
	var list []json.RawMessage
	var alone string
	switch {
	case json.Unmarshal(v, &list) == nil:
	case json.Unmarshal(v, &alone) == nil:
		return []json.RawMessage{message("assistant", alone)}, nil
	case bytes.HasPrefix(v, []byte("{")):
		list = []json.RawMessage{v}
	default:
		return nil, errors.New("is neither a text nor a list of messages")
	}
	for i, m := range list {
		var from struct{ From *string }
		if json.Unmarshal(m, &from) != nil || from.From == nil {
			continue // what is wrong with messages is found where they are read
		}
		var err error
		if list[i], err = shareGPTTurn(m); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// compact is a message without insignificant space, so that equal messages are equal bytes.
func compact(m json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	_ = json.Compact(&b, m) // it was parsed
	return b.Bytes()
}

// share counts the messages that both conversations begin with.
func (p *Preference) share() error {
	c, r := p.Chosen.Messages, p.Rejected.Messages
	for p.Turns < min(len(c), len(r)) && bytes.Equal(c[p.Turns], r[p.Turns]) {
		p.Turns++
	}
	switch {
	case p.Turns == len(c) && p.Turns == len(r):
		return &Unusable{EqualAnswers, "chosen and rejected are equal"}
	case p.Turns == 0:
		return errors.New("chosen and rejected have no prompt in common")
	case p.Turns == len(c) || p.Turns == len(r):
		return errors.New("one conversation is the beginning of the other, so one of the answers is missing")
	}
	return nil
}

// ParseJudged reads a record with prompt, completion and label, a yes or no.
func ParseJudged(record []byte) (Judged, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(record, &fields); err != nil {
		return Judged{}, fmt.Errorf("the record is no JSON object: %w", err)
	}
	var j Judged
	if isNull(fields["prompt"]) || isNull(fields["completion"]) || json.Unmarshal(fields["label"], &j.Desirable) != nil {
		return j, errors.New("an answer with a verdict needs prompt, completion and label, which is true or false")
	}
	j.Format = PromptCompletion
	if c := strings.TrimSpace(string(fields["completion"])); c == `""` || c == "[]" {
		return j, &Unusable{EmptyAnswer, "an answer is empty"}
	}
	if err := j.read(fields); err != nil {
		return j, err
	}
	var completion []json.RawMessage
	switch {
	case j.Messages != nil && json.Unmarshal(fields["completion"], &completion) == nil:
		j.Turns = len(j.Messages) - len(completion)
	case j.Messages != nil: // a text with a system beside it
		j.Turns = len(j.Messages) - 1
	}
	return j, nil
}

// ParsePrompt reads what a model is to answer: prompt (a text or a list of messages), or messages, whose last answer, if they end
// with one, is left out.
func ParsePrompt(record []byte) (Example, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(record, &fields); err != nil {
		return Example{}, fmt.Errorf("the record is no JSON object: %w", err)
	}
	var e Example
	switch {
	case !isNull(fields["prompt"]) && text(fields, "prompt", &e.Prompt) == nil:
		e.Format = PromptCompletion
	case !isNull(fields["prompt"]):
		return e, cmp.Or(e.question(fields["prompt"]), e.lead(fields))
	case !isNull(fields["messages"]):
		return e, cmp.Or(e.question(fields["messages"]), e.lead(fields))
	case !isNull(fields["text"]):
		e.Format = PromptCompletion
		if err := text(fields, "text", &e.Prompt); err != nil {
			return e, err
		}
	default:
		return e, errors.New("a prompt needs the key prompt, messages or text")
	}
	if e.Prompt == "" {
		return e, errors.New("the prompt is empty")
	}
	if err := e.lead(fields); err != nil || e.Messages == nil {
		return e, err
	}
	e.add("user", e.Prompt) // with a system it is a conversation
	e.Format, e.Prompt = Messages, ""
	return e, nil
}

// question takes the messages up to the last that is not the assistant's.
func (e *Example) question(list json.RawMessage) error {
	e.Format = Messages
	if json.Unmarshal(list, &e.Messages) != nil {
		return errors.New("the prompt is neither a text nor a list of messages")
	}
	for n := len(e.Messages); n > 0; n-- {
		var last turn
		if json.Unmarshal(e.Messages[n-1], &last) != nil || last.Role == nil {
			return fmt.Errorf("message %d has no role", n)
		}
		if !last.fromModel() {
			e.Messages = e.Messages[:n]
			return nil
		}
	}
	return errors.New("the prompt has no message to answer")
}

// Draw is the number, below count, of the n-th piece that a run sees: within an epoch every piece comes exactly once, in an
// order that is a function of the seed and the epoch.
func Draw(seed uint64, count, n int64) int64 {
	return permute(key(seed, 2, 0, uint64(n/count)), count, n%count)
}
