package label

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Exported counts what Export wrote and what it left out.
type Exported struct {
	Written int             `json:"written"`
	LeftOut map[Verdict]int `json:"left_out"` // ties, bad pairs, skips and what is Unusable
}

// Unusable counts preferences of pairs that are not shown any more: judged before pairs with an empty answer, or two alike, were left out.
const Unusable Verdict = "unusable"

// preference is a line of the export: TRL's columns prompt, chosen and rejected, and where they come from. A prompt
// of messages has answers of messages, as TRL wants them.
type preference struct {
	Prompt         json.RawMessage `json:"prompt"`
	Chosen         any             `json:"chosen"`
	Rejected       any             `json:"rejected"`
	Annotator      string          `json:"annotator"`
	Comment        string          `json:"comment,omitempty"`
	ChosenSource   string          `json:"chosen_source,omitempty"`
	RejectedSource string          `json:"rejected_source,omitempty"`
	Left           string          `json:"left"` // what stood on the left: chosen or rejected
	Seconds        float64         `json:"seconds"`
	At             time.Time       `json:"at"`
	Pair           int64           `json:"pair"`
}

// message is an answer in a conversation.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Export writes a line of JSON for each judgement that prefers an answer, in the order of the pairs.
func (s *Store) Export(ctx context.Context, w io.Writer) (Exported, error) {
	done := Exported{LeftOut: map[Verdict]int{}}
	pairs, err := s.pairs(ctx)
	if err != nil {
		return done, err
	}
	all, err := s.Judgements(ctx)
	if err != nil {
		return done, err
	}
	out := json.NewEncoder(w)
	// people read these files, and code in answers is full of < and &
	out.SetEscapeHTML(false)
	for _, j := range all {
		if j.Verdict != A && j.Verdict != B {
			done.LeftOut[j.Verdict]++
			continue
		}
		pair, shown := pairs[j.Pair]
		if !shown {
			done.LeftOut[Unusable]++
			continue
		}
		if err := out.Encode(prefer(pair, j)); err != nil {
			return done, fmt.Errorf("export %s: %w", s.path, err)
		}
		done.Written++
	}
	return done, nil
}

// prefer turns a verdict into a preference in the form that its prompt has: texts beside a text, messages beside messages.
func prefer(p Pair, j Judgement) preference {
	chosen, rejected := p.Answers[0], p.Answers[1]
	if j.Verdict == B {
		chosen, rejected = rejected, chosen
	}
	v := preference{Prompt: p.Prompt, Chosen: chosen.Text, Rejected: rejected.Text, Annotator: j.Annotator, Comment: j.Comment,
		ChosenSource: chosen.Source, RejectedSource: rejected.Source, Left: "rejected", Seconds: j.Seconds, At: j.At, Pair: p.ID}
	if len(p.Prompt) > 0 && p.Prompt[0] == '[' {
		v.Chosen, v.Rejected = []message{{"assistant", chosen.Text}}, []message{{"assistant", rejected.Text}}
	}
	if j.Left == j.Verdict {
		v.Left = "chosen"
	}
	return v
}

// pairs are those that are shown, by id.
func (s *Store) pairs(ctx context.Context) (map[int64]Pair, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, prompt, a, b, source_a, source_b FROM pairs WHERE a IS NOT NULL AND left_out = ''")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	defer rows.Close()
	pairs := map[int64]Pair{}
	for rows.Next() {
		var p Pair
		var prompt string
		if err := rows.Scan(&p.ID, &prompt, &p.Answers[0].Text, &p.Answers[1].Text, &p.Answers[0].Source, &p.Answers[1].Source); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
		p.Prompt = json.RawMessage(prompt)
		pairs[p.ID] = p
	}
	return pairs, rows.Err()
}
