// Package judge scores texts by reward models, several of which may stand on one base in memory.
package judge

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hone/adapter"
	"hone/chat"
	"hone/data"
	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/recipe/example"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// Judge is a reward model with its own tokenizer and chat template, so that it can score what any model wrote.
type Judge struct {
	Scorer
	enc  *example.Encoder
	all  bool // conversations are read to the end of what the template writes; see model.Layout
	tape *tensor.Tape
}

// Scorer is a model with a scalar head.
type Scorer struct {
	*model.Scorer
	Adapter adapter.Adapter // nil without one
	Shared  bool            // the adapter is on a base of another's, and off but for scoring
}

// Options say how a reward model is opened.
type Options struct {
	Template string       // a chat template's name or file; "": the model's own
	Packed   model.Packed // how its weights are stored
	// Base is a model that is loaded already, or nil: an adapter of a reward model on these very weights is put on it and off
	// again for each scoring, and the weights are not loaded a second time. Other adapters must be off while it scores.
	Base *model.Model
}

// Text is a text to score: an answer to a prompt, or to a conversation.
type Text struct {
	Prompt   string
	Messages []chat.Message // instead of Prompt
	Answer   string
	Whole    bool // Answer holds the prompt too, so that nothing stands for an empty one before it
}

// Open opens a reward model, or an adapter of one.
func Open(dir string, dev device.Device, dtype device.DType, o Options) (*Judge, error) {
	scorer, err := OpenScorer(dir, dev, dtype, o)
	if err != nil {
		return nil, err
	}
	j := &Judge{Scorer: scorer, tape: tensor.NewTape(dev, dtype), all: scorer.Score.Layout.ReadsAll()}
	if err := j.openEncoder(dir, o.Template); err != nil {
		j.Free()
		return nil, fmt.Errorf("open reward model %s: %w", dir, err)
	}
	return j, nil
}

func (j *Judge) openEncoder(dir, template string) error {
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return err
	}
	t, err := chat.Choose(template, dir, tok)
	j.enc = example.NewEncoder(tok, t)
	return err
}

// OpenScorer loads a folder of a model with a scalar head, or an adapter's on one.
func OpenScorer(dir string, dev device.Device, dtype device.DType, o Options) (s Scorer, err error) {
	scorer := model.ScorerOptions{Layout: model.ScoreLayout, Packed: o.Packed}
	if _, err := os.Stat(filepath.Join(dir, adapter.ConfigName)); err != nil { // no adapter
		if s.Scorer, err = model.OpenScorer(dir, dev, dtype, scorer); err == nil && s.Scorer.Fresh {
			s.Free()
			err = fmt.Errorf("%s has no scalar head; train one with hone reward model=%s data=FILE", dir, dir)
		}
		return s, err
	}
	head, err := adapter.ReadHead(dir)
	if err != nil {
		return s, err
	}
	if _, err := os.Stat(head.BaseModel); err != nil {
		return s, fmt.Errorf("the adapter %s is on %q, which is no folder here; write where its base is into base_model_name_or_path of its %s: %w", dir, head.BaseModel, adapter.ConfigName, err)
	}
	trained := func(l model.Layout) bool { return slices.Contains(head.ModulesToSave, l.Module()) }
	if trained(model.ValueLayout) {
		scorer.Layout = model.ValueLayout
	}
	if s.Scorer, s.Shared, err = OnBase(head.BaseModel, o.Base, dev, dtype, scorer); err != nil {
		return s, err
	}
	// A head that nobody trained would give random scores, which look like scores.
	if s.Scorer.Fresh && !trained(s.Scorer.Score.Layout) {
		err = fmt.Errorf("the adapter %s has no scalar head (modules_to_save lacks %s); train one with hone reward", dir, s.Scorer.Score.Layout.Module())
	} else {
		s.Adapter, err = adapter.OpenAny(dir, adapter.Model{Model: s.Scorer.Model.Model, Params: s.Scorer.Params}, dev, dtype)
	}
	if err != nil {
		s.Free()
		return s, err
	}
	s.Scorer.Model.Model = s.Adapter.Wrapped()
	s.Adapter.Enable(!s.Shared)
	return s, nil
}

// OnBase puts a scalar head on base where that is the model of the folder, and else loads the folder.
func OnBase(dir string, base *model.Model, dev device.Device, dtype device.DType, o model.ScorerOptions) (s *model.Scorer, shared bool, err error) {
	if base != nil {
		if shared, err = base.IsOf(dir); err != nil {
			return nil, false, err
		}
	}
	if shared {
		return base.Scored(dtype, o), true, nil
	}
	s, err = model.OpenScorer(dir, dev, dtype, o)
	return s, false, err
}

