package generate

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"hone/device"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
)

// Engine generates with one model. It is for one goroutine.
//
//	engine := generate.New(dev, device.BF16, model, tok)
//	outputs, err := engine.Run(ctx, [][]int32{prompt}, generate.DefaultOptions(), nil)
//
// A run has as many slots in its cache as sequences run side by side. Prompts take free slots and go through
// the model together (start), then every sequence gets one token a pass (step) until it ends and frees its
// slot for the next prompt. No row of a pass depends on what else is in it, so neither does a sequence on
// when it was started. A device that is device.Ahead is asked for the next pass before the host has read the
// tokens of the last one (ahead.go).
type Engine struct {
	dev   device.Device
	dtype device.DType
	model nn.Model
	tok   *tokenizer.Tokenizer
	tape  *tensor.Tape
	// prefill bounds how many prompt tokens go through the model at once. Where a prompt is cut depends on its own
	// length alone, so its numbers do not depend on its neighbours.
	prefill int
}

// New makes an engine; dtype is that of the activations. tok may be nil when only tokens matter: then there is no
// text and no stop string.
func New(dev device.Device, dtype device.DType, model nn.Model, tok *tokenizer.Tokenizer) *Engine {
	return &Engine{dev: dev, dtype: dtype, model: model, tok: tok, tape: tensor.NewTape(dev, dtype), prefill: 2048}
}

// Run continues each prompt, a list of at least one token. Prompts start in order as slots of the batch become free;
// the random numbers of prompt i are those of sequence i. emit, if not nil, is called with pieces of text as
// they become certain, from Run's goroutine. A cancelled context ends Run with its error, also within a pass.
func (e *Engine) Run(ctx context.Context, prompts [][]int32, opt Options, emit func(sequence int, text string)) ([]Output, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	r, err := e.newRun(prompts, opt, emit)
	if err != nil {
		return nil, err
	}
	if err := r.allocate(); err != nil {
		return nil, err
	}
	failed := tensor.Try(func() { err = r.all(ctx) })
	if failed != nil {
		err = failed
	}
	r.end()
	if r.cache != nil {
		r.cache.Free()
	}
	if err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	return r.outputs(), nil
}

// sequence is one prompt on its way.
type sequence struct {
	index  int     // of the prompt
	tokens []int32 // prompt and new tokens
	prompt int     // length of the prompt
	held   int     // how many of its tokens the cache has already
	limit  int     // of len(tokens)
	stream *textStream
	text   strings.Builder
	logp   []float32
	values []float32
	rows   []int32 // of the tokens that the cache has, in Options.Results
	finish Finish
}

// run is the state of one call of Run.
type run struct {
	*Engine
	opt   Options
	emit  func(int, string)
	seqs  []*sequence
	slots []*sequence // by slot of the cache; nil is free
	cache *nn.Cache
	next  int    // prompt that starts next
	keep  bool   // the cache keeps a sequence that has ended: it is a session's
	twins []twin // of the prompts that go through the model in the pass at hand
	late  *drawn // tokens that are drawn and not yet read; nil: none
	// ids are where a device draws tokens, [2, len(slots)] I32, the second row those that go on when others
	// have ended: one place for all passes, so that a pass's own memory is where it was in the one before,
	// and what is asked of the device is the same.
	ids device.Buffer
	// random is what a device draws the tokens of this pass with, I32 [2*slots].
	random *tensor.Tensor

	samplers []*Sampler // one for each core that draws
	rows     []float32  // logits that tokens are drawn from
}

// twin is a sequence in slot to that begins with the prompt of the one in slot from, whose keys and values it
// takes over.
type twin struct{ from, to int }

// newRun checks the prompts and makes their sequences; nothing is on the device yet.
func (e *Engine) newRun(prompts [][]int32, opt Options, emit func(int, string)) (*run, error) {
	r := &run{Engine: e, opt: opt, emit: emit}
	shape := e.model.Shape()
	for i, p := range prompts {
		if err := checkPrompt(p, shape); err != nil {
			return nil, fmt.Errorf("prompt %d %w", i+1, err)
		}
		s := &sequence{index: i, tokens: slices.Clone(p), prompt: len(p), limit: len(p) + min(opt.MaxNewTokens, math.MaxInt-len(p))}
		if shape.MaxPositions > 0 { // of prompt and answer together
			s.limit = min(s.limit, shape.MaxPositions)
		}
		if e.tok != nil {
			s.stream = &textStream{decoder: e.tok.NewStreamDecoder(), stops: opt.Stop}
			if opt.Joined != nil && opt.Joined(i) {
				s.stream.decoder.Skip(p)
			}
		}
		r.seqs = append(r.seqs, s)
	}
	r.slots = make([]*sequence, min(opt.BatchSize, len(prompts)))
	for range runtime.GOMAXPROCS(0) { // each has scratch memory of its own
		r.samplers = append(r.samplers, NewSampler(opt.Sampling))
	}
	return r, nil
}

