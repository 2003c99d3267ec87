package chat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// golden is what testdata/gen/chat.py writes.
type golden struct {
	Conversations map[string][]Message
	Tokens        map[string]string
	Templates     map[string]string // of a folder elsewhere; empty: builtin and testdata
	Cases         []goldenCase
}

type goldenCase struct {
	Template, Conversation string
	Options                struct {
		Add   bool `json:"add_generation_prompt"`
		Tools json.RawMessage
		Vars  map[string]json.RawMessage
	}
	Text       *string
	Error      string
	Generation [][2]int
}

func (c goldenCase) options() Options {
	return Options{Tools: c.Options.Tools, Vars: c.Options.Vars, AddGenerationPrompt: c.Options.Add,
		Now: func() time.Time { return time.Date(2026, 3, 7, 14, 5, 9, 0, time.UTC) }}
}

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// template finds a template of the golden file by name.
func (g golden) template(t *testing.T, name string) *Template {
	t.Helper()
	source, ok := g.Templates[name]
	for _, dir := range []string{"builtin", "testdata"} {
		if data, err := os.ReadFile(filepath.Join(dir, name+".jinja")); !ok && err == nil {
			source, ok = string(data), true
		}
	}
	if !ok {
		t.Fatalf("the golden file names the template %s, which is not there", name)
	}
	p, err := New(source, "", Tokens{BOS: g.Tokens["bos_token"], EOS: g.Tokens["eos_token"]})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// TestGolden compares every conversation with the text that the reference implementation gives.
func TestGolden(t *testing.T) { checkGolden(t, readGolden(t, "testdata/golden.json")) }

// TestGoldenElsewhere does the same with a file made from other templates, which are not in the repository:
// python testdata/gen/chat.py --templates DIR --out FILE; HONE_CHAT_GOLDEN=FILE go test ./chat
func TestGoldenElsewhere(t *testing.T) {
	path := os.Getenv("HONE_CHAT_GOLDEN")
	if path == "" {
		t.Skip("HONE_CHAT_GOLDEN names no file")
	}
	checkGolden(t, readGolden(t, path))
}

func checkGolden(t *testing.T, g golden) {
	if len(g.Cases) == 0 {
		t.Fatal("the golden file has no cases")
	}
	for _, c := range g.Cases {
		p := g.template(t, c.Template)
		name := c.Template + " " + c.Conversation
		r, err := p.Render(g.Conversations[c.Conversation], c.options())
		got := r.Text
		switch {
		case c.Text == nil && err == nil:
			t.Errorf("%s %+v: got %q, the reference fails with %s", name, c.Options, got, c.Error)
		case c.Text == nil:
			if _, message, ok := strings.Cut(c.Error, "TemplateError: "); ok && !strings.HasSuffix(c.Error, "...") && !strings.Contains(err.Error(), message) {
				t.Errorf("%s: got the error %v, the reference says %s", name, err, message)
			}
		case err != nil:
			t.Errorf("%s %v: %v", name, c.options().AddGenerationPrompt, err)
		case got != *c.Text:
			t.Errorf("%s %+v: -reference +hone:\n%s", name, c.Options, cmp.Diff(*c.Text, got))
		}
	}
}
