package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

const (
	maxParts = 64 // components of one kind: nested sequences are one list
	maxDepth = 8  // of nested sequences
)

// jsonPart is any normalizer, pre-tokenizer, post-processor or decoder: the fields that one of them has.
type jsonPart struct {
	Type string `json:"type"`

	Normalizers   []jsonPart `json:"normalizers"` // Sequence
	PreTokenizers []jsonPart `json:"pretokenizers"`
	Processors    []jsonPart `json:"processors"`
	Decoders      []jsonPart `json:"decoders"`

	AddPrefixSpace   *bool           `json:"add_prefix_space"` // ByteLevel, Metaspace
	UseRegex         *bool           `json:"use_regex"`        // ByteLevel
	Behavior         string          `json:"behavior"`         // Split, Punctuation
	Invert           bool            `json:"invert"`
	Pattern          *jsonPattern    `json:"pattern"` // Split, Replace
	Content          *string         `json:"content"` // Replace, decoder Strip
	Replacement      string          `json:"replacement"`
	PrependScheme    string          `json:"prepend_scheme"` // Metaspace
	SplitWords       *bool           `json:"split"`
	IndividualDigits bool            `json:"individual_digits"`
	Delimiter        string          `json:"delimiter"` // CharDelimiterSplit
	Length           *int            `json:"length"`    // FixedLength
	Prepend          string          `json:"prepend"`
	StripLeft        bool            `json:"strip_left"` // normalizer Strip
	StripRight       bool            `json:"strip_right"`
	Charsmap         []byte          `json:"precompiled_charsmap"` // base64
	CleanText        *bool           `json:"clean_text"`           // BertNormalizer
	ChineseChars     *bool           `json:"handle_chinese_chars"`
	StripAccents     *bool           `json:"strip_accents"`
	Lowercase        *bool           `json:"lowercase"`
	Start            int             `json:"start"` // decoder Strip
	Stop             int             `json:"stop"`
	Prefix           *string         `json:"prefix"` // WordPiece
	Suffix           *string         `json:"suffix"` // BPEDecoder
	Cleanup          *bool           `json:"cleanup"`
	PadToken         *string         `json:"pad_token"` // CTC
	WordDelimiter    *string         `json:"word_delimiter_token"`
	Single           []templatePiece `json:"single"` // TemplateProcessing
	SpecialTokens    json.RawMessage `json:"special_tokens"`
	Sep              json.RawMessage `json:"sep"` // BertProcessing, RobertaProcessing
	Cls              json.RawMessage `json:"cls"`
}

// jsonPattern is {"String": ...} or {"Regex": ...}.
type jsonPattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// check wants exactly one of the two, as the reference's enum does.
func (p *jsonPattern) check() error {
	if p == nil || (p.String == nil) == (p.Regex == nil) {
		return errors.New(`its pattern must be {"String": ...} or {"Regex": ...}`)
	}
	return nil
}

// empty reports a pattern that matches the empty string only, which has a meaning for Split alone.
func (p *jsonPattern) empty() bool {
	return orString(p.String, "x") == "" || orString(p.Regex, "x") == ""
}

// isNull is true of what is missing, too.
func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// orTrue gives a setting its default.
func orTrue(b *bool) bool { return b == nil || *b }

// orString gives a setting its default; the empty string is a setting.
func orString(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

// oneRune returns the only character of s.
func oneRune(s, field string) (rune, error) {
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 || size != len(s) || r == utf8.RuneError && size == 1 {
		return 0, fmt.Errorf("its %s must be one character, not %q", field, s)
	}
	return r, nil
}

// flatten returns the parts of key as one list: sequences in sequences are taken apart.
func flatten(key string, raw json.RawMessage) ([]jsonPart, error) {
	if isNull(raw) {
		return nil, nil
	}
	var root jsonPart
	if err := unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("%s is malformed: %w", key, err)
	}
	return flattenInto(nil, key, root, 0)
}

