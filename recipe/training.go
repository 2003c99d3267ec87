package recipe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"hone/data"
	"hone/device"
	"hone/model"
	"hone/plan"
	"hone/safetensors"
	"hone/tensor"
	"hone/train"
)

// Training holds the keys that every stage of training shares.
type Training struct {
	Out    string `yaml:"out" doc:"folder of the run: checkpoints, metrics, the trained model"`
	Steps  int    `yaml:"steps" doc:"updates of the weights in all"`
	Seed   uint64 `yaml:"seed" doc:"of fresh weights, the order of the data and dropout"`
	Resume bool   `yaml:"resume" doc:"go on from the newest checkpoint in out"`

	BatchSize                 int     `yaml:"batch_size" doc:"sequences per micro-batch; in reward and dpo preferences, with all their answers"`
	SequenceLength            int     `yaml:"sequence_length" doc:"tokens per sequence; but for pretrain 0 is 1024, or as many as the model reads"`
	GradientAccumulationSteps int     `yaml:"gradient_accumulation_steps" doc:"micro-batches per update"`
	Dropout                   float64 `yaml:"dropout" doc:"share of activations that are dropped in training"`
	ZLoss                     float64 `yaml:"z_loss" doc:"weight of the squared log-partition in the loss; 0: off"`
	NEFTuneNoiseAlpha         float64 `yaml:"neftune_noise_alpha" doc:"noise on the embedded tokens in training, uniform in ±alpha/sqrt(tokens·channels); 5 is usual in fine-tuning; 0: none"`
	LabelSmoothing            float64 `yaml:"label_smoothing" doc:"share of the target given to all tokens alike; in dpo the chance that a label is wrong; 0: off"`

	Device               string `yaml:"device" doc:"where to compute: cpu, cuda, or cuda:N for card N"`
	DType                string `yaml:"dtype" doc:"of activations and matrices: f32, or bf16 with f32 masters"`
	Threads              int    `yaml:"threads" doc:"cores to use; 0: all; the result does not depend on it"`
	Method               string `yaml:"method" doc:"which weights are trained: full, lora (few new ones beside the frozen model), qlora (the same, the frozen model in few bits), or prompt, prefix or ptuning (tokens before every text)"`
	Recompute            string `yaml:"recompute" doc:"less memory for more time: none, layers, or how many layers to run again in the backward pass"`
	ActivationOffloading bool   `yaml:"activation_offloading" doc:"on a card: what recompute keeps of each layer waits for the backward pass in the host's memory"`
	Memory               string `yaml:"memory" doc:"the most that tensors may take, as in 6GiB: recompute is then the fewest layers that fit"`
	SaveDType            string `yaml:"save_dtype" doc:"of the weights in out/model: f32 or bf16; not set: dtype"`
	ShardSize            string `yaml:"shard_size" doc:"largest file of weights in out/model, as in 2GB; not set: 5GB"`

	LoRA          LoRA          `yaml:"lora"`
	QLoRA         QLoRA         `yaml:"qlora"`
	Prompt        Prompt        `yaml:"prompt"`
	Optimizer     Optimizer     `yaml:"optimizer"`
	Schedule      Schedule      `yaml:"schedule"`
	Eval          Eval          `yaml:"eval"`
	EarlyStopping EarlyStopping `yaml:"early_stopping"`
	Checkpoint    Checkpoint    `yaml:"checkpoint"`
	Samples       Samples       `yaml:"samples"`
}

// DefaultTraining returns the defaults. The schedule is constant after its warm-up, so that a finished run can be
// continued with more steps as if it had been longer from the start; cosine or wsd give lower losses where the number
// of steps is known.
func DefaultTraining() Training {
	return Training{
		Steps: 1000, Seed: 1, BatchSize: 8, SequenceLength: 256, GradientAccumulationSteps: 1,
		Device: "cpu", DType: "f32", Method: "full", Recompute: "none",
		LoRA:          defaultLoRA(),
		QLoRA:         QLoRA{Bits: 4},
		Prompt:        Prompt{NumVirtualTokens: 20, Init: "random"},
		Optimizer:     defaultOptimizer(),
		Schedule:      Schedule{Name: "constant", WarmupSteps: 20},
		Eval:          Eval{Every: 100, MaxTokens: 65536},
		EarlyStopping: EarlyStopping{Mode: "min", Patience: 3},
		Checkpoint:    Checkpoint{Every: 500, Seconds: 600, KeepLast: 2},
		Samples:       Samples{MaxTokens: 64, Temperature: 0.8},
	}
}

