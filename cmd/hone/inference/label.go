package inference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hone/chat"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/cmd/hone/machine"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/recipe/example"
	"hone/serve/label"
)

// labelSettings are the flags of hone label.
type labelSettings struct {
	prompts, pairs, store, listen, token string
	modelB, template, promptsAs          string
	temperatureB                         float64
	opt                                  generate.Options
	flags                                loaded.Flags
}

// Label is hone label, with hone label export.
func Label(a *cli.App) *cobra.Command {
	s := labelSettings{opt: generate.DefaultOptions()}
	s.opt.MaxNewTokens, s.opt.BatchSize = 256, 8
	cmd := &cobra.Command{
		Use:   "label [MODEL]",
		Short: "Collect preferences: two answers side by side on a local web page",
		Long: "Opens a web page that shows two answers to each prompt, from one model sampled twice or from two models, and asks which is better. Verdicts are\n" +
			"in the store, an SQLite file, before the next pair is shown; start again with the same store to go on. Prompts are the lines of a text file, or\n" +
			"records with `prompt` or `messages`; --pairs takes records that have their answers already (`prompt`, `chosen`, `rejected`). Several people\n" +
			"may judge at once, each under a name; which answer stands on the left is drawn for each of them, and recorded. Only this machine can open the page unless --listen says otherwise, and only with the token in the printed address.",
		Example: "  hone label runs/sft/model --prompts prompts.txt --store labels.sqlite\n  hone label runs/a/model --model-b runs/b/model --prompts prompts.jsonl\n" +
			"  hone label --pairs preferences.jsonl\n  hone label export labels.sqlite --out preferences.jsonl",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return collect(cmd.Context(), a, args, s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.prompts, "prompts", "", "file of prompts to answer")
	f.StringVar(&s.promptsAs, "prompts-as", "auto", "what a prompt that is a text is: user (what the user says), text (gone on from as it is), or auto: user where the model has a chat template")
	f.StringVar(&s.pairs, "pairs", "", "file of prompts with two answers each")
	f.StringVar(&s.store, "store", "labels.sqlite", "file that keeps pairs and verdicts")
	f.StringVar(&s.listen, "listen", "127.0.0.1:8321", "address of the page; port 0 takes a free one")
	f.StringVar(&s.token, "token", "", "secret in the page's address (default: drawn at each start)")
	f.StringVar(&s.modelB, "model-b", "", "model of the second answer (default: the first, sampled again)")
	f.Float64Var(&s.temperatureB, "temperature-b", math.NaN(), "temperature of the second answer")
	f.Lookup("temperature-b").DefValue = "that of the first"
	f.StringVar(&s.template, "template", "", "chat template instead of the model's own: a file, or one of "+strings.Join(chat.Names(), ", "))
	f.IntVar(&s.opt.MaxNewTokens, "max-new-tokens", s.opt.MaxNewTokens, "an answer has at most this many tokens")
	samplingFlags(cmd, &s.opt)
	s.flags.Add(cmd)
	cmd.AddCommand(labelExportCommand(a))
	return cmd
}

func labelExportCommand(a *cli.App) *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use: "export STORE", Short: "Write verdicts as preference records",
		Long:    "Writes a line of JSON for each verdict that prefers an answer: prompt, chosen, rejected, annotator and where they come from.",
		Example: "  hone label export labels.sqlite --out preferences.jsonl",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exportLabels(cmd.Context(), a, args[0], out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	_ = cmd.MarkFlagRequired("out") // the flag is there
	return cmd
}

// exportLabels writes the file whole or not at all. A store that is not there is refused: opening would make it.
func exportLabels(ctx context.Context, a *cli.App, store, out string) error {
	if _, err := os.Stat(store); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("export labels: there is no store %s; name the file that hone label keeps verdicts in, as its --store", store)
	} else if err != nil {
		return fmt.Errorf("export labels: %w", err)
	}
	s, err := label.Open(ctx, store)
	if err != nil {
		return err
	}
	defer s.Close()
	var done label.Exported
	err = atomicfile.WriteTo(out, func(w io.Writer) error {
		done, err = s.Export(ctx, w)
		return err
	})
	if err != nil {
		return err
	}
	return a.Result(done, func(w io.Writer) {
		unusable := ""
		if n := done.LeftOut[label.Unusable]; n > 0 {
			unusable = fmt.Sprintf(", %d of pairs with an empty answer or two alike", n)
		}
		fmt.Fprintf(w, "%d preferences in %s; left out: %d ties, %d both bad, %d skipped%s\n",
			done.Written, out, done.LeftOut[label.Tie], done.LeftOut[label.Bad], done.LeftOut[label.Skip], unusable)
	})
}

