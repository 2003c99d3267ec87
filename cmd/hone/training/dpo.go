package training

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/recipe/preference"
)

// DPO is hone dpo, which learns from preferences directly.
func DPO(a *cli.App) *cobra.Command { return dpoStage().command(a) }

func dpoStage() stage {
	return stage{
		name: "dpo", short: "Train a model on preferences directly: DPO, IPO, KTO, SimPO, ORPO and kin",
		long: "Trains a model on preferences without a reward model. The reference is the model as it was before training; its\n" +
			"log-probabilities are computed once.",
		example: "  hone dpo model=runs/tuned/model data=preferences.jsonl out=runs/dpo\n" +
			"  hone dpo model=runs/tuned/model data=verdicts.jsonl out=runs/kto loss_type=kto method=lora",
		defaults: func() (trainer, *recipe.Training) {
			c := preference.DefaultDPO()
			return &c, &c.Training
		},
		metrics: validation,
	}
}