// allocate makes a cache for the longest sequence.
func (r *run) allocate() error {
	longest := 0
	for _, s := range r.seqs {
		longest = max(longest, s.limit)
	}
	if longest == 0 {
		return nil
	}
	return tensor.Try(func() { r.cache = nn.NewCache(r.dev, r.dtype, r.model.Shape(), len(r.slots), longest) })
}

// checkPrompt refuses what no device should be asked: no tokens, more than the context with one to come,
// and ids beyond the vocabulary.
func checkPrompt(p []int32, shape nn.Shape) error {
	if len(p) == 0 {
		return fmt.Errorf("has no tokens: give at least one")
	}
	if shape.MaxPositions > 0 && len(p) >= shape.MaxPositions {
		return fmt.Errorf("has %d tokens, which leaves no room in the model's context of %d: shorten it", len(p), shape.MaxPositions)
	}
	for _, id := range p {
		if id < 0 || int(id) >= shape.Vocab {
			return fmt.Errorf("has token %d, but the model has a vocabulary of %d: use the model's own tokenizer", id, shape.Vocab)
		}
	}
	return nil
}

// all runs until every sequence has ended. A pass of a long prompt takes minutes with a large model,
// so it asks for the context, too.
func (r *run) all(ctx context.Context) error {
	r.tape.Interrupt = ctx.Err
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.late != nil {
			if err := r.goOn(); err != nil {
				return err
			}
			continue
		}
		// The order matters: a sequence that must be fed anew cannot take a step, and prompts fill free
		// slots before the batch goes on.
		if slot := r.outgrown(); slot >= 0 {
			if err := r.start([]int{slot}); err != nil {
				return err
			}
			continue
		}
		if fresh := r.admit(); len(fresh) > 0 {
			if err := r.start(fresh); err != nil {
				return err
			}
			continue // a sequence may have ended with its first token and freed its slot
		}
		var active []int
		var tokens [][]int32
		for slot, s := range r.slots {
			if s != nil {
				active = append(active, slot)
				tokens = append(tokens, s.tokens[len(s.tokens)-1:])
			}
		}
		if len(active) == 0 {
			return nil
		}
		if err := r.step(active, tokens, active); err != nil {
			return err
		}
	}
}

// outgrown is a slot whose sequence just got longer than what its keys were rotated for, emptied so that it can start
// again; -1 when there is none.
func (r *run) outgrown() int {
	for slot, s := range r.slots {
		if s != nil && r.outgrows(slot, len(s.tokens)) {
			r.cache.Truncate(slot, 0)
			s.held = 0
			return slot
		}
	}
	return -1
}

// outgrows says whether n tokens are more than what the keys of a slot, if it has any, were rotated for.
func (r *run) outgrows(slot, n int) bool {
	after := r.model.Shape().LongAfter
	return after > 0 && n > after && r.cache.Len(slot) > 0 && r.cache.Reach(slot) <= after
}

// admit gives free slots to the next prompts, as many as fit one prefill, and returns the slots. A prompt
// that is being prefilled for another sequence is no more work: its twin goes on from the last token, which
// is the next to go through the model.
func (r *run) admit() []int {
	var fresh []int
	total := 0
	for slot, s := range r.slots {
		if s != nil || r.next == len(r.seqs) {
			continue
		}
		next := r.seqs[r.next]
		if from := r.samePrompt(fresh, next); from >= 0 {
			r.twins = append(r.twins, twin{from, slot})
		} else if total += next.prompt; total > r.prefill && len(fresh) > 0 { // a longer one goes alone, in pieces
			break
		} else {
			fresh = append(fresh, slot)
		}
		r.slots[slot] = next
		r.next++
	}
	return fresh
}

// samePrompt is the slot among those given whose sequence has the prompt of s, -1 without one.
func (r *run) samePrompt(slots []int, s *sequence) int {
	at := slices.IndexFunc(slots, func(slot int) bool { return slices.Equal(r.slots[slot].tokens, s.tokens) })
	if at < 0 {
		return -1
	}
	return slots[at]
}

// start runs the tokens of the given slots, packed, and draws the next of each. A long prompt, always
// alone, goes in pieces.
func (r *run) start(slots []int) error {
	tokens := make([][]int32, len(slots))
	for i, slot := range slots {
		r.cache.Expect(slot, len(r.slots[slot].tokens))
		tokens[i] = r.slots[slot].tokens[r.slots[slot].held:]
	}
	for len(tokens[0]) > r.prefill {
		if err := r.step(slots, [][]int32{tokens[0][:r.prefill]}, nil); err != nil {
			return err
		}
		tokens[0] = tokens[0][r.prefill:]
	}
	return r.step(slots, tokens, slots)
}

// step runs the model on tokens[i] in slots[i] and, when the slots are also in draw, adds a token to each.
func (r *run) step(slots []int, tokens [][]int32, draw []int) error {
	r.tape.Infer()
	in, err := r.cache.Feed(r.tape, slots, tokens)
	if err != nil {
		return err
	}
	return r.through(in, slots, draw)
}

