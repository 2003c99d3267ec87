package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"hone/tokenizer"
)

// Kinds of tokens, tokenizer.ggml.token_type.
const (
	tokenNormal = iota + 1
	tokenUnknown
	tokenControl
	tokenUser
	tokenUnused
	tokenByte
)

// mark stands for a space in SentencePiece's tokens.
const mark = "▁"

// vocabulary is what a GGUF file says of its tokenizer.
type vocabulary struct {
	*reader
	tokens []string
	kinds  []int32
	ids    map[string]int
	bos    string // names of special tokens, "" where there are none
	eos    string
	pad    string
	unk    string
	ends   []int // ids that end an answer, the end of text first
}

// filler reports whether name is the one that converters give to row id of the embedding when it has no token.
func filler(id int, name string) bool { return name == fmt.Sprintf("[PAD%d]", id) }

// readVocabulary makes the tokenizer of a GGUF file, nil if the file has none.
func readVocabulary(m *reader, arch string) (*tokenizer.Tokenizer, *vocabulary, error) {
	v := &vocabulary{reader: m, ids: map[string]int{}}
	kind := m.text("tokenizer.ggml.model")
	if kind == "" || kind == "none" || kind == "no_vocab" {
		return nil, v, m.err
	}
	if err := v.read(); err != nil {
		return nil, nil, err
	}
	var file object
	var err error
	switch kind {
	case "gpt2":
		file, err = v.byteLevelBPE(arch)
	case "llama":
		file, err = v.sentencePiece()
	default:
		err = fmt.Errorf("the tokenizer is of the kind %q; gpt2 (byte-level BPE) and llama (SentencePiece) are supported", kind)
	}
	if err != nil {
		return nil, nil, err
	}
	// through tokenizer.json, so that a tokenizer from a GGUF file passes every check of one from a folder
	text, err := json.Marshal(file)
	if err != nil {
		return nil, nil, err
	}
	t, err := tokenizer.Parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the file's tokenizer: %w", err)
	}
	t, err = t.WithConfig(tokenizer.Config{BOS: v.bos, EOS: v.eos, PAD: v.pad, UNK: v.unk, ChatTemplate: m.text("tokenizer.chat_template")})
	return t, v, err
}

// read takes over the list of tokens and finds the special ones.
func (v *vocabulary) read() error {
	v.tokens, v.kinds = list[string](v.reader, "tokenizer.ggml.tokens"), list[int32](v.reader, "tokenizer.ggml.token_type")
	if v.err != nil {
		return v.err
	}
	if len(v.tokens) == 0 {
		return errors.New("the metadata has no tokenizer.ggml.tokens")
	}
	if v.kinds == nil {
		v.kinds = slices.Repeat([]int32{tokenNormal}, len(v.tokens))
	}
	if len(v.kinds) != len(v.tokens) {
		return fmt.Errorf("the metadata has %d tokens and %d token types", len(v.tokens), len(v.kinds))
	}
	// names become keys of a vocabulary, so each may stand once; rows without a token are left out
	for id, name := range v.tokens {
		other, twice := v.ids[name]
		switch {
		case filler(id, name):
			continue
		case twice:
			return fmt.Errorf("token %d is %q, as token %d is", id, name, other)
		case name == "" || !utf8.ValidString(name):
			return fmt.Errorf("token %d is %q, which is empty or no UTF-8", id, name)
		}
		v.ids[name] = id
	}
	for key, to := range map[string]*string{"bos": &v.bos, "eos": &v.eos, "padding": &v.pad, "unknown": &v.unk} {
		if id := v.token(key); id >= 0 {
			*to = v.tokens[id]
		}
	}
	for _, key := range []string{"eos", "eot", "eom"} {
		if id := v.token(key); id >= 0 && !slices.Contains(v.ends, id) {
			v.ends = append(v.ends, id)
		}
	}
	return v.err
}

// token is the id of a special token, -1 for none.
func (v *vocabulary) token(name string) int {
	key := "tokenizer.ggml." + name + "_token_id"
	if !v.has(key) {
		return -1
	}
	id := v.whole(key, 0)
	if id >= len(v.tokens) || filler(id, v.tokens[id]) { // written for models that have no such token
		return -1
	}
	return id
}

// added are the tokens that are found in text before anything else.
func (v *vocabulary) added(kinds ...int32) []tokenizer.AddedToken {
	list := []tokenizer.AddedToken{}
	for id, k := range v.kinds {
		if slices.Contains(kinds, k) && !filler(id, v.tokens[id]) {
			list = append(list, tokenizer.AddedToken{ID: int32(id), Content: v.tokens[id], Special: k != tokenUser})
		}
	}
	return list
}

// place puts added tokens into the vocabulary of the model where they do not follow it, one after the other: the reference gives those that it does
// not find there the next ids, whatever ids they say.
func place(vocab object, added []tokenizer.AddedToken) {
	next := len(vocab)
	for _, a := range added {
		if _, ours := vocab[a.Content]; ours {
			continue
		}
		if int(a.ID) != next {
			for _, a := range added {
				vocab[a.Content] = int(a.ID)
			}
			return
		}
		next++
	}
}

