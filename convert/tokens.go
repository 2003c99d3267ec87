package convert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"hone/gguf"
	"hone/tokenizer"
)

// tokenizerFile is what conversion needs of tokenizer.json.
type tokenizerFile struct {
	AddedTokens  []tokenizer.AddedToken `json:"added_tokens"`
	Normalizer   json.RawMessage        `json:"normalizer"`
	PreTokenizer json.RawMessage        `json:"pre_tokenizer"`
	Model        struct {
		Type         string          `json:"type"`
		ByteFallback bool            `json:"byte_fallback"`
		IgnoreMerges bool            `json:"ignore_merges"`
		Merges       json.RawMessage `json:"merges"`
	} `json:"model"`
}

// tokenMetadata says what a tokenizer is in the keys of llama.cpp, with size tokens: as many as the embedding has rows. ends are the ids that
// end an answer.
func tokenMetadata(t *tokenizer.Tokenizer, size int, ends []int) (gguf.Metadata, []string, error) {
	text, err := t.MarshalJSON()
	if err != nil {
		return nil, nil, err
	}
	var f tokenizerFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, nil, err
	}
	// the embedding may have more rows than there are tokens, as sizes are rounded up; never fewer
	if t.VocabSize() > size {
		return nil, nil, fmt.Errorf("the tokenizer has %d tokens and the model %d; put the tokenizer that the model was trained with into its folder", t.VocabSize(), size)
	}
	if f.Model.Type != "BPE" {
		return nil, nil, fmt.Errorf("a tokenizer of type %s cannot be exported; BPE can", f.Model.Type)
	}
	pre, err := parseComponent(f.PreTokenizer)
	if err != nil {
		return nil, nil, err
	}
	normal, err := parseComponent(f.Normalizer)
	if err != nil {
		return nil, nil, err
	}
	merges, err := readMerges(f.Model.Merges)
	if err != nil {
		return nil, nil, err
	}
	var meta gguf.Metadata
	var notes []string
	if parts := pre.flat(); slices.ContainsFunc(parts, func(c component) bool { return c.Type == "ByteLevel" }) {
		meta, notes, err = byteLevelMetadata(f, parts, normal.flat(), merges)
	} else {
		meta, notes, err = spaceMetadata(f, parts, normal.flat())
	}
	if err != nil {
		return nil, nil, err
	}
	meta = append(meta, listTokens(t, f, size, meta[0].Value == "llama", merges)...)
	special, more := specialMetadata(t, ends)
	return append(meta, special...), append(notes, more...), nil
}

// readMerges reads both spellings.
func readMerges(raw json.RawMessage) ([][2]string, error) {
	var pairs [][2]string
	if len(raw) == 0 || json.Unmarshal(raw, &pairs) == nil {
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return nil, err
	}
	pairs = make([][2]string, len(lines))
	for i, l := range lines {
		left, right, _ := strings.Cut(l, " ")
		pairs[i] = [2]string{left, right}
	}
	return pairs, nil
}

func byteLevelMetadata(f tokenizerFile, parts, normal []component, merges [][2]string) (meta gguf.Metadata, notes []string, err error) {
	nfc := len(normal) == 1 && normal[0].Type == "NFC"
	p, err := recognise(parts, nfc, f.Model.IgnoreMerges)
	if err != nil {
		return nil, nil, err
	}
	if len(normal) > 0 && !nfc {
		return nil, nil, fmt.Errorf("the tokenizer's normalizer %s has no place in a GGUF file", normal[0].Type)
	}
	if nfc {
		notes = append(notes, "the tokenizer normalises texts to NFC; llama.cpp does not")
	}
	lines := make([]string, len(merges))
	for i, m := range merges {
		lines[i] = m[0] + " " + m[1]
	}
	return gguf.Metadata{{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: p.names[0]},
		{Key: "tokenizer.ggml.merges", Value: lines}}, notes, nil
}

// metaspaceNotes say where llama.cpp puts a space that Metaspace does not, by whether that is for the first piece of a text alone.
var metaspaceNotes = map[bool]string{
	false: "the tokenizer puts no space before a text that begins with one; llama.cpp does",
	true:  "the tokenizer puts no space before a text that begins with one, nor behind special tokens; llama.cpp does",
}

