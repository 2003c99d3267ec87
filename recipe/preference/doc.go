// Package preference has the recipes that learn from preferences: reward models and the DPO family.
//
// Both read the same records: of a prompt two answers, one of which a person preferred, or (KTO) one answer
// with a verdict. They become marked tokens on disk (judgements), are dealt out as a function of the step,
// and a loss of package loss compares the answers of each pair, which stand in a micro-batch as sequences
// that cannot see each other: chosen, rejected, chosen, …
//
//	reward.go, inspect.go         reward models; looking at one from all sides
//	dpo.go, kto.go, reference.go  the DPO family; KTO's own; log-probabilities of the reference, computed once
//	preferences.go                the keys of both
//	read.go                       records to marked tokens
//	judgements.go                 the records of a run; what stages tell of them; batches
//	holdout.go, marks.go          a share of the prompts held out; tokens on disk
//
// Letters: P pairs, S sequences.
package preference
