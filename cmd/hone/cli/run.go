package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hone/internal/spell"
)

// Run executes the command line args of the program root and returns the exit code. elsewhere are commands by names that people look for.
func (a *App) Run(ctx context.Context, root *cobra.Command, elsewhere map[string]string, args []string) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(cmd *cobra.Command, args []string) error { return helpOrNearest(cmd, args, elsewhere) }
	root.SetArgs(args)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.PersistentFlags().BoolVar(&a.JSON, "json", false, "print one result object on stdout, progress on stderr")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand(root, elsewhere))
	sayUsage(root)
	narrowHelp(root)
	if err := root.ExecuteContext(ctx); ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.Err, "hone: interrupted")
		return 1
	} else if err != nil {
		// one line without control characters, whatever stands in the names and texts that an error quotes
		fmt.Fprintln(a.Err, "hone:", strings.ReplaceAll(Shown(err.Error()), "\n", " "))
		return 1
	}
	return 0
}

// OnlyCommands is what a command does that is nothing but its subcommands: help, or the nearest name.
func OnlyCommands(cmd *cobra.Command, args []string) error { return helpOrNearest(cmd, args, nil) }

// helpOrNearest is OnlyCommands, with names that people look for in the whole program.
func helpOrNearest(cmd *cobra.Command, args []string, elsewhere map[string]string) error {
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
