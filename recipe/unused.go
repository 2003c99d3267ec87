package recipe

import (
	"fmt"
	"slices"
	"strings"

	"hone/adapter"
)

// Unused names the setting with which a key has no effect, such as "method=full" for lora.r. It is empty for
// a key that has one.
func (c *Training) Unused(key string) string {
	group, name, _ := strings.Cut(key, ".")
	with := "" // the setting, if the key is not in use
	inUse := true
	switch group {
	case "recompute":
		// A number may be what a run chose, in whose recipe.yaml it stands beside memory.
		with, inUse = "memory="+c.Memory, c.Memory == "" || c.Recompute != "layers"
	case "lora", "qlora", "prompt":
		with, inUse = "method="+c.Method, c.usesMethodKey(group, name)
	case "early_stopping":
		with, inUse = "early_stopping.metric not set", name == "metric" || c.EarlyStopping.Metric != ""
	case "samples":
		with, inUse = "samples.every=0", name == "every" || c.Samples.Every > 0
	case "schedule":
		decays := slices.Contains([]string{"linear", "cosine", "wsd"}, c.Schedule.Name)
		with = "schedule.name=" + c.Schedule.Name
		// warmup_steps are of every schedule; inverse_sqrt has a floor and no decay, constant neither.
		inUse = decays || name != "decay_steps" && (name != "min_lr_ratio" || c.Schedule.Name != "constant")
	case "optimizer":
		with, inUse = "optimizer.on_nonfinite="+c.Optimizer.OnNonFinite, name != "max_skips" || c.Optimizer.OnNonFinite == "skip"
	}
	if inUse {
		return ""
	}
	return with
}

// usesMethodKey tells whether the method has the key group.name.
func (c *Training) usesMethodKey(group, name string) bool {
	kind := promptKinds[c.Method]
	switch group {
	case "lora":
		return c.Method == "lora" || c.Method == "qlora"
	case "qlora":
		return c.Method == "qlora"
	}
	switch name {
	case "init", "init_text":
		return kind == adapter.PromptTuning
	case "projection":
		return kind == adapter.PrefixTuning
	case "encoder_hidden_size":
		return kind == adapter.PTuning || kind == adapter.PrefixTuning && c.Prompt.Projection
	}
	return kind != ""
}

// UnusedEval is Unused of the keys of evaluations, of which a run that holds nothing out has none.
func UnusedEval(key string, heldOut bool) string {
	if strings.HasPrefix(key, "eval.") && !heldOut {
		return "nothing held out"
	}
	return ""
}

// UnusedEpochs is Unused of a key that counts epochs or iterations, which only matter where steps is not set.
func (c *Training) UnusedEpochs() string {
	if c.Steps > 0 {
		return fmt.Sprintf("steps=%d", c.Steps)
	}
	return ""
}
