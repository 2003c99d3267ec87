package recipe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"hone/adapter"
	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/plan"
	"hone/recipe/config"
	"hone/safetensors"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// Run is a run in progress, of whatever stage.
type Run struct {
	Stage    Stage
	Training *Training
	Recipe   any    // a pointer to the struct that holds Training
	From     string // folder of the model to go on from; empty for a new one
	Env      Env
	Folder   Folder // OUT, by Execute
	// NextToken says that a step is that of predicting the next token on full batches, whose
	// memory is planned without the data.
	NextToken bool
	Rehearsal bool // nothing is computed; see Rehearse

	// Set by the stage's OpenData, and Head by an Opener:
	Tokenizer *tokenizer.Tokenizer
	Begin     []int32 // tokens before each text
	Head      string  // module of a scalar head, which every method trains in full; "": none

	// There when the stage's SetLoop is called, but for Metrics, which are open when the first step is near:
	Model     *model.Model
	Trained   Trained
	Optimizer *optim.AdamW
	Tape      *tensor.Tape
	Loop      *train.Loop
	Metrics   *train.Metrics

	clock     *stepClock
	planned   plan.Memory // zero where it is not planned
	stepTime  float64     // seconds, of a step by the plan; 0 where it is not known
	foreseen  *Planned    // by a rehearsal; nil where there was none
	unplanned error       // why there was none
	setup     float64     // seconds from the command to the first step
}

// Execute runs a stage: data, model, loop, and the result in OUT. When ctx is cancelled it saves,
// and the summary says Interrupted.
func Execute(ctx context.Context, r *Run) (sum *Summary, err error) {
	r.Env = r.Env.WithDefaults()
	r.Folder = Folder{r.Training.Out}
	made := r.Folder.missing()
	defer func() {
		// a run that was refused leaves no empty folder, but what it has read of its data stays
		if err != nil && !errors.Is(err, errHeld) {
			removeEmpty(made)
		}
	}()
	release, err := r.Folder.open(r.Training.Resume)
	if err != nil {
		return nil, err
	}
	defer release()
	defer r.free()
	// Everything a run opens hangs on r, so that one deferred free gives it back wherever it failed.
	failed := tensor.Try(func() { sum, err = r.all(ctx) }) // an allocation panics where the device is full
	return sum, errors.Join(failed, err)
}

// free releases what was opened, the last first; what a failed run did not reach is nil.
func (r *Run) free() {
	if r.Tape != nil {
		r.Tape.Reset()
	}
	if r.Optimizer != nil {
		r.Optimizer.Discard()
		r.Optimizer.Free()
	}
	if r.Trained != nil {
		r.Trained.Free()
	}
	if r.Model != nil {
		r.Model.Free()
	}
	if r.Metrics != nil {
		r.Metrics.Close() // every line is in the file already
	}
	r.Stage.Close()
}

