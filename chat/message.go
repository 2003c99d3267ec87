package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"hone/internal/jinja"
)

// Message is one message of a conversation: a JSON object with a role and whatever else the template reads, such as content (a
// string, or a list of blocks), tool_calls or reasoning_content. It marshals to and from that object, its keys in their order.
type Message struct {
	raw  json.RawMessage
	role string
}

// NewMessage returns a message with a role and a text.
func NewMessage(role, content string) Message {
	r, _ := json.Marshal(role) // strings always marshal
	c, _ := json.Marshal(content)
	return Message{fmt.Appendf(nil, `{"role":%s,"content":%s}`, r, c), role}
}

// Content returns the message's text; "" when it has none, or blocks.
func (m Message) Content() string {
	var v struct{ Content any }
	if json.Unmarshal(m.raw, &v) != nil {
		return ""
	}
	s, _ := v.Content.(string)
	return s
}

// fromModel reports whether a message is an answer of the model.
func (m Message) fromModel() bool { return m.role == "assistant" || m.role == "model" }

// MarshalJSON returns the object.
func (m Message) MarshalJSON() ([]byte, error) {
	if m.raw == nil {
		return nil, errors.New("a chat message is empty")
	}
	return m.raw, nil
}

// UnmarshalJSON reads an object with a role.
func (m *Message) UnmarshalJSON(data []byte) error {
	var v struct{ Role *string }
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("a chat message must be an object with a role: %w", err)
	}
	if v.Role == nil {
		return errors.New("a chat message has no role; give it one, such as user or assistant")
	}
	m.raw, m.role = bytes.Clone(data), *v.Role
	return nil
}

// Sources of the bytes of a rendered conversation, beside the messages, which are 1, 2, 3 ...
const (
	sourceTemplate = 0  // the template's own words
	sourceOther    = -1 // tools, documents and further variables
	sourceRole     = -2 // the roles of messages
)

// value is the message as the template sees it: keys that are null are left out, and reasoning has all its names.
func (m Message) value(index int) (jinja.Value, error) {
	v, err := jinja.ParseJSON(m.raw, int32(index+1))
	if err != nil {
		return v, err
	}
	out := jinja.Object(int32(index + 1))
	reasoning := jinja.None()
	for _, name := range []string{"reasoning_content", "thinking", "reasoning"} {
		if r := v.Get(name); reasoning.IsNone() && !r.IsNone() {
			reasoning = r
		}
	}
	if !reasoning.IsNone() {
		out.Set("thinking", reasoning)
	}
	for _, k := range v.Keys() {
		if x := v.Get(k); !x.IsNone() {
			out.Set(k, x)
		}
	}
	if !reasoning.IsNone() {
		out.Set("reasoning_content", reasoning)
	}
	out.Set("role", jinja.String(m.role, sourceRole))
	return out, nil
}
