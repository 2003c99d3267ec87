package main

import (
	"hone/recipe"
	"hone/recipe/lm"
)

func sftStage() training {
	return training{
		name: "sft", short: "Fine-tune a model on examples of instructions and answers",
		long: "Trains a model on examples: all weights (method=full), or what stands beside the frozen model (method=lora, qlora, prompt, prefix or ptuning).",
		example: "  hone sft model=runs/first/model data=examples.jsonl out=runs/tuned\n" +
			"  hone sft model=runs/first/model data=examples.jsonl out=runs/adapter method=lora lora.r=16",
		defaults: func() (trainer, *recipe.Training) {
			c := lm.DefaultSFT()
			return &c, &c.Training
		},
	}
}