// all does the run, from its data to its result; the package comment lists its parts in order.
func (r *Run) all(ctx context.Context) (*Summary, error) {
	if err := r.Stage.OpenData(ctx, r); err != nil {
		return nil, err
	}
	for _, part := range []func() error{
		func() error { return r.openModel(ctx) }, r.openOptimizer, r.openLoop,
		func() error { return r.beforehand(ctx) }, r.start, r.describe,
	} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	out, err := r.Loop.Run(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.measured(out); err != nil {
		return nil, err
	}
	sum := r.summary(out)
	if out.Interrupted && out.Step == 0 {
		return sum, r.Say("interrupted before the first step; resume=true begins it")
	} else if out.Interrupted {
		return sum, r.Say(fmt.Sprintf("interrupted after step %d and saved; go on with resume=true", out.Step))
	}
	if out.StoppedEarly { // or a person would see a run that ends before its last step and not why
		if err := r.Say(r.whyStopped(out)); err != nil {
			return sum, err
		}
	}
	sum.ModelDir = r.Folder.Path(r.Trained.Name())
	return sum, r.saveResult(out)
}

// whyStopped is a sentence on a run that ended before its last step.
func (r *Run) whyStopped(out train.Outcome) string {
	reason := out.Reason
	if reason == "" {
		e := r.Training.EarlyStopping
		reason = fmt.Sprintf("early_stopping: %s is not better than at step %d in %d evaluations", e.Metric, out.BestStep, e.Patience)
	}
	return fmt.Sprintf("stopped after step %d of %d: %s", out.Step, r.Training.Steps, reason)
}

// openModel makes or loads the model and what is trained of it.
func (r *Run) openModel(ctx context.Context) (err error) {
	dtype, err := r.Training.ComputeDType()
	if err != nil {
		return err
	}
	if err := r.planMemory(ctx); err != nil {
		return err
	}
	// Refused before the weights are read: a process that the system ends for its memory saves nothing and
	// says nothing.
	if has := r.Env.Memory; has > 0 && r.planned.Peak > has {
		return fmt.Errorf("the run takes %s of memory and it can have %s; memory=%dMiB makes it fit or says what would",
			plan.Bytes(r.planned.Peak), plan.Bytes(has), has*4/5>>20)
	}
	if r.Model, err = r.newModel(dtype); err != nil {
		return err
	}
	if r.Model.ShardSize, err = safetensors.ParseSize(r.Training.ShardSize); err != nil {
		return err
	}
	shape := r.Model.Shape()
	if shape.Vocab < r.Tokenizer.VocabSize() {
		// Fewer tokens than rows are usual, for tables are padded to round numbers; more would index past the table.
		return fmt.Errorf("the tokenizer has %d tokens and the model's vocabulary only %d; use the model's own tokenizer",
			r.Tokenizer.VocabSize(), shape.Vocab)
	}
	if r.Trained, err = r.method(dtype); err != nil { // adapters go on here, before the stage adds to what is trained
		return err
	}
	if room := r.Model.Shape().MaxPositions; room < r.Training.SequenceLength { // virtual tokens take theirs of it
		return fmt.Errorf("sequence_length is %d but the model has only %d positions for text; lower it",
			r.Training.SequenceLength, room)
	}
	if e, ok := r.Stage.(Expander); ok {
		if r.Trained, err = e.With(r, r.Trained, dtype); err != nil { // set on failure, too, so that free releases it
			return err
		}
	}
	r.Tape = r.Training.tape(r.Env.Device, dtype)
	return nil
}

// openOptimizer makes the optimizer over all that is trained, the stage's own parameters among it.
func (r *Run) openOptimizer() (err error) {
	params, config := Trainable(r.Trained.Params()), r.Training.Optimizer.config()
	r.Training.LoRA.speedUp(params)
	if e, ok := r.Stage.(Expander); ok {
		e.LearningRates(params)
	}
	if r.Training.Optimizer.Paged {
		r.Optimizer, err = optim.NewPaged(r.Env.Device, params, config, r.Folder.Dir)
		return err
	}
	r.Optimizer = optim.New(r.Env.Device, params, config)
	return nil
}

// planMemory plans a step and, where the recipe says how much memory there is, chooses recompute. Other
// stages than those of predicting the next token are rehearsed where the rates of the machine are known; that
// this fails is no reason not to run.
func (r *Run) planMemory(ctx context.Context) error {
	switch _, ok := r.Stage.(Rehearsed); {
	case r.Rehearsal:
		return nil
	case r.NextToken:
		config, err := r.Stage.Config(r)
		if err == nil && config == nil {
			config, err = model.ReadConfig(r.From)
		}
		if err != nil {
			return err
		}
		fill := r.Training.Full
		if f, ok := r.Stage.(Filler); ok {
			fill = f.Fill
		}
		if r.planned, err = r.Training.PlanStep(config, r.From, fill); err != nil {
			return err
		}
		step, err := r.planned.Work.TimeBy(r.Env.Meter)
		r.stepTime = step.Seconds()
		return err
	case ok && (r.Training.Memory != "" || r.Env.Meter != nil):
		if r.foreseen, r.unplanned = r.ahead(ctx); r.unplanned == nil {
			r.planned, r.stepTime = r.foreseen.Memory, r.foreseen.StepSeconds
		} else if r.Training.Memory != "" {
			return r.unplanned
		} else if ctx.Err() != nil {
			r.unplanned = nil // the run is interrupted, and says so
		}
	}
	return nil
}

// newModel is the stage's own, one of a folder, or a new one: in this order, as a stage with a
// head opens folders in its own way.
func (r *Run) newModel(dtype device.DType) (*model.Model, error) {
	config, err := r.Stage.Config(r)
	if err != nil {
		return nil, err
	}
	packed, err := r.Training.Packed()
	if err != nil {
		return nil, err
	}
	if o, ok := r.Stage.(Opener); ok {
		return o.Open(r, dtype)
	}
	if config == nil {
		return model.OpenPacked(r.From, r.Env.Device, dtype, packed)
	}
	return model.New(config, r.Env.Device, dtype, r.Training.Seed)
}

// Trainable lists the parameters for the optimizer; matrices decay, norms and biases do not.
func Trainable(params []nn.Named) []optim.Param {
	var list []optim.Param
	for _, p := range params {
		// Decay pulls towards 0: for a matrix that is the smaller function, for the scale of a norm it would
		// be silence.
		list = append(list, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) >= 2})
	}
	return list
}

