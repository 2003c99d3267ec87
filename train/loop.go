// Package train is the one loop that every stage of training runs, with what
// surrounds it: learning rate schedules, evaluation, early stopping, metrics and
// checkpoints. It sees neither models nor losses: a recipe hands it a stream of
// batches and an objective.
//
//	loop := train.Loop{Steps: 1000, Seed: 1, Tape: tape, Batches: stream, Objective: loss, Optimizer: adamw,
//		Rate: schedule.Rate(3e-4, 1000)}
//	if newest := checkpoints.Newest(); newest > 0 {
//		err = loop.Resume(newest, mayDiffer)
//	}
//	outcome, err := loop.Run(ctx)
//
// A step is: the micro-batches of Batches(step), each forward and backward; their losses read; the update.
// After it comes what is due then: evaluation, whatever Every lists, and last a checkpoint.
//
// What makes a run exact: batches are a function of (seed, step), randomness is of (seed, step, micro-batch), and
// the one normaliser of a step is the number of supervised tokens of all its micro-batches. So the state between
// two steps is weights, moments and a few counts (State), and a run that was killed goes on with the same bits.
//
//	loop.go               a run: its steps, what is due between them, how it ends
//	every.go, guard.go    evaluation and early stopping; losses and gradients that are not finite
//	rate.go, meter.go     schedules; what an objective measures in a step
//	state.go              what goes on from a checkpoint, and resuming
//	checkpoint.go         folders that are whole or do not count; tensors.go: the tensors in them
//	event.go, metrics.go  what happened, as lines of metrics.jsonl
package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"hone/data"
	"hone/internal/clock"
	"hone/optim"
	"hone/tensor"
)

// Objective is the loss of one micro-batch: a scalar, the sum over the supervised
// tokens of b divided by b.Tokens, so that the losses of a whole accumulated batch add up.
type Objective func(tape *tensor.Tape, b data.Batch) *tensor.Tensor

// Optimizer updates the weights; optim.AdamW is one.
type Optimizer interface {
	// Step updates every weight from its gradient and frees the gradients. A
	// *optim.NonFinite error means that nothing was changed.
	Step(lr float32) (gradNorm float64, err error)
	Check() (gradNorm float64, err error) // names non-finite gradients, as Step does
	Discard()                             // frees gradients without an update
	State() []optim.State                 // everything a checkpoint must hold, with Updates
	Updates() int
	Restored(updates int) error // after the buffers of State were written
}

// Loop trains for a number of steps. All fields above the blank line are required.
type Loop struct {
	Steps     int // updates of the run in all, those before a resume included
	Seed      uint64
	Tape      *tensor.Tape
	Batches   func(ctx context.Context, step int) ([]data.Batch, error) // the micro-batches of a step, counted from 0
	Objective Objective
	Optimizer Optimizer
	Rate      func(step int) float32 // learning rate

	OnNonFinite string                                                // StopOnNonFinite (default) or SkipOnNonFinite
	MaxSkips    int                                                   // skipped steps in a row that are borne
	Evaluate    func(ctx context.Context) (map[string]float64, error) // metrics on held-out data; may be nil
	EvalFirst   bool                                                  // also evaluate before the first step of the run
	EvalEvery   int                                                   // steps between evaluations; 0: only at the end
	Stopping    EarlyStopping                                         // by a metric of Evaluate
	Every       []Every                                               // whatever else happens between steps
	Checkpoints *Checkpoints                                          // nil: none are kept
	Record      Recorder                                              // takes every event; may be nil
	Metrics     func() map[string]float64                             // more about the step just made, for its event; may be nil
	Evaluated   *EvalEvent                                            // the last evaluation of earlier sessions; nil: none

	state   State     // all that a checkpoint holds of the loop itself
	started time.Time // of this session, less the seconds of earlier ones
	saved   int       // step of the newest checkpoint, also while it is being written
	savedAt time.Time
	last    *EvalEvent
	first   *EvalEvent   // before the first step
	stop    string       // reason of a Stop
	writing chan written // nil: no checkpoint is being written
}

