package lm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hone/data"
	"hone/recipe"
	"hone/recipe/example"
	"hone/tokenizer"
	"hone/train"
)

// examples are those of one source of the data.
type examples struct {
	name        string
	train, held *data.Store // marked tokens; held is nil when nothing is held out
	packs       *data.Packs
	heldPacks   *data.Packs
}

func (e *examples) close() error {
	var errs []error
	for _, store := range []*data.Store{e.train, e.held} {
		if store != nil {
			errs = append(errs, store.Close())
		}
	}
	return errors.Join(errs...)
}

// mixes tells whether the entries of data are sources of their own, with shares of the batches.
func (c *SFT) mixes() bool {
	return len(c.Data) > 1 && (len(c.DataWeights) > 0 || c.DataTemperature != 1)
}

// sourceNames are short names of paths, by which their losses are told apart: the last part without its ending,
// with as many folders before it as tell them apart. Paths that differ in their ending alone are named in full.
func sourceNames(paths []string) []string {
	for parts := 1; ; parts++ {
		names, more := make([]string, len(paths)), false
		for i, path := range paths {
			all := strings.Split(strings.Trim(filepath.ToSlash(strings.TrimSuffix(path, filepath.Ext(path))), "/"), "/")
			names[i] = strings.Join(all[max(0, len(all)-parts):], "/")
			more = more || parts < len(all)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(names)))) == len(names) {
			return names
		}
		if !more {
			return paths
		}
	}
}

// openExamples turns the records into stores of marked tokens: one for all data, or one for each entry where
// they are mixed.
func (s *tuning) openExamples(ctx context.Context, r *recipe.Run) error {
	entries := [][]string{s.c.Data}
	if s.c.mixes() {
		entries = nil
		for _, path := range s.c.Data {
			entries = append(entries, []string{path})
		}
	}
	fraction := s.c.ValidationFraction
	if len(s.c.ValidationData) > 0 {
		fraction = 0
	}
	names := sourceNames(s.c.Data)
	for i, paths := range entries {
		e := &examples{name: names[i]}
		s.sources = append(s.sources, e)
		var stats data.Stats
		var err error
		if e.train, e.held, err = s.build(ctx, r, paths, fraction, &stats); err != nil {
			return err
		}
		s.stats.Add(&stats)
		if e.train.Documents() == 0 || e.held != nil && e.held.Documents() == 0 {
			return fmt.Errorf("no example is left to learn from or to hold out (%s); raise sequence_length or give more examples",
				example.Counted(&stats))
		}
	}
	if len(s.c.ValidationData) > 0 {
		var err error
		if s.sources[0].held, _, err = s.build(ctx, r, s.c.ValidationData, 0, &data.Stats{}); err != nil {
			return err
		}
		if s.sources[0].held.Documents() == 0 {
			return errors.New("no example of validation_data is left to hold out; raise sequence_length or give more examples")
		}
	}
	return s.pack()
}

// pack puts examples into sequences, held-out ones likewise: packing changes no loss.
func (s *tuning) pack() (err error) {
	s.packed = s.c.SequenceLength
	held := s.heldOfMany()
	for _, e := range s.sources {
		copies := func(d int64) bool { return held[data.HashMarks(s.marks(e.train, d))] }
		if held == nil {
			copies = nil
		}
		if e.packs, err = data.NewPacks(e.train, s.c.SequenceLength, s.c.Packing, copies); err != nil {
			return err
		}
		if e.packs.Examples() == 0 {
			return fmt.Errorf("no example of %s is left to learn from, for those that it does not hold out itself are held out of other data; "+
				"give it more examples or name validation_data", e.name)
		}
		if e.held == nil {
			continue
		}
		if e.heldPacks, err = data.NewPacks(e.held, s.c.SequenceLength, s.c.Packing, nil); err != nil {
			return err
		}
	}
	return nil
}

