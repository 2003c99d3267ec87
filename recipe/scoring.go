package recipe

import (
	"context"
	"fmt"

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
	scorer *model.Scorer
	free   func()
	tok    *tokenizer.Tokenizer
	enc    exampleEncoder
	tape   *tensor.Tape
}

// ScoreText is a text to score: an answer to a prompt, or to a conversation.
type ScoreText struct {
	Prompt   string
	Messages []chat.Message // instead of Prompt
	Answer   string
}

// OpenJudge opens a reward model, or an adapter of one. template names a chat template; "" takes the model's own.
func OpenJudge(dir, template string, dev device.Device, dtype device.DType) (*Judge, error) {
	scorer, free, err := OpenReward(dir, dev, dtype)
	if err != nil {
		return nil, err
	}
	j := &Judge{scorer: scorer, free: free, tape: tensor.NewTape(dev, dtype)}
	if j.tok, err = tokenizer.Load(dir); err == nil {
		j.enc = exampleEncoder{tok: j.tok, enc: j.tok.NewEncoder()}
		j.enc.template, err = chatTemplate(template, dir, j.tok)
	}
	if err != nil {
		free()
		return nil, fmt.Errorf("open reward model %s: %w", dir, err)
	}
	return j, nil
}

// Free gives its memory back.
func (j *Judge) Free() { j.free() }

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
			scores = append(scores, values(j.scorer.Scores(in, j.tape.Ints(lastRows(b.Offsets))))...)
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
