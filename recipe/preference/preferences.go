// Package preference has the recipes that learn from preferences: reward models and the DPO family.
package preference

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"hone/chat"
	"hone/data"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/example"
	"hone/tokenizer"
)

// Preferences holds the keys of recipes that learn from preferences.
type Preferences struct {
	Data               []string `yaml:"data" doc:"files, folders or globs of preferences: prompt, chosen and rejected, texts or messages, or whole transcripts; with loss_type=kto of hone dpo also prompt, completion and label"`
	ValidationData     []string `yaml:"validation_data" doc:"the same, to be held out; not set: a share of data"`
	ValidationFraction float64  `yaml:"validation_fraction" doc:"share of the records to hold out when validation_data is not set, all of a prompt or none; 0: none"`
	OnBadRecord        string   `yaml:"on_bad_record" doc:"at a record that cannot be used, such as equal answers: error, or skip and count it"`
	Model              string   `yaml:"model" doc:"folder of the model to start from"`
	ChatTemplate       string   `yaml:"chat_template" doc:"a template's name or file; not set: the model's own"`
	TooLong            string   `yaml:"too_long" doc:"records over sequence_length: drop, cut the end of answers, or error; a prompt that leaves no room for an answer is always left out"`
	Epochs             float64  `yaml:"epochs" doc:"times that each record is seen; counts when steps is 0"`
}

func defaultPreferences() Preferences {
	return Preferences{ValidationFraction: 0.05, OnBadRecord: "error", TooLong: "drop", Epochs: 1}
}

func (p *Preferences) heldOut() bool { return len(p.ValidationData) > 0 || p.ValidationFraction > 0 }

// validate checks the group and the keys that go with it; steps may be 0, when epochs count.
func (p *Preferences) validate(t recipe.Training) error {
	switch {
	case len(p.Data) == 0:
		return errors.New("data is not set; name files of preferences, as in data=preferences.jsonl")
	case p.Model == "":
		return errors.New("model is not set; name the folder of the model to start from, as in model=runs/tuned/model")
	case !(p.ValidationFraction >= 0 && p.ValidationFraction < 1):
		return fmt.Errorf("validation_fraction is %v; it must be at least 0 and below 1", p.ValidationFraction)
	case t.Steps == 0 && !(p.Epochs > 0 && p.Epochs <= recipe.MaxEpochs):
		return fmt.Errorf("epochs is %v; set it above 0 and up to %v, or set steps", p.Epochs, recipe.MaxEpochs)
	case p.OnBadRecord != "error" && p.OnBadRecord != "skip":
		return fmt.Errorf("on_bad_record is %q; use error or skip", p.OnBadRecord)
	case p.TooLong != "cut" && p.TooLong != "drop" && p.TooLong != "error":
		return fmt.Errorf("too_long is %q; use cut, drop or error", p.TooLong)
	case t.ZLoss != 0:
		return errors.New("z_loss is set, which learning from preferences does not have; leave it out")
	case t.NEFTuneNoiseAlpha != 0:
		return errors.New("neftune_noise_alpha is set, which learning from preferences does not have; leave it out")
	}
	if t.Steps == 0 {
		t.Steps = 1 // known when the records are counted
	}
	return cmp.Or(t.ApartFrom("data", p.Data), t.ValidateTraining(p.heldOut()))
}

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
	files       []*markFile // of the tokens
	stats       data.Stats
}

func (s *judgements) close() error {
	var errs []error
	if s != nil {
		for _, f := range s.files {
			errs = append(errs, f.close())
		}
	}
	return errors.Join(errs...)
}

// reader turns records into judgements.
type reader struct {
	c     *Preferences
	most  int // tokens of a sequence
	enc   *example.Encoder
	parse func(r *reader, record []byte) ([]judged, error)
	stats *data.Stats
}

// open reads the records and fixes the number of steps. What it returns is to be closed also with an error.
func (p *Preferences) open(ctx context.Context, r *recipe.Run, parse func(*reader, []byte) ([]judged, error)) (*judgements, *chat.Template, error) {
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
	in := &reader{c: p, most: r.Training.SequenceLength, enc: example.NewEncoder(r.Tokenizer, template), parse: parse, stats: &all.stats}
	if err := all.read(ctx, in, r.Folder.Dir); err != nil {
		return all, nil, err
	}
	switch {
	case len(all.items) == 0:
		return all, nil, fmt.Errorf("no record is left to learn from (%s); raise sequence_length or give more records", all.stats.String())
	case p.heldOut() && len(all.held) == 0:
		return all, nil, fmt.Errorf("no record is left to hold out (%s); raise sequence_length, give others in validation_data, or set validation_fraction=0", all.stats.String())
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

// answer is an example as marked tokens, of which those of its answer are learned. It ends where the answer does: what a
// template writes behind it, such as a line end, is never in a text that the model wrote.
func (in *reader) answer(ex *data.Example, turns int) ([]int32, error) {
	var ids []int32
	var supervised []bool
	var err error
	if ex.Messages != nil && (in.enc.Template != nil || ex.Completion == "") {
		ids, supervised, err = in.enc.Turns(ex, turns)
	} else {
		ids, supervised = in.enc.Completion(ex)
	}
	if err != nil {
		return nil, err
	}
	first, end := -1, 0
	// What follows the answer's last learned token is the template's, and a reward model would score there a text that no policy writes.
	for i, learned := range supervised {
		if learned && first < 0 {
			first = i
		}
		if learned {
			end = i + 1
		}
	}
	switch {
	case first < 0:
		return nil, &data.Left{Reason: example.Unanswered}
	// not a matter of too_long: without a token of the answer there is nothing to compare
	case first >= in.most:
		return nil, &data.Left{Reason: example.LongPrompt}
	case end > in.most && in.c.TooLong == "error":
		return nil, fmt.Errorf("the record has %d tokens and sequence_length is %d; raise it, or set too_long to cut or drop", end, in.most)
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
	return []judged{{answers: [][]int32{chosen, rejected}, margin: float32(p.Margin), annotator: p.Annotator, prompt: p.HashPrompt()}}, nil
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
		// A pair without labels of its own is one good and one bad answer; what is wrong with it, or that it is too long, is so of the pair.
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

// dealt is what a micro-batch is made of and the counts over the whole batch.
type dealt struct {
	items  []*judged
	index  []int   // of each item in its list
	whole  int     // items of the whole batch
	chosen int     // supervised tokens of first answers in the whole batch
	kl     float32 // of KTO
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

// lent are the same records, to be closed by their owner.
func (s *judgements) lent() *judgements {
	all := *s
	all.files = nil
	return &all
}

// Models is as of Pretrain.
func (c *Preferences) Models() []*string { return config.Given(&c.Model) }

// unused adds to Training.Unused the keys that reward and dpo share.
func (p *Preferences) unused(key string, t *recipe.Training) string {
	if with := recipe.UnusedEval(key, p.heldOut()); with != "" {
		return with
	}
	switch {
	case key == "validation_fraction" && len(p.ValidationData) > 0:
		return "validation_data"
	case key == "epochs":
		return t.UnusedEpochs()
	}
	return t.Unused(key)
}
