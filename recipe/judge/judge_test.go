package judge

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe/recipetest"
	"hone/tensor"
)

// TestAdapterScores compares reward models that PEFT wrote as adapters with the scores it gives, on a base of their own and on
// one that is loaded already.
func TestAdapterScores(t *testing.T) {
	golden := filepath.Join("..", "..", "testdata", "golden")
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	for _, name := range []string{"lora", "prompt"} {
		dir := recipetest.Rebased(t, filepath.Join(golden, "score", name), filepath.Join(golden, "llama_untied"))
		var want struct {
			Sequences [][]int32
			Scores    []float64
		}
		if err := json.Unmarshal(recipetest.Read(t, dir, "scores.json"), &want); err != nil {
			t.Fatal(err)
		}
		m, err := model.Open(filepath.Join(golden, "llama_untied"), dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		var first []float64
		for _, base := range []*model.Model{nil, m} {
			scorer, err := OpenScorer(dir, dev, device.F32, Options{Base: base})
			if err != nil {
				t.Fatal(err)
			}
			j := &Judge{Scorer: scorer, tape: tensor.NewTape(dev, device.F32)} // the folders have no tokenizer
			got, err := j.ScoreTokens(context.Background(), want.Sequences)
			if err != nil || j.Shared != (base != nil) {
				t.Fatalf("%s: shared %v, %v", name, j.Shared, err)
			}
			for i := range got {
				if math.Abs(got[i]-want.Scores[i]) > 1e-5 {
					t.Errorf("%s: score %d is %v, want %v", name, i, got[i], want.Scores[i])
				}
			}
			if first == nil {
				first = got
			} else if !slices.Equal(first, got) {
				t.Errorf("%s: scores are %v on a base of their own and %v on a shared one", name, first, got)
			}
			j.Free()
		}
		m.Free()
		lost := recipetest.Rebased(t, dir, "some/model")
		if _, err := OpenScorer(lost, dev, device.F32, Options{}); err == nil || !strings.Contains(err.Error(), "base_model_name_or_path") {
			t.Errorf("%s on a base that is not there: %v", name, err)
		}
	}
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}
