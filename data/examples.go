package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Example is one record of fine-tuning data: a conversation, a prompt with its completion, or plain text.
type Example struct {
	Format     Format
	Messages   []json.RawMessage // objects with role and content, as chat templates take them; nil unless a conversation
	Unlearned  []int             // numbers of the messages from the assistant that are there to be read and not to be learned, ascending
	Tools      json.RawMessage   // a list of tools that the conversation may use; nil: none
	Prompt     string            // with Completion
	Completion string
	Text       string
}

// Format is a known shape of records.
type Format string

// The formats. Alpaca and ShareGPT records become conversations.
const (
	Messages         Format = "messages"          // messages: [{role, content}], tools
	PromptCompletion Format = "prompt-completion" // prompt, completion: texts or lists of messages
	Alpaca           Format = "alpaca"            // instruction, input, output, system, history
	ShareGPT         Format = "sharegpt"          // conversations: [{from, value}], system, tools
	PlainText        Format = "text"              // text
)

// formats lists the formats by the keys that tell them, in the order in which they are tried.
var formats = []struct {
	format Format
	keys   []string
}{
	{Messages, []string{"messages"}},
	{ShareGPT, []string{"conversations"}},
	{PromptCompletion, []string{"prompt", "completion"}},
	{Alpaca, []string{"instruction", "output"}},
	{PlainText, []string{"text"}},
}

// Formats says which records are known, for messages.
const Formats = "messages; conversations; prompt and completion; instruction, input and output; text"

// ParseExample reads a record, a JSON object, by the keys it has.
func ParseExample(record []byte) (Example, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(record, &fields); err != nil {
		return Example{}, fmt.Errorf("the record is no JSON object: %w", err)
	}
	for _, f := range formats {
		if !slices.ContainsFunc(f.keys, func(k string) bool { return isNull(fields[k]) }) {
			e := Example{Format: f.format}
			if err := cmp.Or(e.read(fields), e.checkOrder()); err != nil {
				return Example{}, fmt.Errorf("a record of the format %s: %w", f.format, err)
			}
			return e, nil
		}
	}
	keys := slices.Sorted(maps.Keys(fields))
	return Example{}, fmt.Errorf("a record with the keys %s is of no known format; known are: %s", strings.Join(keys, ", "), Formats)
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || bytes.Equal(v, []byte("null")) }

func (e *Example) read(fields map[string]json.RawMessage) error {
	if err := e.readTools(fields["tools"]); err != nil {
		return err
	}
	switch e.Format {
	case Messages:
		return e.conversation(fields["messages"], fields)
	case ShareGPT:
		return e.shareGPT(fields)
	case PromptCompletion:
		return e.promptCompletion(fields)
	case Alpaca:
		return e.alpaca(fields)
	}
	return text(fields, "text", &e.Text)
}

// readTools takes a list of tools, which some files hold as a text of JSON. An empty list is none.
func (e *Example) readTools(tools json.RawMessage) error {
	if isNull(tools) {
		return nil
	}
	var list []json.RawMessage
	var text string
	switch {
	case json.Unmarshal(tools, &list) == nil:
	case json.Unmarshal(tools, &text) == nil && (text == "" || json.Unmarshal([]byte(text), &list) == nil):
		tools = json.RawMessage(text)
	default:
		return errors.New("tools is no list")
	}
	if len(list) > 0 {
		e.Tools = tools
	}
	return nil
}

// text reads the text under a key, which may be missing or null.
func text(fields map[string]json.RawMessage, key string, into *string) error {
	if isNull(fields[key]) {
		return nil
	}
	if err := json.Unmarshal(fields[key], into); err != nil {
		return fmt.Errorf("%s is no text", key)
	}
	return nil
}

// turn is what every message must have.
type turn struct {
	Role    *string         `json:"role"`
	Content json.RawMessage `json:"content"`
	Weight  json.RawMessage `json:"weight"` // 0: read and not learned, as in OpenAI's files
	Train   json.RawMessage `json:"train"`  // false: the same, as in Axolotl's
}

// lead begins the conversation with what stands under system beside it, unless it has a message of that kind itself.
func (e *Example) lead(fields map[string]json.RawMessage) error {
	var system string
	if err := text(fields, "system", &system); err != nil {
		return err
	}
	var first turn
	own := len(e.Messages) > 0 && json.Unmarshal(e.Messages[0], &first) == nil && first.Role != nil && (*first.Role == "system" || *first.Role == "developer")
	if system != "" && !own {
		e.Messages = slices.Insert(e.Messages, 0, message("system", system))
	}
	return nil
}