// spaceMetadata recognises SentencePiece's way with spaces: a normalizer, or Metaspace.
func spaceMetadata(f tokenizerFile, parts, normal []component) (meta gguf.Metadata, notes []string, err error) {
	prefix, spaces := false, false
	for _, c := range normal {
		switch {
		case c.Type == "Prepend" && c.Prepend == mark:
			prefix = true
		case c.Type == "Replace" && c.Pattern.String != nil && *c.Pattern.String == " " && c.Content == mark:
			spaces = true
		default:
			return nil, nil, fmt.Errorf("the tokenizer's normalizer %s has no place in a GGUF file", c.Type)
		}
	}
	for _, c := range parts {
		switch {
		case c.Type == "Metaspace" && (c.Replacement == mark || c.Replacement == ""):
			spaces = true
			if !prefix && c.PrependScheme != "never" {
				prefix = true
				notes = append(notes, metaspaceNotes[c.PrependScheme == "first"])
			}
		case c.Type == "Split" && spaces: // Gemma cuts at spaces that the normalizer has replaced
		default:
			return nil, nil, fmt.Errorf("the tokenizer's pre-tokenizer %s has no place in a GGUF file", c.Type)
		}
	}
	if !spaces || !f.Model.ByteFallback {
		return nil, nil, fmt.Errorf("the tokenizer is neither byte-level BPE nor a SentencePiece BPE with bytes to fall back on, so it cannot be exported")
	}
	return gguf.Metadata{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.pre", Value: "default"},
		{Key: "tokenizer.ggml.add_space_prefix", Value: prefix}}, notes, nil
}

// listTokens gives tokens and their kinds by id and, for SentencePiece, scores by the order of merges: a SentencePiece model joins the pair whose
// result scores best, so minus the merge's number gives the same order.
func listTokens(t *tokenizer.Tokenizer, f tokenizerFile, size int, sentencePiece bool, merges [][2]string) gguf.Metadata {
	names, kinds, scores := make([]string, size), make([]int32, size), make([]float32, size)
	for id := range names {
		name, ok := t.IDToToken(int32(id))
		names[id], kinds[id] = name, tokenNormal
		if !ok || name == "" {
			names[id], kinds[id] = fmt.Sprintf("[PAD%d]", id), tokenUnused
		}
		if b := 0; sentencePiece && len(name) == 6 {
			if _, err := fmt.Sscanf(name, "<0x%02X>", &b); err == nil {
				kinds[id] = tokenByte
			}
		}
	}
	// kinds decide what llama.cpp finds in a text: control tokens only where special tokens are parsed, user-defined ones always
	for _, a := range f.AddedTokens {
		kinds[a.ID] = tokenUser
		if a.Special {
			kinds[a.ID] = tokenControl
		}
		if sentencePiece && a.Content == t.Config().UNK {
			kinds[a.ID] = tokenUnknown
		}
	}
	meta := gguf.Metadata{{Key: "tokenizer.ggml.tokens", Value: names}}
	if sentencePiece {
		for id := range scores {
			if kinds[id] != tokenByte {
				scores[id] = -float32(len(merges)) // single characters: no merge makes them
			}
		}
		for i, m := range slices.Backward(merges) { // the first merge that makes a token counts
			if id, ok := t.TokenToID(m[0] + m[1]); ok {
				scores[id] = -float32(i)
			}
		}
		meta = append(meta, gguf.Pair{Key: "tokenizer.ggml.scores", Value: scores})
	}
	return append(meta, gguf.Pair{Key: "tokenizer.ggml.token_type", Value: kinds})
}

// specialMetadata says which tokens have a meaning, what is added to texts, and the chat template.
func specialMetadata(t *tokenizer.Tokenizer, ends []int) (meta gguf.Metadata, notes []string) {
	put := func(key string, v any) { meta = append(meta, gguf.Pair{Key: key, Value: v}) }
	c := t.Config()
	for _, k := range []struct{ key, name string }{{"bos", c.BOS}, {"eos", c.EOS}, {"unknown", c.UNK}, {"padding", c.PAD}} {
		if id, ok := t.TokenToID(k.name); ok && k.name != "" {
			put("tokenizer.ggml."+k.key+"_token_id", uint32(id))
		}
	}
	eos, hasEOS := t.EOS()
	for _, id := range ends { // the first that is not the end of text ends a turn
		if !hasEOS || id != int(eos) {
			put("tokenizer.ggml.eot_token_id", uint32(id))
			break
		}
	}
	bos, hasBOS := t.BOS()
	before, after := t.Special()
	addBOS, addEOS := hasBOS && slices.Equal(before, []int32{bos}), hasEOS && slices.Equal(after, []int32{eos})
	if len(before) > 0 && !addBOS || len(after) > 0 && !addEOS {
		notes = append(notes, "the tokenizer adds other tokens than the beginning and the end of text; GGUF files cannot say so")
	}
	put("tokenizer.ggml.add_bos_token", addBOS)
	put("tokenizer.ggml.add_eos_token", addEOS)
	if c.ChatTemplate != "" {
		put("tokenizer.chat_template", c.ChatTemplate)
	}
	return meta, notes
}
