package lm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hone/generate"
	"hone/internal/atomicfile"
	"hone/model"
	"hone/recipe"
)

// openReplay opens the text to be mixed in.
func (s *tuning) openReplay(ctx context.Context, r *recipe.Run) (err error) {
	paths, fraction := s.c.Replay.Data, DefaultPretrain().ValidationFraction
	if s.c.Replay.Self {
		path, err := s.selfText(ctx, r)
		if err != nil {
			return fmt.Errorf("replay.self: %w", err)
		}
		paths, fraction = []string{path}, 0.1 // few documents
	}
	if len(paths) == 0 {
		return nil
	}
	s.replay, err = Text{Paths: paths, Model: s.c.Model, OnBadRecord: s.c.OnBadRecord, Validation: fraction}.Open(ctx, r)
	return err
}

// selfName is the folder of a run with the text that its base wrote.
const selfName = "replay"

// selfBatch is the number of texts that the base writes at a time.
const selfBatch = 16

// selfText has the base write text of its own, from its begin token on at temperature 1, and keeps it in the
// run's folder, where a run that goes on from a checkpoint finds it; without one the text may be another base's.
func (s *tuning) selfText(ctx context.Context, r *recipe.Run) (path string, err error) {
	path = r.Folder.Path(filepath.Join(selfName, "self.jsonl"))
	if _, err := os.Stat(path); err == nil && s.c.Resume && r.Folder.Step() > 0 {
		return path, nil
	}
	start := r.Tokenizer.Start()
	if len(start) == 0 {
		return "", errors.New("the tokenizer has neither a begin nor an end token to start texts from; give texts in replay.data")
	}
	dtype, err := s.c.ComputeDType()
	if err != nil {
		return "", err
	}
	m, err := model.Open(s.c.Model, r.Env.Device, dtype)
	if err != nil {
		return "", err
	}
	defer m.Free()
	o := generate.DefaultOptions()
	// The whole distribution and nothing but it: what sampling leaves out, replay would let the model forget.
	o.Temperature, o.TopP, o.TopK = 1, 1, 0
	o.MaxNewTokens = min(s.c.SequenceLength, m.Shape().MaxPositions) - 1
	if eos, ok := r.Tokenizer.EOS(); ok {
		o.EOS = []int32{eos}
	}
	engine := generate.New(r.Env.Device, dtype, m, r.Tokenizer)
	var out bytes.Buffer
	for tokens, batch := 0, uint64(0); tokens < s.c.Replay.SelfTokens; batch++ {
		o.Seed = s.c.Seed + batch
		texts, err := engine.Run(ctx, slices.Repeat([][]int32{start}, selfBatch), o, nil)
		if err != nil {
			return "", err
		}
		wrote := 0
		for _, text := range texts {
			line, err := json.Marshal(map[string]string{"text": text.Text})
			if err != nil {
				return "", err
			}
			out.Write(append(line, '\n'))
			wrote += len(text.Tokens)
		}
		if tokens += wrote; wrote == selfBatch {
			return "", errors.New("the base ends every text at once; give texts in replay.data")
		}
		r.Env.Progress("self text", int64(tokens), int64(s.c.Replay.SelfTokens))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", err
	}
	return path, atomicfile.WriteFile(path, out.Bytes())
}
