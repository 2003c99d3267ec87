package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func mustJSON(t testing.TB, tok *Tokenizer) []byte {
	t.Helper()
	data, err := tok.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replacePart sets a field of a tokenizer.json; "model.x" is a field of the model. An empty value removes it.
func replacePart(t testing.TB, data []byte, key, value string) []byte {
	t.Helper()
	var file map[string]json.RawMessage
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if name, ok := strings.CutPrefix(key, "model."); ok {
		file["model"] = replacePart(t, file["model"], name, value)
	} else if value == "" {
		delete(file, key)
	} else {
		file[key] = json.RawMessage(value)
	}
	out, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUnsupportedPartsAreNamed(t *testing.T) {
	data := mustJSON(t, load(t, "gpt2"))
	for _, c := range []struct{ key, value, want string }{
		{"normalizer", `{"type":"Sideways"}`, `normalizer Sideways: this type is not supported`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Sideways"}]}`, `normalizer Sideways`},
		{"normalizer", `{"type":"Replace","content":"x"}`, "normalizer Replace: its pattern"},
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":"AAAA"}`, "normalizer Precompiled: its charsmap"},
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":"/////wAA"}`, "normalizer Precompiled: its charsmap"},
		{"normalizer", strings.Repeat(`{"type":"Sequence","normalizers":[`, 20) + `{"type":"NFC"}` + strings.Repeat("]}", 20), "deep"},
		{"normalizer", `{"type":"Sequence","normalizers":[` + strings.Repeat(`{"type":"NFC"},`, 100) + `{"type":"NFC"}]}`, "more than"},
		{"normalizer", `{"type":"Sequence","normalizers":[` + strings.TrimSuffix(strings.Repeat(`{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaaa"},`, 4), ",") + `]}`, "normalizer Replace: with it a text could become more than 4096 times as long"},
		{"normalizer", `{"type":"Sequence","normalizers":[` + strings.Repeat(`{"type":"ByteLevel"},`, 12) + `{"type":"NFKC"}]}`, "normalizer NFKC: with it a text could"},
		{"normalizer", `{"type":"Replace","pattern":{"Regex":"a*"},"content":"` + strings.Repeat("a", 4096) + `"}`, "normalizer Replace: with it a text could"},
		{"pre_tokenizer", `{"type":"Sideways"}`, `pre_tokenizer Sideways: this type`},
		{"pre_tokenizer", `{"type":"Metaspace"}`, `pre_tokenizer Metaspace: its replacement`},
		{"pre_tokenizer", `{"type":"Metaspace","replacement":"_","prepend_scheme":"often"}`, `"often"`},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"}`, "pattern"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"(a|aa)+$"},"behavior":"Isolated"}`, "takes too long"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"(\\s*)*x"},"behavior":"Isolated"}`, "takes too long"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"String":" "},"behavior":"Sideways"}`, `behavior "Sideways"`},
		{"pre_tokenizer", `{"type":"CharDelimiterSplit","delimiter":"ab"}`, "delimiter"},
		{"pre_tokenizer", `{"type":"FixedLength","length":0}`, "length 0"},
		{"pre_tokenizer", `[1]`, "pre_tokenizer is malformed"},
		{"pre_tokenizer", `{}`, "pre_tokenizer is malformed"},
		{"post_processor", `{"type":"Sequence","processors":[{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[0]}}},{"type":"BertProcessing","cls":["a",0],"sep":["a",0]}]}`, "post_processor BertProcessing: a processor that adds tokens after"},
		{"post_processor", `{"type":"BertProcessing"}`, `post_processor BertProcessing: its cls`},
		{"post_processor", `{"type":"BertProcessing","cls":["a",1],"sep":["b"]}`, `post_processor BertProcessing: its sep`},
		{"post_processor", `{"type":"BertProcessing","cls":["a",null],"sep":["b",1]}`, `post_processor BertProcessing: its cls`},
		{"post_processor", `{"type":"BertProcessing","cls":["a",1,2],"sep":["b",1]}`, `post_processor BertProcessing: its cls`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{}}}`, `its special token "a" has no ids`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[null]}}}`, `its special token "a" has no ids`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[1]},"b":{"ids":[1,"x"]}}}`, `special_tokens are malformed: entry "b": key ids cannot be of the JSON type string`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}}],"special_tokens":{"b":null}}`, `special_tokens are malformed: entry "b": it cannot be null`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}}],"special_tokens":[]}`, `special_tokens are malformed: it cannot be of the JSON type array`},
		{"normalizer", `{"type":"Sequence"}`, "normalizer is malformed: a Sequence has no list of parts"},
		{"decoder", `{"type":"Sequence","decoders":null}`, "decoder is malformed: a Sequence has no list of parts"},
		{"normalizer", `{"type":"Replace","pattern":{"String":" "}}`, "normalizer Replace: its content is missing"},
		{"decoder", `{"type":"Replace","pattern":{"String":" "},"contents":"x"}`, "decoder Replace: its content is missing"},
		{"decoder", `{"type":"Sequence","decoders":[{"type":"Strip","content":"a","start":"1"}]}`, "decoder is malformed: key decoders.start cannot be of the JSON type string"},
		{"pre_tokenizer", `7`, "pre_tokenizer is malformed: it cannot be of the JSON type number"},
		{"added_tokens", `[{"id":"x"}]`, "key added_tokens.id cannot be of the JSON type string"},
		{"post_processor", `{"type":"BertProcessing","cls":["x",90000],"sep":["y",1]}`, "the id 90000"},
		{"post_processor", `{"type":"TemplateProcessing","single":[]}`, "no sequence A"},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]}`, `"<s>"`},
		{"post_processor", `{"type":"Sideways"}`, `post_processor Sideways`},
		{"decoder", `{"type":"Sideways"}`, `decoder Sideways: this type`},
		{"decoder", `{"type":"Sequence","decoders":[` + strings.TrimSuffix(strings.Repeat(`{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaaa"},`, 4), ",") + `]}`, "decoder Replace: with it a text could"},
		{"decoder", `{"type":"Strip","content":"","start":1}`, `decoder Strip: its content`},
		{"model", `{"type":"Sideways","vocab":{"a":0}}`, `model type "Sideways"`},
		{"model", `{"type":"Unigram","vocab":[["a"]]}`, `entry 0`},
		{"model", `{"type":"Unigram","unk_id":5,"vocab":[["a",0]]}`, `unk_id 5`},
		{"model", `{"type":"Unigram","vocab":[["` + strings.Repeat("a", 2000) + `",0]]}`, "has 2000 bytes"},
		{"model", `{"type":"WordPiece","vocab":{"a":0}}`, `"[UNK]"`},
		{"model", `{"type":"WordLevel","vocab":{"a":0}}`, `"<unk>"`},
		{"model", `null`, `no model`},
		{"model.vocab", `{}`, "model.vocab"},
		{"model.vocab", `[["a",0]]`, "model.vocab"},
		{"model.dropout", `0.1`, "model.dropout"},
		{"model.continuing_subword_prefix", `"##"`, "continuing_subword_prefix"},
		{"model.merges", `["a"]`, "merge 0"},
		{"model.merges", `["a b c"]`, "merge 0"},
		{"model.merges", `[["a"]]`, "merge 0"},
		{"model.merges", `[["a","b","c"]]`, "merge 0"},
		{"model.merges", `7`, "model.merges"},
		{"model.merges", `["q q"]`, "model.vocab"},
		{"model.vocab", `{"a":0,"b":0}`, "same id"},
		{"model.vocab", `{"a":-1}`, "id -1"},
		{"model.vocab", `{"a":2000000000}`, "id 2000000000"},
		{"model.vocab", `{"a":99999999999}`, `model.vocab: entry "a": it cannot be of the JSON type number 99999999999`},
		{"model.vocab", `{"b":0,"a":"x"}`, `model.vocab: entry "a": it cannot be of the JSON type string`},
		{"model.vocab", `{"a": null}`, `model.vocab: entry "a": it cannot be null`},
		{"model", `{"type":"Unigram","vocab":[["a",null]]}`, "entry 0 is not [piece, score]"},
		{"model", `{"type":"Unigram","vocab":[[null,0]]}`, "entry 0 is not [piece, score]"},
		{"model", `{"type":"BPE","vocab":{"a":0}}`, "model.merges is missing"},
		{"model.vocab", `{"":0}`, "empty token"},
		{"added_tokens", `[{"id":5,"content":"x"}]`, "added token"},
		{"added_tokens", `[{"id":2000000000,"content":"<x>"}]`, "2000000000"},
		{"added_tokens", `[{"id":900,"content":""}]`, "empty"},
		{"added_tokens", `[{"id":900,"content":"<x>"},{"id":901,"content":"<x>"}]`, "added token"},
	} {
		file := data
		if c.key == "model" {
			file = replacePart(t, file, "added_tokens", "")
		}
		_, err := Parse(replacePart(t, file, c.key, c.value))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s = %s: %v; want an error with %q", c.key, c.value, err, c.want)
		}
	}
}

