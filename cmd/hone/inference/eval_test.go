package inference

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/clitest"
	"hone/eval"
	"hone/serve/label"
)

// TestEvalObject: of a model that is far off the perplexity is infinite, for which JSON has no word.
func TestEvalObject(t *testing.T) {
	for loss, want := range map[float64]string{1: `"perplexity":2.718281828459045`, 710: `"perplexity":null`} {
		var out bytes.Buffer
		err := (&cli.App{Out: &out, JSON: true}).Result(finite(eval.Result{Loss: loss, Perplexity: math.Exp(loss), Tokens: 7}), nil)
		if err != nil || strings.Count(out.String(), `"perplexity"`) != 1 || !strings.Contains(out.String(), want) || !strings.Contains(out.String(), `"tokens":7`) {
			t.Errorf("of a loss of %v: %s, %v", loss, out.String(), err)
		}
	}
}

func TestKeysOfResults(t *testing.T) {
	clitest.Keys(t, "eval", eval.Result{}, "loss perplexity bits_per_byte tokens bytes documents sequence_length stride")
	clitest.Keys(t, "generate", generated{}, "prompt text tokens finish")
	clitest.Keys(t, "chat", spoken{}, "role content tokens finish")
	clitest.Keys(t, "logits", logitsResult{}, "out shape loss labels tensors")
	clitest.Keys(t, "label", label.Progress{}, "done ready waiting left_out agreement")
	clitest.Keys(t, "label, agreement", label.Agreement{}, "annotators shared percent alpha has_alpha")
	clitest.Keys(t, "label export", label.Exported{}, "written left_out")
}