// through runs the model on in, which has the tokens of slots.
func (r *run) through(in nn.Input, slots, draw []int) error {
	last := make([]int32, len(in.Sequences)) // row of the last token of each, whose hidden state the next is drawn from
	for i, s := range in.Sequences {
		last[i] = int32(s.Q + s.QLen - 1)
	}
	r.prepare(draw)
	whole := false
	defer func() {
		if !whole { // the pass was interrupted: the last layers lack keys of what it was fed, and a session goes on
			r.unfeed(in, slots)
		}
	}()
	h := r.hidden(in, slots, last)
	whole = true
	if len(draw) == 0 {
		return r.dev.Sync()
	}
	// What twins share is in the cache now. Their own last token is fed in the next pass, and draws
	// with their own random numbers.
	for _, t := range r.twins {
		r.cache.Copy(t.to, t.from, r.slots[t.to].prompt-1)
		if r.opt.Results != nil && r.opt.Keep(r.slots[t.to].index) {
			r.slots[t.to].rows = slices.Clone(r.slots[t.from].rows[:r.slots[t.to].prompt-1])
		}
	}
	r.twins = r.twins[:0]
	return r.drawAll(h, draw)
}

// unfeed takes the tokens of in off the cache again.
func (r *run) unfeed(in nn.Input, slots []int) {
	for i, s := range in.Sequences {
		r.cache.Truncate(slots[i], r.cache.Len(slots[i])-s.QLen)
	}
}

// hidden is the model's state at rows last of in, which has the tokens of slots.
func (r *run) hidden(in nn.Input, slots []int, last []int32) *tensor.Tensor {
	kept := r.keptRows(in, slots)
	switch all := in.IDs.Len(); {
	case len(kept) == 0 && len(last) < all:
		return nn.HiddenAt(r.model, in, last)
	case len(kept) == 0:
		return r.model.Hidden(in)
	case len(last) < all:
		return tensor.Rows(nn.HiddenKept(r.model, in, r.opt.Results, kept), r.tape.Ints(last))
	}
	return nn.HiddenKept(r.model, in, r.opt.Results, kept)
}

// keptRows are the rows of in whose results are kept, and gives each its number.
func (r *run) keptRows(in nn.Input, slots []int) (kept []int32) {
	if r.opt.Results == nil {
		return nil
	}
	held := r.opt.Results.Rows()
	for i, s := range in.Sequences {
		if !r.keeps(slots[i]) {
			continue
		}
		seq := r.slots[slots[i]]
		for row := range s.QLen {
			seq.rows = append(seq.rows, int32(held+len(kept)))
			kept = append(kept, int32(s.Q+row))
		}
	}
	return kept
}

// keeps tells whether results of the sequence in a slot are kept: they are asked for, or those of a
// twin that has none of its own yet.
func (r *run) keeps(slot int) bool {
	return r.opt.Keep(r.slots[slot].index) || slices.ContainsFunc(r.twins, func(t twin) bool {
		return t.from == slot && r.opt.Keep(r.slots[t.to].index)
	})
}

// add appends a token to the sequence of a slot, and frees the slot when that ends it.
func (r *run) add(slot int, id int32, logp float32) {
	s := r.slots[slot]
	s.tokens = append(s.tokens, id)
	s.logp = append(s.logp, logp)
	text, stopped := "", false
	switch { // the end-of-text token counts before a stop string, and both before the length
	case slices.Contains(r.opt.EOS, id):
		s.finish = FinishEOS
	case s.stream != nil: // an end-of-text token has no text
		if text, stopped = s.stream.add(id); stopped {
			s.finish = FinishStop
		}
	}
	if s.finish == "" && len(s.tokens) >= s.limit {
		s.finish = FinishLength
	}
	// what may have become a stop string will not any more; after a stop string nothing follows
	if s.stream != nil && (s.finish == FinishEOS || s.finish == FinishLength) {
		text += s.stream.end()
	}
	s.text.WriteString(text)
	if r.emit != nil && text != "" {
		r.emit(s.index, text)
	}
	if s.finish != "" {
		held := 0
		if r.keep {
			held = len(s.tokens) - 1 // without the last token, even where it went through the model ahead of what the host knows
		}
		r.cache.Truncate(slot, held)
		r.slots[slot] = nil
	}
}

// outputs are those of all sequences, in the order of their prompts, ended or not.
func (r *run) outputs() []Output {
	out := make([]Output, len(r.seqs))
	for i, s := range r.seqs {
		out[i] = Output{Tokens: s.tokens[s.prompt:], LogProbs: s.logp, Values: s.values, Text: s.text.String(), Finish: s.finish}
		if r.opt.Results != nil && r.opt.Keep(i) {
			out[i].Rows = s.rows
		}
	}
	return out
}
