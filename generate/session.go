package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hone/nn"
	"hone/tensor"
)

// Session continues one growing text, such as a conversation: what two prompts have in common from the start
// goes through the model once. It is for one goroutine.
type Session struct {
	engine *Engine
	cache  *nn.Cache
	tokens []int32 // what the cache holds
}

// firstCapacity is the least number of tokens that a session's cache has room for; it grows by doubling.
const firstCapacity = 512

// NewSession starts with nothing held. The caller closes it.
func (e *Engine) NewSession() *Session { return &Session{engine: e} }

// Close gives the memory back.
func (s *Session) Close() {
	if s.cache != nil {
		s.cache.Free()
		s.cache = nil
	}
	s.tokens = nil
}

// Run continues a prompt of at least one token as [Engine.Run] does. When the context is cancelled it returns
// what there is of the output, with Finish empty, and the context's error; the session can go on.
func (s *Session) Run(ctx context.Context, prompt []int32, opt Options, emit func(text string)) (Output, error) {
	if err := opt.Validate(); err != nil {
		return Output{}, err
	}
	opt.BatchSize = 1
	r, err := s.engine.newRun([][]int32{prompt}, opt, func(_ int, text string) {
		if emit != nil {
			emit(text)
		}
	})
	if err != nil {
		return Output{}, err
	}
	seq := r.seqs[0]
	failed := tensor.Try(func() {
		s.room(seq.limit)
		for seq.held < min(len(s.tokens), len(prompt)-1) && s.tokens[seq.held] == prompt[seq.held] {
			seq.held++ // the last token runs in any case: its logits are what goes on
		}
		if after := s.engine.model.Shape().LongAfter; after > 0 && (s.cache.Reach(0) > after) != (len(prompt) > after) {
			seq.held = 0 // its keys are rotated for another length
		}
		s.cache.Truncate(0, seq.held)
		r.cache, r.keep = s.cache, true
		err = r.all(ctx)
	})
	r.end()
	if failed != nil {
		err = failed
	}
	if err != nil && !errors.Is(err, ctx.Err()) {
		s.Close() // after a failure the cache may hold anything, also where the context was cancelled meanwhile
		return Output{}, fmt.Errorf("generate: %w", err)
	}
	s.tokens = slices.Clone(seq.tokens[:s.cache.Len(0)]) // the last token drawn was not fed: the cache does not have it
	if err != nil {
		return r.outputs()[0], fmt.Errorf("generate: %w", err)
	}
	return r.outputs()[0], nil
}

// room makes the cache fit sequences of n tokens.
func (s *Session) room(n int) {
	shape := s.engine.model.Shape()
	switch {
	case s.cache == nil:
		s.cache = nn.NewCache(s.engine.dev, s.engine.dtype, shape, 1, max(n, firstCapacity))
	case s.cache.Capacity < n:
		s.cache.Grow(max(n, 2*s.cache.Capacity))
	}
}