// mark notes whether message i, which the assistant gives as t, is to be learned.
func (e *Example) mark(i int, t *turn) error {
	weight, train := 1.0, true
	switch {
	case !isNull(t.Weight) && (json.Unmarshal(t.Weight, &weight) != nil || weight != 0 && weight != 1):
		return fmt.Errorf("the weight of message %d is %.40s; use 0, which is not learned, or 1", i+1, t.Weight)
	case !isNull(t.Train) && json.Unmarshal(t.Train, &train) != nil:
		return fmt.Errorf("train of message %d is %.40s; use true or false", i+1, t.Train)
	case weight == 0 || !train:
		e.Unlearned = append(e.Unlearned, i)
	}
	return nil
}

// conversation takes a list of messages and checks what no template can mend.
func (e *Example) conversation(list json.RawMessage, fields map[string]json.RawMessage) error {
	if err := json.Unmarshal(list, &e.Messages); err != nil {
		return errors.New("the messages are no list")
	}
	return cmp.Or(e.lead(fields), e.checkTurns())
}

func (e *Example) checkTurns() error {
	if len(e.Messages) == 0 {
		return errors.New("the conversation is empty")
	}
	answers := 0
	for i, m := range e.Messages {
		var t turn
		if err := json.Unmarshal(m, &t); err != nil || t.Role == nil {
			return fmt.Errorf("message %d has no role", i+1)
		}
		switch *t.Role {
		case "assistant", "model":
			if err := e.mark(i, &t); err != nil {
				return err
			}
			if answers++; t.empty() && !calls(m) {
				return fmt.Errorf("message %d, of the assistant, is empty", i+1)
			}
		case "system", "developer":
			if i > 0 {
				return fmt.Errorf("message %d is of the role %s, which must come first", i+1, *t.Role)
			}
		case "user", "tool", "function", "ipython", "observation":
		default:
			return fmt.Errorf("message %d has the unknown role %q; use system, user, assistant or tool", i+1, *t.Role)
		}
	}
	if answers == 0 {
		return errors.New("the conversation has no answer of the assistant")
	}
	return nil
}

// fromModel reports whether a message that has a role is an answer. Gemma's templates call the speaker model.
func (t *turn) fromModel() bool { return *t.Role == "assistant" || *t.Role == "model" }

// empty reports whether the content is nothing but space: a text, or a list of parts of which none is anything else.
func (t *turn) empty() bool {
	var text string
	var parts []map[string]json.RawMessage
	switch {
	case isNull(t.Content):
		return true
	case json.Unmarshal(t.Content, &text) == nil:
		return strings.TrimSpace(text) == ""
	case json.Unmarshal(t.Content, &parts) != nil:
		return false
	}
	return !slices.ContainsFunc(parts, func(part map[string]json.RawMessage) bool {
		return isNull(part["text"]) || json.Unmarshal(part["text"], &text) != nil || strings.TrimSpace(text) != "" // a picture, or a text
	})
}

// calls reports whether a message calls tools, which is an answer without any text.
func calls(m json.RawMessage) bool {
	var called struct {
		Calls []json.RawMessage `json:"tool_calls"`
	}
	return json.Unmarshal(m, &called) == nil && len(called.Calls) > 0
}

// checkOrder holds users and assistants to take turns, the user first; tools speak when an assistant called them.
func (e *Example) checkOrder() error {
	before := "" // the kind of the message before: s, u, a or t
	for i, m := range e.Messages {
		var t turn
		if err := json.Unmarshal(m, &t); err != nil || t.Role == nil {
			return fmt.Errorf("message %d has no role", i+1)
		}
		kind, behind := "t", "at"
		switch *t.Role {
		case "system", "developer":
			kind, behind = "s", ""
		case "user":
			kind, behind = "u", "sa"
		case "assistant", "model":
			kind, behind = "a", "ut"
		}
		first := before == "" && (kind == "s" || kind == "u")
		if !first && (before == "" || !strings.Contains(behind, before)) {
			return fmt.Errorf("message %d, of the role %s, is out of order; users and assistants must take turns, the user first", i+1, *t.Role)
		}
		before = kind
	}
	return nil
}

func (e *Example) add(role, content string) { e.Messages = append(e.Messages, message(role, content)) }

func message(role, content string) json.RawMessage {
	m, _ := json.Marshal(map[string]string{"role": role, "content": content}) // texts always marshal
	return m
}

// shareGPTRoles maps the speakers of ShareGPT files to roles.
var shareGPTRoles = map[string]string{"system": "system", "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant",
	"bard": "assistant", "assistant": "assistant", "model": "assistant", "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool"}

