package inference

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"hone/chat"
	"hone/cmd/hone/cli"
	"hone/data"
	"hone/serve/label"
)

// labelInput is what the files of a call hold.
type labelInput struct {
	prompts []json.RawMessage
	pairs   []label.Pair
}

// addInput puts what was read into the store.
func addInput(ctx context.Context, a *cli.App, store *label.Store, s labelSettings, in labelInput) error {
	for _, file := range []struct {
		path string
		all  int
		add  func() (int, error)
	}{
		{s.pairs, len(in.pairs), func() (int, error) { return store.AddPairs(ctx, in.pairs) }},
		{s.prompts, len(in.prompts), func() (int, error) { return store.AddPrompts(ctx, in.prompts) }},
	} {
		if file.path == "" {
			continue
		}
		added, err := file.add()
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Err, "%d of %d are new from %s\n", added, file.all, filepath.Base(file.path))
	}
	return nil
}

// readPromptRecords reads prompts; with spoken a text is what the user says.
func readPromptRecords(a *cli.App, path string, spoken bool, in *labelInput) error {
	texts := 0
	for p, err := range data.Prompts(data.Sources{Paths: []string{path}}, &data.Stats{}) {
		if err != nil {
			return err
		}
		if p.Messages == nil {
			texts++
		}
		if spoken && p.Messages == nil {
			m, err := plainJSON(chat.NewMessage("user", p.Prompt))
			if err != nil {
				return err
			}
			p.Messages = []json.RawMessage{m}
		}
		text, err := promptJSON(p, len(p.Messages))
		if err != nil {
			return err
		}
		in.prompts = append(in.prompts, text)
	}
	if texts > 0 {
		how := map[bool]string{true: "what the user says, by the chat template", false: "gone on from as they are"}[spoken]
		fmt.Fprintf(a.Err, "%d prompts are texts: they are %s (--prompts-as)\n", texts, how)
	}
	return nil
}

// readPairs reads preference records; what they say is better is for the people to find out again.
func readPairs(a *cli.App, path string, in *labelInput) error {
	leftOut := 0 // equal or empty answers: nothing to judge
	for d, err := range (data.Sources{Paths: []string{path}, Records: true}).Documents(&data.Stats{}) {
		if err != nil {
			return err
		}
		p, err := data.ParsePreference(d.Text)
		var unusable *data.Unusable
		// counted and not refused: a file of preferences may well have some, and there is nothing to judge in them
		if errors.As(err, &unusable) {
			leftOut++
			continue
		}
		pair := label.Pair{}
		if err == nil {
			pair, err = pairOf(p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Place(), err)
		}
		source := d.Place()
		pair.Answers[0].Source, pair.Answers[1].Source = source+" chosen", source+" rejected"
		in.pairs = append(in.pairs, pair)
	}
	if leftOut > 0 {
		fmt.Fprintf(a.Err, "left out: %d records of %s with equal or empty answers\n", leftOut, filepath.Base(path))
	}
	return nil
}

// pairOf is a preference as the page shows it.
func pairOf(p data.Preference) (pair label.Pair, err error) {
	if pair.Prompt, err = promptJSON(p.Chosen, p.Turns); err != nil {
		return pair, err
	}
	for i, e := range []data.Example{p.Chosen, p.Rejected} {
		pair.Answers[i].Text = e.Completion
		if e.Messages == nil {
			continue
		}
		if len(e.Messages) != p.Turns+1 {
			return pair, fmt.Errorf("an answer of %d messages cannot be shown; give answers of one", len(e.Messages)-p.Turns)
		}
		var m chat.Message
		if err := json.Unmarshal(e.Messages[p.Turns], &m); err != nil {
			return pair, err
		}
		pair.Answers[i].Text = m.Content()
	}
	return pair, nil
}

// promptJSON is a prompt as preference records hold it: a text, or the first turns messages.
func promptJSON(e data.Example, turns int) (json.RawMessage, error) {
	if e.Messages == nil {
		return plainJSON(e.Prompt)
	}
	return plainJSON(e.Messages[:turns])
}

// plainJSON marshals v with <, > and & as they are: people read it in the store and in the export.
func plainJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	err := out.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