// openLoop sets what all stages share, lets the stage set the rest, and then what depends on what it set.
func (r *Run) openLoop() error {
	c := r.Training
	r.Loop = &train.Loop{
		Steps: c.Steps, Seed: c.Seed, Tape: r.Tape, Optimizer: r.Optimizer, Rate: c.rate(),
		OnNonFinite: c.Optimizer.OnNonFinite, MaxSkips: c.Optimizer.MaxSkips, EvalFirst: c.Eval.OnStart, EvalEvery: c.Eval.Every,
	}
	if err := r.Stage.SetLoop(r); err != nil {
		return err
	}
	r.Loop.Checkpoints = &train.Checkpoints{
		Dir: r.Folder.Path(checkpointsName), Every: c.Checkpoint.Every, Seconds: c.Checkpoint.Seconds,
		KeepLast: c.Checkpoint.KeepLast, KeepBest: r.keepBest(), Weights: r.Trained.Weights(), Recipe: r.identity(), Extra: r.extra,
		Aside: r.aside,
	}
	if apart, ok := r.Env.Device.(device.Apart); ok {
		r.Loop.Checkpoints.Room = apart.HostFree
	}
	if c.EarlyStopping.Metric != "" {
		if err := r.stopEarly(); err != nil {
			return err
		}
	}
	if c.Samples.Every > 0 {
		r.Loop.Every = append(r.Loop.Every, train.Every{Steps: c.Samples.Every, Do: r.samples})
	}
	return nil
}

// aside tells the parameters that are in checkpoints beside the weights of the result.
func (r *Run) aside(name string) bool {
	e, ok := r.Stage.(Expander)
	return ok && e.Aside(name)
}

// stopEarly lets the loop watch a metric, if there is such a one. Where that is not known before it is
// measured, the loop measures before the first step.
func (r *Run) stopEarly() error {
	c := r.Training
	r.Loop.Stopping = train.EarlyStopping{Metric: c.EarlyStopping.Metric, Max: c.EarlyStopping.Mode == "max",
		Patience: c.EarlyStopping.Patience, MinDelta: c.EarlyStopping.MinDelta}
	if m, ok := r.Stage.(Measurer); ok {
		return r.Loop.Stopping.Check(m.Measures())
	}
	r.Loop.EvalFirst = true
	return nil
}

// resumed is the step to go on from, 0 for a beginning; what cannot be gone on with is refused.
func (r *Run) resumed() (step int, err error) {
	if !r.Training.Resume {
		return 0, nil
	}
	points := r.Loop.Checkpoints
	if step = points.Newest(); step > r.Loop.Steps {
		return 0, fmt.Errorf("the run is to end after step %d, but %s has made %d already; go on to at least that many, or begin anew in another folder",
			r.Loop.Steps, r.Training.Out, step)
	}
	if step > 0 {
		err = points.Match(step, r.mayDiffer)
	}
	return step, err
}

// beforehand lets the stage compute what it needs of the weights before training and before a resume changes them.
// A run that will be refused does not get there: it would wait, and leave its values in the folder of another one.
func (r *Run) beforehand(ctx context.Context) error {
	if _, err := r.resumed(); err != nil {
		return err
	}
	if b, ok := r.Stage.(Beginner); ok {
		return b.BeforeTraining(ctx, r)
	}
	return nil
}

// extra writes what a checkpoint holds beside the tensors.
func (r *Run) extra(dir string) error {
	err := errors.Join(r.Trained.Files(dir), r.Stage.Beside(dir))
	if k, ok := r.Stage.(Keeper); ok {
		err = errors.Join(err, k.Keep(dir))
	}
	return err
}

