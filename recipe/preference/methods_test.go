package preference

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/recipe"
	"hone/recipe/recipetest"
)

// TestRewardMethods trains a reward model by each adapter; what is saved scores again, alone and in a batch.
// With scores near 0 and a margin of ½ the first loss is -log σ(-½).
func TestRewardMethods(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for _, m := range recipetest.Few(1, recipetest.Adapters...) {
		// of nine sums in all
		args := append(strings.Fields(m.Args), "steps=150", "lora.r=8", "optimizer.learning_rate=0.002", "schedule.name=linear", "eval.every=150", "validation_data="+pairs)
		if !m.AsBase {
			args = append(args, "optimizer.learning_rate=0.03")
		}
		sum, events := recipetest.Frozen(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "run"), args...).run(recipe.Env{}))
		if got, first := sum.Validation["accuracy"], recipetest.Steps(events)[0].Loss; !(got > 0.7) || math.Abs(first-0.974) > 0.01 {
			t.Errorf("%s: the first loss is %v, the accuracy on held-out pairs %v", m.Args, first, got)
		}
		if filepath.Base(sum.ModelDir) != "adapter" {
			t.Errorf("%s: the result is %s", m.Args, sum.ModelDir)
		}
		head, err := adapter.ReadHead(sum.ModelDir)
		if err != nil || head.TaskType != adapter.TaskSequence || !slices.Contains(head.ModulesToSave, "score") || head.BaseModel != from {
			t.Errorf("%s: %+v, %v", m.Args, head, err)
		}
		checkScores(t, sum.ModelDir, m.Args)
	}
}

// TestDPOMethodsAtTheStart: where an adapter begins as its base, the loss of DPO begins at ln 2.
func TestDPOMethodsAtTheStart(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for _, m := range recipetest.Few(2, recipetest.Adapters...) {
		_, events, err := recipetest.Start(t, tinyDPO(t, from, pairs, filepath.Join(t.TempDir(), "dpo"), append(strings.Fields(m.Args), "steps=2")...), 1)
		if err != nil {
			t.Fatalf("%s: %v", m.Args, err)
		}
		if first := recipetest.Steps(events)[0].Loss; (math.Abs(first-math.Ln2) < 1e-6) != m.AsBase {
			t.Errorf("%s: DPO begins with the loss %v", m.Args, first)
		}
	}
}
