package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/internal/atomicfile"
	"hone/internal/bytepair"
)

// Save writes tokenizer.json and tokenizer_config.json to dir, which it makes if need be. The reference libraries load them and give
// the same ids; so does Load. Each file is replaced atomically.
func (t *Tokenizer) Save(dir string) error {
	data, err := t.MarshalJSON()
	if err != nil {
		return fmt.Errorf("save tokenizer: %w", err)
	}
	config, err := t.marshalConfig()
	if err != nil {
		return fmt.Errorf("save tokenizer: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("save tokenizer: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, "tokenizer.json"), data); err != nil {
		return fmt.Errorf("save tokenizer: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, "tokenizer_config.json"), config); err != nil {
		return fmt.Errorf("save tokenizer: %w", err)
	}
	return nil
}

// MarshalJSON returns the content of tokenizer.json, the same bytes for the same tokenizer.
func (t *Tokenizer) MarshalJSON() ([]byte, error) {
	file := object{
		{"version", "1.0"}, {"truncation", t.kept.truncation}, {"padding", t.kept.padding},
		{"added_tokens", append([]AddedToken{}, t.addedList...)}, {"normalizer", t.parts.normalizer}, {"pre_tokenizer", t.parts.preTokenizer},
		{"post_processor", t.parts.postProcessor}, {"decoder", t.parts.decoder}, {"model", t.modelJSON()},
	}
	return indented(file)
}

// modelJSON is the model with its vocabulary, in the reference's order of fields.
func (t *Tokenizer) modelJSON() object {
	fields := slices.Clone(t.modelFields)
	switch {
	case t.bpe != nil:
		return append(fields, field{"vocab", t.vocab()}, field{"merges", t.mergeNames()})
	case t.scores != nil:
		return append(fields, field{"vocab", t.scoredPieces()})
	}
	return append(fields, field{"vocab", t.vocab()})
}

// scoredPieces is Unigram's vocabulary.
func (t *Tokenizer) scoredPieces() [][2]any {
	out := make([][2]any, len(t.scores))
	for id, score := range t.scores {
		out[id] = [2]any{t.tokens[id].name, score}
	}
	return out
}

// marshalConfig returns the content of tokenizer_config.json: what was loaded, with Config on top.
func (t *Tokenizer) marshalConfig() ([]byte, error) {
	out := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false}
	for key, raw := range t.kept.config {
		out[key] = raw
	}
	c := t.config
	for key, value := range map[string]string{"bos_token": c.BOS, "eos_token": c.EOS, "pad_token": c.PAD, "unk_token": c.UNK} {
		var old string
		if tokenName(t.kept.config[key], &old) == nil && old == value && value != "" {
			continue // keeps the form and the flags that the file had
		}
		delete(out, key)
		if value != "" {
			out[key] = value
		}
	}
	if c.ModelMaxLength > 0 {
		out["model_max_length"] = c.ModelMaxLength
	}
	var old string
	if chatTemplate(t.kept.config["chat_template"], &old) != nil || old != c.ChatTemplate {
		delete(out, "chat_template")
		if c.ChatTemplate != "" {
			out["chat_template"] = c.ChatTemplate
		}
	}
	var sorted object
	for _, key := range slices.Sorted(maps.Keys(out)) {
		sorted = append(sorted, field{key, out[key]})
	}
	return indented(sorted)
}

// byteLevelParts are the components of a byte-level tokenizer that Train makes.
func byteLevelParts(p bytepair.Pattern) (parts, error) {
	pre := byteLevelPart(false, true)
	if p.Regex != bytepair.GPT2 {
		split := object{{"type", "Split"}, {"pattern", object{{"Regex", p.Regex}}}, {"behavior", "Isolated"}, {"invert", false}}
		pre = object{{"type", "Sequence"}, {"pretokenizers", []object{split, byteLevelPart(false, false)}}}
	}
	preTokenizer, err := pre.MarshalJSON()
	if err != nil {
		return parts{}, err
	}
	decoder, err := byteLevelPart(true, true).MarshalJSON()
	return parts{preTokenizer: preTokenizer, decoder: decoder}, err
}

// byteLevelPart is ByteLevel, as a pre-tokenizer or decoder.
func byteLevelPart(prefixSpace, useRegex bool) object {
	return object{{"type", "ByteLevel"}, {"add_prefix_space", prefixSpace}, {"trim_offsets", true}, {"use_regex", useRegex}}
}

// vocab lists the model's own tokens by id.
func (t *Tokenizer) vocab() object {
	out := object{}
	for id, tok := range t.tokens {
		if tok.model {
			out = append(out, field{tok.name, id})
		}
	}
	return out
}

// mergeNames writes merges as "left right", which every version of the reference reads; as pairs where a piece holds a space.
func (t *Tokenizer) mergeNames() any {
	lines, pairs, spaces := make([]string, len(t.bpe.mergeList)), make([][2]string, len(t.bpe.mergeList)), false
	for i, p := range t.bpe.mergeList {
		left, right := t.tokens[p.Left()].name, t.tokens[p.Right()].name
		pairs[i] = [2]string{left, right}
		lines[i] = left + " " + right
		spaces = spaces || strings.Count(lines[i], " ") != 1
	}
	if spaces {
		return pairs
	}
	return lines
}

// object is a JSON object that keeps the order of its fields.
type object []field

type field struct {
	key   string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	buf.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			buf.WriteByte(',')
		}
		if err := enc.Encode(f.key); err != nil {
			return nil, err
		}
		buf.WriteByte(':')
		if err := enc.Encode(f.value); err != nil {
			return nil, err
		}
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// indented is an object in lines, as the reference writes it with pretty=True.
func indented(o object) ([]byte, error) {
	raw, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := json.Indent(&buf, bytes.TrimSpace(raw), "", "  "); err != nil {
		return nil, err
	}
	buf.WriteByte('\n')
	return buf.Bytes(), nil
}
