package recipe

import (
	"context"
	"log/slog"
	"time"

	"hone/device"
	"hone/plan"
	"hone/train"
)

// Env is what a recipe gets from the program that runs it.
type Env struct {
	Device device.Device
	Events func(train.Event) // told everything that happens, as it stands in metrics.jsonl; may be nil
	// Progress is told how far the preparation is: the stage ("read", "tokenizer", "tokens"),
	// what is done and the total, 0 when not known. May be nil.
	Progress func(stage string, done, total int64)
	Log      *slog.Logger // may be nil
	Begun    time.Time    // when the command began, to tell how long it took until the first step; zero: with the recipe
	Memory   int64        // bytes that the device has at most; 0 where it is not known
	// Arranged is how many elements the device's copy of a weight [n, k] has that it arranges, 0 where it
	// arranges none; nil: as many as the weight.
	Arranged func(k, n int, t device.DType) int
	// of the rates of the machine, asked once the work is known, to say beforehand how long a step
	// takes; nil where they are not known
	Meter plan.Meter
}

// WithDefaults is e with something harmless in place of the functions and the log that are nil, and with
// Begun set to now where it is zero.
func (e Env) WithDefaults() Env {
	if e.Events == nil {
		e.Events = func(train.Event) {}
	}
	if e.Progress == nil {
		e.Progress = func(string, int64, int64) {}
	}
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Begun.IsZero() {
		e.Begun = time.Now()
	}
	return e
}

// Runner is a recipe as a program runs it.
type Runner interface {
	Validate() error // also fills in what is not set
	Run(ctx context.Context, env Env) (*Summary, error)
}

// Summary is the outcome of a run, for --json and for reports.
type Summary struct {
	Out          string `json:"out"`
	ModelDir     string `json:"model"`                   // the trained model; empty when the run was interrupted
	Steps        int    `json:"steps"`                   // updates made in all
	Interrupted  bool   `json:"interrupted,omitempty"`   // ended by Ctrl-C, saved, to be resumed
	StoppedEarly bool   `json:"stopped_early,omitempty"` // by early_stopping
	StopReason   string `json:"stop_reason,omitempty"`   // why a stage ended itself
	// of the stage's own, such as rewards/accuracies at the end
	Metrics      map[string]float64 `json:"metrics,omitempty"`
	BestStep     int                `json:"best_step,omitempty"`     // of the watched metric
	Skipped      int                `json:"skipped_steps,omitempty"` // left out for gradients that were not finite
	Parameters   int                `json:"parameters"`
	Trainable    int                `json:"trainable_parameters"`
	Tokens       int64              `json:"tokens"`        // supervised, over the run
	Seconds      float64            `json:"seconds"`       // training, over all sessions of the run
	SetupSeconds float64            `json:"setup_seconds"` // from the command to the first step, of this session
	TokensPerS   float64            `json:"tokens_per_s"`  // Tokens/Seconds
	TrainLoss    float64            `json:"train_loss"`    // of the last step
	// metrics of the weights that are kept: of the best evaluation with early stopping, else of the last one
	Validation     map[string]float64 `json:"validation,omitempty"`
	ValidationStep int                `json:"validation_step,omitempty"`
	// metrics of the last evaluation, where the kept weights are earlier ones
	Last            map[string]float64 `json:"validation_last,omitempty"`
	Unigram         float64            `json:"unigram_loss,omitempty"` // held-out loss of token frequencies
	Bigram          float64            `json:"bigram_loss,omitempty"`  // held-out loss of pair frequencies
	BytesPerToken   float64            `json:"bytes_per_token,omitempty"`
	PeakMemoryBytes int64              `json:"peak_memory_bytes"` // of the device
	VocabSize       int                `json:"vocab_size"`

	// metrics before the first step, with eval.on_start
	Before             map[string]float64 `json:"validation_before,omitempty"`
	PlannedMemoryBytes int64              `json:"planned_memory_bytes,omitempty"` // what the plan said before the run
	StepSeconds        float64            `json:"step_seconds,omitempty"`         // median of the steps of this session
	// what the plan said, at the rates of the machine
	PlannedStepSeconds float64 `json:"planned_step_seconds,omitempty"`
}
