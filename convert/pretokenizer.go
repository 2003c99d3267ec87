package convert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A pre-tokenizer of byte-level BPE, by the names it has in tokenizer.ggml.pre; the first is written. Patterns are those of the tokenizer.json
// that each name stands for.
type preTokenizer struct {
	names        []string
	splits       []string // patterns that cut first, one after the other; "" cuts single digits
	regex        bool     // ByteLevel cuts too, as GPT-2 does
	nfc          bool     // the text is normalised, which GGUF files do not say
	ignoreMerges bool     // a word that is a token is one
	bos          bool     // a text gets the beginning-of-text token unless the file says otherwise
}

const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	byLine       = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	llama3Split  = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` + byLine
	qwen2Split   = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + byLine
	upperLower   = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	upperOnly    = `|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
	slashLine    = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	tekkenSplit  = upperLower + upperOnly + `|\p{N}` + slashLine
	gpt4oSplit   = upperLower + contractions + `?` + upperOnly + contractions + `?|\p{N}{1,3}` + slashLine
	cjkSplit     = `[一-龥ࠀ-一가-퟿]+`
)

var preTokenizers = []preTokenizer{
	{names: []string{"gpt-2", "mpt", "olmo", "phi-2", "jais", "trillion", "exaone4", "gigachat", "mellum", "modern-bert", "granite-docling"}, regex: true},
	{names: []string{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}, splits: []string{""}, regex: true},
	{names: []string{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"}, splits: []string{llama3Split}, ignoreMerges: true, bos: true},
	{names: []string{"dbrx", "smaug-bpe"}, splits: []string{llama3Split}},
	{names: []string{"qwen2", "megrez", "deepseek-r1-qwen", "kormo"}, splits: []string{qwen2Split}, nfc: true},
	{names: []string{"stablelm2", "hunyuan", "solar-open"}, splits: []string{qwen2Split}},
	{names: []string{"tekken"}, splits: []string{tekkenSplit}, ignoreMerges: true, bos: true},
	{names: []string{"gpt-4o", "llama4", "kanana2"}, splits: []string{gpt4oSplit}},
	{names: []string{"deepseek-coder"}, splits: []string{`[` + "\r\n" + `]`, `\s?\p{L}+`, `\s?\p{P}+`, cjkSplit, ""}},
}

// preTokenizerOf finds the one that a GGUF file names.
func preTokenizerOf(name string) (preTokenizer, error) {
	for _, p := range preTokenizers {
		if slices.Contains(p.names, name) {
			return p, nil
		}
	}
	return preTokenizer{}, fmt.Errorf("the pre-tokenizer %q is not supported; these are: %s", name, strings.Join(preTokenizerNames(), ", "))
}

func preTokenizerNames() (list []string) {
	for _, p := range preTokenizers {
		list = append(list, p.names...)
	}
	return list
}

type object = map[string]any

// part is the pre_tokenizer of tokenizer.json.
func (p preTokenizer) part() object {
	var list []object
	for _, s := range p.splits {
		if s == "" {
			list = append(list, object{"type": "Digits", "individual_digits": true})
			continue
		}
		list = append(list, object{"type": "Split", "pattern": object{"Regex": s}, "behavior": "Isolated", "invert": false})
	}
	if len(list) == 0 {
		return byteLevel(p.regex)
	}
	return object{"type": "Sequence", "pretokenizers": append(list, byteLevel(p.regex))}
}

func byteLevel(regex bool) object {
	return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex}
}

// component is a part of tokenizer.json, any one.
type component struct {
	Type          string      `json:"type"`
	Pretokenizers []component `json:"pretokenizers"`
	Normalizers   []component `json:"normalizers"`
	Decoders      []component `json:"decoders"`
	Pattern       struct {
		Regex  string
		String *string
	} `json:"pattern"`
	Behavior         string `json:"behavior"`
	Invert           bool   `json:"invert"`
	IndividualDigits bool   `json:"individual_digits"`
	AddPrefixSpace   bool   `json:"add_prefix_space"`
	UseRegex         *bool  `json:"use_regex"`
	Prepend          string `json:"prepend"`
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	Content          string `json:"content"`
}

func parseComponent(raw json.RawMessage) (c component, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return c, nil
	}
	return c, json.Unmarshal(raw, &c)
}

// flat lists a component, or the components of a sequence.
func (c component) flat() []component {
	if c.Type == "" {
		return nil
	}
	if c.Type != "Sequence" {
		return []component{c}
	}
	var list []component
	for _, inner := range slices.Concat(c.Pretokenizers, c.Normalizers, c.Decoders) {
		list = append(list, inner.flat()...)
	}
	return list
}

// recognise finds the name of a byte-level pre-tokenizer.
func recognise(parts []component, nfc, ignoreMerges bool) (preTokenizer, error) {
	var splits []string
	regex := false
	for i, c := range parts {
		switch {
		case c.Type == "ByteLevel" && i == len(parts)-1 && !c.AddPrefixSpace:
			regex = c.UseRegex == nil || *c.UseRegex
		case c.Type == "ByteLevel":
			return preTokenizer{}, fmt.Errorf("a tokenizer that puts a space before texts (add_prefix_space) has no place in a GGUF file")
		case c.Type == "Digits" && c.IndividualDigits, c.Type == "Split" && c.Pattern.Regex == `\p{N}` && c.Behavior == "Isolated" && !c.Invert:
			splits = append(splits, "")
		case c.Type == "Split" && c.Behavior == "Isolated" && !c.Invert && c.Pattern.Regex != "":
			splits = append(splits, c.Pattern.Regex)
		default:
			return preTokenizer{}, fmt.Errorf("the pre-tokenizer has the component %s, which no pre-tokenizer that GGUF files can name has", c.Type)
		}
	}
	for _, exact := range []bool{true, false} { // the settings beside the patterns decide between names, if any fits
		for _, p := range preTokenizers {
			if slices.Equal(p.splits, splits) && p.regex == regex && (!exact || p.nfc == nfc && p.ignoreMerges == ignoreMerges) {
				return p, nil
			}
		}
	}
	return preTokenizer{}, fmt.Errorf("the pre-tokenizer (patterns %q) is none of those that GGUF files can name", splits)
}