// flattenInto appends p, or the parts of a sequence; both are bounded, as files come from strangers.
func flattenInto(list []jsonPart, key string, p jsonPart, depth int) ([]jsonPart, error) {
	switch {
	case p.Type == "":
		return nil, fmt.Errorf("%s is malformed: a part has no type", key)
	case len(list) >= maxParts:
		return nil, fmt.Errorf("%s has more than %d parts", key, maxParts)
	case depth > maxDepth:
		return nil, fmt.Errorf("%s has sequences in sequences, more than %d deep", key, maxDepth)
	// order is all that a sequence adds, so sequences in sequences are one list
	case p.Type != "Sequence":
		return append(list, p), nil
	}
	children := map[string][]jsonPart{"normalizer": p.Normalizers, "pre_tokenizer": p.PreTokenizers, "post_processor": p.Processors, "decoder": p.Decoders}[key]
	if children == nil {
		return nil, fmt.Errorf("%s is malformed: a Sequence has no list of parts", key)
	}
	var err error
	for _, c := range children {
		if list, err = flattenInto(list, key, c, depth+1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// buildParts makes one component for each part of key.
func buildParts[T any](key string, raw json.RawMessage, build func(p jsonPart, slot int) (T, error)) ([]T, error) {
	parts, err := flatten(key, raw)
	if err != nil {
		return nil, err
	}
	out, growth := make([]T, len(parts)), 1
	// a slot for each part, so that two of them may rewrite the same text in turn
	for i, p := range parts {
		if out[i], err = build(p, i); err != nil {
			return nil, fmt.Errorf("%s %s: %w", key, p.Type, err)
		}
		if growth *= p.growth(); growth > maxGrowth {
			return nil, fmt.Errorf("%s %s: with it a text could become more than %d times as long", key, p.Type, maxGrowth)
		}
	}
	return out, nil
}

// errUnknownPart is wrapped with the kind and the type of the part.
func errUnknownPart(supported string) error {
	return fmt.Errorf("this type is not supported (supported: %s)", supported)
}

// maxGrowth is how many times as long all normalizers together, or all decoders, may make a text: of a damaged or hostile file
// they would make gigabytes of a few bytes. Those of SentencePiece and BERT stay below a thousand.
const maxGrowth = 4096

// growth is how many bytes the part may make of one, rounded up; parts that add to a text once count 1.
func (p *jsonPart) growth() int {
	switch p.Type {
	case "NFC", "NFD": // the worst cases of Unicode Standard Annex 15, section 9
		return 3
	case "NFKC", "NFKD":
		return 11
	case "Lowercase", "ByteLevel":
		return 2
	case "Bert", "BertNormalizer": // NFD, and letters in lower case
		return 3 * 2
	case "Replace":
		if p.Pattern.String != nil {
			return max(1, (len(*p.Content)+len(*p.Pattern.String)-1)/len(*p.Pattern.String))
		}
		return 1 + len(*p.Content) // a match may be empty
	case "Precompiled":
		return longestReplacement(p.Charsmap)
	}
	return 1
}

// postProcessor is the ids that go before and after one text.
type postProcessor struct{ before, after []int32 }

// templatePiece is one piece of a template: {"SpecialToken": {"id": ...}} or {"Sequence": {"id": "A"}}.
type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// newPostProcessor reads post_processor. A template for two texts is not read.
func newPostProcessor(raw json.RawMessage, vocabSize int) (out postProcessor, err error) {
	parts, err := flatten("post_processor", raw)
	if err != nil {
		return out, err
	}
	fixed := false // by a template: the reference takes its tokens for texts of their own, of which there may be two at most
	for _, p := range parts {
		var next postProcessor
		switch p.Type {
		case "ByteLevel": // trims offsets, which spans do not
		case "TemplateProcessing":
			next, err = newTemplate(p)
		case "BertProcessing", "RobertaProcessing":
			next, err = newClsSep(p)
		default:
			err = errUnknownPart("ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence")
		}
		if err != nil {
			return out, fmt.Errorf("post_processor %s: %w", p.Type, err)
		}
		if adds := len(next.before)+len(next.after) > 0; adds && fixed {
			return out, fmt.Errorf("post_processor %s: a processor that adds tokens after a TemplateProcessing that does is not supported", p.Type)
		} else if adds {
			fixed = p.Type == "TemplateProcessing"
		}
		// a later processor goes around what earlier ones added
		out.before = append(next.before, out.before...)
		out.after = append(out.after, next.after...)
		for _, id := range append(next.before, next.after...) {
			if id < 0 || int(id) >= vocabSize {
				return out, fmt.Errorf("post_processor %s: it adds the id %d, which is not below the vocabulary size %d", p.Type, id, vocabSize)
			}
		}
	}
	return out, nil
}

// newTemplate reads TemplateProcessing's template of a single text, such as <s> $A </s>.
func newTemplate(p jsonPart) (out postProcessor, err error) {
	var tokens map[string]struct {
		IDs []*int32 `json:"ids"`
	}
	if !isNull(p.SpecialTokens) {
		if err := unmarshalMap(p.SpecialTokens, &tokens); err != nil {
			return out, fmt.Errorf("its special_tokens are malformed: %w", err)
		}
	}
	seen := false
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil && piece.Sequence.ID == "A" && !seen:
			seen = true
		case piece.SpecialToken != nil:
			tok, ok := tokens[piece.SpecialToken.ID]
			if !ok {
				return out, fmt.Errorf("its special token %q is not among its special_tokens", piece.SpecialToken.ID)
			}
			if tok.IDs == nil || slices.Contains(tok.IDs, nil) {
				return out, fmt.Errorf("its special token %q has no ids", piece.SpecialToken.ID)
			}
			to := &out.before
			if seen {
				to = &out.after
			}
			for _, id := range tok.IDs {
				*to = append(*to, *id)
			}
		default:
			return out, errors.New("its template for a single text must hold sequence A once, and special tokens")
		}
	}
	if !seen {
		return out, errors.New("its template for a single text has no sequence A")
	}
	return out, nil
}

// newClsSep reads cls and sep, each a pair of token and id.
func newClsSep(p jsonPart) (out postProcessor, err error) {
	for _, f := range []struct {
		key string
		raw json.RawMessage
		to  *[]int32
	}{{"cls", p.Cls, &out.before}, {"sep", p.Sep, &out.after}} {
		var pair []json.RawMessage
		var name *string
		var id *int32
		if err := json.Unmarshal(f.raw, &pair); err != nil || len(pair) != 2 || json.Unmarshal(pair[0], &name) != nil || json.Unmarshal(pair[1], &id) != nil || name == nil || id == nil {
			return out, fmt.Errorf("its %s must be a token and its id", f.key)
		}
		*f.to = []int32{*id}
	}
	return out, nil
}
