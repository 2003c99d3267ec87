package training

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/recipe/lm"
)

// Pretrain is hone pretrain, which learns from raw text.
func Pretrain(a *cli.App) *cobra.Command { return pretrainStage().command(a) }

func pretrainStage() stage {
	return stage{
		name: "pretrain", short: "Train a language model on raw text",
		long: "Trains a model on raw text, from scratch or from a model folder (model=DIR).",
		example: "  hone pretrain data=corpus/ out=runs/first steps=2000 model.hidden_size=256\n" +
			"  hone pretrain recipe.yaml out=runs/second resume=true",
		defaults: func() (trainer, *recipe.Training) {
			c := lm.DefaultPretrain()
			return &c, &c.Training
		},
	}
}