// TestNullsInTexts: only a null value is refused, not a token that looks like one.
func TestNullsInTexts(t *testing.T) {
	var got map[string]int32
	for text, ok := range map[string]bool{`{"null":1}`: true, `{":null":1,"a":2}`: true, `{"null":null}`: false, "{\"a\":1,\"null\": \n\tnull}": false, `{"a":0}`: true} {
		if err := unmarshalMap([]byte(text), &got); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMergesBothWays(t *testing.T) {
	want := load(t, "gpt2")
	data := mustJSON(t, want)
	var pairs [][2]string
	for _, p := range want.bpe.mergeList {
		pairs = append(pairs, [2]string{want.tokens[p.Left()].name, want.tokens[p.Right()].name})
	}
	list, _ := json.Marshal(pairs)
	got, err := Parse(replacePart(t, data, "model.merges", string(list)))
	if err != nil || got.Fingerprint() != want.Fingerprint() {
		t.Errorf("pairs load differently from lines (%v)", err)
	}
}

func TestMissingBytes(t *testing.T) {
	data := []byte(`{"decoder":{"type":"ByteLevel"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`)
	tok, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tok.MissingBytes()); n != 254 {
		t.Errorf("%d bytes missing, want 254", n)
	}
	for _, text := range []string{"acb", strings.Repeat("c", 100), "xx"} {
		if got, want := string(tok.Decode(tok.Encode(nil, []byte(text)))), strings.Trim(strings.ReplaceAll(text, "c", ""), "x"); got != want {
			t.Errorf("%q gave %q, want %q", text, got, want)
		}
	}
}

func TestTokenizerConfig(t *testing.T) {
	base := mustJSON(t, load(t, "gpt2"))
	for _, c := range []struct {
		name, config, want string
		check              func(Config) bool
	}{
		{"objects", `{"bos_token":{"content":"<|endoftext|>","lstrip":false},"eos_token":"<|endoftext|>","model_max_length":1e30}`, "", func(c Config) bool {
			return c.BOS == "<|endoftext|>" && c.EOS == c.BOS && c.ModelMaxLength == 0
		}},
		{"list of templates", `{"chat_template":[{"name":"tools","template":"x"},{"name":"default","template":"y"}],"model_max_length":4096}`, "", func(c Config) bool {
			return c.ChatTemplate == "y" && c.ModelMaxLength == 4096
		}},
		{"null", `{"pad_token":null,"chat_template":null}`, "", func(c Config) bool { return c == Config{} }},
		{"unknown token", `{"pad_token":"<nope>"}`, "<nope>", nil},
		{"wrong type", `{"pad_token":7}`, "pad_token", nil},
		{"wrong template", `{"chat_template":7}`, "chat_template", nil},
		{"no JSON", `{`, "tokenizer_config.json", nil},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "tokenizer.json"), string(base))
		write(t, filepath.Join(dir, "tokenizer_config.json"), c.config)
		tok, err := Load(dir)
		if c.check == nil {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
			}
			continue
		}
		if err != nil || !c.check(tok.Config()) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestDeclaredTokens: tokens with an id that a tokenizer.json lacks and the files beside it have are found in texts, and written back; an id that is