// keepBest also holds with early stopping, whose result is the best checkpoint.
func (r *Run) keepBest() bool {
	return r.Training.Checkpoint.KeepBest || r.Training.EarlyStopping.Metric != ""
}

// start puts the run where it left off, or at its beginning, and opens the metrics.
func (r *Run) start() error {
	points := r.Loop.Checkpoints
	cleaned, err := points.Clean()
	if err != nil {
		return err
	}
	step, err := r.resumed()
	if err != nil {
		return err
	}
	if step > 0 {
		if err := r.Loop.Resume(step, r.mayDiffer); err != nil {
			return err
		}
		if k, ok := r.Stage.(Keeper); ok {
			if err := k.Restore(points.Path(step)); err != nil {
				return fmt.Errorf("resume: %w", err)
			}
		}
	}
	if err := r.keepRecipe(); err != nil {
		return err
	}
	if r.Metrics, err = train.OpenMetrics(r.Folder.Path(metricsName), step, r.Env.Events); err != nil {
		return err
	}
	r.clock = &stepClock{Recorder: r.Metrics}
	r.Loop.Record = r.clock
	if step > 0 && r.evaluatesAlike(step) {
		r.Loop.Evaluated = r.Metrics.Evaluated()
	}
	switch {
	case r.Training.Resume && step == 0:
		err = r.Say("there is no checkpoint to resume in " + r.Training.Out + ": starting from the beginning")
	case step > 0:
		err = r.Say(fmt.Sprintf("resumed from the checkpoint of step %d", step))
	}
	if err == nil && cleaned > 0 {
		err = r.Say(fmt.Sprintf("removed %d unfinished checkpoint(s) that a crash had left", cleaned))
	}
	return err
}

// evaluatesAlike tells whether evaluations are of what they were of in the session that wrote the checkpoint of step: they may be of
// something else on resume, and one of before is none of that.
func (r *Run) evaluatesAlike(step int) bool {
	return r.Loop.Checkpoints.Match(step, func(key string) bool {
		return key != "eval.max_tokens" && !strings.HasPrefix(key, "validation_") && !strings.HasPrefix(key, "forgetting.")
	}) == nil
}

// keepRecipe writes the recipe of the run, from which another one may be started, or this one resumed.
func (r *Run) keepRecipe() error {
	resume := r.Training.Resume
	r.Training.Resume = false // the file is there to start another run like this one
	defer func() { r.Training.Resume = resume }()
	return config.Save(r.Folder.Dir, r.Recipe)
}

// Say records a message.
func (r *Run) Say(text string) error {
	return r.Metrics.Append(train.MessageEvent{Step: r.Loop.Step(), Text: text})
}

// identity is what must be the same for a checkpoint to be gone on from: the recipe and the data.
func (r *Run) identity() map[string]string {
	id := config.Flatten(r.Recipe)
	maps.Copy(id, r.Stage.Identity())
	// Contents and not paths are compared: files may move, and a file may be another under its old name.
	id["tokenizer"] = r.Tokenizer.Fingerprint()
	id["config.json of the model"] = fmt.Sprintf("%016x", xxh3.Hash(r.Model.Config))
	if r.Model.Weights != 0 {
		id["weights of the model"] = fmt.Sprintf("%016x", r.Model.Weights)
	}
	return id
}

// mayDiffer tells the keys that may change on resume: those that do not change the updates, those of what
// is not in use, and steps and epochs, which only decide where the run ends (and, where the schedule looks
// at it, the rates from here on).
func (r *Run) mayDiffer(key string) bool {
	i, ok := r.Stage.(Ignorer)
	return differsFreely(key) || r.Training.Unused(key) != "" || ok && i.Ignores(key)
}

// differsFreely lists keys by name and not by group where only some of a group are free: a slip here would
// let a resume change the run unnoticed.
func differsFreely(key string) bool {
	switch key {
	case "data", "validation_data", "validation_fraction", "prompts", "validation_prompts", // judged by the contents of data
		"iterations", "reward_timeout", "reward_retries", "rollout_batch_size",
		"out", "steps", "epochs", "resume", "device", "threads", "recompute", "activation_offloading", "memory",
		"save_dtype", "shard_size",
		"optimizer.on_nonfinite", "optimizer.max_skips", "optimizer.paged", "tokenizer.path", "model":
		return true
	}
	group, _, _ := strings.Cut(key, ".")
	return group == "diagnosis" || group == "eval" || group == "forgetting" || group == "early_stopping" ||
		group == "checkpoint" || group == "samples"
}

