package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/plan"
	"hone/safetensors"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// stage is what sets the run of one recipe apart from another's. Its methods are called in this order.
type stage interface {
	openData(ctx context.Context, r *run) error // opens the tokenizer, r.tok, and the data
	config(r *run) ([]byte, error)              // config.json of a new model; nil: the model is opened from its folder
	setLoop(r *run) error                       // sets batches, objective and evaluation of r.loop; the model is there
	identity() map[string]string                // what else than the recipe must be the same for a resume
	info() (values map[string]any, note string) // sizes of the data, and a line about it
	example(r *run) []train.Part                // what the model sees, to show before the first step; nil: nothing
	prompts(r *run) (ids [][]int32, texts []string)
	beside(dir string) error // writes what of the stage belongs with the weights
	summarise(s *Summary)
	close() error
}

// opener is a stage that opens its model itself, such as one with a scalar head.
type opener interface {
	open(r *run, dtype device.DType) (*model.Model, error)
}

// expander is a stage that trains more than the recipe's method does, such as a critic. What it returns is freed also with an error.
type expander interface {
	with(r *run, t trained, dtype device.DType) (trained, error)
	learningRates(list []optim.Param)
}

// beginner is a stage with something to compute from the weights before training; the loop and the checkpoints are set.
type beginner interface {
	begin(ctx context.Context, r *run) error
}

// finisher is a stage that leaves more in OUT than the weights.
type finisher interface {
	finish(r *run) error
}

// measurer is a stage that knows before the first evaluation what it will measure; train_loss need not be named.
type measurer interface {
	measures() []string
}

// keeper is a stage with a state of its own between steps, which checkpoints hold.
type keeper interface {
	keep(dir string) error    // writes the state into a checkpoint
	restore(dir string) error // reads it again
}

// run is a run in progress, of whatever stage.
type run struct {
	stage   stage
	c       *Training
	whole   any    // the recipe, a pointer to the struct that holds c
	dir     string // folder of the model to go on from; empty for a new one
	env     Env
	folder  runFolder
	tok     *tokenizer.Tokenizer
	begin   []int32 // tokens before each text
	head    string  // module of a scalar head, which every method trains in full; "": none
	model   *model.Model
	trained trained
	opt     *optim.AdamW
	tape    *tensor.Tape
	metrics *train.Metrics
	clock   *stepClock
	loop    *train.Loop
	planned plan.Memory // zero where it is not planned
	plans   bool        // the step is that of predicting the next token, whose memory is planned

	rehearsal bool     // nothing is computed; see rehearse
	lent      bool     // the stage's data is open, and another's
	foreseen  *Planned // by a rehearsal; nil where there was none
	unplanned error    // why there was none
	setup     float64  // seconds from the command to the first step
}

// execute runs a stage: data, model, loop, and the result in OUT. When ctx is cancelled it saves,
// and the summary says Interrupted.
func execute(ctx context.Context, r *run) (sum *Summary, err error) {
	r.env = r.env.withDefaults()
	r.folder = runFolder{r.c.Out}
	if err := r.folder.open(r.c.Resume); err != nil {
		return nil, err
	}
	defer r.free()
	failed := tensor.Try(func() { sum, err = r.all(ctx) })
	return sum, errors.Join(failed, err)
}

func (r *run) free() {
	if r.tape != nil {
		r.tape.Reset()
	}
	if r.opt != nil {
		r.opt.Discard()
		r.opt.Free()
	}
	if r.trained != nil {
		r.trained.free()
	}
	if r.model != nil {
		r.model.Free()
	}
	if r.metrics != nil {
		r.metrics.Close() // every line is in the file already
	}
	r.stage.close()
}

