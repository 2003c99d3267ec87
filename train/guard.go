package train

import (
	"fmt"
	"math"

	"hone/optim"
)

// What the loop does when a loss or a gradient is NaN or infinite.
const (
	StopOnNonFinite = "stop" // end the run with an error; the weights are those before the step
	SkipOnNonFinite = "skip" // leave the step out and go on
)

// nonFinite stops the run or counts the step as skipped; the weights have not changed.
func (l *Loop) nonFinite(loss float64, bad *optim.NonFinite) error {
	at := l.state.Step + 1
	reason := fmt.Sprintf("step %d: the loss is %v and %v", at, loss, bad)
	// nothing was learned that could be at fault
	if l.OnNonFinite != SkipOnNonFinite && l.state.Step == 0 && !(math.Abs(loss) <= math.MaxFloat64) {
		return fmt.Errorf("%s; the weights that the run begins with give it: look whether the model is damaged, or try dtype=f32",
			reason)
	}
	if l.OnNonFinite != SkipOnNonFinite {
		return fmt.Errorf("%s; the weights are as before the step: resume with optimizer.on_nonfinite=skip, "+
			"or start again with a lower optimizer.learning_rate", reason)
	}
	// The step counts, so that data and learning rate go on as they would; the optimizer's count of updates does not.
	l.state.next()
	l.state.Skipped++
	l.state.SkippedInRow++
	event := SkipEvent{Step: at, Reason: reason, Tensors: bad.Names(), Row: l.state.SkippedInRow, Skipped: l.state.Skipped}
	if err := l.emit(event); err != nil {
		return err
	}
	if l.state.SkippedInRow > l.MaxSkips {
		return fmt.Errorf("%s; that is skipped step number %d in a row, more than optimizer.max_skips: "+
			"start again with a lower optimizer.learning_rate", reason, l.state.SkippedInRow)
	}
	return nil
}
