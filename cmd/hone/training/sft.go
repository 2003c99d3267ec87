package training

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/recipe/lm"
)

// SFT is hone sft, which learns from examples of instructions and answers.
func SFT(a *cli.App) *cobra.Command { return sftStage().command(a) }

func sftStage() stage {
	return stage{
		name: "sft", short: "Fine-tune a model on examples of instructions and answers",
		long: "Trains a model on examples: all weights (method=full), or what stands beside the frozen model (method=lora, qlora, prompt, prefix or ptuning).",
		example: "  hone sft model=runs/first/model data=examples.jsonl out=runs/tuned chat_template=zephyr\n" +
			"  hone sft model=runs/first/model data=examples.jsonl out=runs/adapter chat_template=zephyr method=lora lora.r=16",
		defaults: func() (trainer, *recipe.Training) {
			c := lm.DefaultSFT()
			return &c, &c.Training
		},
	}
}