func (e *Example) shareGPT(fields map[string]json.RawMessage) error {
	return cmp.Or(e.shareGPTTurns(fields["conversations"]), e.lead(fields), e.checkTurns())
}

// shareGPTTurns takes a list of {from, value}, or of messages, which some files have there.
func (e *Example) shareGPTTurns(list json.RawMessage) error {
	var turns []json.RawMessage
	if err := json.Unmarshal(list, &turns); err != nil {
		return errors.New("conversations is no list of {from, value}")
	}
	for i, t := range turns {
		m, err := shareGPTTurn(t)
		if err != nil {
			return fmt.Errorf("turn %d %w", i+1, err)
		}
		e.Messages = append(e.Messages, m)
	}
	return nil
}

// shareGPTTurn is a turn as a message, which it may be already.
func shareGPTTurn(record json.RawMessage) (json.RawMessage, error) {
	var t struct {
		From, Value *string
		turn
	}
	if err := json.Unmarshal(record, &t); err != nil || t.Role == nil && (t.From == nil || t.Value == nil) {
		return nil, errors.New("has no from or no value")
	}
	if t.From == nil || t.Value == nil {
		return record, nil
	}
	role, ok := shareGPTRoles[strings.ToLower(*t.From)]
	if !ok {
		return nil, fmt.Errorf("is from %q; use human, gpt, system or tool", *t.From)
	}
	m := map[string]any{"role": role, "content": *t.Value}
	for key, v := range map[string]json.RawMessage{"weight": t.Weight, "train": t.Train} {
		if !isNull(v) {
			m[key] = v
		}
	}
	text, err := json.Marshal(m)
	return text, err
}

func (e *Example) promptCompletion(fields map[string]json.RawMessage) error {
	if text(fields, "prompt", &e.Prompt) == nil {
		if err := text(fields, "completion", &e.Completion); err != nil {
			return err
		}
		if e.Completion == "" {
			return errors.New("the completion is empty")
		}
		if err := e.lead(fields); err != nil || e.Messages == nil {
			return err
		}
		e.add("user", e.Prompt) // with a system it is a conversation
		e.add("assistant", e.Completion)
		e.Prompt, e.Completion = "", ""
		return e.checkTurns()
	}
	var prompt, completion []json.RawMessage
	if json.Unmarshal(fields["prompt"], &prompt) != nil || json.Unmarshal(fields["completion"], &completion) != nil {
		return errors.New("prompt and completion must both be texts or both lists of messages")
	}
	e.Messages = append(prompt, completion...)
	return cmp.Or(e.lead(fields), e.checkTurns())
}

func (e *Example) alpaca(fields map[string]json.RawMessage) error {
	var output string
	if err := cmp.Or(e.instructed(fields), text(fields, "output", &output)); err != nil {
		return err
	}
	e.add("assistant", output)
	return e.checkTurns()
}

// instructed takes what an Alpaca record asks.
func (e *Example) instructed(fields map[string]json.RawMessage) error {
	var system, instruction, input string // system is taken by lead, and of several faults its is told first
	if err := cmp.Or(text(fields, "system", &system), text(fields, "instruction", &instruction), text(fields, "input", &input)); err != nil {
		return err
	}
	var history [][]string // not of [2]string, into which a list of three fits without a word
	if h := fields["history"]; !isNull(h) && json.Unmarshal(h, &history) != nil || slices.ContainsFunc(history, func(pair []string) bool { return len(pair) != 2 }) {
		return errors.New("history is no list of pairs")
	}
	for _, pair := range history {
		e.add("user", pair[0])
		e.add("assistant", pair[1])
	}
	if instruction != "" && input != "" {
		instruction += "\n" // as LLaMA-Factory joins them
	}
	e.add("user", instruction+input)
	return e.lead(fields)
}

// exampleKeys are what of a record an example is made of, in the order in which they are written here.
var exampleKeys = []string{"messages", "conversations", "system", "tools", "prompt", "completion", "instruction", "input", "output", "history", "text"}

// ExampleContent is what of a record makes the example, written in one way: keys of other kinds, such as an id, do not tell two records apart, nor do white
// space and the order of the record's keys. The values stand as they are written: templates see the keys of messages, too.
func ExampleContent(record []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(record, &fields) != nil {
		return record
	}
	out, sep := bytes.Buffer{}, "{"
	for _, key := range exampleKeys {
		if !isNull(fields[key]) {
			fmt.Fprintf(&out, "%s%q:", sep, key)
			sep = ","
			_ = json.Compact(&out, fields[key]) // it was parsed
		}
	}
	if out.Len() == 0 { // of no known format: such records are not copies of each other
		return record
	}
	return append(out.Bytes(), '}')
}
