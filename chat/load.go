package chat

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hone/internal/atomicfile"
	"hone/tokenizer"
)

// ErrNoTemplate is what Load returns for a model folder without a chat template.
var ErrNoTemplate = errors.New("the model has no chat template")

// maxFile bounds the files that Load reads.
const maxFile = 64 << 20

// Load reads the chat template of a model folder: chat_template.jinja and additional_chat_templates/tool_use.jinja, or else the entry
// chat_template of tokenizer_config.json, one template or a list of named ones.
func Load(dir string, tokens Tokens) (*Template, error) {
	named, err := fromConfig(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	for name, path := range map[string]string{"default": "chat_template.jinja", "tool_use": toolTemplate} {
		data, err := readFile(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read chat template: %w", err)
		}
		named[name] = string(data)
	}
	source := named["default"]
	if source == "" {
		source = named["tool_use"]
	}
	if source == "" {
		return nil, ErrNoTemplate
	}
	return New(source, named["tool_use"], tokens)
}

// readFile refuses a file before it is read: a model folder comes from strangers, and a template is a few kilobytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are read", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// fromConfig reads the templates of tokenizer_config.json by name, "default" for a single one; there may be none.
func fromConfig(path string) (map[string]string, error) {
	named := map[string]string{}
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return named, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chat template: %w", err)
	}
	var config struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("read chat template from %s: %w", path, err)
	}
	if len(config.Template) == 0 || string(config.Template) == "null" {
		return named, nil
	}
	var one string
	if json.Unmarshal(config.Template, &one) == nil {
		named["default"] = one
		return named, nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(config.Template, &list); err != nil {
		return nil, fmt.Errorf("read chat template from %s: chat_template must be a text or a list of names and templates", path)
	}
	for _, t := range list {
		named[t.Name] = t.Template
	}
	return named, nil
}

//go:embed builtin/*.jinja
var builtin embed.FS

// Builtin parses one of hone's own templates, for models that come without one. Names lists them.
func Builtin(name string, tokens Tokens) (*Template, error) {
	data, err := builtin.ReadFile("builtin/" + name + ".jinja")
	if err != nil || strings.ContainsAny(name, "/\\") {
		return nil, fmt.Errorf("chat template %q is unknown; use %s, or a file", name, strings.Join(Names(), ", "))
	}
	return New(string(data), "", tokens)
}

// Names lists hone's own templates.
func Names() []string {
	entries, _ := builtin.ReadDir("builtin") // an embedded folder is always there
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".jinja"))
	}
	return names
}

// Source returns the template's text.
func (t *Template) Source() string { return t.source }

// Choose is the template of the given name or file, or without one that of the model in dir, whose tokenizer is tok; nil when it has none.
func Choose(name, dir string, tok *tokenizer.Tokenizer) (*Template, error) {
	config := tok.Config()
	tokens := Tokens{BOS: config.BOS, EOS: config.EOS, PAD: config.PAD, UNK: config.UNK}
	if name == "" {
		t, err := Load(dir, tokens)
		if errors.Is(err, ErrNoTemplate) {
			return nil, nil
		}
		return t, err
	}
	source, err := os.ReadFile(name)
	if err == nil {
		return New(string(source), "", tokens)
	}
	t, err := Builtin(name, tokens)
	if err != nil {
		return nil, fmt.Errorf("chat_template: %w", err)
	}
	return t, nil
}

// toolTemplate is where a model folder has its template for conversations with tools.
const toolTemplate = "additional_chat_templates/tool_use.jinja"

// Key identifies all that decides what conversations look like: both templates and what they call the tokens.
func (t *Template) Key() string { return fmt.Sprintf("%q %q %q", t.source, t.forTool, t.tokens) }

// Save puts the template with a model, as transformers does, and the one for tools beside it; without one it does nothing.
func (t *Template) Save(dir string) error {
	if t == nil {
		return nil
	}
	if t.forTool != "" {
		path := filepath.Join(dir, filepath.FromSlash(toolTemplate))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return fmt.Errorf("save chat template: %w", err)
		}
		if err := atomicfile.WriteFile(path, []byte(t.forTool)); err != nil {
			return err
		}
	}
	return atomicfile.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(t.Source()))
}
