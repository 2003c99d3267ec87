package preference

import (
	"errors"
	"fmt"
	"math"

	"hone/data"
	"hone/recipe"
	"hone/train"
)

// judged is a preference, or an answer with a verdict, as tokens.
type judged struct {
	answers   [][]int32 // marked tokens of prompt and answer: chosen and rejected, or one
	prompt    uint64    // hash of what was asked
	annotator string
	margin    float32
	desirable bool
	ref       []float32 // log-probability of each answer under the reference; nil without one
}

// supervised counts the tokens of answer i that are learned.
func (j *judged) supervised(i int) int {
	n := 0
	for _, mark := range j.answers[i][1:] {
		n += int(mark & 1)
	}
	return n
}

// tokens is the number of tokens of all answers, prompts included.
func (j *judged) tokens() int {
	n := 0
	for _, a := range j.answers {
		n += len(a)
	}
	return n
}

// judgements are the records of a run. Their tokens are on disk; in memory a pair takes about 160 bytes.
type judgements struct {
	items, held []judged
	split       bool        // held is a share of what was read
	notes       []string    // what of the records is probably not meant
	files       []*markFile // of the tokens
	stats       data.Stats
}

// lent are the same records, to be closed by their owner.
func (s *judgements) lent() *judgements {
	all := *s
	all.files = nil
	return &all
}

// close gives the tokens back; s may be nil.
func (s *judgements) close() error {
	var errs []error
	if s != nil {
		for _, f := range s.files {
			errs = append(errs, f.close())
		}
	}
	return errors.Join(errs...)
}

// fingerprint names the contents.
func (s *judgements) fingerprint() string {
	h := uint64(len(s.held))
	for _, list := range [][]judged{s.items, s.held} {
		for i := range list {
			j := &list[i]
			h = h*1099511628211 ^ data.HashMarks(j.answers...) ^ uint64(math.Float32bits(j.margin))
			if j.desirable {
				h++
			}
		}
	}
	return fmt.Sprintf("%016x", h)
}

// info tells how many records there are, and a line about them.
func (s *judgements) info(t *recipe.Training) (map[string]any, string) {
	values := map[string]any{
		"train_records": len(s.items), "held_records": len(s.held),
		"steps_per_epoch": float64(len(s.items)) / float64(t.BatchSize*t.GradientAccumulationSteps),
	}
	return values, fmt.Sprintf("preferences: %s; %d to learn from, %d held out", s.stats.String(), len(s.items), len(s.held))
}

// example is the first record: the answers are what is judged or learned.
func (s *judgements) example(r *recipe.Run) []train.Part {
	var parts []train.Part
	for i, marks := range s.items[0].answers {
		if i > 0 {
			parts = append(parts, train.Part{Text: "\n--- the other answer\n"})
		}
		parts = append(parts, recipe.Parts(r.Tokenizer, marks)...)
	}
	return parts
}

// prompts are those of the recipe, or of held-out records.
func (s *judgements) prompts(r *recipe.Run) (ids [][]int32, texts []string) {
	if len(r.Training.Samples.Prompts) > 0 {
		return r.GivenPrompts()
	}
	most := r.Model.Shape().MaxPositions - 1
	for i := range min(3, len(s.held)) {
		var prompt []int32
		for _, mark := range s.held[i].answers[0] {
			id, learned := data.Unmark(mark)
			if learned || len(prompt) == most {
				break
			}
			prompt = append(prompt, id)
		}
		ids, texts = append(ids, prompt), append(texts, string(r.Tokenizer.Decode(prompt)))
	}
	return ids, texts
}

// dealt is what a micro-batch is made of and the counts over the whole batch.
type dealt struct {
	items  []*judged
	index  []int   // of each item in its list
	whole  int     // items of the whole batch
	chosen int     // supervised tokens of first answers in the whole batch
	kl     float32 // KTO's estimate of the divergence over the whole batch
}

// step deals out the micro-batches of a step.
func (s *judgements) step(c *recipe.Training, step int) []data.Batch {
	perStep := c.BatchSize * c.GradientAccumulationSteps
	picks := make([]int, perStep)
	for i := range picks {
		picks[i] = int(data.Draw(c.Seed, int64(len(s.items)), int64(step*perStep+i)))
	}
	return deal(s.items, picks, c.BatchSize)
}

// deal makes micro-batches of the items that picks names, size at a time.
func deal(list []judged, picks []int, size int) []data.Batch {
	tokens, chosen := 0, 0
	for _, i := range picks {
		chosen += list[i].supervised(0)
		for a := range list[i].answers {
			tokens += list[i].supervised(a)
		}
	}
	var batches []data.Batch
	for at := 0; at < len(picks); at += size {
		d := &dealt{index: picks[at:min(at+size, len(picks))], whole: len(picks), chosen: chosen}
		b := data.Batch{Tokens: tokens, Extra: d}
		for _, i := range d.index {
			d.items = append(d.items, &list[i])
			for _, marks := range list[i].answers {
				b.AppendMarked(marks)
			}
		}
		batches = append(batches, b)
	}
	return batches
}

// rows are those of the largest micro-batch of a step, prompts counted twice.
func (s *judgements) rows(c *recipe.Training, step int) (most int) {
	for micro := range c.GradientAccumulationSteps {
		n := 0
		for i := range c.BatchSize {
			at := (step*c.GradientAccumulationSteps+micro)*c.BatchSize + i
			n += s.items[data.Draw(c.Seed, int64(len(s.items)), int64(at))].tokens()
		}
		most = max(most, n)
	}
	return most
}

// heldPicks names the held-out items that an evaluation looks at: about maxTokens of them, 0 for all.
func (s *judgements) heldPicks(maxTokens int) []int {
	var picks []int
	tokens := 0
	for i := range s.held {
		if tokens += s.held[i].tokens(); maxTokens > 0 && tokens > maxTokens && i > 0 {
			break
		}
		picks = append(picks, i)
	}
	return picks
}