// Stop is returned by Batches to end the run in good order before its last step, as early stopping does.
type Stop struct{ Reason string } // one sentence

// Error is the reason.
func (s *Stop) Error() string { return s.Reason }

// ErrNoUpdate is returned by Batches for a step that makes no update and only counts, so that what belongs to
// which step stays a function of the step.
var ErrNoUpdate = errors.New("the step makes no update")

// Recorder takes the events of a run in order; *Metrics is one.
type Recorder interface {
	Append(Event) error
	Sync() error // puts what was appended on the disk
}

// Every is something that is done between steps, outside of the timed step.
type Every struct {
	Steps int // after each so many steps
	Do    func(ctx context.Context, step int) ([]Event, error)
}

// Outcome is how a run ended.
type Outcome struct {
	State
	Interrupted  bool       // the context was cancelled; the run was saved and can be resumed
	StoppedEarly bool       // by Stopping or a Stop
	Reason       string     // of a Stop
	Eval         *EvalEvent // the last evaluation of this session; nil when there was none
	First        *EvalEvent // that of EvalFirst
}

// Run trains until Steps updates are made, Stopping ends the run, an error stops it or ctx is
// cancelled. In all cases the state is saved at the end where Checkpoints is set, unless the
// error makes that impossible.
func (l *Loop) Run(ctx context.Context) (Outcome, error) {
	l.begin()
	if l.EvalFirst && l.Evaluate != nil && l.state.Step == 0 {
		if _, err := l.evaluate(ctx, false); err != nil {
			return l.leave(ctx, err)
		}
		l.first = l.last
		if err := l.Stopping.Check(slices.Collect(maps.Keys(l.first.Metrics))); err != nil {
			return l.leave(ctx, err)
		}
	}
	if done := l.state.Midway - 1; done >= 0 { // the run was stopped amid what was due after its last step
		if _, err := l.afterStep(ctx, done); err != nil {
			return l.leave(ctx, err)
		}
	}
	for l.state.Step < l.Steps && !l.Stopping.stopped(&l.state) {
		err := l.once(ctx)
		if stop := (*Stop)(nil); errors.As(err, &stop) {
			l.stop = stop.Reason
			break
		}
		if err != nil {
			return l.leave(ctx, err)
		}
	}
	if err := l.finish(ctx); err != nil {
		return l.leave(ctx, err)
	}
	return l.outcome(), nil
}

// begin starts the clocks: seconds go on from those of earlier sessions.
func (l *Loop) begin() {
	now := time.Now()
	l.started = now.Add(-time.Duration(l.state.Seconds * float64(time.Second)))
	l.saved, l.savedAt = l.state.Step, now
}

func (l *Loop) outcome() Outcome {
	early := l.stop != "" || l.state.Step < l.Steps && l.Stopping.stopped(&l.state)
	return Outcome{State: l.state, StoppedEarly: early, Reason: l.stop, Eval: l.last, First: l.first}
}

// once makes one step and does what is due after it.
func (l *Loop) once(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	batches, err := l.Batches(ctx, l.state.Step)
	if errors.Is(err, ErrNoUpdate) {
		l.state.next()
		return l.between(ctx)
	}
	if err != nil {
		return fmt.Errorf("batch of step %d: %w", l.state.Step+1, err)
	}
	if err := l.step(ctx, batches); err != nil {
		return err
	}
	return l.between(ctx)
}