// DefaultTuning is DefaultTraining for learning from preferences and rewards.
func DefaultTuning() Training {
	t := DefaultTraining()
	t.Steps, t.SequenceLength, t.BatchSize = 0, 0, 8
	t.Optimizer.LearningRate, t.Optimizer.Beta2, t.Optimizer.WeightDecay = 0, 0.999, 0
	t.Schedule = Schedule{Name: "linear", WarmupSteps: 0.03}
	t.Eval.Every = 50
	return t
}

// ApartFrom refuses an out in one of the folders that a key names: the files of the run would be read as data
// when it goes on.
func (c *Training) ApartFrom(key string, data []string) error {
	out, err := filepath.Abs(c.Out)
	if err != nil || c.Out == "" {
		return nil // what is wrong with it is told elsewhere
	}
	for _, path := range data {
		dir, err := filepath.Abs(path)
		// A file or a glob is what it names and cannot come to hold the run.
		if info, missing := os.Stat(dir); err != nil || missing != nil || !info.IsDir() {
			continue
		}
		if inside, err := filepath.Rel(dir, out); err == nil && filepath.IsLocal(inside) {
			return fmt.Errorf("out %s lies in the folder %s of %s, so the run would read its own files as data; name a folder elsewhere",
				c.Out, path, key)
		}
	}
	return nil
}

// ValidateTraining reports the first key that cannot be meant; heldOut tells whether the run holds data out.
func (c *Training) ValidateTraining(heldOut bool) error {
	for _, check := range []func() error{
		c.validateRun, c.validateBatch, c.validateMachine, c.Optimizer.validate, c.Schedule.validate,
		func() error { return c.validateEval(heldOut) }, c.Checkpoint.validate, c.Samples.validate,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Training) validateRun() error {
	switch {
	case c.Out == "":
		return errors.New("out is not set; name the folder of the run, as in out=runs/first")
	case c.Steps < 1 || c.Steps > 1<<40:
		return fmt.Errorf("steps is %d; it must be at least 1 and at most %d", c.Steps, 1<<40)
	}
	return c.validateMethod()
}

// MaxEpochs is the most that epochs can be: more steps than can be counted would be a mistake, too.
const MaxEpochs = 1e6

// Methods lists what method can be.
func Methods() []string { return []string{"full", "lora", "qlora", "prompt", "prefix", "ptuning"} }

func (c *Training) validateBatch() error {
	const most = 1 << 24
	switch {
	case c.BatchSize < 1 || c.BatchSize > most:
		return fmt.Errorf("batch_size is %d; it must be at least 1 and at most %d", c.BatchSize, most)
	case c.SequenceLength < 2 || c.SequenceLength > most:
		return fmt.Errorf("sequence_length is %d; it must be at least 2 and at most %d", c.SequenceLength, most)
	case c.GradientAccumulationSteps < 1 || c.GradientAccumulationSteps > most:
		return fmt.Errorf("gradient_accumulation_steps is %d; it must be at least 1 and at most %d",
			c.GradientAccumulationSteps, most)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("dropout is %v; it must be at least 0 and below 1", c.Dropout)
	case !(c.ZLoss >= 0):
		return fmt.Errorf("z_loss is %v; it must be at least 0", c.ZLoss)
	case !(c.NEFTuneNoiseAlpha >= 0):
		return fmt.Errorf("neftune_noise_alpha is %v; it must be at least 0", c.NEFTuneNoiseAlpha)
	case !(c.LabelSmoothing >= 0 && c.LabelSmoothing < 1):
		return fmt.Errorf("label_smoothing is %v; it must be at least 0 and below 1", c.LabelSmoothing)
	}
	return nil
}

// validateMachine checks what can be checked anywhere; whether the device is there is known when it is opened.
func (c *Training) validateMachine() error {
	if _, _, err := device.ParseName(c.Device); err != nil {
		return err
	}
	if _, err := c.ComputeDType(); err != nil {
		return fmt.Errorf("dtype is %q; use f32 or bf16", c.DType)
	}
	if _, err := c.ResultDType(); err != nil {
		return fmt.Errorf("save_dtype is %q; use f32 or bf16", c.SaveDType)
	}
	if _, err := safetensors.ParseSize(c.ShardSize); err != nil {
		return fmt.Errorf("shard_size: %w", err)
	}
	if c.Threads < 0 || c.Threads > device.MaxThreads {
		return fmt.Errorf("threads is %d; it must be at least 0 and at most %d, and 0 uses all cores", c.Threads, device.MaxThreads)
	}
	if _, err := c.RecomputedLayers(1); err != nil {
		return err
	}
	if c.Memory != "" {
		if _, err := parseBytes(c.Memory); err != nil {
			return err
		}
	}
	return c.validateOffload()
}

// validateOffload refuses what would silently do nothing: there is no second memory beside a processor's, and
// nothing waits where nothing is run again.
func (c *Training) validateOffload() error {
	switch kind, _, _ := device.ParseName(c.Device); {
	case c.ActivationOffloading && kind == "cpu":
		return errors.New("activation_offloading moves what a card holds to the host's memory, and device is cpu; leave it out")
	case c.ActivationOffloading && c.Recompute == "none" && c.Memory == "":
		return errors.New("activation_offloading is of layers that are run again, and recompute is none; set recompute=layers")
	}
	return nil
}

// validateEval refuses to watch a metric that is never measured.
func (c *Training) validateEval(heldOut bool) error {
	if c.Eval.Every < 0 {
		return fmt.Errorf("eval.every is %d; it must be at least 0", c.Eval.Every)
	}
	if c.Eval.MaxTokens < 0 {
		return fmt.Errorf("eval.max_tokens is %d; it must be at least 0, and 0 uses all held-out tokens", c.Eval.MaxTokens)
	}
	if err := c.EarlyStopping.validate(); err != nil {
		return err
	}
	if c.EarlyStopping.Metric != "" && (!heldOut || c.Eval.Every == 0) {
		return errors.New("early_stopping.metric needs evaluations; set eval.every and hold data out")
	}
	if c.Checkpoint.KeepBest && !heldOut {
		return errors.New("checkpoint.keep_best needs held-out data; hold some out")
	}
	return nil
}

// ComputeDType is the type of activations and matrices, F32 or BF16; another dtype is an error.
func (c *Training) ComputeDType() (device.DType, error) { return floatType(c.DType) }

// ResultDType is the type of the weights in the final model.
func (c *Training) ResultDType() (device.DType, error) {
	if c.SaveDType == "" {
		return c.ComputeDType()
	}
	return floatType(c.SaveDType)
}

// floatType reads f32 or bf16: integers are types of devices and none of weights.
func floatType(name string) (device.DType, error) {
	t, err := device.ParseDType(name)
	if err == nil && t != device.F32 && t != device.BF16 {
		err = fmt.Errorf("%s is no type of weights", name)
	}
	return t, err
}

// RecomputedLayers is how many of a model's layers are run again in the backward pass.
func (c *Training) RecomputedLayers(layers int) (int, error) {
	switch c.Recompute {
	case "none":
		return 0, nil
	case "layers":
		return layers, nil
	}
	n, err := strconv.Atoi(c.Recompute)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("recompute is %q; use none, layers or a number of layers", c.Recompute)
	}
	return min(n, layers), nil
}

