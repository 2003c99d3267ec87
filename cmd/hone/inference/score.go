package inference

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"hone/chat"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/cmd/hone/machine"
	"hone/recipe/judge"
)

// scoreFlags are the choices of hone score.
type scoreFlags struct {
	loaded.ComputeFlags
	prompt, file, template string
}

// Score is hone score, which has a reward model judge texts.
func Score(a *cli.App) *cobra.Command {
	f := scoreFlags{}
	cmd := &cobra.Command{
		Use:   "score MODEL [TEXT ...]",
		Short: "Score texts with a reward model",
		Long: "Scores each TEXT, an answer to --prompt or, without that, prompt and answer in one, or each line of --file (- is the\n" +
			"standard input), a JSON object with text (prompt and answer in one), with prompt and completion (texts or lists of\n" +
			"messages), or with messages. The model's end token is put behind a text, as in training. MODEL is a reward model or\n" +
			"an adapter of one.",
		Example: "  hone score runs/reward/model --prompt \"Name a prime.\" \"7\" \"8\"\n" +
			"  hone score runs/reward/adapter --file answers.jsonl --json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			texts, err := f.texts(a.In, args[1:])
			if err != nil {
				return err
			}
			dir, err := machine.ModelDir(args[0])
			if err != nil {
				return err
			}
			m, err := cli.Promptly(cmd.Context(), func() (*scorer, error) { return f.open(dir) })
			if err != nil {
				return err
			}
			defer m.close()
			scores, err := m.judge.Score(cmd.Context(), texts)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(scores, func(s float64) bool { return notFinite(float32(s)) }); i >= 0 {
				return fmt.Errorf("the score of text %d is %v: the model's weights are damaged or training diverged; take an earlier checkpoint, or copy them anew",
					i+1, scores[i])
			}
			return a.Result(map[string]any{"scores": scores}, func(w io.Writer) {
				for i, s := range scores {
					fmt.Fprintf(w, "%.6f\t%s\n", s, cli.Shown(oneLine(texts[i].Answer)))
				}
			})
		},
	}
	cmd.Flags().StringVar(&f.prompt, "prompt", "", "what the texts answer")
	cmd.Flags().StringVar(&f.file, "file", "", "JSON lines to score; - is the standard input")
	cmd.Flags().StringVar(&f.template, "chat-template", "", "name or file of a chat template (default: the model's own)")
	f.Add(cmd)
	return cmd
}

// scorer is a reward model on a device.
type scorer struct {
	judge *judge.Judge
	close func()
}

// open opens the device and the reward model of a folder.
func (f *scoreFlags) open(dir string) (*scorer, error) {
	dev, dtype, packed, done, err := f.OpenDevice()
	if err != nil {
		return nil, err
	}
	j, err := judge.Open(dir, dev, dtype, judge.Options{Template: f.template, Packed: packed})
	if err != nil {
		done()
		return nil, err
	}
	return &scorer{j, func() { j.Free(); done() }}, nil
}

// oneLine is the beginning of a text for a table; the mark says that there is more of it.
func oneLine(s string) string {
	const most = 80
	line := []rune{}
	for _, r := range s {
		if len(line) == most {
			return string(line) + "…"
		}
		if r == '\n' || r == '\t' {
			r = ' '
		}
		line = append(line, r)
	}
	return string(line)
}

// texts are those of the arguments, which answer --prompt, and then those of the file.
func (f *scoreFlags) texts(in io.Reader, args []string) ([]judge.Text, error) {
	var texts []judge.Text
	for _, t := range args {
		texts = append(texts, judge.Text{Prompt: f.prompt, Answer: t, Whole: f.prompt == ""})
	}
	if f.file == "" {
		if len(texts) == 0 {
			return nil, errors.New("nothing to score; give texts or --file FILE")
		}
		return texts, nil
	}
	name := "stdin"
	if f.file != "-" {
		name = f.file
		file, err := os.Open(f.file)
		if err != nil {
			return nil, cli.NotRead(f.file, "a JSON object on each line", err)
		}
		defer file.Close()
		in = file
	}
	const longest = 64 << 20
	lines := bufio.NewScanner(in)
	// A conversation is one line; the reader takes as much memory as the longest, and no more.
	lines.Buffer(nil, longest)
	n := 1
	for ; lines.Scan(); n++ {
		line := lines.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		t, err := scoreText(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		texts = append(texts, t)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s:%d: the line is longer than %d MiB; shorten it", name, n, longest>>20)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, cli.NotRead(name, "a JSON object on each line", err))
	case len(texts) == 0:
		return nil, fmt.Errorf("%s has nothing to score; give a JSON object on each line", name)
	}
	return texts, nil
}

// scoreText reads a line of a file to score.
func scoreText(line []byte) (t judge.Text, err error) {
	var record struct {
		Text       string          `json:"text"`
		Prompt     json.RawMessage `json:"prompt"`
		Completion json.RawMessage `json:"completion"`
		Messages   []chat.Message  `json:"messages"`
	}
	if err := json.Unmarshal(line, &record); err != nil {
		return t, fmt.Errorf("the line is no record: %w", cli.JSONError(err))
	}
	if record.Completion == nil {
		t.Messages, t.Answer, t.Whole = record.Messages, record.Text, record.Messages == nil
		if record.Messages == nil && record.Text == "" {
			err = errors.New("the record has neither text, nor prompt and completion, nor messages")
		}
		return t, err
	}
	if json.Unmarshal(record.Completion, &t.Answer) == nil && json.Unmarshal(record.Prompt, &t.Prompt) == nil {
		return t, nil
	}
	var prompt, completion []chat.Message
	if json.Unmarshal(record.Prompt, &prompt) != nil || json.Unmarshal(record.Completion, &completion) != nil {
		return t, errors.New("prompt and completion must both be texts or both lists of messages")
	}
	return judge.Text{Messages: append(prompt, completion...)}, nil
}