// heldOfMany are hashes of the examples that are held out of several sources, of which no other source may learn a copy; nil where there
// can be none. Each source is split by what is in its examples, so copies are on one side in all of them, but for the one example that is
// held out of a source of which that would hold out none.
func (s *tuning) heldOfMany() map[uint64]bool {
	if len(s.sources) < 2 || len(s.c.ValidationData) > 0 || s.c.ValidationFraction == 0 {
		return nil
	}
	held := map[uint64]bool{}
	for _, e := range s.sources {
		for d := range e.held.Documents() {
			held[data.HashMarks(s.marks(e.held, d))] = true
		}
	}
	return held
}

// shares are the parts of the sequences that the sources get: by data_weights or by size, each to the power of one over
// data_temperature (Raffel et al., "Exploring the Limits of Transfer Learning", 2020, section 3.5.2).
func (s *tuning) shares() []float64 {
	shares, sum := make([]float64, len(s.sources)), 0.0
	for i, e := range s.sources {
		w := float64(e.packs.Count())
		if len(s.c.DataWeights) > 0 && s.c.mixes() {
			w, _ = strconv.ParseFloat(s.c.DataWeights[i], 64) // validated
		}
		// share_i = w_i^(1/T) / Σ w_j^(1/T)
		shares[i] = math.Pow(w, 1/s.c.DataTemperature)
		sum += shares[i]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

// heldOut tells whether examples are held out.
func (s *tuning) heldOut() bool { return s.sources[0].held != nil }

// heldLoss is the loss on all held-out examples, and puts that of each source into metrics where there are several.
func (s *tuning) heldLoss(ctx context.Context, r *recipe.Run, metrics map[string]float64) (float64, error) {
	sum, tokens := 0.0, 0.0
	for _, e := range s.sources {
		if e.heldPacks == nil {
			continue
		}
		packs := data.Sequential(e.heldPacks, s.c.BatchSize, int64(s.c.Eval.MaxTokens))
		loss, n, err := train.HeldOut(ctx, r.Tape, packs, recipe.HeldOut(r.Model))
		if err != nil {
			return 0, err
		}
		if len(s.sources) > 1 {
			metrics["loss/"+e.name] = loss
		}
		sum, tokens = sum+loss*float64(n), tokens+float64(n)
	}
	return sum / tokens, nil
}

// fingerprint is that of all examples to learn from.
func (s *tuning) fingerprint() string {
	var parts []string
	for _, e := range s.sources {
		parts = append(parts, e.packs.Fingerprint())
	}
	return strings.Join(parts, "; ")
}

// encoding names all that decides the tokens of a record: also those around a text, which are no
// part of a tokenizer's fingerprint.
func (s *tuning) encoding(tok *tokenizer.Tokenizer) string {
	how := ""
	if s.template != nil {
		how = s.template.Key()
	}
	before, _ := tok.Special()
	end, _ := tok.EOS()
	return fmt.Sprintf("%s examples %s %s %d begin %d empty %d end %d %s",
		tok.Fingerprint(), s.c.LossOn, s.c.TooLong, s.c.SequenceLength, before, tok.Start(), end, how)
}

// build makes the stores of marked tokens of some files. Their name has all that decides the tokens in it, so
// that a store is found again if and only if it would come out the same.
func (s *tuning) build(ctx context.Context, r *recipe.Run, paths []string, fraction float64, stats *data.Stats) (train,
	held *data.Store, err error) {
	src := data.Sources{Paths: paths, OnBadRecord: data.BadRecord(s.c.OnBadRecord), Records: true}
	key, err := src.Key()
	if err != nil {
		return nil, nil, err
	}
	return data.Build(ctx, src.Documents(stats), data.BuildConfig{
		Dir: r.Folder.Path(tokensName), Vocab: 2 * r.Tokenizer.VocabSize(), // a token and its mark are one number; see data.Mark
		Fingerprint: s.encoding(r.Tokenizer),
		Encoder: func() data.Encoder {
			return &recordEncoder{example.NewEncoder(r.Tokenizer, s.template), s.c}
		},
		Validation: fraction, Content: data.ExampleContent, SourceKey: key, Stats: stats, Workers: s.c.Workers(),
		Progress: func(p data.Progress) { r.Env.Progress("examples", p.Bytes, 0) },
	})
}
