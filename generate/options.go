package generate

import (
	"fmt"
	"slices"

	"hone/tensor"
)

// Options say how sequences are continued.
type Options struct {
	Sampling
	MaxNewTokens int      // at most this many tokens are added; at least 1
	Stop         []string // generation ends before the first of these texts, wherever token borders lie
	EOS          []int32  // tokens that end a sequence
	BatchSize    int      // sequences that run side by side; at least 1
	// Joined, if not nil, tells the prompts whose texts are read behind them, not by themselves as an answer in
	// a conversation is: those keep the space that tokenizers such as Llama 2's take off the start of a text.
	Joined func(prompt int) bool
	// Value, if not nil, makes a number of each row of the hidden states [n, C] that tokens are drawn
	// from, [n, 1]: a critic's head.
	Value func(hidden *tensor.Tensor) *tensor.Tensor
	// Results, if not nil, keeps what the model's linear layers compute for the prompts for which Keep is true.
	// It must have room for all tokens of these and their continuations, and the model be nn.Shape.Reusable.
	Results *tensor.Results
	Keep    func(prompt int) bool
}

// DefaultOptions samples up to 128 tokens for 16 sequences at a time.
func DefaultOptions() Options {
	return Options{Sampling: defaultSampling(), MaxNewTokens: 128, BatchSize: 16}
}

// Validate reports the first option out of its range.
func (o Options) Validate() error {
	if err := o.Sampling.Validate(); err != nil {
		return err
	}
	switch {
	case o.MaxNewTokens < 1:
		return fmt.Errorf("max_new_tokens is %d: use at least 1", o.MaxNewTokens)
	case o.BatchSize < 1:
		return fmt.Errorf("batch_size is %d: use at least 1", o.BatchSize)
	case slices.Contains(o.Stop, ""):
		return fmt.Errorf("a stop string is empty: remove it")
	}
	return nil
}

// Finish says why a sequence ended.
type Finish string

// The reasons.
const (
	FinishEOS    Finish = "eos"    // an end-of-text token came
	FinishStop   Finish = "stop"   // a stop string came
	FinishLength Finish = "length" // MaxNewTokens, or the model's longest context, was reached
)

// Output is the continuation of one prompt.
type Output struct {
	Tokens   []int32   // the new tokens, an end-of-text token included
	LogProbs []float32 // of each, under the model itself (temperature 1, no filter), from the kernel that training uses
	Values   []float32 // what Options.Value made of the state that each was drawn from
	Rows     []int32   // of prompt and continuation, without the last token, in Options.Results; nil: not kept
	Text     string    // of the new tokens, without the end-of-text token and what follows a stop string
	Finish   Finish
}
