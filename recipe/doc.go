// Package recipe wires the parts of hone into runs: each recipe is a struct of
// documented keys (YAML, or path=value on the command line), a stream of batches
// and an objective. The loop, the optimizer and the checkpoints are shared.
package recipe
