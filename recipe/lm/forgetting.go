package lm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"hone/data"
	"hone/internal/atomicfile"
	"hone/recipe"
	"hone/train"
)

// Forgetting says on what text it is measured how much of what the base knew is lost.
type Forgetting struct {
	Data []string `yaml:"data" doc:"general text on which the loss is compared with the base's at every evaluation; not set: what is held out of the replayed text"`
}

// openGeneral opens the text for the forgetting meter; there may be none.
func (s *tuning) openGeneral(ctx context.Context, r *recipe.Run) error {
	store := (*data.Store)(nil)
	switch {
	case len(s.c.Forgetting.Data) > 0:
		text, err := Text{Paths: s.c.Forgetting.Data, Model: s.c.Model, OnBadRecord: s.c.OnBadRecord}.Open(ctx, r)
		if err != nil {
			return fmt.Errorf("forgetting.data: %w", err)
		}
		s.text, store = text, text.Train
	case s.replay != nil:
		store = s.replay.Held
	}
	if store == nil {
		return nil
	}
	windows, err := data.NewWindows(store, s.c.SequenceLength)
	if err != nil {
		return err
	}
	s.general, s.generalText = windows, store.Fingerprint()
	return nil
}

// generalLoss is the loss on the general text.
func (s *tuning) generalLoss(ctx context.Context, r *recipe.Run) (float64, error) {
	windows := data.Sequential(s.general, s.c.BatchSize, int64(s.c.Eval.MaxTokens))
	loss, _, err := train.HeldOut(ctx, r.Tape, windows, recipe.HeldOut(r.Model))
	return loss, err
}

// baseLoss is what is kept of the base for the forgetting meter, in OUT/forgetting.json.
type baseLoss struct {
	Key  string  `json:"measured_on"` // what the loss depends on
	Loss float64 `json:"base_loss"`
}

const forgettingName = "forgetting.json"

// BeforeTraining checks the packing and measures the base's loss on the general text, or finds it in the run's folder.
func (s *tuning) BeforeTraining(ctx context.Context, r *recipe.Run) error {
	if err := s.checkPacking(r); err != nil || s.general == nil {
		return err
	}
	// All that the loss depends on: with any of it changed the difference would be of two measures and no forgetting.
	key := fmt.Sprintf("%s, sequence_length %d, eval.max_tokens %d, %s, model %s", s.generalText, s.c.SequenceLength,
		s.c.Eval.MaxTokens, s.c.DType, s.c.Model)
	path := r.Folder.Path(forgettingName)
	text, err := os.ReadFile(path)
	if s.c.Resume && r.Folder.Step() > 0 && err == nil && json.Unmarshal(text, &s.base) == nil && s.base.Key == key {
		return nil
	}
	loss, err := s.generalLoss(ctx, r)
	if err != nil {
		return err
	}
	s.base = baseLoss{key, loss}
	if text, err = json.Marshal(s.base); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, text)
}

// forgotten adds the forgetting meter to the metrics of an evaluation.
func (s *tuning) forgotten(ctx context.Context, r *recipe.Run, metrics map[string]float64) error {
	if s.general == nil {
		return nil
	}
	loss, err := s.generalLoss(ctx, r)
	metrics["general_loss"], metrics["forgetting"] = loss, loss-s.base.Loss
	return err
}
