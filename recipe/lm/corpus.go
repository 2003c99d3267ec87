package lm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"hone/data"
	"hone/internal/atomicfile"
	"hone/recipe"
	"hone/tokenizer"
)

// Folders of a run with what is made of its data before it starts.
const (
	tokensName    = "tokens"
	tokenizerName = "tokenizer"
)

// identity says what a run learns from, for a resume. Runs from before contents were compared whole lack comparedKey, and are told by it that
// the other contents are no fault of the data.
func identity(contents string) map[string]string {
	return map[string]string{"contents of data": contents, comparedKey: "whole (by samples in runs of an earlier hone, which this one cannot go on with)"}
}

// comparedKey names in a run's identity how its data is compared.
const comparedKey = "contents are compared"

// Corpus is the text of a run as tokens.
type Corpus struct {
	Tokenizer   *tokenizer.Tokenizer
	Train, Held *data.Store // Held is nil when nothing is held out
	Stats       data.Stats  // of the training text
	Begin       []int32     // tokens before each document
}

// Close unmaps the tokens.
func (c *Corpus) Close() error {
	err := c.Train.Close()
	if c.Held != nil {
		err = errors.Join(err, c.Held.Close())
	}
	return err
}

// Open loads or trains the tokenizer and turns the text into token stores below OUT/tokens.
func (c *Pretrain) Open(ctx context.Context, folder recipe.Folder, env recipe.Env) (*Corpus, error) {
	if len(c.ValidationData) > 0 { // a wrong name is told before a tokenizer is trained on the rest
		if _, err := c.sources(c.ValidationData).Key(); err != nil {
			return nil, err
		}
	}
	tok, err := c.tokenizer(ctx, folder, env)
	if err != nil {
		return nil, err
	}
	out := &Corpus{Tokenizer: tok, Begin: tok.Start()}
	stores := c.stores(out, folder, env)
	if stores.Stats = &out.Stats; len(c.ValidationData) == 0 {
		stores.Validation = c.ValidationFraction
	}
	if out.Train, out.Held, err = c.build(ctx, c.Data, stores); err != nil {
		return nil, err
	}
	if len(c.ValidationData) > 0 {
		stores.Stats = new(data.Stats)
		if out.Held, _, err = c.build(ctx, c.ValidationData, stores); err != nil {
			return nil, errors.Join(err, out.Train.Close())
		}
	}
	return out, out.check()
}

// check refuses stores that cannot be trained on or judged by.
func (o *Corpus) check() error {
	var err error
	switch {
	case o.Train.Supervised() < 1 && o.Held != nil:
		err = errors.New("nothing is left to train on: hold out less by validation_fraction, or give more documents in data")
	case o.Train.Supervised() < 1:
		err = errors.New("the data holds no document of two tokens or more; give more text in data")
	case o.Held != nil && o.Held.Supervised() < 1:
		err = errors.New("the held-out data holds no document of two tokens or more; raise validation_fraction or give more text in validation_data")
	}
	if err != nil {
		return errors.Join(err, o.Close())
	}
	return nil
}

func (c *Pretrain) sources(paths []string) data.Sources {
	return data.Sources{Paths: paths, Field: c.TextField, OnBadRecord: data.BadRecord(c.OnBadRecord)}
}

// stores returns the settings that all token stores of a run share, whatever their files.
func (c *Pretrain) stores(o *Corpus, folder recipe.Folder, env recipe.Env) data.BuildConfig {
	var end []int32
	if eos, ok := o.Tokenizer.EOS(); ok {
		end = []int32{eos}
	}
	return data.BuildConfig{
		Dir: folder.Path(tokensName), Fingerprint: o.Tokenizer.Fingerprint(), Vocab: o.Tokenizer.VocabSize(),
		Encoder: func() data.Encoder { return data.TextEncoder{Tokenizer: o.Tokenizer.NewEncoder()} },
		Begin:   o.Begin, End: end, CutSingle: true, Workers: c.Workers(),
		Progress: func(p data.Progress) { env.Progress("tokens", p.Bytes, 0) },
	}
}

