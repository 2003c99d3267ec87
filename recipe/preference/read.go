package preference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"hone/chat"
	"hone/data"
	"hone/recipe"
	"hone/recipe/example"
	"hone/tokenizer"
)

// reader turns records into judgements.
type reader struct {
	c     *Preferences
	most  int // tokens of a sequence
	enc   *example.Encoder
	parse func(r *reader, record []byte) ([]judged, error)
	stats *data.Stats
	texts int  // answers that are learned as texts, without the chat template
	whole bool // conversations are read to the end of what the template writes
}

// open reads the records and fixes the number of steps. What it returns is to be closed also with an error.
func (p *Preferences) open(ctx context.Context, r *recipe.Run, parse func(*reader, []byte) ([]judged, error), whole bool) (*judgements, *chat.Template, error) {
	var err error
	if r.Tokenizer, err = tokenizer.Load(p.Model); err != nil {
		return nil, nil, err
	}
	r.Begin, _ = r.Tokenizer.Special()
	template, err := chat.Choose(p.ChatTemplate, p.Model, r.Tokenizer)
	if err != nil {
		return nil, nil, err
	}
	all := &judgements{}
	in := &reader{c: p, most: r.Training.SequenceLength, enc: example.NewEncoder(r.Tokenizer, template),
		parse: parse, stats: &all.stats, whole: whole}
	if err := all.read(ctx, in, r.Folder.Dir); err != nil {
		return all, nil, err
	}
	if in.texts > 0 && template != nil {
		all.notes = append(all.notes, "records are texts, which are learned as they are, although the model has a chat template; "+
			"give prompt and answers as messages where it shall answer a user")
	}
	switch {
	case len(all.items) == 0:
		return all, nil, fmt.Errorf("no record is left to learn from (%s); raise sequence_length or give more records", all.stats.String())
	case p.heldOut() && len(all.held) == 0:
		return all, nil, fmt.Errorf("no record is left to hold out (%s); raise sequence_length, give others in validation_data, "+
			"or set validation_fraction=0", all.stats.String())
	}
	if r.Training.Steps == 0 {
		perStep := float64(r.Training.BatchSize * r.Training.GradientAccumulationSteps)
		r.Training.Steps = max(1, int(math.Ceil(p.Epochs*float64(len(all.items))/perStep)))
	}
	return all, template, nil
}

// read reads the data and what is held out, which is a share of the data or files of its own.
func (s *judgements) read(ctx context.Context, in *reader, dir string) (err error) {
	p := in.c
	list := func(paths []string) (list []judged, err error) {
		list, f, err := onDisk(dir, func(add func(judged) error) error { return in.read(ctx, paths, add) })
		s.files = append(s.files, f)
		return list, err
	}
	if s.items, err = list(p.Data); err != nil {
		return err
	}
	if len(p.ValidationData) > 0 {
		in.stats = &data.Stats{}
		s.held, err = list(p.ValidationData)
		return err
	}
	if s.split = p.ValidationFraction > 0; s.split {
		s.items, s.held, err = holdOut(s.items, p.ValidationFraction)
		s.noteShare(p.ValidationFraction)
	}
	return err
}

// read gives what the files hold to add.
func (in *reader) read(ctx context.Context, paths []string, add func(judged) error) error {
	src := data.Sources{Paths: paths, OnBadRecord: data.BadRecord(in.c.OnBadRecord), Records: true}
	for d, err := range src.Documents(in.stats) {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		items, err := in.items(d.Text)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Place(), err)
		}
		for _, j := range items {
			if err := add(j); err != nil {
				return err
			}
		}
	}
	return nil
}

// items is a record as judgements; none when it is left out and counted.
func (in *reader) items(record []byte) ([]judged, error) {
	items, err := in.parse(in, record)
	if err == nil {
		return items, nil
	}
	if left := (*data.Left)(nil); errors.As(err, &left) {
		in.leave(left.Reason)
		return nil, nil
	}
	if in.c.OnBadRecord == string(data.SkipBadRecord) {
		reason := data.Malformed
		if u := (*data.Unusable)(nil); errors.As(err, &u) {
			reason = u.Reason
		}
		in.leave(reason)
		return nil, nil
	}
	if errors.Is(err, example.ErrNoTemplate) {
		return nil, err
	}
	return nil, fmt.Errorf("%w; repair it or set on_bad_record=skip", err)
}

