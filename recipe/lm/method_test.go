package lm

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"hone/recipe/recipetest"
)

// methods are those that train beside a frozen model, with the settings of the tests.
var methods = map[string][]string{
	"qlora":      {"method=qlora", "lora.dropout=0.1"},
	"dora":       {"method=lora", "lora.use_dora=true", "lora.dropout=0.1", "lora.loraplus_lr_ratio=4", "dtype=bf16", "lora.r=1"},
	"pissa":      {"method=lora", "lora.init_lora_weights=pissa"},
	"iterations": {"method=lora", "lora.init_lora_weights=pissa_niter_4", "lora.rank_pattern=q_proj:2"},
	"qdora":      {"method=qlora", "lora.use_dora=true", "recompute=layers"},
	"int8":       {"method=qlora", "qlora.bits=8"},
	"prompt":     {"method=prompt", "prompt.num_virtual_tokens=5", "prompt.init=text", "prompt.init_text=one and two make"},
	"vocabulary": {"method=prompt", "prompt.num_virtual_tokens=5", "prompt.init=vocabulary", "recompute=layers"},
	"prefix":     {"method=prefix", "prompt.num_virtual_tokens=5"},
	"projection": {"method=prefix", "prompt.num_virtual_tokens=5", "prompt.projection=true", "recompute=layers", "prompt.encoder_hidden_size=16"},
	"ptuning":    {"method=ptuning", "prompt.num_virtual_tokens=5", "dtype=bf16"},
}

// TestMethods trains with each method: the loss on the examples falls, the base's files stay as they are, and a run that is
// interrupted and resumed gives the bits of one that is not.
func TestMethods(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	before, half := recipetest.Read(t, from, "model.safetensors"), 20
	if testing.Short() {
		half = 12
	}
	for name, args := range methods {
		if testing.Short() && !slices.Contains([]string{"dora", "qlora", "projection"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
			all := fmt.Sprint("steps=", 2*half)
			args := append([]string{"optimizer.learning_rate=0.01", fmt.Sprint("checkpoint.every=", half), "sequence_length=48", "validation_data=" + examples}, args...)
			sum, events, err := tune(t, tinySFT(t, from, examples, whole, append(args, all)...))
			if err != nil {
				t.Fatal(err)
			}
			if first, last := evalLoss(events); !(last < first) {
				t.Errorf("the held-out loss went from %v to %v", first, last)
			}
			if !(sum.Trainable < sum.Parameters/2) {
				t.Errorf("%d of %d parameters were trained", sum.Trainable, sum.Parameters)
			}
			for _, more := range [][]string{{fmt.Sprint("steps=", half)}, {all, "resume=true"}} {
				if _, _, err := tune(t, tinySFT(t, from, examples, parts, append(args, more...)...)); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{"adapter/adapter_model.safetensors", fmt.Sprintf("checkpoints/step-%d/optimizer.safetensors", sum.Steps)} {
				if !bytes.Equal(recipetest.Read(t, whole, file), recipetest.Read(t, parts, file)) {
					t.Errorf("%s of the resumed run differs", file)
				}
			}
			if !bytes.Equal(before, recipetest.Read(t, from, "model.safetensors")) {
				t.Error("the base was changed")
			}
		})
	}
}