// Free gives its memory back.
func (s *Scorer) Free() {
	if s.Adapter != nil {
		s.Adapter.Free()
	}
	s.Scorer.Free()
}

// Tokenizer is the reward model's own.
func (j *Judge) Tokenizer() *tokenizer.Tokenizer { return j.enc.Tokenizer }

// Template is its chat template; nil without one.
func (j *Judge) Template() *chat.Template { return j.enc.Template }

// scoreRows bounds the tokens that are scored in one pass.
const scoreRows = 8192

// Score returns the score of each text. A text longer than the model's context loses its beginning.
func (j *Judge) Score(ctx context.Context, texts []Text) ([]float64, error) {
	sequences := make([][]int32, len(texts))
	for i := range texts {
		var err error
		if sequences[i], err = j.Tokens(&texts[i]); err != nil {
			return nil, fmt.Errorf("text %d: %w", i+1, err)
		}
	}
	return j.ScoreTokens(ctx, sequences)
}

// Tokens is a text as the reward model reads it.
func (j *Judge) Tokens(t *Text) ([]int32, error) {
	ids, err := j.encode(t)
	if err != nil {
		return nil, err
	}
	return j.Fit(ids), nil
}

// ScoreTokens returns the score of each sequence of at least one token of the model's own tokenizer, at its last token but for the model's Pad.
func (j *Judge) ScoreTokens(ctx context.Context, sequences [][]int32) ([]float64, error) {
	if j.Shared {
		j.Adapter.Enable(true)
		defer j.Adapter.Enable(false)
	}
	var scores []float64
	for at := 0; at < len(sequences); {
		var b data.Batch
		// at least one sequence, however long: scoreRows bounds what goes beside it
		for first := at; at < len(sequences) && (at == first || b.Rows()+len(sequences[at]) <= scoreRows); at++ {
			marks := make([]int32, len(sequences[at]))
			for i, id := range sequences[at] {
				marks[i] = data.Mark(id, false)
			}
			b.AppendMarked(marks)
		}
		err := train.Infer(ctx, j.tape, func() error {
			in := nn.NewInput(j.tape, b.IDs, b.Positions, b.Offsets)
			scores = append(scores, tensor.Values(j.Scores(in, b.LastRows(j.Pad)))...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return scores, nil
}

// encode renders a text as the reward model learned to read it.
func (j *Judge) encode(t *Text) ([]int32, error) {
	// As training encodes a completion, with the tokenizer's marks around it and the parts tokenised apart.
	if t.Messages == nil {
		ex := data.Example{Prompt: t.Prompt, Completion: t.Answer}
		if t.Whole {
			ex = data.Example{Text: t.Answer}
		}
		ids, _ := j.enc.Completion(&ex)
		return ids, nil
	}
	e, err := j.conversation(t)
	if err != nil {
		return nil, err
	}
	if end := answerEnd(&e); end > 0 && !j.all {
		return e.IDs[:end], nil
	}
	return e.IDs, nil
}

// answerEnd is how many ids of a conversation end with its last answer, 0 without one.
func answerEnd(e *chat.Encoded) int {
	end := len(e.IDs)
	for end > 0 && e.Answer[end-1] < 0 {
		end--
	}
	return end
}

// Behind is what the template writes behind the answer to a conversation, as far as the reward model reads it: it belongs behind the tokens of
// an answer that are scored as they were written.
func (j *Judge) Behind(t *Text) ([]int32, error) {
	if t.Messages == nil || !j.all {
		return nil, nil
	}
	answered := *t
	answered.Answer = cmp.Or(t.Answer, "x") // an empty one is none, and what stands behind is the same
	e, err := j.conversation(&answered)
	if err != nil {
		return nil, err
	}
	return e.IDs[answerEnd(&e):], nil
}

// conversation renders messages and the answer to them.
func (j *Judge) conversation(t *Text) (chat.Encoded, error) {
	if j.enc.Template == nil {
		return chat.Encoded{}, fmt.Errorf("the text is a conversation and the reward model has no chat template; name one with chat_template")
	}
	messages := t.Messages
	if t.Answer != "" {
		messages = append(messages[:len(messages):len(messages)], chat.NewMessage("assistant", t.Answer))
	}
	return j.enc.Template.Encode(j.enc.Tokenizer, messages, chat.Options{})
}

// Fit leaves out the beginning of what is longer than the reward model's context.
func (j *Judge) Fit(ids []int32) []int32 {
	if most := j.Shape().MaxPositions; most > 0 && len(ids) > most {
		return ids[len(ids)-most:]
	}
	return ids
}
