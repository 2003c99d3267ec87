package recipe

import (
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
	"hone/tensor"
	"hone/tokenizer"
)

// Judge is a reward model with its own tokenizer and chat template, so that it can score what any model wrote.
type Judge struct {
	scorer  *model.Scorer
	adapter adapter.Adapter // nil without one
	shared  bool            // the adapter is on a base of another's, and off but for scoring
	tok     *tokenizer.Tokenizer
	enc     exampleEncoder
	tape    *tensor.Tape
}

// JudgeOptions say how a reward model is opened.
type JudgeOptions struct {
	Template string       // a chat template's name or file; "": the model's own
	Packed   model.Packed // how its weights are stored
	// Base is a model that is loaded already, or nil: an adapter of a reward model on these very weights is put on it and off
	// again for each scoring, and the weights are not loaded a second time. Other adapters must be off while it scores.
	Base *model.Model
}

// ScoreText is a text to score: an answer to a prompt, or to a conversation.
type ScoreText struct {
	Prompt   string
	Messages []chat.Message // instead of Prompt
	Answer   string
}

// OpenJudge opens a reward model, or an adapter of one.
func OpenJudge(dir string, dev device.Device, dtype device.DType, o JudgeOptions) (*Judge, error) {
	j := &Judge{tape: tensor.NewTape(dev, dtype)}
	if err := j.open(dir, dev, dtype, o); err != nil {
		return nil, err
	}
	var err error
	if j.tok, err = tokenizer.Load(dir); err == nil {
		j.enc = exampleEncoder{tok: j.tok, enc: j.tok.NewEncoder()}
		j.enc.template, err = chatTemplate(o.Template, dir, j.tok)
	}
	if err != nil {
		j.Free()
		return nil, fmt.Errorf("open reward model %s: %w", dir, err)
	}
	return j, nil
}

// open loads a folder of a model with a scalar head, or an adapter's on one.
func (j *Judge) open(dir string, dev device.Device, dtype device.DType, o JudgeOptions) (err error) {
	scorer := model.ScorerOptions{Layout: model.ScoreLayout, Packed: o.Packed}
	if _, err := os.Stat(filepath.Join(dir, adapter.ConfigName)); err != nil { // no adapter
		if j.scorer, err = model.OpenScorer(dir, dev, dtype, scorer); err == nil && j.scorer.Fresh {
			j.Free()
			err = fmt.Errorf("%s has no scalar head; train one with hone reward model=%s data=FILE", dir, dir)
		}
		return err
	}
	head, err := adapter.ReadHead(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(head.BaseModel); err != nil {
		return fmt.Errorf("the adapter %s is on %q, which is no folder here; write where its base is into base_model_name_or_path of its %s: %w", dir, head.BaseModel, adapter.ConfigName, err)
	}
	trained := func(l model.Layout) bool { return slices.Contains(head.ModulesToSave, l.Module()) }
	if trained(model.ValueLayout) {
		scorer.Layout = model.ValueLayout
	}
	if j.scorer, j.shared, err = openBase(head.BaseModel, o.Base, dev, dtype, scorer); err != nil {
		return err
	}
	if j.scorer.Fresh && !trained(j.scorer.Score.Layout) {
		err = fmt.Errorf("the adapter %s has no scalar head (modules_to_save lacks %s); train one with hone reward", dir, j.scorer.Score.Layout.Module())
	} else {
		j.adapter, err = adapter.OpenAny(dir, adapter.Model{Model: j.scorer.Model.Model, Params: j.scorer.Params}, dev, dtype)
	}
	if err != nil {
		j.Free()
		return err
	}
	j.scorer.Model.Model = j.adapter.Wrapped()
	j.adapter.Enable(!j.shared)
	return nil
}

// openBase puts a scalar head on base where that is the model of the folder, and else loads the folder.
func openBase(dir string, base *model.Model, dev device.Device, dtype device.DType, o model.ScorerOptions) (s *model.Scorer, shared bool, err error) {
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

// Shared tells that the judge has no base of its own.
func (j *Judge) Shared() bool { return j.shared }

// Free gives its memory back.
func (j *Judge) Free() {
	if j.adapter != nil {
		j.adapter.Free()
	}
	j.scorer.Free()
}

// Tokenizer is the reward model's own.
func (j *Judge) Tokenizer() *tokenizer.Tokenizer { return j.tok }

// scoreRows bounds the tokens that are scored in one pass.
const scoreRows = 8192

// Score returns the score of each text. A text longer than the model's context loses its beginning.
func (j *Judge) Score(ctx context.Context, texts []ScoreText) ([]float64, error) {
	sequences := make([][]int32, len(texts))
	for i := range texts {
		ids, err := j.encode(&texts[i])
		if err != nil {
			return nil, fmt.Errorf("text %d: %w", i+1, err)
		}
		if most := j.scorer.Shape().MaxPositions; most > 0 && len(ids) > most {
			ids = ids[len(ids)-most:]
		}
		sequences[i] = ids
	}
	return j.ScoreTokens(ctx, sequences)
}

// ScoreTokens returns the score of each sequence of at least one token of the model's own tokenizer, at its last token.
func (j *Judge) ScoreTokens(ctx context.Context, sequences [][]int32) ([]float64, error) {
	if j.shared {
		j.adapter.Enable(true)
		defer j.adapter.Enable(false)
	}
	var scores []float64
	for at := 0; at < len(sequences); {
		var b data.Batch
		for first := at; at < len(sequences) && (at == first || b.Rows()+len(sequences[at]) <= scoreRows); at++ {
			marks := make([]int32, len(sequences[at]))
			for i, id := range sequences[at] {
				marks[i] = data.Mark(id, false)
			}
			b.AppendMarked(marks)
		}
		err := inferring(ctx, j.tape, func() error {
			in := nn.NewInput(j.tape, b.IDs, b.Positions, b.Offsets)
			scores = append(scores, values(j.scorer.Scores(in, lastRows(b.Offsets)))...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return scores, nil
}

// encode renders a text as the reward model learned to read it.
func (j *Judge) encode(t *ScoreText) ([]int32, error) {
	if t.Messages == nil {
		ids, _ := j.enc.completion(&data.Example{Prompt: t.Prompt, Completion: t.Answer})
		return ids, nil
	}
	if j.enc.template == nil {
		return nil, fmt.Errorf("the text is a conversation and the reward model has no chat template; name one with chat_template")
	}
	messages := t.Messages
	if t.Answer != "" {
		messages = append(messages[:len(messages):len(messages)], chat.NewMessage("assistant", t.Answer))
	}
	e, err := j.enc.template.Encode(j.tok, messages, chat.Options{})
	if err != nil {
		return nil, err
	}
	end := len(e.IDs)
	for end > 0 && e.Answer[end-1] < 0 { // as in training, the last token is the answer's
		end--
	}
	if end == 0 {
		end = len(e.IDs)
	}
	return e.IDs[:end], nil
}
