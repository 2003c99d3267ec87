package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"hone/data"
	"hone/tensor"
)

// EarlyStopping ends a run when a metric of the evaluations no longer gets better. The zero
// value watches the metric "loss", which tells the best checkpoint, and never stops.
type EarlyStopping struct {
	Metric   string  // of Loop.Evaluate, or train_loss; "" is "loss"
	Max      bool    // larger is better
	Patience int     // evaluations without a better value until the run ends; 0: it does not end
	MinDelta float64 // by how much a value must be better than the best
}

// trainLoss is the metric that every evaluation has: the mean loss of the steps since the last one.
const trainLoss = "train_loss"

// stopped reports whether patience has run out.
func (e *EarlyStopping) stopped(s *State) bool { return e.Patience > 0 && s.Worse >= e.Patience }

// Check refuses a metric that is not among those that the evaluations of a run have, which may or may not
// name train_loss.
func (e *EarlyStopping) Check(known []string) error {
	if e.Metric == "" || e.Metric == trainLoss || slices.Contains(known, e.Metric) {
		return nil
	}
	known = append([]string{trainLoss}, known...)
	slices.Sort(known)
	return fmt.Errorf("early_stopping.metric is %q, but the evaluation has only: %s", e.Metric,
		strings.Join(slices.Compact(known), ", "))
}

// observe counts an evaluation and reports whether it is the best so far.
func (e *EarlyStopping) observe(s *State, metrics map[string]float64) (best bool, err error) {
	name := e.Metric
	if name == "" {
		name = "loss"
	}
	v, ok := metrics[name]
	if err := e.Check(slices.Collect(maps.Keys(metrics))); err != nil {
		return false, err
	}
	switch {
	case !ok || !isFinite(v): // train_loss before any step, or a model that broke: never better
	case s.BestStep == 0, e.Max && v > s.Best+e.MinDelta, !e.Max && v < s.Best-e.MinDelta:
		best = true
	}
	if best {
		s.Best, s.BestStep, s.Worse = v, s.Step, 0
	} else {
		s.Worse++
	}
	return best, nil
}

// evaluate looks at the held-out data. Only when it counts does it touch the state.
func (l *Loop) evaluate(ctx context.Context, counts bool) (best bool, err error) {
	begin := time.Now()
	metrics, err := l.Evaluate(ctx)
	if err != nil {
		return false, fmt.Errorf("evaluation after step %d: %w", l.state.Step, err)
	}
	metrics = maps.Clone(metrics)
	if l.state.SinceEval > 0 {
		metrics[trainLoss] = l.state.LossSinceEval / float64(l.state.SinceEval)
	}
	if counts {
		l.state.LossSinceEval, l.state.SinceEval = 0, 0
		if best, err = l.Stopping.observe(&l.state, metrics); err != nil {
			return false, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if v := metrics[name]; !isFinite(v) { // JSON has no word for it
			delete(metrics, name)
			if err := l.emit(MessageEvent{l.state.Step, fmt.Sprintf("the evaluation's %s is %v", name, v)}); err != nil {
				return false, err
			}
		}
	}
	if best {
		l.state.BestMetrics = metrics
	}
	l.last = &EvalEvent{Step: l.state.Step, Metrics: metrics, Best: best, Took: time.Since(begin).Seconds(), Seconds: l.seconds()}
	return best, l.emit(*l.last)
}

// Infer runs f in a pass without gradients.
func Infer(ctx context.Context, tape *tensor.Tape, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer tape.Reset()
	defer interruptible(ctx, tape)()
	var err error
	failed := tensor.Try(func() {
		tape.Infer()
		err = f()
	})
	return errors.Join(failed, err)
}

// interruptible makes a pass on the tape end when ctx does, until done is called.
func interruptible(ctx context.Context, tape *tensor.Tape) (done func()) {
	ended, before := ctx.Done(), tape.Interrupt
	tape.Interrupt = func() error {
		select {
		case <-ended:
			return ctx.Err()
		default:
			return nil
		}
	}
	return func() { tape.Interrupt = before }
}

// HeldOut is the mean of the objective over all supervised tokens of the batches, without
// dropout and gradients. Batches may be normalised by any counts of their own.
func HeldOut(ctx context.Context, tape *tensor.Tape, batches iter.Seq[data.Batch], objective Objective) (
	loss float64, tokens int64, err error) {
	defer tape.Reset()
	defer interruptible(ctx, tape)()
	sum := 0.0
	for b := range batches {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		b.Tokens = b.Supervised() // so that the objective gives the mean of this batch, which the sum weights by its tokens
		if b.Tokens == 0 {
			continue
		}
		var v []float32
		var read error
		err := tensor.Try(func() {
			tape.Infer()
			v, read = objective(tape, b).Float32s()
		})
		if err := errors.Join(err, read); err != nil {
			return 0, 0, err
		}
		sum += float64(v[0]) * float64(b.Tokens)
		tokens += int64(b.Tokens)
	}
	if tokens == 0 {
		return 0, 0, errors.New("the held-out data has no supervised token; raise validation_fraction or give longer documents")
	}
	return sum / float64(tokens), tokens, nil
}
