package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// maxFile bounds the files that Load reads; the largest tokenizer.json in use has some 35 MB.
const maxFile = 256 << 20

// Load reads a tokenizer from a folder that holds tokenizer.json (and, if it exists, tokenizer_config.json), or from the path of a
// tokenizer.json. Byte-level BPE models load; a part that is not supported gives an error that names it.
func Load(path string) (*Tokenizer, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "tokenizer.json")
	}
	data, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer: %w", err)
	}
	m, err := parseModel(data)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer %s: %w", path, err)
	}
	if err := loadConfig(filepath.Dir(path), &m); err != nil {
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
	Model         jsonModel       `json:"model"`
}

// jsonModel is the model of type BPE.
type jsonModel struct {
	Type         string           `json:"type"`
	Dropout      *float64         `json:"dropout"`
	Unk          *string          `json:"unk_token"`
	Prefix       *string          `json:"continuing_subword_prefix"`
	Suffix       *string          `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       jsonMerges       `json:"merges"`
}

// jsonPart is any pre-tokenizer, post-processor or decoder.
type jsonPart struct {
	Type           string            `json:"type"`
	AddPrefixSpace *bool             `json:"add_prefix_space"`
	UseRegex       *bool             `json:"use_regex"`
	Behavior       string            `json:"behavior"`
	Pattern        map[string]string `json:"pattern"`
	PreTokenizers  []jsonPart        `json:"pretokenizers"`
	Processors     []jsonPart        `json:"processors"`
}

// keptParts are parts of tokenizer.json that do not touch what Encode and Decode do; Save writes them back as they were.
// tokenizer_config.json's own keys are among them.
type keptParts struct {
	truncation, padding, postProcessor json.RawMessage
	config                             map[string]json.RawMessage
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

func cutOnce(line string) (left, right string, ok bool) {
	l, r, ok := bytes.Cut([]byte(line), []byte{' '})
	return string(l), string(r), ok && len(l) > 0 && len(r) > 0 && !bytes.Contains(r, []byte{' '})
}

func parseModel(data []byte) (model, error) {
	var f jsonFile
	if err := json.Unmarshal(data, &f); err != nil {
		return model{}, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	m := model{
		vocab: f.Model.Vocab, merges: f.Model.Merges, added: f.AddedTokens, ignoreMerges: f.Model.IgnoreMerges,
		kept: keptParts{truncation: f.Truncation, padding: f.Padding, postProcessor: f.PostProcessor},
	}
	if f.Model.Unk != nil {
		m.unk = *f.Model.Unk
	}
	if err := f.Model.check(); err != nil {
		return model{}, err
	}
	if !isNull(f.Normalizer) {
		return model{}, unsupported("normalizer", f.Normalizer, "none")
	}
	if err := m.setPreTokenizer(f.PreTokenizer); err != nil {
		return model{}, err
	}
	if err := checkPostProcessor(f.PostProcessor); err != nil {
		return model{}, err
	}
	return m, checkDecoder(f.Decoder)
}

func (m *jsonModel) check() error {
	switch {
	case m.Type != "BPE" && m.Type != "":
		return fmt.Errorf("model type %q is not supported: only byte-level BPE is", m.Type)
	case len(m.Vocab) == 0:
		return errors.New("model.vocab is missing or empty")
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("model.dropout %v is not supported: only null is", *m.Dropout)
	case m.Prefix != nil && *m.Prefix != "":
		return fmt.Errorf("model.continuing_subword_prefix %q is not supported", *m.Prefix)
	case m.Suffix != nil && *m.Suffix != "":
		return fmt.Errorf("model.end_of_word_suffix %q is not supported", *m.Suffix)
	case m.ByteFallback:
		return errors.New("model.byte_fallback is not supported: only byte-level BPE is")
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// unsupported names a part by its type.
func unsupported(key string, raw json.RawMessage, supported string) error {
	var part jsonPart
	if err := json.Unmarshal(raw, &part); err != nil || part.Type == "" {
		return fmt.Errorf("%s is malformed (supported: %s)", key, supported)
	}
	return fmt.Errorf("%s of type %q is not supported (supported: %s)", key, part.Type, supported)
}

// setPreTokenizer accepts ByteLevel, and Sequence[Split(regex, Isolated), ByteLevel without regex].
func (m *model) setPreTokenizer(raw json.RawMessage) error {
	const supported = "ByteLevel, or Sequence of Split with a Regex, Isolated, and ByteLevel without regex and prefix space"
	if isNull(raw) {
		return fmt.Errorf("pre_tokenizer is missing (supported: %s)", supported)
	}
	var part jsonPart
	if err := json.Unmarshal(raw, &part); err != nil {
		return unsupported("pre_tokenizer", raw, supported)
	}
	var err error
	switch {
	case part.Type == "ByteLevel" && orTrue(part.UseRegex):
		m.prefixSpace = orTrue(part.AddPrefixSpace)
		m.pattern, err = newPattern(regexGPT2)
		return err
	case part.Type == "Sequence" && len(part.PreTokenizers) == 2:
		split, level := part.PreTokenizers[0], part.PreTokenizers[1]
		regex, ok := split.Pattern["Regex"]
		if split.Type != "Split" || !ok || split.Behavior != "Isolated" || level.Type != "ByteLevel" || orTrue(level.UseRegex) || orTrue(level.AddPrefixSpace) {
			return fmt.Errorf("pre_tokenizer Sequence[%s, %s] with these settings is not supported (supported: %s)", split.Type, level.Type, supported)
		}
		m.pattern, err = newPattern(regex)
		return err
	}
	return unsupported("pre_tokenizer", raw, supported)
}

// orTrue gives ByteLevel's settings their default.
func orTrue(b *bool) bool { return b == nil || *b }

// checkPostProcessor accepts what leaves the ids of a text alone: ByteLevel trims offsets, and TemplateProcessing adds special tokens,
// which Encode never does.
func checkPostProcessor(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	const supported = "ByteLevel, TemplateProcessing, and a Sequence of them"
	var part jsonPart
	if err := json.Unmarshal(raw, &part); err != nil {
		return unsupported("post_processor", raw, supported)
	}
	parts := []jsonPart{part}
	if part.Type == "Sequence" {
		parts = part.Processors
	}
	for _, p := range parts {
		if p.Type != "ByteLevel" && p.Type != "TemplateProcessing" {
			return fmt.Errorf("post_processor of type %q is not supported (supported: %s)", p.Type, supported)
		}
	}
	return nil
}

func checkDecoder(raw json.RawMessage) error {
	var part jsonPart
	if isNull(raw) {
		return errors.New("decoder is missing (supported: ByteLevel)")
	}
	if err := json.Unmarshal(raw, &part); err != nil || part.Type != "ByteLevel" {
		return unsupported("decoder", raw, "ByteLevel")
	}
	return nil
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

func (m *model) parseConfig(data []byte) error {
	if err := json.Unmarshal(data, &m.kept.config); err != nil {
		return fmt.Errorf("not a tokenizer_config.json: %w", err)
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
		if err := json.Unmarshal(raw, &n); err != nil {
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
