// Command hone trains large language models: raw text to a model folder, in one program.
//
// A command is a file: a function that makes its cobra.Command, listed in groups. It reads flags into a struct, has the packages below do the work,
// and hands one result to app.result, which prints it as text or, with --json, as one object on stdout; everything else goes to app.notes or
// stderr. Commands that train (training.go) take the keys of a recipe, from YAML and as path=value, in place of flags.
// The benchmarks and the quickstart are packages of their own (packages.go), below this one, which are given what they need of it.
//
// Only this package prints, exits, reads the environment and chooses a device.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hone/internal/spell"
	"hone/plan/meter"
)

// version is what hone calls itself.
const version = "0.1.0"

// groups are all commands there are, as --help shows them: the library orders those of a group by name.
var groups = []struct {
	title    string
	commands []func(*app) *cobra.Command
}{
	{"To begin with:", []func(*app) *cobra.Command{quickstartCommand, doctorCommand, planCommand}},
	{"Data:", []func(*app) *cobra.Command{dataCommand, tokenizerCommand, labelCommand}},
	{"Training:", []func(*app) *cobra.Command{
		pretrainStage().command, sftStage().command, rewardStage().command, dpoStage().command, ppoStage().command, grpoStage().command}},
	{"Use of a model:", []func(*app) *cobra.Command{generateCommand, chatCommand, evalCommand, scoreCommand}},
	{"Files of models:", []func(*app) *cobra.Command{pullCommand, importCommand, exportCommand, mergeCommand, inspectCommand}},
	{"Measurement:", []func(*app) *cobra.Command{benchCommand, logitsCommand}},
}

// app is what every command needs of the outside world.
type app struct {
	in       io.Reader
	out, err io.Writer
	json     bool // one result object on out, everything else on err

	meters meter.Runs // of runs that were planned
}

// main ends with 1 where the command failed and where its result could not be printed; who reads only the beginning of a pipe is no failure.
func main() {
	out := &checked{file: os.Stdout}
	code := run(untilStopped(), &app{in: os.Stdin, out: out, err: os.Stderr}, os.Args[1:])
	if code == 0 && out.err != nil && !errors.Is(out.err, syscall.EPIPE) { // the reader of a pipe may stop early, as head does
		fmt.Fprintf(os.Stderr, "hone: the result could not be printed: %v; look at where stdout goes\n", out.err)
		code = 1
	}
	os.Exit(code)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := &cobra.Command{
		Use: "hone", Short: "Train large language models in one program", Version: version,
		Long:          "hone trains large language models: from raw text to a model folder that other tools load.",
		Example:       "  hone quickstart\n  hone pretrain data=corpus/ out=runs/first steps=1000\n  hone generate runs/first/model \"Once upon a time\"",
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs, RunE: onlyCommands,
	}
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one result object on stdout, progress on stderr")
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range g.commands {
			cmd := c(a)
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand(root))
	sayUsage(root)
	narrowHelp(root)
	if err := root.ExecuteContext(ctx); ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.err, "hone: interrupted")
		return 1
	} else if err != nil {
		// one line without control characters, whatever stands in the names and texts that an error quotes
		fmt.Fprintln(a.err, "hone:", strings.ReplaceAll(shown(err.Error()), "\n", " "))
		return 1
	}
	return 0
}

// elsewhere are commands by the names that people look for and that are too far from ours to be found.
var elsewhere = map[string]string{
	"train": "pretrain", "finetune": "sft", "fine-tune": "sft", "tune": "sft", "lora": "sft", "qlora": "sft", "kto": "dpo", "orpo": "dpo", "simpo": "dpo",
	"rlhf": "ppo", "rm": "reward", "launch": "plan --launch", "estimate": "plan", "download": "pull", "convert": "export", "quantize": "export", "gguf": "export",
	"run": "chat", "complete": "generate", "perplexity": "eval", "benchmark": "bench", "curate": "data curate", "dedup": "data dedup", "stats": "data stats",
	"annotate": "label", "info": "doctor",
}

// onlyCommands is what a command does that is nothing but its subcommands: help, or the nearest name.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	near := ""
	// A short name is near to everything: of two letters one may differ.
	cmd.SuggestionsMinimumDistance = min(2, len(args[0])/2)
	if name := elsewhere[strings.ToLower(args[0])]; name != "" && !cmd.HasParent() {
		near = fmt.Sprintf("did you mean %q? ", name)
	} else if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		near = fmt.Sprintf("did you mean %q? ", names[0])
	} else if cmd.Flags().Lookup(args[0]) != nil {
		near = fmt.Sprintf("did you mean --%s? ", args[0])
	}
	return fmt.Errorf("unknown command %q; %s%s --help lists them", args[0], near, cmd.CommandPath())
}

// flagError words err, which the flags of a command line gave, with the nearest flag to one that there is not.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	// Of one letter nothing is nearest; the library's own words say which it was.
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok && wrong.GetFlag() != nil {
		return fmt.Errorf("--%s is %q, which is no %s; %s --help says what flags take", wrong.GetFlag().Name, wrong.GetValue(), kindOf(wrong.GetFlag()), cmd.CommandPath())
	}
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("%w; %s --help says what flags take", err, cmd.CommandPath())
	}
	name := unknown.GetSpecifiedName()
	isKey := regexp.MustCompile(`(?m)^  ((\S+\.)?` + regexp.QuoteMeta(strings.ReplaceAll(name, "-", "_")) + `) `)
	if key := isKey.FindStringSubmatch(cmd.Long); key != nil { // of the recipe, as the help lists them
		return fmt.Errorf("unknown flag --%s; keys have no dashes: write %s=VALUE", name, key[1])
	}
	near, best := "", max(2, len(name)/3)+1
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := spell.Distance(name, f.Name)
		if len(name) > 1 && strings.HasPrefix(f.Name, name) { // shortened, as other programs allow
			d = 0
		}
		if d < best {
			near, best = fmt.Sprintf("did you mean --%s? ", f.Name), d
		}
	})
	return fmt.Errorf("unknown flag --%s; %s%s --help lists them", name, near, cmd.CommandPath())
}

// kindOf names what a flag takes.
func kindOf(f *pflag.Flag) string {
	kinds := map[string]string{"int": "whole number", "uint64": "whole number of 0 or more", "float64": "number", "bool": "true or false", "float64Slice": "list of numbers such as 0.7,0.3"}
	return cmp.Or(kinds[f.Value.Type()], f.Value.Type())
}

// sayUsage makes a command and those below it answer a wrong number of arguments with how they are used.
func sayUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			// The library's error counts arguments; what a person needs is how the command is written.
			if check(cmd, args) != nil {
				given := fmt.Sprintf("%d arguments were", len(args))
				if len(args) == 1 {
					given = "1 argument was"
				}
				return fmt.Errorf("%s given; use: %s", given, cmd.UseLine())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		sayUsage(c)
	}
}

// result prints v as the command's one object with --json, and otherwise calls text.
func (a *app) result(v any, text func(w io.Writer)) error {
	if !a.json {
		text(a.out)
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, _ = a.out.Write(append(line, '\n')) // what fails there is told by main, as for text
	return nil
}

// notes is where progress goes: beside the result.
func (a *app) notes() io.Writer {
	if a.json {
		return a.err
	}
	return a.out
}
