package recipe

import (
	"context"

	"hone/data"
	"hone/device"
	"hone/model"
	"hone/optim"
	"hone/train"
)

// Stage is what sets the run of one recipe apart from another's. Its methods are called in this order. What
// not every stage has is in the interfaces below, which a stage may have too.
type Stage interface {
	OpenData(ctx context.Context, r *Run) error     // opens r.Tokenizer and the data
	Config(r *Run) ([]byte, error)                  // config.json of a new model; nil: the model is opened from its folder
	SetLoop(r *Run) error                           // sets batches, objective and evaluation of r.Loop; the model is there
	Identity() map[string]string                    // what else than the recipe must be the same for a resume
	Info() (values map[string]any, note string)     // sizes of the data, and a line about it
	Example(r *Run) []train.Part                    // what the model sees, to show before the first step; nil: nothing
	Prompts(r *Run) (ids [][]int32, texts []string) // of samples, as tokens and as text
	Beside(dir string) error                        // writes what of the stage belongs with the weights
	Summarise(s *Summary)                           // adds what only this stage knows
	Close() error                                   // gives the data back; also after an error
}

// Noter is a stage that finds something in its data that is probably not meant.
type Noter interface {
	Notes() []string
}

// Opener is a stage that opens its model itself, such as one with a scalar head.
type Opener interface {
	Open(r *Run, dtype device.DType) (*model.Model, error)
}

// Expander is a stage that trains more than the recipe's method does, such as a critic. What it
// returns is freed also with an error.
type Expander interface {
	With(r *Run, t Trained, dtype device.DType) (Trained, error)
	LearningRates(list []optim.Param)
	Aside(name string) bool // whether a parameter is no part of what the run gives
}

// Beginner is a stage with something to compute from the weights before training; the loop and the checkpoints are set.
type Beginner interface {
	BeforeTraining(ctx context.Context, r *Run) error
}

// Finisher is a stage that leaves more in OUT than the weights.
type Finisher interface {
	Finish(r *Run) error
}

// Measurer is a stage that knows before the first evaluation what it will measure; train_loss need not be named.
type Measurer interface {
	Measures() []string
}

// Keeper is a stage with a state of its own between steps, which checkpoints hold.
type Keeper interface {
	Keep(dir string) error    // writes the state into a checkpoint
	Restore(dir string) error // reads it again
}

// Ignorer is a stage some of whose keys change nothing as the others are.
type Ignorer interface {
	Ignores(key string) bool
}

// Filler is a stage whose batches are not always full, or of whose tokens some are not learned.
type Filler interface {
	// Fill is that of batches of the sizes that the recipe has now.
	Fill() (Fill, error)
}

// Fill is what micro-batches hold.
type Fill struct {
	Rows             float64 // share of the rows of a full one that they have on average
	Largest, Typical data.Batch
}

// Rehearsed is a stage with something to leave out or to look at in a rehearsal.
type Rehearsed interface {
	// Rehearse prepares the stage, once its models are there, and returns the steps that belong together
	// and whether each step is alike.
	Rehearse(r *Run) (steps int, alike bool)
	KVCache(r *Run) int64 // bytes of the keys and values of what is written
	Repeat(r *Run) Stage  // the stage of r, before its models are there, on the same data
	Lower() []Change      // of its own keys, to take less memory
}

// Uneven is a stage with iterations that are not alike.
type Uneven interface {
	Heaviest(r *Run) (steps []int) // those that may take the most memory, with the steps that write what they learn from before them
}

// Sized is a stage that knows without dealing out a step how many rows the largest of its micro-batches has.
type Sized interface {
	Rows(r *Run, step int) int
}