// describe records the sizes of the run.
func (r *Run) describe() error {
	values := map[string]any{
		"parameters": nn.Count(r.Model.Params), "trainable_parameters": nn.Count(r.Trained.Params()),
		"vocab_size": r.Model.Shape().Vocab, "tokenizer_tokens": r.Tokenizer.VocabSize(),

		"device": r.Env.Device.Name(), "dtype": r.Training.DType, "steps": r.Training.Steps,
	}
	if r.planned.Peak > 0 {
		values["planned_memory"], values["flops_per_token"] = r.planned, r.flopsPerToken()
	}
	if r.unplanned != nil {
		if err := r.Say(r.unplanned.Error()); err != nil {
			return err
		}
	}
	if r.stepTime > 0 {
		values["planned_step_seconds"] = r.stepTime
	}
	more, note := r.Stage.Info()
	maps.Copy(values, more)
	if err := r.Say(note); err != nil {
		return err
	}
	notes := r.notes()
	if l, ok := r.Trained.PEFT().(*adapter.LoRA); ok {
		notes = append(notes, l.Note())
	}
	for _, note := range append(notes, r.Model.Note()) {
		if note == "" {
			continue
		}
		if err := r.Say("note: " + note); err != nil {
			return err
		}
	}
	if parts := r.Stage.Example(r); parts != nil {
		if err := r.Metrics.Append(train.ExampleEvent{Step: r.Loop.Step(), Parts: parts}); err != nil {
			return err
		}
	}
	r.setup = time.Since(r.Env.Begun).Seconds()
	values["setup_seconds"] = r.setup
	return r.Metrics.Append(train.InfoEvent{Step: r.Loop.Step(), Values: values})
}

// notes are those of the run, whose data is open.
func (r *Run) notes() []string {
	values, _ := r.Stage.Info()
	epoch, _ := values["steps_per_epoch"].(float64)
	notes := r.Training.Notes(r.Training.Steps, epoch)
	if s, ok := r.Stage.(Noter); ok {
		notes = append(notes, s.Notes()...)
	}
	return notes
}

// flopsPerToken is the arithmetic of training on one token by the plan, in stages of predicting the next
// token none of it counted twice.
func (r *Run) flopsPerToken() float64 {
	if r.foreseen != nil {
		return r.foreseen.perToken
	}
	return float64(r.planned.Once(r.Model.Shape().Layers)) / float64(r.Training.BatchSize*r.Training.SequenceLength)
}

// summary collects the outcome. Every number of held-out data in it is of the weights that are kept;
// Last has those of the last step.
func (r *Run) summary(out train.Outcome) *Summary {
	s := &Summary{
		Out: r.Training.Out, Steps: out.Step, Interrupted: out.Interrupted,
		StoppedEarly: out.StoppedEarly, StopReason: out.Reason,
		BestStep: out.BestStep, Skipped: out.Skipped,
		Parameters: nn.Count(r.Model.Params), Trainable: nn.Count(r.Trained.Params()),
		Tokens: out.Tokens, Seconds: out.Seconds, SetupSeconds: r.setup,
		TrainLoss: out.Loss, PeakMemoryBytes: r.Env.Device.Memory().Peak, VocabSize: r.Tokenizer.VocabSize(),
		StepSeconds: r.clock.median(),
	}
	// A session that makes no step, as when a finished run is resumed, has no measurement to set the plan beside.
	if s.StepSeconds > 0 { // a plan is of steps
		s.PlannedMemoryBytes, s.PlannedStepSeconds = r.planned.Peak, r.stepTime
	}
	if out.Seconds > 0 {
		s.TokensPerS = float64(out.Tokens) / out.Seconds
	}
	if out.Eval != nil {
		s.Validation, s.ValidationStep = out.Eval.Metrics, out.Eval.Step
	}
	if !out.Interrupted && r.keepsBest(out) {
		s.Last, s.Validation, s.ValidationStep = s.Validation, out.BestMetrics, out.BestStep
	}
	if out.First != nil {
		s.Before = out.First.Metrics
	}
	r.Stage.Summarise(s)
	return s
}
