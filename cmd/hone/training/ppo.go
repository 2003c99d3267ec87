package training

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/recipe/rl"
)

// PPO is hone ppo, which learns from rewards, with a critic.
func PPO(a *cli.App) *cobra.Command { return ppoStage().command(a) }

func ppoStage() stage {
	return stage{
		name: "ppo", short: "Train a policy by PPO from a reward model or rules",
		long: "Trains a policy by proximal policy optimisation: in each iteration the model answers prompts, a reward model or rules score the\n" +
			"answers, and the policy learns from them, held to what it was by the KL divergence. Rewards are folders of reward models,\n" +
			"go_parser, gofmt, length:TOKENS, format:REGEX and program:PATH ARGUMENTS, which reads JSON lines and prints scores.",
		example: "  hone ppo model=runs/tuned/model reward=runs/reward/model prompts=prompts.jsonl out=runs/ppo max_completion_length=128\n" +
			"  hone ppo model=runs/tuned/model reward=go_parser prompts=prompts.jsonl out=runs/ppo method=lora kl_target=6 max_completion_length=128\n" +
			"  hone ppo model=runs/tuned/model reward=runs/reward/adapter prompts=prompts.jsonl out=runs/ppo max_completion_length=128 " +
			"method=lora critic.kind=separate critic.model=runs/reward/adapter",
		defaults: func() (trainer, *recipe.Training) {
			c := rl.DefaultPPO()
			return &c, &c.Training
		},
		metrics: func(s *recipe.Summary) map[string]float64 { return s.Metrics },
	}
}
