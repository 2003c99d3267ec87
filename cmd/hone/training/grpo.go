package training

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/recipe/rl"
)

// GRPO is hone grpo, which learns from rewards, by groups of answers.
func GRPO(a *cli.App) *cobra.Command { return grpoStage().command(a) }

func grpoStage() stage {
	return stage{
		name: "grpo", short: "Train a policy on groups of answers: GRPO and kin",
		long: "Trains a policy on groups of answers to the same prompt, each compared with the others of its group: GRPO, Dr. GRPO, DAPO, GSPO and\n" +
			"RLOO. There is no critic. Rewards are as in hone ppo.",
		example: "  hone grpo model=runs/tuned/model reward=go_parser prompts=prompts.jsonl out=runs/grpo max_completion_length=128\n" +
			"  hone grpo model=runs/tuned/model reward=\"program:./score.py\" prompts=prompts.jsonl out=runs/rloo loss_type=rloo max_completion_length=128",
		defaults: func() (trainer, *recipe.Training) {
			c := rl.DefaultGRPO()
			return &c, &c.Training
		},
		metrics: func(s *recipe.Summary) map[string]float64 { return s.Metrics },
	}
}
