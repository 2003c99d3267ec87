package main

import (
	"testing"

	"hone/cmd/hone/clitest"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/cluster"
)

func TestKeysOfResultsTraining(t *testing.T) {
	clitest.Keys(t, "pretrain, sft, reward, dpo, ppo, grpo", recipe.Summary{}, "out model steps interrupted stopped_early stop_reason metrics best_step skipped_steps parameters trainable_parameters tokens seconds setup_seconds "+
		"tokens_per_s train_loss validation validation_step validation_last unigram_loss bigram_loss bytes_per_token peak_memory_bytes vocab_size validation_before planned_memory_bytes step_seconds planned_step_seconds")
	clitest.Keys(t, "--dry-run", recipe.Planned{}, "stage weights_bytes gradients_bytes optimizer_bytes paged_bytes offloaded_bytes activations_bytes logits_bytes peak_bytes own_bytes recompute_layers flops kv_cache_bytes steps tokens "+
		"step_seconds seconds rollout_seconds notes")
	clitest.Keys(t, "plan", cluster.Estimated{}, "model stage method parameters trainable_parameters tokens sequence_length batch_size flops_per_token gpu gpus zero tensor_parallel recompute offload least_tokens_per_step memory fits lower "+
		"flops mfu tflops_per_gpu gpu_hours hours energy_kwh cost_usd training_hours scoring_hours rollout_hours usd_per_gpu_hour price cheapest_offer advice")
	clitest.Keys(t, "plan, memory", plan.PerGPU{}, "weights_bytes reference_bytes reward_bytes critic_bytes gradients_bytes optimizer_bytes activations_bytes logits_bytes gathered_bytes reserved_bytes workspace_bytes peak_bytes host_bytes "+
		"kv_cache_bytes gpu_memory_bytes")
	clitest.Keys(t, "plan, gpu", plan.GPU{}, "name peak_tflops memory_gb bandwidth_gb_s watts default_mfu default_mfu_of_clusters")
	clitest.Keys(t, "plan, price", plan.Price{}, "provider machine gpu gpus usd_per_hour spot_usd_per_hour date source")
	clitest.Keys(t, "plan, advice", plan.Advice{}, "tokens_per_parameter compute_optimal_tokens same_compute_parameters same_compute_parameters_tokens")
}
