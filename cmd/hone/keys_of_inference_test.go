package main

import (
	"testing"

	"hone/cmd/hone/clitest"
	"hone/eval"
	"hone/serve/label"
)

func TestKeysOfResultsInference(t *testing.T) {
	clitest.Keys(t, "eval", eval.Result{}, "loss perplexity bits_per_byte tokens bytes documents sequence_length stride")
	clitest.Keys(t, "generate", generated{}, "prompt text tokens finish")
	clitest.Keys(t, "chat", spoken{}, "role content tokens finish")
	clitest.Keys(t, "logits", logitsResult{}, "out shape loss labels tensors")
	clitest.Keys(t, "label", label.Progress{}, "done ready waiting left_out agreement")
	clitest.Keys(t, "label, agreement", label.Agreement{}, "annotators shared percent alpha has_alpha")
	clitest.Keys(t, "label export", label.Exported{}, "written left_out")
}
