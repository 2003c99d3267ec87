package config

import (
	"fmt"
	"slices"
	"strings"

	"hone/internal/spell"
)

// elsewhere are keys by the names that transformers, TRL, PEFT, LLaMA-Factory and Axolotl have for them, where these are too far from ours to be found.
var elsewhere = map[string]string{
	"adapter": "method", "finetuning_type": "method", "bf16": "dtype", "torch_dtype": "dtype", "base_model": "model", "model_name_or_path": "model",
	"dataset": "data", "datasets": "data", "dataset_name": "data", "output_dir": "out", "num_epochs": "epochs", "num_train_epochs": "epochs", "max_steps": "steps",
	"micro_batch_size": "batch_size", "per_device_train_batch_size": "batch_size", "max_seq_length": "sequence_length", "max_length": "sequence_length",
	"sequence_len": "sequence_length", "cutoff_len": "sequence_length", "gradient_checkpointing": "recompute", "warmup_ratio": "schedule.warmup_steps",
	"lr_scheduler_type": "schedule.name", "lora_dropout": "lora.dropout", "lora_target": "lora.target_modules", "layers_to_transform": "lora.layers",
	"max_new_tokens": "max_completion_length", "response_length": "max_completion_length", "reward_model_path": "reward",
}

// suggestion words the nearest key to an unknown one, or where the keys are listed.
func suggestion(all []setting, path string) string {
	if key := nearest(all, path); key != "" {
		return fmt.Sprintf("; did you mean %q?", key)
	}
	return "; --help lists the keys"
}

// nearest is the key that path most likely stands for: one that differs by a slip of
// the fingers, the same word in another group, one that path shortens (lr, warmup), or
// what other trainers call so.
// It is a group where path is that one's name misspelt. Empty when nothing is near.
func nearest(all []setting, path string) string {
	group, word := splitPath(path)
	ours := elsewhere[word]
	has := func(path string) bool {
		return slices.ContainsFunc(all, func(s setting) bool { return s.path == path })
	}
	switch {
	case has(ours):
		return ours
	case ours == "data" && has("prompts"): // what PPO and GRPO learn from
		return "prompts"
	}
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, s := range all {
		keyGroup, key := splitPath(s.path)
		d := min(spell.Distance(path, s.path), spell.Distance(word, key)+1)
		if shortens(word, key) {
			d = min(d, 1)
			if group == keyGroup {
				d = 0
			}
		}
		if d < bestDistance {
			best, bestDistance = s.path, d
		}
	}
	for _, s := range all { // a group may be misspelt, too, as in "chekpoint: {every: 3}"
		if name, _, inside := strings.Cut(s.path, "."); inside {
			if d := spell.Distance(path, name); d < bestDistance {
				best, bestDistance = name, d
			}
		}
	}
	return best
}

// shortens says whether word is the beginning of key at one of its underscores, or its initials.
func shortens(word, key string) bool {
	initials := ""
	for part := range strings.SplitSeq(key, "_") {
		if part != "" {
			initials += part[:1]
		}
	}
	return len(word) > 1 && (strings.HasPrefix(key, word+"_") || initials == word)
}
