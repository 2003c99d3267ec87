package inference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hone/chat"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/cmd/hone/machine"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/tokenizer"
)

// Chat is hone chat, a conversation in the terminal or through pipes.
func Chat(a *cli.App) *cobra.Command {
	opt, flags := generate.DefaultOptions(), &loaded.Flags{}
	opt.MaxNewTokens = 1024
	var system, template string
	cmd := &cobra.Command{
		Use:   "chat MODEL",
		Short: "Talk with a model",
		Long: "Talks with a model through its chat template. On a terminal Ctrl-C stops an answer, Ctrl-D leaves, and these lines are commands:\n\n" + chatHelp + "\n" +
			"Without a terminal each line of stdin is a turn. The keys and values of the conversation stay in memory, so a turn costs only what is new.\n\n" +
			"With --json an answer is one object on a line of stdout, written when the answer is whole, so that a program can choose what to say next by it: " +
			"role, content, tokens (how many) and finish (eos, stop, length or stopped).",
		Example: "  hone chat HuggingFaceTB/SmolLM2-135M-Instruct\n  hone chat runs/sft/model --system \"Answer in one sentence.\" --temperature 0.7\n" +
			"  printf 'Hi!\\nAnd in French?\\n' | hone chat runs/sft/model --temperature 0",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return startChat(cmd.Context(), a, args[0], chatSettings{system, template, opt, flags})
		},
	}
	f := cmd.Flags()
	f.StringVar(&system, "system", "", "what the model is told before the conversation")
	f.StringVar(&template, "template", "", "chat template instead of the model's own: a file, or one of "+strings.Join(chat.Names(), ", "))
	f.IntVar(&opt.MaxNewTokens, "max-new-tokens", opt.MaxNewTokens, "an answer has at most this many tokens")
	f.BoolVar(&a.JSON, "json", false, "print each answer as one object on a line of stdout") // unlike other commands, which have one result
	samplingFlags(cmd, &opt)
	flags.Add(cmd)
	return cmd
}

const chatHelp = "  /reset           forget the conversation\n  /system [TEXT]   tell the model something else, or nothing, and forget the conversation\n" +
	"  /save FILE       write the conversation as JSON\n  /adapter [N...]  use these of several adapters, by number, 0 for none; without a number list them\n  /help            show this\n"

type chatSettings struct {
	system, template string
	opt              generate.Options
	flags            *loaded.Flags
}

// talk is a conversation with a model.
type talk struct {
	*cli.App
	model    *loaded.Model
	session  *generate.Session
	template *chat.Template
	opt      generate.Options
	system   string
	messages []chat.Message // the system message left out
	console  *console
	adapters *adapters // nil with one adapter or none
}

// startChat opens the model and talks until the input ends.
func startChat(ctx context.Context, a *cli.App, arg string, s chatSettings) error {
	if err := s.opt.Validate(); err != nil {
		return err
	}
	dir, err := machine.ModelDir(arg)
	if err != nil {
		return err
	}
	s.flags.Generates = true
	m, err := s.flags.LoadPromptly(ctx, dir)
	if err != nil {
		return err
	}
	defer m.Close()
	t := &talk{App: a, model: m, opt: s.opt, system: s.system, adapters: choices(s.flags, m)}
	if t.template, err = chatTemplate(templateDir(s.flags, dir), s.template, m.Tok); err != nil {
		return err
	}
	if t.opt.EOS, t.opt.Stop, err = answerEnds(dir, t.template, m.Tok, t.opt.Stop); err != nil {
		return err
	}
	t.session = generate.New(m.Dev, m.DType, m.Model, m.Tok).NewSession()
	defer t.session.Close()
	t.console = newConsole(a.In, a.Out)
	defer t.console.close()
	if t.console.terminal != nil {
		fmt.Fprintln(a.Err, "Ctrl-C stops an answer, Ctrl-D leaves, /help lists commands.")
		ctx = context.WithoutCancel(ctx) // Ctrl-C is about an answer here, which the console cancels, not about the program
	}
	return t.run(ctx)
}

// chatTemplate is the template that the user names, or the model's own; a model without one cannot chat.
func chatTemplate(dir, name string, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	t, err := templateIfAny(dir, name, tok)
	if err == nil && t == nil {
		err = fmt.Errorf("%s has no chat template, so it was not trained to chat; choose one with --template %s, or a file", dir, strings.Join(chat.Names(), ", "))
	}
	return t, err
}

// templateDir is the folder whose template a model is spoken to by: that of the first adapter whose run left one there, or else the model's, dir.
func templateDir(f *loaded.Flags, dir string) string {
	for _, a := range f.Adapters {
		if _, err := chat.Load(a, chat.Tokens{}); !errors.Is(err, chat.ErrNoTemplate) {
			return a
		}
	}
	return dir
}

// templateIfAny is the template that the user names, or the model's own, or nil when it has none.
func templateIfAny(dir, name string, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	c := tok.Config()
	tokens := chat.Tokens{BOS: c.BOS, EOS: c.EOS, PAD: c.PAD, UNK: c.UNK}
	if name == "" {
		t, err := chat.Load(dir, tokens)
		if errors.Is(err, chat.ErrNoTemplate) {
			return nil, nil
		}
		return t, err
	}
	if source, err := cli.ReadFile(name); err == nil {
		return chat.New(string(source), "", tokens)
	}
	return chat.Builtin(name, tokens)
}

