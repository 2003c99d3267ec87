package train

import "encoding/json"

// Event is something that happened in a run. Each event is a line of metrics.jsonl,
// a JSON object whose key "event" is its Kind. A new one is a struct, its two methods, and a case of unmarshalEvent.
type Event interface {
	Kind() string // one word, such as step or eval
	// At is the number of updates made when the event happened; on resume
	// all events after the checkpoint's step are dropped.
	At() int
}

// StepEvent is a finished update.
type StepEvent struct {
	Step       int     `json:"step"` // updates made, this one included
	Loss       float64 `json:"loss"` // mean over the supervised tokens of the whole batch
	LR         float32 `json:"lr"`
	GradNorm   float64 `json:"grad_norm"`    // before clipping
	StepTokens int     `json:"step_tokens"`  // supervised tokens of this step
	Tokens     int64   `json:"tokens"`       // supervised tokens of the run so far
	TokensPerS float64 `json:"tokens_per_s"` // rows fed in this step per second of it
	StepTime   float64 `json:"step_seconds"` // of the step alone: forward, backward, update
	Seconds    float64 `json:"seconds"`      // of the run so far, over all its sessions

	Metrics map[string]float64 `json:"metrics,omitempty"` // of the objective, such as router_aux_loss of a model with experts
}

// SkipEvent is a step whose gradients were not finite and that changed nothing.
type SkipEvent struct {
	Step    int      `json:"step"`    // as in StepEvent: the step counts
	Reason  string   `json:"reason"`  // one sentence
	Tensors []string `json:"tensors"` // parameters whose gradients are at fault
	Row     int      `json:"row"`     // skipped steps in a row
	Skipped int      `json:"skipped"` // skipped steps of the run so far
}

// EvalEvent is a look at held-out data.
type EvalEvent struct {
	Step    int                `json:"step"`
	Metrics map[string]float64 `json:"metrics"` // such as loss, perplexity; and train_loss, the mean since the last evaluation
	Best    bool               `json:"best"`    // the watched metric was never better
	Took    float64            `json:"took"`    // seconds
	Seconds float64            `json:"seconds"` // of the run so far
}

// CheckpointEvent is a checkpoint that has been written completely.
type CheckpointEvent struct {
	Step    int     `json:"step"`
	Path    string  `json:"path"`
	Bytes   int64   `json:"bytes"`
	Took    float64 `json:"took"` // seconds
	Seconds float64 `json:"seconds"`
}

// SampleEvent is a text that the model wrote.
type SampleEvent struct {
	Step   int    `json:"step"`
	Prompt string `json:"prompt"`
	Text   string `json:"text"` // without the prompt
}

// ExampleEvent is an example of the training data as the model sees it, in parts that are supervised or not.
type ExampleEvent struct {
	Step  int    `json:"step"`
	Parts []Part `json:"parts"`
}

// Part is a stretch of an example's text.
type Part struct {
	Text       string `json:"text"`
	Supervised bool   `json:"supervised"`
}

// RolloutEvent is a batch of answers that the model was let to write and that were scored, to be
// learned from in the following steps.
type RolloutEvent struct {
	Step      int                `json:"step"`      // the first step that learns from it
	Iteration int                `json:"iteration"` // counted from 1
	Metrics   map[string]float64 `json:"metrics"`   // such as objective/scores, objective/kl
	Took      float64            `json:"took"`      // seconds
}

// TableEvent is a table about the run; a later one of the same title replaces it.
type TableEvent struct {
	Step  int        `json:"step"`
	Title string     `json:"title"`
	Head  []string   `json:"head"`
	Rows  [][]string `json:"rows"`
}

// MessageEvent tells a person something in one sentence.
type MessageEvent struct {
	Step int    `json:"step"`
	Text string `json:"text"`
}

// InfoEvent is what a run knows once it is set up, such as sizes and baselines.
type InfoEvent struct {
	Step   int            `json:"step"`
	Values map[string]any `json:"values"`
}

// The kinds of events, as they stand in metrics.jsonl.
func (StepEvent) Kind() string       { return "step" }
func (SkipEvent) Kind() string       { return "skip" }
func (EvalEvent) Kind() string       { return "eval" }
func (CheckpointEvent) Kind() string { return "checkpoint" }
func (SampleEvent) Kind() string     { return "sample" }
func (ExampleEvent) Kind() string    { return "example" }
func (RolloutEvent) Kind() string    { return "rollout" }
func (TableEvent) Kind() string      { return "table" }
func (MessageEvent) Kind() string    { return "message" }
func (InfoEvent) Kind() string       { return "info" }

// At is the step of the event.
func (e StepEvent) At() int       { return e.Step }
func (e SkipEvent) At() int       { return e.Step }
func (e EvalEvent) At() int       { return e.Step }
func (e CheckpointEvent) At() int { return e.Step }
func (e SampleEvent) At() int     { return e.Step }
func (e ExampleEvent) At() int    { return e.Step }
func (e RolloutEvent) At() int    { return e.Step }
func (e TableEvent) At() int      { return e.Step }
func (e MessageEvent) At() int    { return e.Step }
func (e InfoEvent) At() int       { return e.Step }

// marshalEvent is the line of metrics.jsonl for e, with its newline.
func marshalEvent(e Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	// "{" is replaced; every body has a step, so a comma may come first
	line := append([]byte(`{"event":"`+e.Kind()+`",`), body[1:]...)
	return append(line, '\n'), nil
}

// unmarshalEvent reads a line of metrics.jsonl; it returns nil for a kind it does not know, as a newer build may write.
func unmarshalEvent(line []byte) (Event, error) {
	var kind struct {
		Event string `json:"event"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return nil, err
	}
	switch kind.Event {
	case "step":
		return decode[StepEvent](line)
	case "skip":
		return decode[SkipEvent](line)
	case "eval":
		return decode[EvalEvent](line)
	case "checkpoint":
		return decode[CheckpointEvent](line)
	case "sample":
		return decode[SampleEvent](line)
	case "rollout":
		return decode[RolloutEvent](line)
	case "table":
		return decode[TableEvent](line)
	case "message":
		return decode[MessageEvent](line)
	case "example":
		return decode[ExampleEvent](line)
	case "info":
		return decode[InfoEvent](line)
	}
	return nil, nil
}

func decode[E Event](line []byte) (Event, error) {
	var e E
	err := json.Unmarshal(line, &e)
	return e, err
}
