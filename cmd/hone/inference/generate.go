// Package inference has the commands that run a trained model: hone generate, chat, eval, score, label and logits, each in its own files.
package inference

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/generate"
	"hone/tokenizer"
)

// Generate is hone generate. It goes on from texts as they are; hone chat speaks by a model's template.
func Generate(a *cli.App) *cobra.Command {
	opt, flags, prompts := generate.DefaultOptions(), &loaded.Flags{}, ""
	cmd := &cobra.Command{
		Use:     "generate MODEL [PROMPT ...]",
		Short:   "Continue texts with a model",
		Long:    "Continues each prompt: from the arguments, from --prompts FILE (one per line), or else from stdin.",
		Example: "  hone generate runs/first/model \"func main() {\" --temperature 0.7 --max-new-tokens 100\n  echo 'package ' | hone generate runs/first/model",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args[1:] {
				noteSetting(cmd, arg)
			}
			texts, err := readPrompts(cmd.Context(), a.In, args[1:], prompts)
			if err != nil {
				return err
			}
			return continueTexts(cmd, a, args[0], texts, opt, flags)
		},
	}
	f := cmd.Flags()
	f.IntVar(&opt.MaxNewTokens, "max-new-tokens", opt.MaxNewTokens, "at most this many tokens are added")
	samplingFlags(cmd, &opt)
	f.IntVar(&opt.BatchSize, "batch-size", opt.BatchSize, "sequences that run side by side")
	f.StringVar(&prompts, "prompts", "", "file with a prompt on each line")
	flags.Add(cmd)
	return cmd
}

// noteSetting tells that a text which looks like a setting is none, as it is for commands that take a recipe.
func noteSetting(cmd *cobra.Command, text string) {
	name, value, set := strings.Cut(text, "=")
	name = strings.ReplaceAll(name, "_", "-")
	if set && cmd.Flags().Lookup(name) != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %q is taken as a text; to set it write --%s %s\n", text, name, value)
	}
}

// samplingFlags are the flags that say how tokens are drawn.
func samplingFlags(cmd *cobra.Command, opt *generate.Options) {
	f := cmd.Flags()
	f.Float64Var(&opt.Temperature, "temperature", opt.Temperature, "0: always the most likely token")
	f.IntVar(&opt.TopK, "top-k", opt.TopK, "keep the k most likely tokens; 0: all")
	f.Float64Var(&opt.TopP, "top-p", opt.TopP, "keep the most likely tokens of this total probability")
	f.Float64Var(&opt.MinP, "min-p", opt.MinP, "drop tokens less likely than this share of the most likely one")
	f.Float64Var(&opt.RepetitionPenalty, "repetition-penalty", opt.RepetitionPenalty, "above 1: tokens seen before become less likely")
	f.Uint64Var(&opt.Seed, "seed", opt.Seed, "of the random numbers")
	f.StringArrayVar(&opt.Stop, "stop", nil, "stop before this `text`; may be given several times")
}

// readPrompts takes the prompts from the arguments, a file or, failing both, all of stdin as one.
func readPrompts(ctx context.Context, in io.Reader, args []string, file string) ([]string, error) {
	if file != "" {
		text, err := cli.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read prompts: %w", cli.NotRead(file, "a prompt on each line", err))
		}
		lines := strings.TrimRight(string(text), "\r\n")
		if lines == "" {
			return nil, fmt.Errorf("read prompts: %s is empty; give it a prompt on each line", file)
		}
		for line := range strings.SplitSeq(lines, "\n") {
			args = append(args, strings.TrimSuffix(line, "\r")) // of a file that was written on Windows
		}
		return args, nil
	}
	if len(args) > 0 {
		return args, nil
	}
	text, err := cli.ReadAll(ctx, in, 1<<24)
	if err != nil {
		return nil, fmt.Errorf("read the prompt from stdin: %w", err)
	}
	return []string{strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")}, nil
}

// generated is a line of the result.
type generated struct {
	Prompt string          `json:"prompt"`
	Text   string          `json:"text"`
	Tokens int             `json:"tokens"`
	Finish generate.Finish `json:"finish"`
}

// continueTexts writes all texts side by side. One alone is shown as it comes.
func continueTexts(cmd *cobra.Command, a *cli.App, dir string, prompts []string, opt generate.Options, flags *loaded.Flags) error {
	if err := opt.Validate(); err != nil {
		return err
	}
	flags.Generates = true
	m, err := flags.LoadPromptly(cmd.Context(), dir)
	if err != nil {
		return err
	}
	defer m.Close()
	opt.Joined = func(int) bool { return true }
	if eos, ok := m.Tok.EOS(); ok {
		opt.EOS = []int32{eos}
	}
	ids, err := promptIDs(m.Tok, prompts)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(a.Out)
	defer w.Flush()
	var emit func(int, string)
	// One prompt is shown as it is gone on with; several side by side would be mixed up on the screen.
	begin := "" // the prompt, until it stands before the first text: not where there is an error instead
	if len(prompts) == 1 && !a.JSON {
		begin = prompts[0]
		emit = func(_ int, text string) {
			fmt.Fprint(w, begin, text)
			begin = ""
			w.Flush()
		}
	}
	outs, err := generate.New(m.Dev, m.DType, m.Model, m.Tok).Run(cmd.Context(), ids, opt, emit)
	if err != nil {
		return err
	}
	var results []generated
	for i, o := range outs {
		results = append(results, generated{prompts[i], o.Text, len(o.Tokens), o.Finish})
	}
	return a.Result(map[string]any{"results": results}, func(io.Writer) {
		if emit != nil {
			fmt.Fprintln(w, begin)
			return
		}
		for _, r := range results {
			fmt.Fprintf(w, "%s%s\n---\n", r.Prompt, r.Text)
		}
	})
}

// promptIDs are the tokens of prompts, after those that the tokenizer's post-processor puts before a text (BOS, for a Llama).
// An empty prompt begins with them or else with the end of the text before.
func promptIDs(tok *tokenizer.Tokenizer, prompts []string) (ids [][]int32, err error) {
	for _, p := range prompts {
		x := tok.Prompt([]byte(p))
		if len(x) == 0 {
			return nil, fmt.Errorf("the prompt is empty and the tokenizer has no end-of-text token to start from; give a prompt")
		}
		ids = append(ids, x)
	}
	return ids, nil
}
