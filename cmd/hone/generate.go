package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/generate"
	"hone/model"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
)

// loaded is a model folder on a device.
type loaded struct {
	dev     device.Device
	dtype   device.DType
	model   *model.Model
	adapter onModel              // nil without --adapter
	tok     *tokenizer.Tokenizer // nil for commands that work on ids
	close   func()
}

// onModel is an adapter on a model, or several.
type onModel interface {
	Wrapped() nn.Model
	Params() []nn.Named
	Free()
}

// computeFlags are the flags of commands that compute with weights.
type computeFlags struct {
	device, dtype string
	threads       int
	bits          int // of the weights of linear layers; 0: as dtype
}

func (f *computeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.device, "device", "cpu", "where to compute: cpu, cuda or cuda:N")
	cmd.Flags().StringVar(&f.dtype, "dtype", "f32", "of activations and matrices: f32 or bf16")
	cmd.Flags().IntVar(&f.threads, "threads", 0, "cores to use; 0: all")
	cmd.Flags().IntVar(&f.bits, "bits", 0, "keep the weights of linear layers in 4 (NF4) or 8 bits, as method=qlora does; 0: in full")
}

// openDevice opens the device, which the caller closes, and says how weights are kept there.
func (f *computeFlags) openDevice() (dev device.Device, dtype device.DType, packed model.Packed, done func(), err error) {
	if dtype, err = device.ParseDType(f.dtype); err != nil {
		return nil, 0, packed, nil, err
	}
	if packed.Packing, err = device.PackingOf(f.bits); err != nil {
		return nil, 0, packed, nil, err
	}
	dev, done, err = machine.OpenDevice(f.device, f.threads)
	return dev, dtype, packed, done, err
}

// modelFlags are the flags of commands that open a model.
type modelFlags struct {
	computeFlags
	adapters  []string
	weights   []float64        // of the adapters' updates; empty: 1 each
	generates bool             // nothing but text is made with the model
	notes     func() io.Writer // beside the result
}

// checkWeights refuses factors that no adapter takes: they would change nothing.
func (f *modelFlags) checkWeights() error {
	if len(f.weights) > 0 && len(f.adapters) == 0 {
		return errors.New("--adapter-weights is of adapters and there are none; name them by --adapter")
	}
	return nil
}

// loadPromptly is load that a context ends at once, for a command that ends with it: the weights of a large model take long to read.
func (f *modelFlags) loadPromptly(ctx context.Context, arg string) (*loaded, error) {
	return cli.Promptly(ctx, func() (*loaded, error) { return f.load(arg) })
}

// load opens a model folder with its tokenizer, and puts the adapter on it if there is one.
func (f *modelFlags) load(arg string) (*loaded, error) {
	if err := f.checkWeights(); err != nil {
		return nil, err
	}
	dir, err := machine.ModelDir(arg)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	m, err := f.open(dir)
	if err != nil {
		return nil, err
	}
	m.tok = tok
	return m, nil
}

// open is load for folders that need no tokenizer.
func (f *modelFlags) open(arg string) (*loaded, error) {
	if err := f.checkWeights(); err != nil {
		return nil, err
	}
	dir, err := machine.ModelDir(arg)
	if err != nil {
		return nil, err
	}
	dev, dtype, packed, done, err := f.openDevice()
	if err != nil {
		return nil, err
	}
	m, err := model.OpenPacked(dir, dev, dtype, packed)
	if err != nil {
		done()
		return nil, err
	}
	if note := m.Note(); note != "" && f.notes != nil {
		fmt.Fprintln(f.notes(), "note:", note)
	}
	l := &loaded{dev: dev, dtype: dtype, model: m, close: func() { m.Free(); done() }}
	// The model under its adapters: weights are arranged where they are, and m.Model may be a wrapper by then.
	base := m.Model
	if len(f.adapters) > 0 {
		err = f.adapt(l)
	}
	if err == nil && f.generates {
		err = tensor.Try(func() { nn.Arrange(base) })
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// adapt puts the adapters on the model.
func (f *modelFlags) adapt(l *loaded) (err error) {
	m, free := l.model, l.close
	if l.adapter, err = f.openAdapters(adapter.Model{Model: m.Model, Params: m.Params}, l.dev, l.dtype); err != nil {
		return err
	}
	m.Model = l.adapter.Wrapped()
	l.close = func() { l.adapter.Free(); free() }
	return nil
}

// openAdapters puts the adapters on a model: one of any kind, or several whose updates add up.
func (f *modelFlags) openAdapters(m adapter.Model, dev device.Device, dtype device.DType) (onModel, error) {
	if len(f.adapters) == 1 && len(f.weights) == 0 {
		return adapter.OpenAny(f.adapters[0], m, dev, dtype)
	}
	if len(f.weights) > 0 && len(f.weights) != len(f.adapters) {
		return nil, fmt.Errorf("--adapter-weights has %d numbers and there are %d adapters; give each one", len(f.weights), len(f.adapters))
	}
	s, err := adapter.OpenSum(f.adapters, m, dev, dtype)
	if err != nil {
		return nil, err
	}
	if len(f.weights) > 0 {
		s.Use(f.weights)
	}
	return s, nil
}

func (f *modelFlags) add(cmd *cobra.Command) {
	f.notes = cmd.ErrOrStderr
	f.computeFlags.add(cmd)
	cmd.Flags().StringArrayVar(&f.adapters, "adapter", nil, "`folder` of an adapter to put on the model; given several times, the updates of LoRA adapters add up")
	cmd.Flags().Float64SliceVar(&f.weights, "adapter-weights", nil, "`factors` on the adapters' updates, as in 0.7,0.3; not set: 1 each")
	cmd.Flags().Lookup("adapter-weights").DefValue = "" // not "[]"
}

// generateCommand goes on from texts as they are; hone chat speaks by a model's template.
func generateCommand(a *cli.App) *cobra.Command {
	opt, flags, prompts := generate.DefaultOptions(), &modelFlags{}, ""
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
	flags.add(cmd)
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
func continueTexts(cmd *cobra.Command, a *cli.App, dir string, prompts []string, opt generate.Options, flags *modelFlags) error {
	if err := opt.Validate(); err != nil {
		return err
	}
	flags.generates = true
	m, err := flags.loadPromptly(cmd.Context(), dir)
	if err != nil {
		return err
	}
	defer m.close()
	opt.Joined = func(int) bool { return true }
	if eos, ok := m.tok.EOS(); ok {
		opt.EOS = []int32{eos}
	}
	ids, err := promptIDs(m.tok, prompts)
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
	outs, err := generate.New(m.dev, m.dtype, m.model, m.tok).Run(cmd.Context(), ids, opt, emit)
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
