package train

// What the loop does when a loss or gradient is NaN or infinite.
const (
	StopOnNonFinite = "stop" // end the run with an error; the weights are those before the step
	SkipOnNonFinite = "skip" // leave the step out and go on
)