func (r *run) all(ctx context.Context) (*Summary, error) {
	if err := r.stage.openData(ctx, r); err != nil {
		return nil, err
	}
	for _, part := range []func() error{func() error { return r.openModel(ctx) }, r.openOptimizer, r.openLoop, func() error { return r.beforehand(ctx) }, r.start, r.describe} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	out, err := r.loop.Run(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.measured(out); err != nil {
		return nil, err
	}
	sum := r.summary(out)
	if out.Interrupted {
		return sum, r.say(fmt.Sprintf("interrupted after step %d and saved; go on with resume=true", out.Step))
	}
	sum.ModelDir = r.folder.path(r.trained.name())
	return sum, r.saveResult(out)
}

// openModel makes or loads the model and what is trained of it.
func (r *run) openModel(ctx context.Context) (err error) {
	dtype, err := r.c.dtype()
	if err != nil {
		return err
	}
	if err := r.planMemory(ctx); err != nil {
		return err
	}
	if r.model, err = r.newModel(dtype); err != nil {
		return err
	}
	if r.model.ShardSize, err = safetensors.ParseSize(r.c.ShardSize); err != nil {
		return err
	}
	shape := r.model.Shape()
	if shape.Vocab < r.tok.VocabSize() {
		return fmt.Errorf("the tokenizer has %d tokens and the model's vocabulary only %d; use the model's own tokenizer",
			r.tok.VocabSize(), shape.Vocab)
	}
	if r.trained, err = r.method(dtype); err != nil {
		return err
	}
	if room := r.model.Shape().MaxPositions; room < r.c.SequenceLength { // virtual tokens take theirs of it
		return fmt.Errorf("sequence_length is %d but the model has only %d positions for text; lower it", r.c.SequenceLength, room)
	}
	if e, ok := r.stage.(expander); ok {
		if r.trained, err = e.with(r, r.trained, dtype); err != nil {
			return err
		}
	}
	r.tape = tensor.NewTape(r.env.Device, dtype)
	return nil
}

func (r *run) openOptimizer() (err error) {
	params, config := trainable(r.trained.params()), r.c.Optimizer.config()
	r.c.LoRA.speedUp(params)
	if e, ok := r.stage.(expander); ok {
		e.learningRates(params)
	}
	if r.c.Optimizer.Paged {
		r.opt, err = optim.NewPaged(r.env.Device, params, config, r.folder.dir)
		return err
	}
	r.opt = optim.New(r.env.Device, params, config)
	return nil
}

// planMemory plans a step and, where the recipe says how much memory there is, chooses recompute. Other stages than those of predicting the
// next token are rehearsed where the rates of the machine are known; that this fails is no reason not to run.
func (r *run) planMemory(ctx context.Context) error {
	switch s, ok := r.stage.(rehearsed); {
	case r.rehearsal:
		return nil
	case r.plans:
		config, err := r.stage.config(r)
		if err == nil && config == nil {
			config, err = model.ReadConfig(r.dir)
		}
		if err != nil {
			return err
		}
		r.planned, err = r.c.plan(config, r.dir)
		return err
	case r.c.Memory != "":
		return errors.New("memory is not planned for this stage; leave it out and set recompute")
	case ok && r.env.Rates != plan.Rates{}:
		if r.foreseen, r.unplanned = r.ahead(ctx, s); r.foreseen != nil {
			r.planned = r.foreseen.Memory
		}
	}
	return nil
}

func (r *run) newModel(dtype device.DType) (*model.Model, error) {
	config, err := r.stage.config(r)
	if err != nil {
		return nil, err
	}
	packed, err := r.c.packed()
	if err != nil {
		return nil, err
	}
	if o, ok := r.stage.(opener); ok {
		return o.open(r, dtype)
	}
	if config == nil {
		return model.OpenPacked(r.dir, r.env.Device, dtype, packed)
	}
	return model.New(config, r.env.Device, dtype, r.c.Seed)
}

// withSpecialTokens adds the tokenizer's special tokens to a config.json.
func withSpecialTokens(text []byte, tok *tokenizer.Tokenizer) ([]byte, error) {
	config := map[string]any{}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	for key, token := range map[string]func() (int32, bool){
		"bos_token_id": tok.BOS, "eos_token_id": tok.EOS, "pad_token_id": tok.PAD,
	} {
		if id, ok := token(); ok {
			config[key] = id
		}
	}
	return json.MarshalIndent(config, "", "  ")
}

// trainable lists the parameters for the optimizer; matrices decay, norms and biases do not.
func trainable(params []nn.Named) []optim.Param {
	var list []optim.Param
	for _, p := range params {
		list = append(list, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) >= 2})
	}
	return list
}

