// Package loss is the objectives of learning from preferences and rewards, each one function of tensors and
// of counts over the whole accumulated batch: reward models, the DPO family, PPO and the GRPO family. What
// needs no gradient (advantages, whitening, control of the KL divergence) works on host numbers.
//
// Letters: P pairs, S sequences, M supervised tokens of a micro-batch. Pairs and sequences are [P, 1] and
// [S, 1], tokens [M], all F32. Every loss is a sum over its micro-batch divided by a count over all
// micro-batches, so that the parts add up.
//
//	preference.go  reward models, and policies from pairs: Bradley-Terry, the DPO family, KTO
//	policy.go      policies from sampled tokens: PPO, the GRPO family, values, KL, entropy
//	host.go        what needs no gradient
package loss