// step is the timed part: forward, backward, update. The device computes behind the host all the while: the
// host waits for it at the losses, and in the optimizer for the norm of the gradients.
func (l *Loop) step(ctx context.Context, batches []data.Batch) error {
	begin := clock.Now()
	loss, err := l.gradients(ctx, batches)
	if err != nil {
		return err
	}
	lr := l.Rate(l.state.Step)
	norm, err := l.update(loss, lr)
	var metrics map[string]float64
	if l.Metrics != nil { // also of a step that is skipped: they start anew with the next
		metrics = l.Metrics()
	}
	if bad := (*optim.NonFinite)(nil); errors.As(err, &bad) {
		return l.nonFinite(loss, bad)
	}
	if err != nil { // the device failed, so nothing on it can be saved
		return &unsavable{fmt.Errorf("update of step %d: %w", l.state.Step+1, err)}
	}
	took := clock.Since(begin).Seconds()
	rows, tokens := 0, batches[0].Tokens // every micro-batch carries the count of the whole batch
	for i := range batches {
		rows += batches[i].Rows()
	}
	l.state.advance(loss, tokens)
	return l.emit(StepEvent{
		Step: l.state.Step, Loss: loss, LR: lr, GradNorm: norm, StepTokens: tokens, Tokens: l.state.Tokens,
		TokensPerS: float64(rows) / took, StepTime: took, Seconds: l.seconds(), Metrics: metrics,
	})
}

// gradients runs all micro-batches forward and backward and returns the loss of the whole batch.
func (l *Loop) gradients(ctx context.Context, batches []data.Batch) (float64, error) {
	if err := checkBatches(batches); err != nil {
		return 0, fmt.Errorf("batch of step %d: %w", l.state.Step+1, err)
	}
	var parts []func() (float64, error)
	for i := range batches {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		part, err := l.micro(ctx, i, batches[i])
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", l.state.Step+1, err)
		}
		parts = append(parts, part)
	}
	loss := 0.0
	for _, part := range parts { // read when all work is on the device, which goes on meanwhile
		v, err := part()
		if err != nil {
			return 0, &unsavable{fmt.Errorf("step %d: %w", l.state.Step+1, err)}
		}
		loss += v
	}
	return loss, nil
}

// checkBatches holds what the one normaliser rests on.
func checkBatches(batches []data.Batch) error {
	if len(batches) == 0 {
		return errors.New("the data is at its end")
	}
	for i := range batches {
		if batches[i].Tokens != batches[0].Tokens {
			return fmt.Errorf("micro-batch %d is divided by %d tokens and the first by %d; the count must be that of the whole batch",
				i, batches[i].Tokens, batches[0].Tokens)
		}
	}
	if batches[0].Tokens < 1 {
		return errors.New("no token is supervised; check that the documents have at least two tokens")
	}
	return nil
}

// micro adds the gradients of one micro-batch and returns its part of the loss, to be waited for.
// It ends with ctx in its midst.
func (l *Loop) micro(ctx context.Context, i int, b data.Batch) (loss func() (float64, error), err error) {
	defer l.Tape.Reset()
	defer interruptible(ctx, l.Tape)()
	err = tensor.Try(func() { // operations panic at a full device and at shapes that do not fit
		l.Tape.Train(l.Seed, l.state.Step, i)
		t := l.Objective(l.Tape, b)
		loss = t.ItemLater() // asked for before the backward pass, so that it is copied while that runs
		l.Tape.Backward(t)
	})
	return loss, err
}

// update makes the step unless the loss is not finite, which is reported as the gradients' fault is.
func (l *Loop) update(loss float64, lr float32) (norm float64, err error) {
	if isFinite(loss) {
		return l.Optimizer.Step(lr)
	}
	norm, err = l.Optimizer.Check()
	l.Optimizer.Discard()
	if err == nil {
		err = &optim.NonFinite{Norm: norm}
	}
	return norm, err
}

