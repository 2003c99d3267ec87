package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// maxFile bounds the files that Load reads; the largest tokenizer.json in use has some 35 MB.
const maxFile = 256 << 20

// Load reads a tokenizer from a folder or a file: tokenizer.json, a SentencePiece model (tokenizer.model), or vocab.json with merges.txt;
// with a folder they are looked for in this order. tokenizer_config.json beside the file is read too and, for the older forms,
// added_tokens.json and special_tokens_map.json. A part that is not supported gives an error that names it.
func Load(path string) (*Tokenizer, error) {
	m, err := loadFiles(path)
	if err != nil {
		return nil, err
	}
	t, err := newTokenizer(m)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer %s: %w", path, err)
	}
	return t, nil
}

// Parse reads a tokenizer from the content of a tokenizer.json, without a tokenizer_config.json.
func Parse(data []byte) (*Tokenizer, error) {
	m, err := parseModel(data)
	if err != nil {
		return nil, fmt.Errorf("parse tokenizer.json: %w", err)
	}
	t, err := newTokenizer(m)
	if err != nil {
		return nil, fmt.Errorf("parse tokenizer.json: %w", err)
	}
	return t, nil
}

// readBounded reads a file of at most maxFile bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB: not a tokenizer file", path, maxFile>>20)
	}
	return data, err
}

// jsonFile is tokenizer.json.
type jsonFile struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []AddedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         *jsonModel      `json:"model"`
}

// keptParts are parts of tokenizer.json that do not touch what Encode and Decode do; Save writes them back as they were.
// tokenizer_config.json's own keys are among them.
type keptParts struct {
	truncation, padding json.RawMessage
	config              map[string]json.RawMessage
}

// unmarshal is json.Unmarshal with errors in the file's terms, not in Go's: they name the key and what stands there.
func unmarshal(data []byte, to any) error {
	err := json.Unmarshal(data, to)
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ok && wrong.Field == "":
		return fmt.Errorf("it cannot be of the JSON type %s", wrong.Value)
	case ok:
		return fmt.Errorf("key %s cannot be of the JSON type %s", wrong.Field, wrong.Value)
	}
	return err
}

// unmarshalMap is unmarshal for an object of any keys, of which encoding/json does not say which one is wrong.
func unmarshalMap[T any](data []byte, to *map[string]T) error {
	err := unmarshal(data, to)
	var entries map[string]json.RawMessage
	if err == nil && !hasNull(data) || json.Unmarshal(data, &entries) != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		err := unmarshal(entries[key], new(T))
		if isNull(entries[key]) {
			err = errors.New("it cannot be null") // which encoding/json takes for any type
		}
		if err != nil {
			return fmt.Errorf("entry %q: %w", key, err)
		}
	}
	return err
}

// hasNull reports whether an object has a null for a value; a text that looks like one counts, too.
func hasNull(data []byte) bool {
	for {
		before, after, found := bytes.Cut(data, []byte("null"))
		if !found || bytes.HasSuffix(bytes.TrimRight(before, " \t\r\n"), []byte(":")) {
			return found
		}
		data = after
	}
}

// jsonMerges reads merges written as "left right" or as ["left", "right"].
type jsonMerges [][2]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *jsonMerges) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*[][2]string)(m)) == nil {
		return m.check(data)
	}
	var lines []string
	if err := json.Unmarshal(data, &lines); err != nil {
		return errors.New(`model.merges must be a list of "left right" or of ["left", "right"]`)
	}
	*m = make(jsonMerges, len(lines))
	for i, line := range lines {
		left, right, ok := cutOnce(line)
		if !ok {
			return fmt.Errorf("merge %d (%q) is not two pieces with one space between", i, line)
		}
		(*m)[i] = [2]string{left, right}
	}
	return nil
}

// check refuses lists that are not pairs, which decoding into an array lets pass.
func (m *jsonMerges) check(data []byte) error {
	var lists [][]string
	if err := json.Unmarshal(data, &lists); err != nil {
		return err
	}
	for i, l := range lists {
		if len(l) != 2 {
			return fmt.Errorf("merge %d has %d pieces, not two", i, len(l))
		}
	}
	return nil
}

// cutOnce cuts a line at its only space; ok is false when there is none, or more.
func cutOnce(line string) (left, right string, ok bool) {
	l, r, ok := bytes.Cut([]byte(line), []byte{' '})
	return string(l), string(r), ok && len(l) > 0 && len(r) > 0 && !bytes.Contains(r, []byte{' '})
}

// parseModel reads tokenizer.json.
func parseModel(data []byte) (model, error) {
	var f jsonFile
	if err := unmarshal(data, &f); err != nil {
		return model{}, fmt.Errorf("not a tokenizer.json: %w; copy the file anew", err)
	}
	if f.Model == nil {
		return model{}, errors.New("not a tokenizer.json: it has no model")
	}
	m, err := f.Model.model()
	m.added = f.AddedTokens
	m.parts = parts{f.Normalizer, f.PreTokenizer, f.PostProcessor, f.Decoder}
	m.kept = keptParts{truncation: f.Truncation, padding: f.Padding}
	return m, err
}

// loadConfig reads tokenizer_config.json and chat_template.jinja in dir, where they exist.
func loadConfig(dir string, m *model) error {
	path := filepath.Join(dir, "tokenizer_config.json")
	data, err := readBounded(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read tokenizer: %w", err)
	}
	if err == nil {
		if err := m.parseConfig(data); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	template, err := readBounded(filepath.Join(dir, "chat_template.jinja"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read chat template: %w", err)
	}
	m.config.ChatTemplate = string(template) // where both exist, the file of its own counts
	return nil
}

// parseConfig reads tokenizer_config.json: the names of special tokens, the longest text, the chat template. The rest is kept for Save.
func (m *model) parseConfig(data []byte) error {
	if err := unmarshal(data, &m.kept.config); err != nil {
		return fmt.Errorf("not a tokenizer_config.json: %w; copy the file anew", err)
	}
	c := &m.config
	for _, f := range []struct {
		key string
		to  *string
	}{{"bos_token", &c.BOS}, {"eos_token", &c.EOS}, {"pad_token", &c.PAD}, {"unk_token", &c.UNK}} {
		if err := tokenName(m.kept.config[f.key], f.to); err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
	}
	if raw := m.kept.config["model_max_length"]; !isNull(raw) {
		var n float64 // "no limit" is written as 1e30
		if err := unmarshal(raw, &n); err != nil {
			return fmt.Errorf("model_max_length: %w", err)
		}
		if n > 0 && n < math.MaxInt32 {
			c.ModelMaxLength = int(n)
		}
	}
	return chatTemplate(m.kept.config["chat_template"], &c.ChatTemplate)
}

// tokenName reads a token given by name or as an object with its content.
func tokenName(raw json.RawMessage, to *string) error {
	if isNull(raw) || json.Unmarshal(raw, to) == nil {
		return nil
	}
	var obj struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal(raw, &obj); err != nil {
		return errors.New("must be a token's name or an object with its content")
	}
	*to = obj.Content
	return nil
}

// chatTemplate reads one template, or the one named "default" of a list.
func chatTemplate(raw json.RawMessage, to *string) error {
	if isNull(raw) || json.Unmarshal(raw, to) == nil {
		return nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(raw, &list); err != nil {
		return errors.New("chat_template must be a string or a list of names and templates")
	}
	for _, t := range list {
		if t.Name == "default" {
			*to = t.Template
		}
	}
	return nil
}
