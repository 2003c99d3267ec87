package convert

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/gguf"
	"hone/tokenizer"
)

// texts are what tokenizers are compared on.
var texts = []string{"", " ", "hello world", "  two  spaces\n\n\tand a tab ", "ÄÖÜ é e\u0301 \u2581 日本語のテキスト", "1 22 333 4444 55555", "don't I'LL we're", "a\x00\xff\xfeb",
	"<|end|>hello<|end|>", "func main() {\n\tfmt.Println(\"hi\")\n}\n", "🚀👩‍🚀 ...!!! ===", "end ", "<s>hello</s> <x> <0x0A>"}

// sameIDs compares two tokenizers, special tokens read as text, recognised, and with what is added to texts.
func sameIDs(t *testing.T, got, want *tokenizer.Tokenizer) {
	t.Helper()
	for _, text := range texts {
		if a, b := got.Encode(nil, []byte(text)), want.Encode(nil, []byte(text)); !slices.Equal(a, b) {
			t.Errorf("%q is %v, want %v", text, a, b)
		}
		if a, b := got.EncodeWithSpecial(nil, []byte(text)), want.EncodeWithSpecial(nil, []byte(text)); !slices.Equal(a, b) {
			t.Errorf("%q with special tokens is %v, want %v", text, a, b)
		}
	}
	if diff := cmp.Diff(want.Config(), got.Config()); diff != "" {
		t.Error(diff)
	}
}

// again sends a tokenizer through the metadata of a GGUF file.
func again(t *testing.T, tok *tokenizer.Tokenizer, size int, ends []int) (*tokenizer.Tokenizer, gguf.Metadata) {
	t.Helper()
	meta, _, err := tokenMetadata(tok, size, ends)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := readVocabulary(&reader{Metadata: meta}, "llama")
	if err != nil {
		t.Fatal(err)
	}
	return back, meta
}