// validate refuses what cannot give two different answers to a prompt, before a model is opened.
func (s *labelSettings) validate(args []string) error {
	switch {
	case s.prompts != "" && len(args) == 0:
		return errors.New("prompts need a model to answer them: hone label MODEL --prompts FILE")
	case s.modelB != "" && len(args) == 0:
		return errors.New("--model-b needs a first model: hone label MODEL --model-b OTHER --prompts FILE")
	case s.temperatureB < 0:
		return fmt.Errorf("temperature-b is %v; it must be at least 0", s.temperatureB)
	}
	if math.IsNaN(s.temperatureB) {
		s.temperatureB = s.opt.Temperature
	}
	// Pairs of equal answers are not shown, so nobody would ever see one.
	if s.modelB == "" && s.opt.Temperature == 0 && s.temperatureB == 0 && len(args) > 0 {
		return errors.New("one model at temperature 0 answers twice the same; raise --temperature-b or name --model-b")
	}
	return s.opt.Validate()
}

// collect looks first at what may fail: a store that is damaged, pairs, models, prompts. Only then it makes a new store.
func collect(ctx context.Context, a *cli.App, args []string, s labelSettings) error {
	if err := s.validate(args); err != nil {
		return err
	}
	var store *label.Store
	open := func() (err error) { store, err = label.Open(ctx, s.store); return err }
	_, missing := os.Stat(s.store)
	if missing == nil { // so that a damaged store is reported before anything is read
		if err := open(); err != nil {
			return err
		}
		defer store.Close()
	}
	var in labelInput
	if s.pairs != "" {
		if err := readPairs(a, s.pairs, &in); err != nil {
			return err
		}
	}
	var writers []*writer
	if len(args) > 0 {
		var err error
		if writers, err = openWriters(args[0], &s); err != nil {
			return err
		}
		defer closeWriters(writers)
	}
	if s.prompts != "" {
		spoken, err := example.PromptsAs(s.promptsAs).Spoken(writers[0].template != nil)
		if err != nil {
			return err
		}
		if err := readPromptRecords(a, s.prompts, spoken, &in); err != nil {
			return err
		}
	}
	if missing != nil { // made only now, so that a call that is refused leaves no store behind
		if len(in.pairs)+len(in.prompts) == 0 {
			return s.nothing()
		}
		if err := open(); err != nil {
			return err
		}
		defer store.Close()
	}
	if err := addInput(ctx, a, store, s, in); err != nil {
		return err
	}
	p, err := store.Progress(ctx, "")
	if err == nil && p.Ready+p.Waiting == 0 {
		err = s.nothing()
	}
	if err != nil {
		return err
	}
	return serveLabels(ctx, a, store, writers, s)
}

func (s *labelSettings) nothing() error {
	return fmt.Errorf("%s has nothing to judge; give prompts, as in hone label MODEL --prompts FILE", s.store)
}

// serveLabels shows the page while answers are written, until the user stops the program.
func serveLabels(ctx context.Context, a *cli.App, store *label.Store, writers []*writer, s labelSettings) error {
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("open the label page on %s: %w; choose another with --listen", s.listen, err)
	}
	server, err := label.NewServer(store, l.Addr().String(), s.token)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Err, "open %s\nCtrl-C ends; verdicts are kept in %s\n", server.URL(), s.store)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		if err := writeAnswers(ctx, store, writers); err != nil && ctx.Err() == nil {
			fmt.Fprintln(a.Err, "hone:", err)
			server.Trouble(err.Error())
		}
	}()
	err = server.Serve(ctx, l)
	<-writing // the models are in use until then
	if err != nil {
		return err
	}
	p, err := store.Progress(context.WithoutCancel(ctx), "")
	if err != nil {
		return err
	}
	return a.Result(p, func(w io.Writer) {
		fmt.Fprintf(w, "%d pairs, %d left out as alike or empty, %d prompts without answers\n", p.Ready, p.LeftOut, p.Waiting)
		agreement := ""
		if p.Agreement.Shared > 0 {
			agreement = fmt.Sprintf(", agreement %.0f%%", p.Agreement.Percent)
		}
		fmt.Fprintf(w, "%d annotators, %d pairs judged by several%s\nnext: hone label export %s --out preferences.jsonl\n",
			p.Agreement.Annotators, p.Agreement.Shared, agreement, cli.Word(s.store))
	})
}

// writer answers prompts with one model.
type writer struct {
	model    *loaded.Model
	template *chat.Template // nil: texts are continued
	engine   *generate.Engine
	opt      generate.Options
	source   string
	shared   bool // the model is another writer's
}