// answerEnds finds what ends an answer beside the given stops: what the template writes there, the tokenizer's end of text and what
// generation_config.json says.
func answerEnds(dir string, template *chat.Template, tok *tokenizer.Tokenizer, stops []string) (ids []int32, texts []string, err error) {
	ids, texts = template.Stops(tok)
	if eos, ok := tok.EOS(); ok {
		ids = append(ids, eos)
	}
	more, err := configuredEnds(filepath.Join(dir, "generation_config.json"))
	if err != nil {
		return nil, nil, err
	}
	ids = append(ids, more...)
	slices.Sort(ids)
	return slices.Compact(ids), append(slices.Clone(stops), texts...), nil
}

// configuredEnds reads eos_token_id, a number or a list of them.
func configuredEnds(path string) ([]int32, error) {
	data, err := cli.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var one int32
	var list []int32
	switch {
	case len(c.EOS) == 0 || string(c.EOS) == "null":
		return nil, nil
	case json.Unmarshal(c.EOS, &one) == nil:
		return []int32{one}, nil
	case json.Unmarshal(c.EOS, &list) != nil:
		return nil, fmt.Errorf("read %s: eos_token_id must be a number or a list of numbers", path)
	}
	return list, nil
}

// run takes turns until the input ends.
func (t *talk) run(ctx context.Context) error {
	for {
		line, err := t.console.line(ctx)
		if err == io.EOF {
			if t.console.terminal != nil {
				fmt.Fprintln(t.Out)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what to say: %w", err)
		}
		switch text := strings.TrimSpace(line); {
		case text == "":
		case strings.HasPrefix(text, "/"):
			err = t.command(text)
		default:
			err = t.turn(ctx, line)
		}
		if t.console.terminal == nil && (err != nil || ctx.Err() != nil) {
			return errors.Join(err, ctx.Err())
		}
		if err != nil {
			fmt.Fprintln(t.Err, "hone:", err)
		}
	}
}

// command does what a line that begins with a slash says. What changes what the model knows of the conversation forgets it.
func (t *talk) command(text string) error {
	name, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/reset":
		t.messages = nil
	case "/system":
		t.system, t.messages = rest, nil
	case "/save":
		return t.save(rest)
	case "/adapter":
		return t.choose(rest)
	case "/help":
		fmt.Fprint(t.Err, chatHelp)
	default:
		return fmt.Errorf("%s is no command; /help lists them", name)
	}
	return nil
}

// all is the conversation with the system message.
func (t *talk) all() []chat.Message {
	if t.system == "" {
		return t.messages
	}
	return append([]chat.Message{chat.NewMessage("system", t.system)}, t.messages...)
}

// save writes the conversation as hone sft reads examples.
func (t *talk) save(path string) error {
	if path == "" {
		return errors.New("/save needs the name of a file")
	}
	data, err := json.Marshal(map[string]any{"messages": t.all()})
	if err != nil {
		return fmt.Errorf("save the conversation: %w", err)
	}
	if err := atomicfile.WriteFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("save the conversation: %w", err)
	}
	fmt.Fprintf(t.Err, "%d messages are in %s\n", len(t.all()), path)
	return nil
}

// spoken is an answer with --json.
type spoken struct {
	Role    string          `json:"role"`
	Content string          `json:"content"`
	Tokens  int             `json:"tokens"`
	Finish  generate.Finish `json:"finish"`
}

// turn asks and prints the answer as it comes. A turn that fails is forgotten, and so is one that was stopped before the first word.
func (t *talk) turn(ctx context.Context, question string) error {
	before := t.messages
	t.messages = append(t.messages, chat.NewMessage("user", question))
	out, err := t.answer(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.messages = before
		return err
	}
	t.messages = append(t.messages, chat.NewMessage("assistant", out.Text))
	if err != nil {
		out.Finish = "stopped"
	}
	if err != nil && out.Text == "" {
		t.messages = before
	}
	return t.Result(spoken{"assistant", out.Text, len(out.Tokens), out.Finish}, func(w io.Writer) { fmt.Fprintln(w) })
}

// answer writes an answer to the conversation. A Ctrl-C ends it with context.Canceled and what was written so far.
func (t *talk) answer(ctx context.Context) (generate.Output, error) {
	e, err := t.template.Encode(t.model.Tok, t.all(), chat.Options{AddGenerationPrompt: true, Now: time.Now})
	if err != nil {
		return generate.Output{}, err
	}
	// Told before the answer and not cut: which part of a conversation to forget is the user's choice.
	if limit := t.model.Model.Shape().MaxPositions; limit > 0 && len(e.IDs) >= limit {
		return generate.Output{}, fmt.Errorf("the conversation has %d tokens and the model reads %d; /reset forgets it", len(e.IDs), limit)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-t.console.interrupts: // of before
	default:
	}
	go func() {
		select {
		case <-t.console.interrupts:
			cancel()
		case <-t.console.quit:
			os.Exit(1)
		case <-ctx.Done():
		}
	}()
	return t.session.Run(ctx, e.IDs, t.opt, func(text string) {
		if t.JSON {
			return
		}
		if t.console.terminal != nil {
			text = cli.Shown(text)
		}
		_, _ = io.WriteString(t.Out, text)
	})
}
