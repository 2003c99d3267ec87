// Command hone trains large language models: raw text to a model folder, in one program.
//
// groups lists the commands, and with that where each lives: the packages below this one have one exported function for each of theirs, which makes its
// cobra.Command. A command reads flags into a struct, or the keys of a recipe, has the packages outside of cmd do the work, and hands one result to
// cli.App.Result, which prints it as text or, with --json, as one object on stdout; everything else goes to App.Notes or stderr.
//
// Only this program prints, exits, reads the environment and chooses a device.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"hone/cmd/hone/bench"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/corpus"
	"hone/cmd/hone/inference"
	"hone/cmd/hone/machine"
	"hone/cmd/hone/modelfiles"
	"hone/cmd/hone/quickstart"
	"hone/cmd/hone/training"
)

// groups are all commands there are, as --help shows them: the library orders those of a group by name.
var groups = []struct {
	title    string
	commands []func(*cli.App) *cobra.Command
}{
	{"To begin with:", []func(*cli.App) *cobra.Command{quickstart.Command, machine.Doctor, training.Plan}},
	{"Data:", []func(*cli.App) *cobra.Command{corpus.Data, corpus.Tokenizer, inference.Label}},
	{"Training:", []func(*cli.App) *cobra.Command{training.Pretrain, training.SFT, training.Reward, training.DPO, training.PPO, training.GRPO}},
	{"Use of a model:", []func(*cli.App) *cobra.Command{inference.Generate, inference.Chat, inference.Eval, inference.Score}},
	{"Files of models:", []func(*cli.App) *cobra.Command{machine.Pull, modelfiles.Import, modelfiles.Export, modelfiles.Merge, modelfiles.Inspect}},
	{"Measurement:", []func(*cli.App) *cobra.Command{bench.Command, inference.Logits}},
}

// main ends with 1 where the command failed and where its result could not be printed; who reads only the beginning of a pipe is no failure.
func main() {
	out := &cli.Output{File: os.Stdout}
	code := run(untilStopped(), &cli.App{In: os.Stdin, Out: out, Err: os.Stderr}, os.Args[1:])
	if code == 0 && out.Err != nil && !cli.ReaderGone(out.Err) { // the reader of a pipe may stop early, as head does
		fmt.Fprintf(os.Stderr, "hone: the result could not be printed: %v; look at where stdout goes\n", out.Err)
		code = 1
	}
	os.Exit(code)
}

// elsewhere are commands by the names that people look for and that are too far from ours to be found.
var elsewhere = map[string]string{
	"train": "pretrain", "finetune": "sft", "fine-tune": "sft", "tune": "sft", "lora": "sft", "qlora": "sft", "kto": "dpo", "orpo": "dpo", "simpo": "dpo",
	"rlhf": "ppo", "rm": "reward", "launch": "plan --launch", "estimate": "plan", "download": "pull", "convert": "export", "quantize": "export", "gguf": "export",
	"run": "chat", "complete": "generate", "perplexity": "eval", "benchmark": "bench", "curate": "data curate", "dedup": "data dedup", "stats": "data stats",
	"annotate": "label", "info": "doctor",
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, a *cli.App, args []string) int {
	root := &cobra.Command{
		Use: "hone", Short: "Train large language models in one program", Version: cli.Version,
		Long:    "hone trains large language models: from raw text to a model folder that other tools load.",
		Example: "  hone quickstart\n  hone pretrain data=corpus/ out=runs/first steps=1000\n  hone generate runs/first/model \"Once upon a time\"",
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range g.commands {
			cmd := c(a)
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	return a.Run(ctx, root, elsewhere, args)
}