// openWriters opens the models of the two answers, which may be one.
func openWriters(dir string, s *labelSettings) (list []*writer, err error) {
	a, err := openWriter(dir, s, s.opt)
	if err != nil {
		return nil, err
	}
	opt := s.opt
	opt.Temperature = s.temperatureB
	if s.modelB != "" {
		b, err := openWriter(s.modelB, s, opt)
		if err != nil {
			closeWriters([]*writer{a})
			return nil, err
		}
		return []*writer{a, b}, nil
	}
	b := *a
	b.shared, b.opt.Temperature = true, opt.Temperature
	return []*writer{a, &b}, nil
}

// openWriter opens a model with its own tokenizer, template and ends, which two models need not share.
func openWriter(arg string, s *labelSettings, opt generate.Options) (*writer, error) {
	dir, err := machine.ModelDir(arg)
	if err != nil {
		return nil, err
	}
	s.flags.Generates = true
	m, err := s.flags.Load(dir)
	if err != nil {
		return nil, err
	}
	w := &writer{model: m, engine: generate.New(m.Dev, m.DType, m.Model, m.Tok), opt: opt, source: arg}
	if w.template, err = templateIfAny(templateDir(&s.flags, dir), s.template, m.Tok); err != nil {
		m.Close()
		return nil, err
	}
	if err := w.setStops(dir); err != nil {
		m.Close()
		return nil, err
	}
	return w, nil
}

func (w *writer) setStops(dir string) (err error) {
	if w.template == nil {
		if eos, ok := w.model.Tok.EOS(); ok {
			w.opt.EOS = []int32{eos}
		}
		return nil
	}
	w.opt.EOS, w.opt.Stop, err = answerEnds(dir, w.template, w.model.Tok, w.opt.Stop)
	return err
}

func closeWriters(list []*writer) {
	for _, w := range list {
		if !w.shared {
			w.model.Close()
		}
	}
}

// writeAnswers answers the prompts of the store that have no answers yet.
func writeAnswers(ctx context.Context, store *label.Store, writers []*writer) error {
	if len(writers) == 0 {
		return nil
	}
	for {
		pairs, err := store.Unanswered(ctx, writers[0].opt.BatchSize)
		if err != nil || len(pairs) == 0 {
			return err
		}
		// A batch is answered by both before it is kept: a crash in between loses that batch's answers and no verdict.
		for side, w := range writers {
			// each batch and side has random numbers of its own
			opt := w.opt
			// Going on with a store draws the same answers as if it had never stopped.
			opt.Seed = opt.Seed<<32 ^ uint64(pairs[0].ID)<<1 ^ uint64(side)
			if err := w.answer(ctx, pairs, side, opt); err != nil {
				return err
			}
		}
		if err := store.SetAnswers(ctx, pairs); err != nil {
			return err
		}
	}
}

// answer fills the answers of one side.
func (w *writer) answer(ctx context.Context, pairs []label.Pair, side int, opt generate.Options) error {
	prompts := make([][]int32, len(pairs))
	for i, p := range pairs {
		ids, err := w.encode(p.Prompt)
		if err != nil {
			return fmt.Errorf("prompt of pair %d: %w", p.ID, err)
		}
		prompts[i] = ids
	}
	opt.Joined = func(i int) bool {
		_, isText := promptText(pairs[i].Prompt)
		return isText
	}
	outs, err := w.engine.Run(ctx, prompts, opt, nil)
	if err != nil {
		return err
	}
	source := fmt.Sprintf("%s temperature=%g top_p=%g seed=%d", w.source, opt.Temperature, opt.TopP, opt.Seed)
	for i, o := range outs {
		pairs[i].Answers[side] = label.Answer{Text: o.Text, Source: source}
	}
	return nil
}

// promptText is a prompt that is a text and no list of messages.
func promptText(prompt json.RawMessage) (text string, ok bool) {
	err := json.Unmarshal(prompt, &text)
	return text, err == nil
}

// encode makes tokens of a prompt, a text or a list of messages, up to where the answer begins.
func (w *writer) encode(prompt json.RawMessage) ([]int32, error) {
	if text, ok := promptText(prompt); ok {
		return w.model.Tok.Prompt([]byte(text)), nil // as in training
	}
	if w.template == nil {
		return nil, fmt.Errorf("%s has no chat template for a prompt of messages; choose one with --template", w.source)
	}
	var messages []chat.Message
	if err := json.Unmarshal(prompt, &messages); err != nil {
		return nil, err
	}
	e, err := w.template.Encode(w.model.Tok, messages, chat.Options{AddGenerationPrompt: true, Now: time.Now})
	return e.IDs, err
}
