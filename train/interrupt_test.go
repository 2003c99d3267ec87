package train

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data"
	"hone/device"
	"hone/tensor"
)

// TestInterruptedInAMicroBatch: a run that is cancelled in the midst of a micro-batch, forward, in its head,
// backward or in an evaluation, does not go on with it, saves what it had before the step, holds no memory of
// it, and goes on from there to the bits of a run that was not.
func TestInterruptedInAMicroBatch(t *testing.T) {
	whole := newToy(t, device.F32, 1)
	openToy(t, t.TempDir(), whole, nil).run(t)
	const at = 5 // its step
	for _, where := range []string{"forward", "head", "backward", "evaluation"} {
		m, dir := newToy(t, device.F32, 1), t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		on := func(is string) {
			if is == where {
				cancel()
			}
		}
		after := 0 // operations of the cancelled pass that came to their end
		r := openToy(t, dir, m, func(l *Loop) {
			l.Objective = func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
				if l.Step() != at {
					return m.objective(0.1)(tape, b)
				}
				p := m.params
				x := tensor.Dropout(tensor.Embedding(tape.Ints(b.IDs), p[0].Tensor), 0.1)
				on("forward")
				first := true
				x = tape.Between(func() {
					if !first { // in the backward pass
						on("backward")
					}
					first = false
				}, func() {
					if ctx.Err() != nil && where == "backward" {
						after++
					}
				}, func() *tensor.Tensor {
					y := tensor.Linear(x, p[1].Tensor, p[2].Tensor)
					after += btoi(ctx.Err() != nil)
					return tensor.Add(x, tensor.Unary(device.SiLU, y))
				})
				on("head")
				loss := tensor.LinearCrossEntropy(x, tensor.Head{Weight: p[3].Tensor}, tape.Ints(b.Targets), tensor.CrossEntropyOptions{Tokens: b.Tokens})
				after += btoi(ctx.Err() != nil)
				return loss
			}
			if where == "evaluation" {
				l.EvalEvery = at
				l.Evaluate = func(ctx context.Context) (map[string]float64, error) {
					b, _ := toyBatches(1)(ctx, 1_000_000)
					_, _, err := HeldOut(ctx, l.Tape, slices.Values(b), func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
						cancel()
						loss := m.objective(0)(tape, b)
						after++
						return loss
					})
					return nil, err
				}
			}
		})
		before := m.dev.Memory().InUse
		out, err := r.Run(ctx)
		cancel()
		if err != nil || !out.Interrupted || out.Step != at || r.Checkpoints.Newest() != at {
			t.Errorf("%s: %+v, %v, saved is step %d", where, out, err, r.Checkpoints.Newest())
		}
		// The operation under way may end, and what is switched on in a backward pass is switched off.
		if most := map[string]int{"backward": 1}[where]; after > most {
			t.Errorf("%s: the pass went on after it was cancelled", where)
		}
		if r.Tape.Interrupt != nil {
			t.Errorf("%s: passes to come can be interrupted", where)
		}
		if held := m.dev.Memory().InUse; held != before {
			t.Errorf("%s: %d bytes are held after the pass, %d before the run", where, held, before)
		}
		again := openToy(t, dir, newToy(t, device.F32, 1), nil)
		if again.run(t); !cmp.Equal(whole.bits(t), again.bits(t)) {
			t.Errorf("%s: a run that was resumed has other weights", where)
		}
	}
}

func btoi(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// TestInferIsInterrupted: a pass without gradients between its scopes, and the error is the context's.
func TestInferIsInterrupted(t *testing.T) {
	m := newToy(t, device.F32, 1)
	tape := tensor.NewTape(m.dev, device.F32)
	ctx, cancel := context.WithCancel(t.Context())
	err := Infer(ctx, tape, func() error {
		tape.Scope(func() *tensor.Tensor { return tape.Ints([]int32{1}) })
		cancel()
		tape.Scope(func() *tensor.Tensor { t.Error("it goes on"); return tape.Ints([]int32{1}) })
		return nil
	})
	if !errors.Is(err, context.Canceled) || tape.Interrupt != nil {
		t.Errorf("%v", err)
	}
}