// tape is a tape for the run's steps.
func (c *Training) tape(dev device.Device, dtype device.DType) *tensor.Tape {
	t := tensor.NewTape(dev, dtype)
	if apart, ok := dev.(device.Apart); ok && c.ActivationOffloading {
		t.Offload = apart
	}
	return t
}

// MixtureConfig says how the data becomes batches.
func (c *Training) MixtureConfig() data.MixtureConfig {
	return data.MixtureConfig{BatchSize: c.BatchSize, Accumulation: c.GradientAccumulationSteps, Seed: c.Seed}
}

// rate is the learning rate as a function of the step.
func (c *Training) rate() func(step int) float32 {
	return train.Schedule(c.Schedule).Rate(c.Optimizer.LearningRate, c.Steps)
}

// Notes tell of settings that are allowed and probably not meant, in a run of so many steps, of which epoch
// read all of the data once; 0: not known.
func (c *Training) Notes(steps int, epoch float64) (notes []string) {
	if 0 < epoch && epoch < 1 {
		notes = append(notes, fmt.Sprintf("a step of %d reads all of the data %.3g times; lower batch_size or gradient_accumulation_steps",
			c.BatchSize*c.GradientAccumulationSteps, 1/epoch))
	}
	if warm := c.Schedule.WarmupSteps; warm > float64(steps) {
		notes = append(notes, fmt.Sprintf("the run ends in its warm-up, at %.3g of the learning rate: it has %d steps, and schedule.warmup_steps is %v",
			float64(steps)/warm, steps, warm))
	}
	return notes
}

// Longest is how many tokens the model in dir reads beside virtual ones, at most 1024. What is wrong with the
// model is told where it is opened.
func (c *Training) Longest(dir string) int {
	const most = 1024
	config, err := model.ReadConfig(dir)
	if err != nil {
		return most
	}
	m, err := model.Declare(config, plan.NewDevice())
	if err != nil || m.Shape().MaxPositions <= 0 {
		return most
	}
	room := m.Shape().MaxPositions
	if _, virtual := promptKinds[c.Method]; virtual {
		room -= c.Prompt.NumVirtualTokens
	}
	return min(most, max(room, 2))
}

// Workers is the number of cores to use: threads, or all where it is 0.
func (c *Training) Workers() int {
	if c.Threads > 0 {
		return c.Threads
	}
	return runtime.GOMAXPROCS(0)
}