// byteLevelTokenizer trains one and gives it the pre-tokenizer of a name.
func byteLevelTokenizer(t *testing.T, name string) *tokenizer.Tokenizer {
	t.Helper()
	docs := func(yield func([]byte, error) bool) { yield([]byte(strings.Repeat(strings.Join(texts, " "), 3)), nil) }
	tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 400, SpecialTokens: []string{"<|end|>", "<|im_end|>"}, EOS: "<|end|>", ChatTemplate: "{{ messages }}"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := preTokenizerOf(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := tok.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	file := object{}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	file["pre_tokenizer"] = p.part()
	if p.nfc {
		file["normalizer"] = object{"type": "NFC"}
	}
	file["model"].(object)["ignore_merges"] = p.ignoreMerges
	text, _ = json.Marshal(file)
	changed, err := tokenizer.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err = changed.WithConfig(tok.Config()); err != nil {
		t.Fatal(err)
	}
	return changed
}

// TestByteLevel sends tokenizers with each pre-tokenizer through a GGUF file.
func TestByteLevel(t *testing.T) {
	for _, p := range preTokenizers {
		name := p.names[0]
		tok := byteLevelTokenizer(t, name)
		end, _ := tok.TokenToID("<|im_end|>")
		back, meta := again(t, tok, 410, []int{0, int(end)})
		sameIDs(t, back, tok)
		referenceIDs(t, back)
		if v, _ := meta.Get("tokenizer.ggml.pre"); v != name {
			t.Errorf("%s became %v", name, v)
		}
		names, _ := meta.Get("tokenizer.ggml.tokens")
		kinds, _ := meta.Get("tokenizer.ggml.token_type")
		if list := names.([]string); len(list) != 410 || list[405] != "[PAD405]" || kinds.([]int32)[405] != tokenUnused || kinds.([]int32)[end] != tokenControl {
			t.Errorf("%s: %d tokens, the 405. %q of kind %d", name, len(list), list[405], kinds.([]int32)[405])
		}
		if v, _ := meta.Get("tokenizer.ggml.eot_token_id"); v != uint32(end) {
			t.Errorf("%s: a turn ends with %v, want %d", name, v, end)
		}
	}
}

// referenceIDs: the reference reads the ids of added tokens from the model's vocabulary and gives the others the next ones.
func referenceIDs(t *testing.T, tok *tokenizer.Tokenizer) {
	t.Helper()
	text, err := tok.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		AddedTokens []tokenizer.AddedToken `json:"added_tokens"`
		Model       struct{ Vocab map[string]int32 }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	next := int32(len(file.Model.Vocab))
	for _, a := range file.AddedTokens {
		id, ours := file.Model.Vocab[a.Content]
		if !ours {
			id = next
			next++
		}
		if id != a.ID {
			t.Errorf("the reference gives %s the id %d, not %d", a.Content, id, a.ID)
		}
	}
}

// spaceMeta is a small SentencePiece model: bytes, characters, and pieces with scores.
func spaceMeta(more ...gguf.Pair) gguf.Metadata {
	names, scores, kinds := []string{"<unk>", "<s>", "</s>"}, []float32{0, 0, 0}, []int32{tokenUnknown, tokenControl, tokenControl}
	put := func(name string, score float32, kind int32) {
		names, scores, kinds = append(names, name), append(scores, score), append(kinds, kind)
	}
	for b := range 256 {
		put("<0x"+strings.ToUpper(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15]))+">", 0, tokenByte)
	}
	for i, p := range []string{"he", "lo", "▁w", "or", "▁he", "llo", "▁hello", "ld", "▁wor", "▁world", "▁▁"} {
		put(p, -float32(i), tokenNormal)
	}
	for _, c := range "▁helowrdstandi" {
		if !slices.Contains(names, string(c)) {
			put(string(c), -100, tokenNormal)
		}
	}
	put("<x>", -1000, tokenUser)
	return append(gguf.Metadata{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.pre", Value: "default"}, {Key: "tokenizer.ggml.tokens", Value: names},
		{Key: "tokenizer.ggml.scores", Value: scores}, {Key: "tokenizer.ggml.token_type", Value: kinds}, {Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)}, {Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)}}, more...)
}

// TestSentencePiece reads a model, with and without a space before texts, and sends it through a file again.
func TestSentencePiece(t *testing.T) {
	for _, prefix := range []bool{true, false} {
		tok, v, err := readVocabulary(&reader{Metadata: spaceMeta(gguf.Pair{Key: "tokenizer.ggml.add_space_prefix", Value: prefix})}, "llama")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, id := range tok.EncodeWithSpecial(nil, []byte("hello  world\né<x>")) {
			name, _ := tok.IDToToken(id)
			got = append(got, name)
		}
		want := "▁hello ▁ ▁world <0x0A> <0xC3> <0xA9> <x>"
		if !prefix {
			want = "he llo ▁ ▁world <0x0A> <0xC3> <0xA9> <x>"
		}
		if strings.Join(got, " ") != want {
			t.Errorf("prefix %v: got %q, want %q", prefix, got, want)
		}
		if before, _ := tok.Special(); !slices.Equal(before, []int32{1}) {
			t.Errorf("texts begin with %v", before)
		}
		back, meta := again(t, tok, len(v.tokens), nil)
		sameIDs(t, back, tok)
		for _, key := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.token_type"} {
			a, _ := v.Get(key)
			b, _ := meta.Get(key)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%s: %s", key, diff)
			}
		}
	}
}