// another token's, and what is in the file already, count for nothing.
func TestDeclaredTokens(t *testing.T) {
	vocabularies := map[string]string{
		"BPE":     `{"type":"BPE","vocab":{"a":0,"b":1,"<":2,">":3,"x":4},"merges":[]}`,
		"Unigram": `{"type":"Unigram","unk_id":0,"vocab":[["a",0],["b",-1],["<",-1],[">",-1],["x",-1]]}`,
	}
	for kind, vocabulary := range vocabularies {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"tokenizer.json":        `{"added_tokens":[{"id":5,"content":"<a>","special":true,"normalized":false,"single_word":false,"lstrip":false,"rstrip":false}],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":` + vocabulary + `}`,
			"tokenizer_config.json": `{"eos_token":"<ab>","added_tokens_decoder":{"5":{"content":"<a>","special":false},"6":{"content":"<b>","special":true},"1":{"content":"<x>"},"9":{"content":"b"},"7":{"content":"<ab>"},"8":{"content":"<b>"},"10":{"content":""}}}`,
			"added_tokens.json":     `{"<x>":8}`, // which counts for nothing beside the other
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for _, from := range []string{"the folder", "the folder that was written"} {
			tok, err := Load(dir)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if got, want := tok.EncodeWithSpecial(nil, []byte("<a>b<b><ab><x>")), []int32{5, 1, 6, 7, 2, 4, 3}; !slices.Equal(got, want) {
				t.Errorf("%s from %s: %v, want %v", kind, from, got, want)
			}
			if !tok.IsSpecial(5) || !tok.IsSpecial(6) || !tok.IsSpecial(7) || tok.IsSpecial(1) || tok.VocabSize() != 8 {
				t.Errorf("%s from %s: %+v", kind, from, tok.AddedTokens())
			}
			dir = t.TempDir()
			if err := tok.Save(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestListedTokens: those of added_tokens.json count where tokenizer_config.json has no list, the first name of an id, and only if the model beside has a
// row for it or names it.
func TestListedTokens(t *testing.T) {
	for name, c := range map[string]struct {
		config, names string
		want          []int32
	}{
		"no model":              {``, `{}`, []int32{2, 4, 5}},
		"a model of 5 rows":     {`{"vocab_size":5}`, `{"eos_token":"<a>"}`, []int32{2, 4, 0, 1, 3}},
		"its end of texts":      {`{"vocab_size":5}`, `{"eos_token":"<p>"}`, []int32{2, 4, 5}},
		"a model with images":   {`{"text_config":{"vocab_size":5}}`, `{"pad_token":null}`, []int32{2, 4, 0, 1, 3}},
		"a model of 6 rows":     {`{"vocab_size":6}`, `{}`, []int32{2, 4, 5}},
		"a model without sizes": {`[]`, `{}`, []int32{2, 4, 5}},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "tokenizer.json"), `{"added_tokens":[],"model":{"type":"BPE","vocab":{"<":0,"p":1,"a":2,">":3},"merges":[]}}`)
		write(t, filepath.Join(dir, "tokenizer_config.json"), c.names)
		write(t, filepath.Join(dir, "added_tokens.json"), `{"<p>":5,"<a>":4,"<p":4}`)
		if c.config != "" {
			write(t, filepath.Join(dir, "config.json"), c.config)
		}
		tok, err := Load(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := tok.EncodeWithSpecial(nil, []byte("a<a><p>")); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What hone does not know in tokenizer_config.json and the parts that do not touch ids survive a save.
func TestSaveKeepsForeignParts(t *testing.T) {
	dir := t.TempDir()
	data := replacePart(t, mustJSON(t, load(t, "gpt2")), "post_processor", `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{}}`)
	write(t, filepath.Join(dir, "tokenizer.json"), string(data))
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"tokenizer_class":"GPT2Tokenizer","padding_side":"left","eos_token":{"content":"<|endoftext|>","lstrip":true}}`)
	write(t, filepath.Join(dir, "chat_template.jinja"), "{{ x }}")
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := tok.Save(out); err != nil {
		t.Fatal(err)
	}
	config, _ := os.ReadFile(filepath.Join(out, "tokenizer_config.json"))
	for _, want := range []string{`"GPT2Tokenizer"`, `"padding_side": "left"`, `"lstrip": true`, `"{{ x }}"`} {
		if !strings.Contains(string(config), want) {
			t.Errorf("tokenizer_config.json lost %s:\n%s", want, config)
		}
	}
	file, _ := os.ReadFile(filepath.Join(out, "tokenizer.json"))
	if !strings.Contains(string(file), "TemplateProcessing") {
		t.Error("tokenizer.json lost its post_processor")
	}
}

func TestLoadMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("no error for a missing file")
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("an empty folder: %v", err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"decoder":{"type":"ByteLevel"},"pre_tokenizer":{"type":"ByteLevel"},"added_tokens":[{"id":3,"content":"<x>","lstrip":true}],"model":{"type":"BPE","ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}`))
	f.Add([]byte(`{"model":{"merges":["a b"]}}`))
	for _, c := range readCases[modelCase](f, "models") {
		f.Add([]byte(c.Tokenizer))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			return
		}
		if bytes.Contains(data, []byte("Regex")) {
			return // an expression may take long
		}
		tok.Decode(tok.EncodeWithSpecial(nil, []byte("ab <x> ba'\xff")))
		again, err := Parse(mustJSON(t, tok))
		if err != nil || again.Fingerprint() != tok.Fingerprint() {
			t.Fatalf("what was saved loads differently: %v", err)
		}
	})
}