func (r *run) openLoop() error {
	c := r.c
	r.loop = &train.Loop{
		Steps: c.Steps, Seed: c.Seed, Tape: r.tape, Optimizer: r.opt, Rate: c.rate(),
		OnNonFinite: c.Optimizer.OnNonFinite, MaxSkips: c.Optimizer.MaxSkips, EvalFirst: c.Eval.OnStart, EvalEvery: c.Eval.Every,
	}
	if err := r.stage.setLoop(r); err != nil {
		return err
	}
	r.loop.Checkpoints = &train.Checkpoints{
		Dir: r.folder.path(checkpointsName), Every: c.Checkpoint.Every, Seconds: c.Checkpoint.Seconds,
		KeepLast: c.Checkpoint.KeepLast, KeepBest: r.keepBest(), Weights: r.trained.weights(), Recipe: r.identity(), Extra: r.extra,
		Aside: func(name string) bool { return strings.HasPrefix(name, criticPrefix) },
	}
	if apart, ok := r.env.Device.(device.Apart); ok {
		r.loop.Checkpoints.Room = apart.HostFree
	}
	if c.EarlyStopping.Metric != "" {
		if err := r.stopEarly(); err != nil {
			return err
		}
	}
	if c.Samples.Every > 0 {
		r.loop.Every = append(r.loop.Every, train.Every{Steps: c.Samples.Every, Do: r.samples})
	}
	return nil
}

// stopEarly lets the loop watch a metric, if there is such a one. Where that is not known before it is measured, the loop
// measures before the first step.
func (r *run) stopEarly() error {
	c := r.c
	r.loop.Stopping = train.EarlyStopping{Metric: c.EarlyStopping.Metric, Max: c.EarlyStopping.Mode == "max",
		Patience: c.EarlyStopping.Patience, MinDelta: c.EarlyStopping.MinDelta}
	if m, ok := r.stage.(measurer); ok {
		return r.loop.Stopping.Check(m.measures())
	}
	r.loop.EvalFirst = true
	return nil
}

// beforehand lets the stage compute what it needs of the weights before training and before a resume changes them.
func (r *run) beforehand(ctx context.Context) error {
	if b, ok := r.stage.(beginner); ok {
		return b.begin(ctx, r)
	}
	return nil
}

// extra writes what a checkpoint holds beside the tensors.
func (r *run) extra(dir string) error {
	err := errors.Join(r.trained.files(dir), r.stage.beside(dir))
	if k, ok := r.stage.(keeper); ok {
		err = errors.Join(err, k.keep(dir))
	}
	return err
}

// keepBest also holds with early stopping, whose result is the best checkpoint.
func (r *run) keepBest() bool {
	return r.c.Checkpoint.KeepBest || r.c.EarlyStopping.Metric != ""
}

// start puts the run where it left off, or at its beginning, and opens the metrics.
func (r *run) start() error {
	points := r.loop.Checkpoints
	cleaned, err := points.Clean()
	if err != nil {
		return err
	}
	step := 0
	if r.c.Resume {
		if step = points.Newest(); step > 0 {
			if err := r.loop.Resume(step, r.mayDiffer); err != nil {
				return err
			}
			if k, ok := r.stage.(keeper); ok {
				if err := k.restore(points.Path(step)); err != nil {
					return fmt.Errorf("resume: %w", err)
				}
			}
		}
	}
	if err := r.keepRecipe(); err != nil {
		return err
	}
	if r.metrics, err = train.OpenMetrics(r.folder.path(metricsName), step, r.env.Events); err != nil {
		return err
	}
	r.clock = &stepClock{Recorder: r.metrics}
	r.loop.Record = r.clock
	switch {
	case r.c.Resume && step == 0:
		err = r.say("there is no checkpoint to resume in " + r.c.Out + ": starting from the beginning")
	case step > 0:
		err = r.say(fmt.Sprintf("resumed from the checkpoint of step %d", step))
	}
	if err == nil && cleaned > 0 {
		err = r.say(fmt.Sprintf("removed %d unfinished checkpoint(s) that a crash had left", cleaned))
	}
	return err
}

// keepRecipe writes the recipe of the run, which is one to be started or resumed.
func (r *run) keepRecipe() error {
	resume := r.c.Resume
	r.c.Resume = false
	defer func() { r.c.Resume = resume }()
	return r.folder.writeRecipe(r.whole)
}

// say records a message.
func (r *run) say(text string) error {
	return r.metrics.Append(train.MessageEvent{Step: r.loop.Step(), Text: text})
}

// identity is what must be the same for a checkpoint to be gone on from: the recipe and the data.
func (r *run) identity() map[string]string {
	id := Flatten(r.whole)
	for key, value := range r.stage.identity() {
		id[key] = value
	}
	id["tokenizer"] = r.tok.Fingerprint()
	id["config.json of the model"] = fmt.Sprintf("%016x", xxh3.Hash(r.model.Config))
	if r.model.Weights != 0 {
		id["weights of the model"] = fmt.Sprintf("%016x", r.model.Weights)
	}
	return id
}