// template is the post-processor that adds BOS and EOS where the file says so.
func (v *vocabulary) template(bos, eos bool) any {
	bos, eos = v.flag("tokenizer.ggml.add_bos_token", bos) && v.bos != "", v.flag("tokenizer.ggml.add_eos_token", eos) && v.eos != ""
	if !bos && !eos {
		return nil
	}
	single, special := []object{{"Sequence": object{"id": "A", "type_id": 0}}}, object{}
	add := func(name string) object {
		special[name] = object{"id": name, "ids": []int{v.ids[name]}, "tokens": []string{name}}
		return object{"SpecialToken": object{"id": name, "type_id": 0}}
	}
	if bos {
		single = append([]object{add(v.bos)}, single...)
	}
	if eos {
		single = append(single, add(v.eos))
	}
	return object{"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special}
}

// byteLevelBPE is the tokenizer.json of GPT-2's kind of tokenizer.
func (v *vocabulary) byteLevelBPE(arch string) (object, error) {
	name := v.text("tokenizer.ggml.pre")
	if name == "" && (arch == "gpt2" || arch == "gptneox" || arch == "phi2") {
		name = "gpt-2"
	}
	if name == "" {
		return nil, errors.New("the metadata lacks tokenizer.ggml.pre, without which the tokenizer is unknown; convert the model again")
	}
	pre, err := preTokenizerOf(name)
	if err != nil {
		return nil, err
	}
	vocab, merges := object{}, list[string](v.reader, "tokenizer.ggml.merges")
	for name, id := range v.ids {
		if v.kinds[id] == tokenNormal || v.kinds[id] == tokenUnused || v.kinds[id] == tokenByte {
			vocab[name] = id
		}
	}
	pairs := make([][]string, len(merges))
	for i, m := range merges {
		// The space is between the pieces; a piece may only begin with one, when the merges are of a kind that keeps spaces.
		at := strings.Index(m[min(1, len(m)):], " ") + 1
		if at < 1 || at == len(m)-1 {
			return nil, fmt.Errorf("merge %d is %q, which is not two pieces with a space between", i, m)
		}
		pairs[i] = []string{m[:at], m[at+1:]}
		for _, piece := range []string{m[:at], m[at+1:], m[:at] + m[at+1:]} {
			if id, ok := v.ids[piece]; ok {
				vocab[piece] = id
			}
		}
	}
	added := v.added(tokenControl, tokenUser, tokenUnknown)
	place(vocab, added)
	var normalizer any
	if pre.nfc {
		normalizer = object{"type": "NFC"}
	}
	post := v.template(pre.bos, false)
	if post == nil {
		post = byteLevel(true)
	}
	return object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": normalizer,
		"pre_tokenizer": pre.part(), "post_processor": post, "decoder": byteLevel(true), "model": object{"type": "BPE", "dropout": nil, "unk_token": nil,
			"continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false, "ignore_merges": pre.ignoreMerges,
			"vocab": vocab, "merges": pairs}}, v.err
}

// sentencePiece is the tokenizer.json of a SentencePiece BPE model, as the reference's converter writes it.
func (v *vocabulary) sentencePiece() (object, error) {
	scores := list[float32](v.reader, "tokenizer.ggml.scores")
	if v.err == nil && len(scores) != len(v.tokens) {
		return nil, fmt.Errorf("the metadata has %d tokens and %d scores", len(v.tokens), len(scores))
	}
	if v.unk == "" {
		if id := slices.Index(v.kinds, tokenUnknown); id >= 0 {
			v.unk = v.tokens[id]
		}
	}
	prefix := v.flag("tokenizer.ggml.add_space_prefix", true)
	normalizers := []object{{"type": "Replace", "pattern": object{"String": " "}, "content": mark}}
	decoders := []object{{"type": "Replace", "pattern": object{"String": mark}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	if prefix {
		normalizers = append([]object{{"type": "Prepend", "prepend": mark}}, normalizers...)
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	var unk any
	if v.unk != "" {
		unk = v.unk
	}
	return object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": v.added(tokenControl, tokenUser, tokenUnknown),
		"normalizer": object{"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": nil, "post_processor": v.template(true, false),
		"decoder": object{"type": "Sequence", "decoders": decoders}, "model": object{"type": "BPE", "dropout": nil, "unk_token": unk,
			"continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": slices.Contains(v.kinds, tokenByte), "ignore_merges": false,
			"vocab": v.ids, "merges": v.merges(scores)}}, v.err
}

// merges lists the pairs of tokens that make a token, the best score first (transformers' generate_merges).
func (v *vocabulary) merges(scores []float32) [][]string {
	type merge struct {
		left, right string
		score       float32
		l, r        int // ids
		sizes       [2]int
	}
	var all []merge
	for id, name := range v.tokens {
		if v.kinds[id] != tokenNormal || filler(id, name) {
			continue
		}
		// every way to cut the token into two that are tokens is a merge that may have made it
		first := len(all)
		for i := range name {
			l, ok := v.ids[name[:i]]
			r, ok2 := v.ids[name[i:]]
			if i > 0 && ok && ok2 {
				all = append(all, merge{name[:i], name[i:], scores[id], l, r, [2]int{utf8.RuneCountInString(name[:i]), utf8.RuneCountInString(name[i:])}})
			}
		}
		// ties go as in the reference, whose sorts are stable: first by the ids of the parts, then all by the score
		slices.SortStableFunc(all[first:], func(a, b merge) int { return cmp.Or(cmp.Compare(a.l, b.l), cmp.Compare(a.r, b.r)) })
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.sizes[0], a.sizes[0]), cmp.Compare(b.sizes[1], a.sizes[1]))
	})
	pairs := make([][]string, len(all))
	for i, m := range all {
		pairs[i] = []string{m.left, m.right}
	}
	return pairs
}
