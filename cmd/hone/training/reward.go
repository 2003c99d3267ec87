package training

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/recipe/preference"
)

// Reward is hone reward, which makes a reward model of preferences.
func Reward(a *cli.App) *cobra.Command { return rewardStage().command(a) }

func rewardStage() stage {
	return stage{
		name: "reward", short: "Train a reward model on preferences",
		long: "Trains a model with a scalar head to tell which of two answers people prefer: all weights (method=full) or an adapter\n" +
			"(method=lora and the others). Held-out pairs give accuracy, calibration, the bias to length and the agreement with each annotator.",
		example: "  hone reward model=runs/tuned/model data=preferences.jsonl out=runs/reward\n" +
			"  hone reward model=runs/tuned/model data=preferences.jsonl out=runs/reward method=lora center_rewards_coefficient=0.01",
		defaults: func() (trainer, *recipe.Training) {
			c := preference.DefaultReward()
			return &c, &c.Training
		},
		metrics: validation,
	}
}