// leave counts a record that is left out or cut, by its reason.
func (in *reader) leave(reason data.Reason) {
	if in.stats.Skipped == nil {
		in.stats.Skipped = map[data.Reason]int{}
	}
	in.stats.Skipped[reason]++
}

// pairs reads a preference.
func (in *reader) pairs(record []byte) ([]judged, error) {
	p, err := data.ParsePreference(record)
	if err != nil {
		return nil, err
	}
	chosen, err := in.answer(&p.Chosen, p.Turns)
	if err != nil {
		return nil, err
	}
	rejected, err := in.answer(&p.Rejected, p.Turns)
	if err != nil {
		return nil, err
	}
	if data.HashMarks(chosen) == data.HashMarks(rejected) { // by the template, or as far as they were not cut
		return nil, &data.Unusable{Reason: data.EqualAnswers, Problem: "chosen and rejected are the same tokens"}
	}
	return []judged{{
		answers: [][]int32{chosen, rejected}, margin: float32(p.Margin), annotator: p.Annotator, prompt: p.HashPrompt(),
	}}, nil
}

// verdicts reads an answer with its label, or a preference as a good and a bad answer.
func (in *reader) verdicts(record []byte) ([]judged, error) {
	j, err := data.ParseJudged(record)
	if err != nil {
		var two struct{ Chosen, Rejected json.RawMessage }
		// The error of the form that kto asks for is told of a record that is neither.
		if json.Unmarshal(record, &two) != nil || two.Chosen == nil || two.Rejected == nil {
			return nil, err
		}
		// A pair without labels of its own is one good and one bad answer; what is wrong with it, or that it
		// is too long, is so of the pair.
		pairs, err := in.pairs(record)
		if err != nil {
			return nil, err
		}
		p, prompt := pairs[0].answers, pairs[0].prompt
		return []judged{{answers: p[:1], desirable: true, prompt: prompt}, {answers: p[1:], prompt: prompt}}, nil
	}
	marks, err := in.answer(&j.Example, j.Turns)
	if err != nil {
		return nil, err
	}
	return []judged{{answers: [][]int32{marks}, desirable: j.Desirable, prompt: j.HashPrompt()}}, nil
}

// answer is an example as marked tokens, of which those of its answer are learned. It ends where the answer does, unless all is read: what a
// template writes behind it, such as a line end, is never in a text that the model wrote.
func (in *reader) answer(ex *data.Example, turns int) ([]int32, error) {
	var ids []int32
	var supervised []bool
	var err error
	if ex.Messages != nil && (in.enc.Template != nil || ex.Completion == "") {
		ids, supervised, err = in.enc.Turns(ex, turns)
	} else {
		ids, supervised = in.enc.Completion(ex)
		in.texts++
	}
	if err != nil {
		return nil, err
	}
	first, end := -1, 0
	for i, learned := range supervised {
		if learned && first < 0 {
			first = i
		}
		if learned {
			end = i + 1
		}
	}
	if in.whole {
		end = len(ids)
	}
	switch {
	case first < 0:
		return nil, &data.Left{Reason: example.Unanswered}
	// not a matter of too_long: without a token of the answer there is nothing to compare
	case first >= in.most:
		return nil, &data.Left{Reason: example.LongPrompt}
	case end > in.most && in.c.TooLong == "error":
		return nil, fmt.Errorf("the record has %d tokens and sequence_length is %d; raise it, or set too_long to cut or drop",
			end, in.most)
	case end > in.most && in.c.TooLong == "drop":
		return nil, &data.Left{Reason: example.TooLong}
	case end > in.most:
		in.leave(example.CutShort)
		end = in.most
	}
	marks := make([]int32, end)
	for i := range marks {
		marks[i] = data.Mark(ids[i], i > 0 && supervised[i])
	}
	return marks, nil
}
