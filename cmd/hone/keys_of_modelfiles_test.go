package main

import (
	"testing"

	"hone/cmd/hone/clitest"
)

func TestKeysOfResultsModelfiles(t *testing.T) {
	clitest.Keys(t, "merge", merged{}, "model dtype kl tokens")
	clitest.Keys(t, "export", exported{}, "out types bytes kl max_logit tokens notes seconds")
	clitest.Keys(t, "import", imported{}, "model model_type parameters tokens seconds")
	clitest.Keys(t, "inspect", inspection{}, "path kind about tensors parameters bytes types load_f32 load_bf16")
	clitest.Keys(t, "inspect, tensors", tensorLine{}, "name dtype shape bytes")
}