// ignorer is a stage some of whose keys change nothing as the others are.
type ignorer interface {
	ignores(key string) bool
}

// mayDiffer tells the keys that may change on resume: those that do not change the updates, those of what is not in use, and
// steps and epochs, which only decide where the run ends (and, where the schedule looks at it, the rates from here on).
func (r *run) mayDiffer(key string) bool {
	i, ok := r.stage.(ignorer)
	return differsFreely(key) || r.c.ignores(key) || ok && i.ignores(key)
}

// ignores tells the keys of methods that are not trained by.
func (c *Training) ignores(key string) bool {
	_, virtual := promptKinds[c.Method]
	switch group, _, _ := strings.Cut(key, "."); group {
	case "lora":
		return c.Method != "lora" && c.Method != "qlora"
	case "qlora":
		return c.Method != "qlora"
	case "prompt":
		return !virtual
	}
	return false
}

func differsFreely(key string) bool {
	switch key {
	case "data", "validation_data", "validation_fraction", "prompts", "validation_prompts", // judged by the contents of data
		"iterations", "reward_timeout", "reward_retries", "rollout_batch_size",
		"out", "steps", "epochs", "resume", "device", "threads", "recompute", "memory", "save_dtype", "shard_size",
		"optimizer.on_nonfinite", "optimizer.max_skips", "optimizer.paged", "tokenizer.path", "model":
		return true
	}
	group, _, _ := strings.Cut(key, ".")
	return group == "diagnosis" || group == "eval" || group == "forgetting" || group == "early_stopping" || group == "checkpoint" || group == "samples"
}

// describe records the sizes of the run.
func (r *run) describe() error {
	values := map[string]any{
		"parameters": nn.Count(r.model.Params), "trainable_parameters": nn.Count(r.trained.params()),
		"vocab_size": r.model.Shape().Vocab, "tokenizer_tokens": r.tok.VocabSize(),

		"device": r.env.Device.Name(), "dtype": r.c.DType, "steps": r.c.Steps,
	}
	if r.planned.Peak > 0 {
		values["planned_memory"], values["flops_per_token"] = r.planned, r.flopsPerToken()
	}
	if r.unplanned != nil {
		if err := r.say(r.unplanned.Error()); err != nil {
			return err
		}
	}
	if t := r.stepTime(); t > 0 {
		values["planned_step_seconds"] = t.Seconds()
	}
	more, note := r.stage.info()
	for key, value := range more {
		values[key] = value
	}
	if err := r.say(note); err != nil {
		return err
	}
	if left := r.model.Note(); left != "" {
		if err := r.say("note: " + left); err != nil {
			return err
		}
	}
	if parts := r.stage.example(r); parts != nil {
		if err := r.metrics.Append(train.ExampleEvent{Step: r.loop.Step(), Parts: parts}); err != nil {
			return err
		}
	}
	r.setup = time.Since(r.env.Begun).Seconds()
	values["setup_seconds"] = r.setup
	return r.metrics.Append(train.InfoEvent{Step: r.loop.Step(), Values: values})
}

// flopsPerToken is the arithmetic of training on one token by the plan, in stages of predicting the next token none of it counted twice.
func (r *run) flopsPerToken() float64 {
	if r.foreseen != nil {
		return r.foreseen.perToken
	}
	return float64(r.planned.Once(r.model.Shape().Layers)) / float64(r.c.BatchSize*r.c.SequenceLength)
}

func (r *run) summary(out train.Outcome) *Summary {
	s := &Summary{
		StopReason: out.Reason,
		Out:        r.c.Out, Steps: out.Step, Interrupted: out.Interrupted, StoppedEarly: out.StoppedEarly, BestStep: out.BestStep,
		Skipped: out.Skipped, Parameters: nn.Count(r.model.Params), Trainable: nn.Count(r.trained.params()), Tokens: out.Tokens, Seconds: out.Seconds, SetupSeconds: r.setup,
		TrainLoss: out.Loss, PeakMemoryBytes: r.env.Device.Memory().Peak, PlannedMemoryBytes: r.planned.Peak, VocabSize: r.tok.VocabSize(),
		StepSeconds: r.clock.median(), PlannedStepSeconds: r.stepTime().Seconds(),
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
	r.stage.summarise(s)
	return s
}