// TestHostileVocabulary holds the errors of tokenizers that are none.
func TestHostileVocabulary(t *testing.T) {
	pair := func(key string, v any) gguf.Pair { return gguf.Pair{Key: "tokenizer.ggml." + key, Value: v} }
	model, pre := pair("model", "gpt2"), pair("pre", "gpt-2")
	for want, meta := range map[string]gguf.Metadata{
		"the kind \"bert\"":                               {pair("model", "bert"), pair("tokens", []string{"a"})},
		"which is not text":                               {pair("model", uint32(3))},
		"has no tokenizer.ggml.token":                     {model},
		"which is not []string":                           {model, pair("tokens", []int32{1})},
		"1 tokens and 2 token types":                      {model, pair("tokens", []string{"a"}), pair("token_type", []int32{1, 1})},
		"token 1 is \"a\", as token":                      {model, pre, pair("tokens", []string{"a", "a"})},
		"which is empty":                                  {model, pre, pair("tokens", []string{"a", ""})},
		"no UTF-8":                                        {model, pre, pair("tokens", []string{"\xff"})},
		"lacks tokenizer.ggml.pre":                        {model, pair("tokens", []string{"a"})},
		"\"x\" is not supported; these are: gpt-2, mpt, ": {model, pair("pre", "x"), pair("tokens", []string{"a"})},
		"merge 0 is \"ab\"":                               {model, pre, pair("tokens", []string{"a"}), pair("merges", []string{"ab"})},
		"merge 0 is \"\"":                                 {model, pre, pair("tokens", []string{"a"}), pair("merges", []string{""})},
		"not a whole number":                              {model, pre, pair("tokens", []string{"a"}), pair("eos_token_id", int32(-7))},
		"scores":                                          {pair("model", "llama"), pair("tokens", []string{"a"}), pair("scores", []float32{})},
	} {
		if _, _, err := readVocabulary(&reader{Metadata: meta}, "llama"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if tok, _, err := readVocabulary(&reader{Metadata: gguf.Metadata{pair("model", "none")}}, "llama"); tok != nil || err != nil {
		t.Errorf("no tokenizer is %v, %v", tok, err)
	}
}

// TestTokenizersThatCannotBeExported names the part that is in the way.
func TestTokenizersThatCannotBeExported(t *testing.T) {
	text, err := byteLevelTokenizer(t, "gpt-2").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(f object){
		"add_prefix_space": func(f object) {
			f["pre_tokenizer"] = object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}
		},
		"none of those that GGUF": func(f object) {
			f["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": []object{{"type": "Split", "pattern": object{"Regex": "x"}, "behavior": "Isolated", "invert": false}, byteLevel(false)}}
		},
		"component Whitespace": func(f object) {
			f["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": []object{{"type": "Whitespace"}, byteLevel(true)}}
		},
		"normalizer Lowercase": func(f object) { f["normalizer"] = object{"type": "Lowercase"} },
		"neither byte-level":   func(f object) { f["pre_tokenizer"] = nil },
	} {
		f := object{}
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		change(f)
		changed, _ := json.Marshal(f)
		tok, err := tokenizer.Parse(changed)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tokenMetadata(tok, 500, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, _, err := tokenMetadata(tok, 5, nil); err == nil || !strings.Contains(err.Error(), "the model 5") {
			t.Errorf("got %v", err)
		}
	}
}

// TestHostileModels holds the errors of files whose metadata and tensors are no model.
func TestHostileModels(t *testing.T) {
	sizes := func(edits ...gguf.Pair) gguf.Metadata {
		meta := gguf.Metadata{{Key: "general.architecture", Value: "llama"}}
		for _, k := range []string{"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"} {
			meta = append(meta, gguf.Pair{Key: "llama." + k, Value: uint32(2)})
		}
		for _, e := range edits {
			i := slices.IndexFunc(meta, func(p gguf.Pair) bool { return p.Key == e.Key })
			if i < 0 {
				meta = append(meta, e)
			} else if e.Value == nil {
				meta = slices.Delete(meta, i, i+1)
			} else {
				meta[i] = e
			}
		}
		return meta
	}
	one := []gguf.Info{{Name: "token_embd.weight", Type: gguf.F32, Shape: []int{4, 2}}}
	for want, c := range map[string]struct {
		meta    gguf.Metadata
		tensors []gguf.Info
	}{
		`architecture "mamba"`:                     {sizes(gguf.Pair{Key: "general.architecture", Value: "mamba"}), one},
		"lacks llama.context_length":               {sizes(gguf.Pair{Key: "llama.context_length"}), one},
		"not a whole number":                       {sizes(gguf.Pair{Key: "llama.block_count", Value: float32(1.5)}), one},
		"not a number":                             {sizes(gguf.Pair{Key: "llama.block_count", Value: "many"}), one},
		"claims 4000000 layers":                    {sizes(gguf.Pair{Key: "llama.block_count", Value: uint32(4000000)}), one},
		"which is no model":                        {sizes(gguf.Pair{Key: "llama.attention.head_count", Value: uint32(0)}), one},
		"keys have 1 channels and values 7":        {sizes(gguf.Pair{Key: "llama.attention.value_length", Value: uint32(7)}), one},
		`scaled by "magic"`:                        {sizes(gguf.Pair{Key: "llama.rope.scaling.type", Value: "magic"}), one},
		"not those of Llama 3":                     {sizes(), append(slices.Clone(one), gguf.Info{Name: "rope_freqs.weight", Type: gguf.F32, Shape: []int{9}})},
		"output_norm.weight is missing":            {sizes(gguf.Pair{Key: "llama.block_count", Value: uint32(1)}), one},
		"tensor token_embd.weight is missing":      {sizes(gguf.Pair{Key: "llama.block_count", Value: uint32(1)}), []gguf.Info{{Name: "other", Type: gguf.F32, Shape: []int{1}}}},
		"claims 1 layers and 9999999 experts, and": {sizes(gguf.Pair{Key: "llama.block_count", Value: uint32(1)}, gguf.Pair{Key: "llama.expert_count", Value: uint32(9999999)}), one},
	} {
		path := filepath.Join(t.TempDir(), "x.gguf")
		w, err := gguf.Create(path, c.meta, c.tensors)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range c.tensors {
			if err := w.WriteFloat32(i.Name, make([]float32, i.Elements())); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if m, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v %v, want %q", m, err, want)
		}
		_ = os.Remove(path)
	}
}

// TestTransforms holds that backward undoes forward, and one of each by hand.
func TestTransforms(t *testing.T) {
	for _, c := range []struct {
		how       transform
		rows      int
		h         heads
		want      []float32
		wantShape []int
	}{
		{queryRows, 8, heads{2, 1}, []float32{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}, []int{8, 2}},
		{keyRows, 4, heads{2, 1}, []float32{0, 1, 4, 5, 2, 3, 6, 7}, []int{4, 2}},
		{headsApart, 6, heads{2, 2}, []float32{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}, []int{6, 2}},
		{transposed, 3, heads{}, []float32{0, 2, 4, 1, 3, 5}, []int{2, 3}},
		{plusOne, 1, heads{}, []float32{1, 2}, []int{1, 2}},
	} {
		v := make([]float32, 2*c.rows)
		for i := range v {
			v[i] = float32(i)
		}
		got, shape, err := c.how.forward(v, []int{c.rows, 2}, c.h)
		if err != nil || !slices.Equal(got, c.want) || !slices.Equal(shape, c.wantShape) {
			t.Errorf("transform %d gives %v %v (%v), want %v %v", c.how, got, shape, err, c.want, c.wantShape)
		}
		back, shape, err := c.how.backward(got, shape, c.h)
		if err != nil || !slices.Equal(back, v) || !slices.Equal(shape, []int{c.rows, 2}) {
			t.Errorf("transform %d back gives %v %v (%v)", c.how, back, shape, err)
		}
	}
	if _, _, err := queryRows.forward(make([]float32, 6), []int{3, 2}, heads{1, 1}); err == nil {
		t.Error("three rows were pairs")
	}
	if _, _, err := headsApart.forward(make([]float32, 6), []int{3, 2}, heads{2, 2}); err == nil {
		t.Error("three rows were two heads' queries, keys and values")
	}
}
