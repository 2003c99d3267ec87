package lm

import (
	"bytes"
	"path/filepath"
	"testing"

	"hone/recipe/recipetest"
)

// TestOptimizerState: 8-bit moments resume bit for bit, and paged state makes the bits of unpaged state, in
// f32 and bf16.
func TestOptimizerState(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	for _, dtype := range []string{"f32", "bf16"} {
		args := []string{"optimizer.name=adamw8bit", "optimizer.learning_rate=0.001", "dtype=" + dtype, "eval.every=0"}
		whole, parts, paged := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts"), filepath.Join(t.TempDir(), "paged")
		for _, run := range []*SFT{
			tinySFT(t, from, examples, whole, append(args, "steps=8")...),
			tinySFT(t, from, examples, parts, append(args, "steps=3")...),
			tinySFT(t, from, examples, parts, append(args, "steps=8", "resume=true", "optimizer.paged=true")...),
			tinySFT(t, from, examples, paged, append(args, "steps=8", "optimizer.paged=true", "threads=2")...),
		} {
			if _, _, err := tune(t, run); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"model/model.safetensors", "checkpoints/step-8/optimizer.safetensors"} {
			want := recipetest.Read(t, whole, name)
			for _, dir := range []string{parts, paged} {
				if !bytes.Equal(want, recipetest.Read(t, dir, name)) {
					t.Errorf("%s: %s of %s differs", dtype, name, filepath.Base(dir))
				}
			}
		}
	}
}