// build makes the token stores of some files; stores.Stats receives what was read.
func (c *Pretrain) build(ctx context.Context, paths []string, stores data.BuildConfig) (train, held *data.Store, err error) {
	src := c.sources(paths)
	if stores.SourceKey, err = src.Key(); err != nil {
		return nil, nil, err
	}
	return data.Build(ctx, src.Documents(stores.Stats), stores)
}

// Text names files of text that a run reads beside its own data, to mix them in or to measure a loss on them.
type Text struct {
	Paths       []string
	Model       string // folder of the model, whose tokenizer is used
	OnBadRecord string
	Validation  float64 // share of the documents that is held out
}

// Open turns the text into token stores below OUT/tokens.
func (t Text) Open(ctx context.Context, r *recipe.Run) (*Corpus, error) {
	c := DefaultPretrain()
	c.Training, c.Model.Dir = *r.Training, t.Model
	c.Data, c.OnBadRecord, c.ValidationFraction = t.Paths, t.OnBadRecord, t.Validation
	return c.Open(ctx, r.Folder, r.Env)
}

// tokenizer is the one that is named, that of the model to go on from, or a new one.
func (c *Pretrain) tokenizer(ctx context.Context, folder recipe.Folder, env recipe.Env) (*tokenizer.Tokenizer, error) {
	path := c.Tokenizer.Path
	if path == "" {
		path = c.Model.Dir
	}
	if path == "" {
		return c.trainedTokenizer(ctx, folder, env)
	}
	tok, err := tokenizer.Load(path)
	if err != nil {
		return nil, err
	}
	if missing := tok.MissingBytes(); len(missing) > 0 {
		return nil, fmt.Errorf("tokenizer %s has no token for %d of the 256 bytes, so text would be lost; use another one",
			path, len(missing))
	}
	return tok, nil
}

// tokenizerText is the most text that a tokenizer is trained on: more changes little.
const tokenizerText = 1 << 30

// trainedTokenizer trains a tokenizer on the data, or takes the one in OUT/tokenizer that was
// trained on the same files in the same way.
func (c *Pretrain) trainedTokenizer(ctx context.Context, folder recipe.Folder, env recipe.Env) (*tokenizer.Tokenizer, error) {
	src := c.sources(c.Data)
	key, err := src.Key()
	if err != nil {
		return nil, err
	}
	key = fmt.Sprintf("%s %d %s\n", key, c.Tokenizer.VocabSize, c.Tokenizer.Pattern)
	dir, marker := folder.Path(tokenizerName), "trained-on"
	if old, err := os.ReadFile(filepath.Join(dir, marker)); err == nil && string(old) == key {
		// The marker is written last, so a tokenizer beside it is whole; one that does not load any more is
		// trained anew.
		if tok, err := tokenizer.Load(dir); err == nil {
			return tok, nil
		}
	}
	tok, err := tokenizer.Train(ctx, texts(src, tokenizerText), tokenizer.TrainConfig{
		VocabSize: c.Tokenizer.VocabSize, Pattern: c.Tokenizer.Pattern, Workers: c.Workers(),
		SpecialTokens: []string{endOfText}, BOS: endOfText, EOS: endOfText,
		Progress: func(p tokenizer.TrainProgress) { env.Progress("tokenizer: "+p.Stage, p.Done, p.Total) },
	})
	if err != nil {
		return nil, err
	}
	if c.Resume && folder.Step() > 0 { // the tokenizer of a run stays that of its checkpoints
		if old, err := tokenizer.Load(dir); err == nil && old.Fingerprint() != tok.Fingerprint() {
			return nil, fmt.Errorf("the run in %s has a tokenizer that was trained on other data or with other keys of tokenizer; "+
				"go on with the same, or begin anew in another folder", folder.Dir)
		}
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, marker)), tok.Save(dir)); err != nil {
		return nil, err
	}
	return tok, atomicfile.Mark(dir, marker, []byte(key))
}

// texts reads documents until about most bytes were given.
func texts(src data.Sources, most int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sum := int64(0)
		for d, err := range src.Documents(&data.Stats{}) {
			if !yield(d.Text, err) || err != nil {
				return
			}
			if sum += int64(len(d.Text)); sum >= most {
				return
			}
		}
	}
}