// between does what is due after a step: evaluation, whatever else, and last the
// checkpoint, which thereby holds the outcome of the evaluation.
func (l *Loop) between(ctx context.Context) error {
	if err := l.written(false); err != nil { // the error of a checkpoint that is written in the background
		return err
	}
	best, err := l.afterStep(ctx, 0)
	if err != nil {
		return err
	}
	if c := l.Checkpoints; c != nil {
		late := c.Seconds > 0 && time.Since(l.savedAt).Seconds() >= c.Seconds
		if due(l.state.Step, c.Every) || late || best && c.KeepBest {
			return l.save()
		}
	}
	return nil
}

// afterStep makes the evaluation and then, in order, whatever of Every is due after a step, and reports
// whether the evaluation is the best so far. The first done of these are left out: a run that was stopped in
// their midst made them before, and goes on with the next. What it makes is not saved again, so that a run
// that ends before its next checkpoint makes that once more.
func (l *Loop) afterStep(ctx context.Context, done int) (best bool, err error) {
	l.state.Midway = 1 + done
	if done == 0 {
		if l.Evaluate != nil && due(l.state.Step, l.EvalEvery) {
			if best, err = l.evaluate(ctx, true); err != nil {
				return false, err
			}
		}
		l.state.Midway++
	}
	// Before the checkpoint: a run that goes on from it keeps the events up to its step in metrics.jsonl,
	// and these belong to that step.
	for at := l.state.Midway - 2; at < len(l.Every); at++ {
		if err := l.perform(ctx, l.Every[at]); err != nil {
			return false, err
		}
		l.state.Midway++
	}
	l.state.Midway = 0
	return best, nil
}

// perform does e where it is due.
func (l *Loop) perform(ctx context.Context, e Every) error {
	if !due(l.state.Step, e.Steps) {
		return nil
	}
	events, err := e.Do(ctx, l.state.Step)
	if err != nil {
		return err
	}
	for _, event := range events {
		if err := l.emit(event); err != nil {
			return err
		}
	}
	return nil
}

// due tells whether something that is done every so many steps is done after this one; 0: never.
func due(step, every int) bool { return every > 0 && step%every == 0 }

// finish evaluates and saves at the last step, where that has not been done. An evaluation
// outside of the cadence does not count for early stopping: a run that goes on from here
// would otherwise differ from one that never paused.
func (l *Loop) finish(ctx context.Context) error {
	if e := l.Evaluated; l.last == nil && e != nil && e.Step == l.state.Step {
		l.last = e // a session that was killed at its end made it, and it is in metrics.jsonl
	}
	if l.Evaluate != nil && (l.last == nil || l.last.Step != l.state.Step) {
		if _, err := l.evaluate(ctx, false); err != nil {
			return err
		}
	}
	if l.Checkpoints != nil && l.saved != l.state.Step {
		if err := l.save(); err != nil {
			return err
		}
	}
	return l.written(true)
}

// leave ends a run before its time: gradients are dropped and what was reached is saved.
func (l *Loop) leave(ctx context.Context, cause error) (Outcome, error) {
	l.Tape.Reset()
	l.Optimizer.Discard() // gradients of micro-batches before the one that failed
	out := l.outcome()
	if ctx.Err() != nil && errors.Is(cause, ctx.Err()) {
		out.Interrupted, cause = true, nil
	}
	if bad := (*unsavable)(nil); errors.As(cause, &bad) {
		return out, errors.Join(bad.error, l.written(true))
	}
	if l.Checkpoints != nil && l.saved != l.state.Step {
		cause = errors.Join(cause, l.save())
	}
	cause = errors.Join(cause, l.written(true))
	out.State = l.state
	return out, cause
}

// unsavable is an error after which the state is not, or cannot be, written.
type unsavable struct{ error }

func (e *unsavable) Unwrap() error { return e.error }

func (l *Loop) emit(e Event) error {
	if l.Record == nil {
		return nil
	}
	return l.Record.Append(e)
}

func (l *Loop) seconds() float64 {
	l.state.Seconds = time.Since(l.started).Seconds()
	return l.state.Seconds
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Step is the number of steps that the run has behind it.
func (l *Loop) Step() int { return l.state.Step }
