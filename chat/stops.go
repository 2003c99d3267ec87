package chat

import (
	"strings"

	"hone/tokenizer"
)

// Stops returns what ends an answer: the special tokens that the template writes after one, and a text where it writes no such token.
// Templates that end answers with nothing give neither.
func (t *Template) Stops(tok *tokenizer.Tokenizer) (ids []int32, texts []string) {
	// a word that no template writes by itself, so that what follows it in the text is what follows any answer
	const answer = "answer"
	conversation := []Message{NewMessage("user", "question"), NewMessage("assistant", answer), NewMessage("user", "question")}
	e, err := t.Encode(tok, conversation, Options{})
	if err != nil {
		// some templates take one question only
		conversation = conversation[:2]
		if e, err = t.Encode(tok, conversation, Options{}); err != nil {
			return nil, nil
		}
	}
	var end strings.Builder // of the answer, after its content
	for i, id := range e.IDs {
		if e.Answer[i] != 1 {
			continue
		}
		if tok.IsSpecial(id) && strings.HasSuffix(strings.TrimSpace(end.String()), answer) {
			return []int32{id}, nil
		}
		end.Write(tok.TokenBytes(id))
	}
	_, after, _ := strings.Cut(end.String(), answer)
	if after = strings.TrimSpace(after); after != "" {
		texts = []string{after}
	}
	return nil, texts
}
