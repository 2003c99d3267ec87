package tokenizer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"hone/internal/bytepair"
)

// Names of the built-in patterns for [TrainConfig.Pattern].
const (
	PatternGPT2   = "gpt2"   // GPT-2's: a word keeps one leading space; numbers of any length
	PatternLlama3 = "llama3" // Llama 3's: case-blind contractions, numbers in groups of up to three, line ends apart
)

// patternByName resolves a built-in pattern's name.
func patternByName(name string) (bytepair.Pattern, error) {
	switch name {
	case PatternGPT2, "":
		return bytepair.NewPattern(bytepair.GPT2)
	case PatternLlama3:
		return bytepair.NewPattern(bytepair.Llama3)
	}
	return bytepair.Pattern{}, fmt.Errorf("pattern is %q; use %q or %q", name, PatternGPT2, PatternLlama3)
}

// TrainConfig says what Train makes. VocabSize is required; everything else may be left zero.
type TrainConfig struct {
	VocabSize      int      // tokens in all: special tokens, 256 bytes, merges; fewer come out of a text that has no more pairs
	Pattern        string   // PatternGPT2 (default) or PatternLlama3
	SpecialTokens  []string // get the ids 0, 1, ...
	BOS, EOS, PAD  string   // each one of SpecialTokens, or ""
	ModelMaxLength int      // for tokenizer_config.json; 0: not said
	ChatTemplate   string   // for tokenizer_config.json
	MinFrequency   int64    // pairs seen less often are not merged; 0 and 1: no limit
	Workers        int      // goroutines that count words; 0 and 1: one. The result is the same for any number
	// MaxWords bounds the memory: the number of distinct words that are counted, 0 for 4 Mi (and 32 bytes of text for each, on
	// average). When more are seen the rarest go (seen once, then twice, ...) until half are left; such a word that comes again
	// starts from zero.
	MaxWords int
	Progress func(TrainProgress) // called now and then from Train's goroutine
}

// TrainProgress is a stage with how far it is. The size of the text is not known, so Total is 0 while counting.
type TrainProgress struct {
	Stage       string // "count" (bytes of text) or "merge" (tokens)
	Done, Total int64
}

// Validate checks the configuration as Train does.
func (c *TrainConfig) Validate() error {
	if _, err := patternByName(c.Pattern); err != nil {
		return err
	}
	if least := 256 + len(c.SpecialTokens); c.VocabSize < least {
		return fmt.Errorf("vocab_size %d is too small: the 256 bytes and %d special tokens need %d; set it to at least that, better some thousands", c.VocabSize, len(c.SpecialTokens), least)
	}
	if c.VocabSize > 1<<24 {
		return fmt.Errorf("vocab_size %d is too large: %d is the most", c.VocabSize, 1<<24)
	}
	for i, s := range c.SpecialTokens {
		if s == "" {
			return errors.New("a special token is empty: remove it")
		}
		if slices.Index(c.SpecialTokens, s) != i {
			return fmt.Errorf("special token %q is listed twice: remove one", s)
		}
		if b, ok := bytepair.ByteAlphabet().Read(s); ok && len(b) == 1 {
			return fmt.Errorf("special token %q is also the spelling of a byte: choose a longer one", s)
		}
	}
	for _, s := range []string{c.BOS, c.EOS, c.PAD} {
		if s != "" && !slices.Contains(c.SpecialTokens, s) {
			return fmt.Errorf("token %q is used as BOS, EOS or PAD but is not a special token: add it to special_tokens", s)
		}
	}
	return nil
}

// Train learns a byte-level BPE vocabulary from documents. Ids: special tokens, then the 256 bytes in the order of their spelling,
// then merges as they are found. Each merge takes the pair seen most often; among equals the one with the smaller left id, then the
// smaller right id, as the reference's trainer does. The result depends on the documents and their order only where MaxWords is
// reached, and never on Workers. Documents may share a buffer: their bytes are not kept.
func Train(ctx context.Context, docs iter.Seq2[[]byte, error], cfg TrainConfig) (*Tokenizer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("train tokenizer: %w", err)
	}
	p, err := patternByName(cfg.Pattern)
	if err != nil {
		return nil, fmt.Errorf("train tokenizer: %w", err)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(TrainProgress) {}
	}
	learned, err := bytepair.Learn(ctx, docs, bytepair.Config{
		Pattern: &p, VocabSize: cfg.VocabSize, SpecialTokens: cfg.SpecialTokens, MinFrequency: cfg.MinFrequency, Workers: cfg.Workers, MaxWords: cfg.MaxWords,
		Progress: func(stage string, done, total int64) { cfg.Progress(TrainProgress{stage, done, total}) },
	})
	if err == nil {
		var t *Tokenizer
		if t, err = fromLearned(learned, p, cfg); err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("train tokenizer: %w", err)
}

// fromLearned puts byte-level components around what was learned.
func fromLearned(learned bytepair.Learned, p bytepair.Pattern, cfg TrainConfig) (*Tokenizer, error) {
	byteParts, err := byteLevelParts(p)
	if err != nil {
		return nil, err
	}
	m := model{kind: "BPE", parts: byteParts, vocab: learned.IDs, unkID: -1, config: Config{
		BOS: cfg.BOS, EOS: cfg.EOS, PAD: cfg.PAD, ModelMaxLength: cfg.ModelMaxLength, ChatTemplate: cfg.ChatTemplate,
	}}
	for id, s := range cfg.SpecialTokens {
		m.added = append(m.added, AddedToken{ID: int32(id), Content: s, Special: true})
	}
	for _, p := range learned.Merges {
		m.merges = append(m.merges, [2]string{learned.Names[p.Left()], learned.Names[p.Right()]})
	}
	if err := m.setTemplate(cfg.BOS != "", false); err != nil {
		return nil, err
	}
	return newTokenizer(m)
}
