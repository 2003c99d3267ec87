package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parse reads a tokenizer.json that a test writes.
func parse(t testing.TB, text string) *Tokenizer {
	t.Helper()
	tok, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return tok
}

// folder makes a model folder of the given files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

// oldFolder is a byte-level model in GPT-2's two files, of the letters a and b, a space and </s>, with more files or others.
func oldFolder(more map[string]string) map[string]string {
	files := map[string]string{"vocab.json": `{"a":0,"b":1,"Ġ":2,"ab":3,"</s>":4,"<s>":5}`, "merges.txt": "#version: 0.2\r\na b\r\n\n"}
	for name, text := range more {
		files[name] = text
	}
	return files
}

// TestOldFolders: what the files beside vocab.json say.
func TestOldFolders(t *testing.T) {
	for name, c := range map[string]struct {
		files         map[string]string
		text          string
		want          []int32
		before, after []int32
		special       []int32
	}{
		"nothing but vocabulary and merges":        {nil, "ab b", []int32{3, 2, 1}, nil, nil, nil},
		"a space in front":                         {map[string]string{"tokenizer_config.json": `{"add_prefix_space":true}`}, "ab", []int32{2, 3}, nil, nil, nil},
		"none":                                     {map[string]string{"tokenizer_config.json": `{"add_prefix_space":null}`}, "ab", []int32{3}, nil, nil, nil},
		"BOS and EOS":                              {map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>","add_bos_token":true,"add_eos_token":true}`}, "b", []int32{1}, []int32{5}, []int32{4}, nil},
		"EOS alone":                                {map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>","add_bos_token":false,"add_eos_token":true}`}, "b", []int32{1}, nil, []int32{4}, nil},
		"neither where nothing is said":            {map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>"}`}, "b", []int32{1}, nil, nil, nil},
		"no BOS to add":                            {map[string]string{"tokenizer_config.json": `{"add_bos_token":true,"add_eos_token":true}`}, "b", []int32{1}, nil, nil, nil},
		"one token for both":                       {map[string]string{"tokenizer_config.json": `{"bos_token":"</s>","eos_token":"</s>","add_bos_token":true,"add_eos_token":true}`}, "b", []int32{1}, []int32{4}, []int32{4}, nil},
		"an added token":                           {map[string]string{"added_tokens.json": `{"<x>":7}`}, "a<x>b", []int32{0, 7, 1}, nil, nil, nil},
		"a special one of the vocabulary":          {map[string]string{"special_tokens_map.json": `{"eos_token":"</s>","pad_token":null}`}, "b</s>", []int32{1, 4}, nil, nil, []int32{4}},
		"special ones in a list, one that is none": {map[string]string{"special_tokens_map.json": `{"additional_special_tokens":["</s>",{"content":"<s>"},"<nowhere>"]}`}, "<s></s>", []int32{5, 4}, nil, nil, []int32{4, 5}},
		"special after it was added": {map[string]string{"added_tokens.json": `{"<x>":7}`, "special_tokens_map.json": `{"pad_token":"<x>"}`, "tokenizer_config.json": `{"added_tokens_decoder":{"4":{"content":"</s>","special":true}}}`},
			"<x></s>", []int32{7, 4}, nil, nil, []int32{4, 7}},
	} {
		tok, err := Load(folder(t, oldFolder(c.files)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		before, after := tok.Special()
		var special []int32
		for id := range int32(tok.VocabSize()) {
			if tok.IsSpecial(id) {
				special = append(special, id)
			}
		}
		if got := tok.EncodeWithSpecial(nil, []byte(c.text)); !slices.Equal(got, c.want) || !slices.Equal(before, c.before) || !slices.Equal(after, c.after) || !slices.Equal(special, c.special) {
			t.Errorf("%s: %v, want %v; %v before and %v after, want %v and %v; special are %v, want %v", name, got, c.want, before, after, c.before, c.after, special, c.special)
		}
		if !slices.IsSortedFunc(tok.AddedTokens(), func(a, b AddedToken) int { return int(a.ID - b.ID) }) {
			t.Errorf("%s: added tokens %v", name, tok.AddedTokens())
		}
	}
}

// TestFoldersRefused: what is wrong, and in which file.
func TestFoldersRefused(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{}, "copy tokenizer.json, tokenizer.model, or vocab.json with merges.txt into it"},
		{map[string]string{"tokenizer.json": "{"}, "tokenizer.json: not a tokenizer.json: unexpected end of JSON input; copy the file anew"},
		{map[string]string{"tokenizer.json": `{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]}}`}, "merge 0"},
		{map[string]string{"tokenizer.json": "{", "tokenizer.model": "", "vocab.json": "{}"}, "tokenizer.json: "},
		{map[string]string{"tokenizer.model": "hello", "vocab.json": "{}"}, "tokenizer.model: not a SentencePiece model: its fields are cut short or damaged"},
		{map[string]string{"tokenizer.model": ""}, "tokenizer.model: not a SentencePiece model: it has no pieces"},
		{map[string]string{"vocab.json": `{"a":0}`}, "merges.txt"},
		{oldFolder(map[string]string{"vocab.json": "[]"}), "vocab.json: not a vocab.json: "},
		{oldFolder(map[string]string{"vocab.json": "{}"}), "model.vocab is missing or empty"},
		{oldFolder(map[string]string{"merges.txt": "a b\nab\n"}), `merges.txt: line 2 ("ab") is not two pieces with one space between`},
		{oldFolder(map[string]string{"merges.txt": "a  b\n"}), `line 1 ("a  b")`},
		{oldFolder(map[string]string{"tokenizer_config.json": `[]`}), "tokenizer_config.json: not a tokenizer_config.json: "},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"add_prefix_space":"yes"}`}), "tokenizer_config.json: add_prefix_space must be true or false"},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"add_bos_token":"yes"}`}), "tokenizer_config.json: add_bos_token must be true or false"},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"add_eos_token":1}`}), "tokenizer_config.json: add_eos_token must be true or false"},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"added_tokens_decoder":[]}`}), "tokenizer_config.json: added_tokens_decoder: "},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"added_tokens_decoder":{"x":{"content":"y"}}}`}), `tokenizer_config.json: added_tokens_decoder has the id "x", which is not a number`},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"bos_token":[]}`}), "bos_token: must be a token's name or an object with its content"},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"model_max_length":"long"}`}), "model_max_length: "},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"chat_template":[7]}`}), "chat_template must be a string or a list of names and templates"},
		{oldFolder(map[string]string{"tokenizer_config.json": `{"eos_token":"<nope>"}`}), `eos_token "<nope>" is not in the vocabulary`},
		{oldFolder(map[string]string{"added_tokens.json": `{"<x>":"y"}`}), `added_tokens.json: entry "<x>": it cannot be of the JSON type string`},
		{oldFolder(map[string]string{"special_tokens_map.json": `[]`}), "special_tokens_map.json: "},
		{oldFolder(map[string]string{"special_tokens_map.json": `{"x":[7]}`}), "special_tokens_map.json: x: must be a token's name"},
		{oldFolder(map[string]string{"special_tokens_map.json": `{"x":["a"}`}), "special_tokens_map.json: "},
	} {
		_, err := Load(folder(t, c.files))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "read ") && !strings.HasPrefix(err.Error(), "tokenizer_config.json: ") && !strings.Contains(err.Error(), "special_tokens_map.json: ") {
			t.Errorf("%v: %v, want %q", c.files, err, c.want)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "x")); err == nil || !strings.HasPrefix(err.Error(), "read tokenizer: there is no file or folder ") {
		t.Errorf("no folder: %v", err)
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "merges.txt", "added_tokens.json"} { // a folder in place of a file
		dir := folder(t, oldFolder(nil))
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, name)), os.Mkdir(filepath.Join(dir, name), 0o777)); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.HasPrefix(err.Error(), "read ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is a folder: %v", name, err)
		}
	}
}

// TestNothingIsNoToken: a vocabulary that lists the empty text has no BOS, EOS or PAD by it.
func TestNothingIsNoToken(t *testing.T) {
	tok := parse(t, `{"model":{"type":"WordLevel","unk_token":"u","vocab":{"":0,"u":1,"a":2}}}`)
	for name, get := range map[string]func() (int32, bool){"BOS": tok.BOS, "EOS": tok.EOS, "PAD": tok.PAD} {
		if id, ok := get(); ok {
			t.Errorf("%s is %d", name, id)
		}
	}
	if got := tok.Start(); got != nil {
		t.Errorf("a document starts with %v", got)
	}
	if got := tok.Prompt(nil); len(got) != 0 {
		t.Errorf("a prompt of nothing is %v", got)
	}
}

// TestStart: what stands before a document is what the post-processor puts there, else EOS, else BOS.
func TestStart(t *testing.T) {
	const model = `"added_tokens":[{"id":2,"content":"<s>","special":true},{"id":3,"content":"</s>","special":true}],"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"a":1}}`
	post := `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"id":"<s>","ids":[2],"tokens":["<s>"]}}},`
	for _, c := range []struct {
		file        string
		config      Config
		start, with []int32 // with: the prompt "a"
	}{
		{"{" + model + "}", Config{}, nil, []int32{1}}, {"{" + model + "}", Config{BOS: "<s>"}, []int32{2}, []int32{1}}, {"{" + model + "}", Config{BOS: "<s>", EOS: "</s>"}, []int32{3}, []int32{1}},
		{"{" + post + model + "}", Config{BOS: "<s>", EOS: "</s>"}, []int32{2}, []int32{2, 1}},
	} {
		tok, err := parse(t, c.file).WithConfig(c.config)
		if err != nil {
			t.Fatal(err)
		}
		if got, prompt, empty := tok.Start(), tok.Prompt([]byte("a")), tok.Prompt(nil); !slices.Equal(got, c.start) || !slices.Equal(prompt, c.with) || !slices.Equal(empty, c.start) {
			t.Errorf("%+v: a document starts with %v, want %v; prompts are %v and %v, want %v and %v", c.config, got, c.start, prompt, empty, c.with, c.start)
		}
	}
}

// TestBehaviorsByHand are the examples of the reference's documentation (SplitDelimiterBehavior), and the ends of a text.
func TestBehaviorsByHand(t *testing.T) {
	for b, want := range map[string][3]string{
		"Removed":            {"the final countdown", "a", ""},
		"Isolated":           {"the - final - - countdown", "- a -", "- -"},
		"MergedWithPrevious": {"the- final- - countdown", "- a-", "- -"},
		"MergedWithNext":     {"the -final - -countdown", "-a -", "- -"},
		"Contiguous":         {"the - final -- countdown", "- a -", "--"},
	} {
		tok := parse(t, `{"pre_tokenizer":{"type":"Split","pattern":{"String":"-"},"behavior":"`+b+`"},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0}}}`)
		for i, text := range []string{"the-final--countdown", "-a-", "--"} {
			p := tok.NewEncoder().cut(newChunk([]byte(text), true))
			var got []string
			for _, c := range p.cuts {
				got = append(got, string(p.text[c.start:c.end]))
			}
			if g := strings.Join(got, " "); g != want[i] {
				t.Errorf("%s of %q: %s, want %s", b, text, g, want[i])
			}
		}
	}
}

// TestMatchersTile: stretches cover any text without gaps, none is empty, and those that match are what the matcher says.
func TestMatchersTile(t *testing.T) {
	letters := newCharSet(func(r rune) bool { return r == 'a' || r == 'é' })
	for name, c := range map[string]struct {
		find matcher
		is   func(text, part string) bool
	}{
		"literal":      {literal{[]byte("aa")}, func(_, p string) bool { return p == "aa" }},
		"characters":   {eachCharacter{}, func(_, p string) bool { return false }},
		"runs":         {spaceRuns{}, func(_, p string) bool { return len(p) > 1 && strings.Trim(p, " ") == "" }},
		"outer spaces": {outerSpaces{}, func(_, p string) bool { return p[0] == ' ' && strings.Trim(p, " ") == "" }},
		"a set":        {letters, func(_, p string) bool { return p == "a" || p == "é" }},
	} {
		rapid.Check(t, func(t *rapid.T) {
			text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "aa", " ", "  ", "b", "é", "\xc3", "天"}), 0, 8).Draw(t, "text"), "")
			at, hits := 0, ""
			for _, m := range c.find.find(nil, []byte(text)) {
				part := text[m.start:min(m.end, len(text))]
				if m.start != at || m.end <= m.start || m.is && !c.is(text, part) {
					t.Fatalf("%s in %q: %v behind %d", name, text, m, at)
				}
				if !m.is && name == "a set" && (strings.Contains(part, "a") || strings.Contains(part, "é")) || !m.is && name == "literal" && strings.Contains(part, "aa") || !m.is && name == "runs" && strings.Contains(part, "  ") {
					t.Fatalf("%s in %q: %q is no match", name, text, part)
				}
				if m.is {
					hits += part
				}
				at = m.end
			}
			if at != len(text) || name == "outer spaces" && len(text)-len(hits) != len(strings.Trim(text, " ")) {
				t.Fatalf("%s in %q ends at %d, matched %q", name, text, at, hits)
			}
		})
	}
}

// TestAddedTokensByHand: the longest one at each place, the leftmost first, with the white space and the borders that its flags ask for.
func TestAddedTokensByHand(t *testing.T) {
	tokens := []AddedToken{{ID: 1, Content: "<a>"}, {ID: 2, Content: "<a><b>"}, {ID: 3, Content: "<s>", Special: true}, {ID: 4, Content: "w", SingleWord: true}, {ID: 5, Content: "<l>", LStrip: true}, {ID: 6, Content: "<r>", RStrip: true},
		{ID: 7, Content: "<m>", LStrip: true, RStrip: true}}
	set := newAddedTokens(tokens, func(s string) string { return s }).passes[0]
	for text, want := range map[string][]addedMatch{
		"": nil, "x": nil, "<a>": {{0, 3, 1}}, "<a><b>": {{0, 6, 2}}, "<a><a><b>": {{0, 3, 1}, {3, 9, 2}}, "<a": nil, "<s>": {{0, 3, 3}}, "x<a>x": {{1, 4, 1}},
		"w": {{0, 1, 4}}, "xw": nil, "wx": nil, " w ": {{1, 2, 4}}, "éw": nil, "wé": nil, "-w-": {{1, 2, 4}}, "ww": nil, "\xffw": {{1, 2, 4}}, "_w": nil,
		" \t<l> ": {{0, 5, 5}}, " <r> \n": {{1, 6, 6}}, " <m> ": {{0, 5, 7}}, "<r> <l>": {{0, 4, 6}, {4, 7, 5}}, "<r> <m>": {{0, 4, 6}, {4, 7, 7}}, "a <m> b": {{1, 6, 7}}, "<a> <l>": {{0, 3, 1}, {3, 7, 5}},
	} {
		if got := set.find(nil, []byte(text), true); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string][]addedMatch{"<s>": nil, "<s><a>": {{3, 6, 1}}} {
		if got := set.find(nil, []byte(text), false); !slices.Equal(got, want) {
			t.Errorf("%q without special tokens: %v, want %v", text, got, want)
		}
	}
	only, none := newAddedTokens(tokens[2:3], nil), newAddedTokens(nil, nil)
	if only.passes[0].any(false) || !only.passes[0].any(true) || none.passes[0].any(true) {
		t.Error("a set of one special token is looked for when it cannot be found, or not when it can")
	}
}

// TestBPEWithoutBytes: prefixes and suffixes of symbols, unknown characters one by one or fused, and bytes in their place.
func TestBPEWithoutBytes(t *testing.T) {
	for _, c := range []struct {
		model, text string
		want        []int32
	}{
		{`"unk_token":"u","vocab":{"u":0,"a":1,"b":2,"ab":3},"merges":["a b"]`, "abxyab", []int32{3, 0, 0, 3}},
		{`"unk_token":"u","fuse_unk":true,"vocab":{"u":0,"a":1,"b":2,"ab":3},"merges":["a b"]`, "abxyab", []int32{3, 0, 3}},
		{`"unk_token":"u","fuse_unk":true,"vocab":{"u":0,"a":1},"merges":[]`, "xéy", []int32{0}},
		{`"vocab":{"a":1},"merges":[]`, "xax", []int32{1}},
		{`"continuing_subword_prefix":"##","vocab":{"a":0,"##b":1,"ab":2,"##c":3,"abc":4},"merges":["a ##b","ab ##c"]`, "abc", []int32{4}},
		{`"continuing_subword_prefix":"##","unk_token":"u","vocab":{"u":9,"a":0,"##b":1},"merges":[]`, "abb", []int32{0, 1, 1}},
		{`"end_of_word_suffix":"</w>","vocab":{"a":0,"b</w>":1,"ab</w>":2,"a</w>":3},"merges":["a b</w>"]`, "ab", []int32{2}},
		{`"end_of_word_suffix":"</w>","vocab":{"a":0,"b</w>":1,"a</w>":3},"merges":[]`, "aa", []int32{0, 3}},
		{`"continuing_subword_prefix":"##","end_of_word_suffix":"</w>","vocab":{"a":0,"##a":1,"##a</w>":2,"a</w>":3},"merges":[]`, "aaa", []int32{0, 1, 2}},
		{`"continuing_subword_prefix":"##","end_of_word_suffix":"</w>","vocab":{"a":0,"##a":1,"##a</w>":2,"a</w>":3},"merges":[]`, "a", []int32{3}},
		{`"byte_fallback":true,"unk_token":"u","vocab":{"u":0,"a":1,"<0xC3>":2,"<0xA9>":3},"merges":[]`, "aéè", []int32{1, 2, 3, 0}},
		{`"byte_fallback":true,"unk_token":"u","vocab":{"u":0,"a":1,"<0xC3>":2,"<0xA9>":3},"merges":[]`, "xéa", []int32{2, 3, 0, 1}},
		{`"ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2},"merges":[]`, "ab", []int32{2}},
		{`"ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2},"merges":[]`, "abb", []int32{0, 1, 1}},
	} {
		tok := parse(t, `{"model":{"type":"BPE",`+c.model+`}}`)
		ids, spans := tok.EncodeSpans([]byte(c.text), Options{})
		if got := tok.Encode(nil, []byte(c.text)); !slices.Equal(got, c.want) || !slices.Equal(ids, c.want) || len(spans) != len(ids) {
			t.Errorf("%s: %q is %v, with spans %v, want %v", c.model, c.text, got, ids, c.want)
		}
	}
	fused := parse(t, `{"model":{"type":"BPE","unk_token":"u","fuse_unk":true,"vocab":{"u":0,"a":1},"merges":[]}}`)
	if ids, spans := fused.EncodeSpans([]byte("xéyaxé"), Options{}); !slices.Equal(ids, []int32{0, 1, 0}) || !slices.Equal(spans, []Span{{0, 4}, {4, 5}, {5, 8}}) {
		t.Errorf("fused unknown characters: %v at %v", ids, spans)
	}
	for model, want := range map[string]string{
		`"continuing_subword_prefix":"##","vocab":{"a":0,"b":1},"merges":["a b"]`:   `merge 0 ("a" + "b"): the second piece is shorter than continuing_subword_prefix "##"`,
		`"unk_token":"u","vocab":{"a":0},"merges":[]`:                               `model.unk_token "u" is not in model.vocab`,
		`"byte_fallback":true,"end_of_word_suffix":"x","vocab":{"a":0},"merges":[]`: "model.byte_fallback together with continuing_subword_prefix or end_of_word_suffix is not supported",
		`"vocab":{"a":0,"b":1},"merges":["a b"]`:                                    `merge 0 ("a" + "b"): the pieces and the result must be in model.vocab`,
		`"vocab":{"a":0,"ab":1},"merges":["a b"]`:                                   `merge 0 ("a" + "b")`,
		`"vocab":{"b":0,"ab":1},"merges":["a b"]`:                                   `merge 0 ("a" + "b")`,
		`"dropout":0.5,"vocab":{"a":0},"merges":[]`:                                 "model.dropout 0.5 is not supported: only null is",
	} {
		if _, err := Parse([]byte(`{"model":{"type":"BPE",` + model + `}}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", model, err, want)
		}
	}
}

// TestKindOfOldModels: a model without a type is what its fields say.
func TestKindOfOldModels(t *testing.T) {
	for model, want := range map[string]string{
		`"vocab":[["u",0],["a",-1]],"unk_id":0`: `"type":"Unigram"`, `"vocab":{"a":0},"merges":[]`: `"type":"BPE"`, `"vocab":{"[UNK]":0},"max_input_chars_per_word":9`: `"max_input_chars_per_word":9`,
		`"vocab":{"[UNK]":0},"continuing_subword_prefix":"@@"`: `"continuing_subword_prefix":"@@"`, `"vocab":{"<unk>":0}`: `"type":"WordLevel"`, `"type":"WordLevel","vocab":{"<unk>":0},"max_input_chars_per_word":9`: `"type":"WordLevel"`, `"type":"WordPiece","vocab":{"[UNK]":0}`: `"continuing_subword_prefix":"##"`,
	} {
		text, err := parse(t, `{"model":{`+model+`}}`).modelFields.MarshalJSON()
		if got := strings.ReplaceAll(string(text), "\n", ""); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s (%v)", model, got, want, err)
		}
	}
}

// TestDecodersByHand: each decoder at the edges of a text, where it does something else than inside of it.
func TestDecodersByHand(t *testing.T) {
	for _, c := range []struct{ decoder, tokens, want string }{
		{`null`, "a|b", "a b"},
		{`{"type":"WordPiece"}`, "un|##able|to|##", "unable to"}, {`{"type":"WordPiece"}`, "##a|##b", "##ab"}, {`{"type":"WordPiece"}`, "it|.|!|?|,|n't|'m|'s|'ve|'re", "it.!?,n't'm's've're"}, {`{"type":"WordPiece"}`, "a|do not|x ' y", "a don't x'y"},
		{`{"type":"WordPiece","cleanup":false,"prefix":"@"}`, "a|@b|.", "ab ."},
		{`{"type":"BPEDecoder"}`, "lo|w</w>|er</w>", "low er"}, {`{"type":"BPEDecoder","suffix":"_"}`, "a_|b", "a b"},
		{`{"type":"CTC"}`, "h|h|e|l|<pad>|l|o|o|||||w", "hellow"[:5] + " w"}, {`{"type":"CTC","cleanup":false,"pad_token":"-","word_delimiter_token":"_"}`, "a|-|a|_|b", "aa_b"},
		{`{"type":"Metaspace","replacement":"_"}`, "_a|_b_", "a b "}, {`{"type":"Metaspace","replacement":"_","prepend_scheme":"never"}`, "_a|_b", " a b"},
		{`{"type":"Metaspace","replacement":"_","add_prefix_space":false}`, "_a", " a"},
		{`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`, " | a| b", " a b"},
		{`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":2,"stop":1}]}`, " | a| b | ", "a b "},
		{`{"type":"Strip","content":"x","start":1,"stop":1}`, "xxaxx|xb|xx|x|c", "xaxbc"},
		{`{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"a"},"content":"b"},{"type":"Replace","pattern":{"Regex":"b+"},"content":"c"}]}`, "aab|xa", "cxc"},
		{`{"type":"ByteFallback"}`, "<0xC3>|<0xA9>|a|<0xc3>|<0xFF>|<0x0>|<0xGG>|<1x41>|<0x!!>|<0x41)", "éa\uFFFD\uFFFD<0x0><0xGG><1x41><0x!!><0x41)"},
	} {
		steps, err := newDecodeSteps([]byte(c.decoder))
		if err != nil {
			t.Errorf("%s: %v", c.decoder, err)
			continue
		}
		tok := &Tokenizer{decodeSteps: steps}
		for _, batch := range []bool{true, false} {
			d := tok.newDecoder(batch)
			for range 2 { // the second time, it is as if made new
				d.out = nil
				for _, token := range strings.Split(strings.ReplaceAll(c.tokens, "|||||", "|<bar>|"), "|") {
					d.push(0, strings.ReplaceAll(token, "<bar>", "|"))
				}
				if d.flush(); string(d.out) != c.want {
					t.Errorf("%s of %s, batch %v: %q, want %q", c.decoder, c.tokens, batch, d.out, c.want)
				}
			}
		}
	}
	if _, err := buildParts("decoder", []byte(`{"type":"Strip","content":"a","start":-1}`), newDecodeStep); err == nil || !strings.Contains(err.Error(), "its start and stop must not be negative") {
		t.Errorf("%v", err)
	}
}

// TestSaveFails where there is no folder to write to, and says what it was doing.
func TestSaveFails(t *testing.T) {
	tok := parse(t, `{"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0}}}`)
	dir := folder(t, map[string]string{"file": ""})
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		if err := os.MkdirAll(filepath.Join(dir, name+".d", name, "x"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := tok.Save(filepath.Join(dir, name+".d")); err == nil || !strings.HasPrefix(err.Error(), "save tokenizer: ") {
			t.Errorf("a folder named %s: %v", name, err)
		}
	}
	if err := tok.Save(filepath.Join(dir, "file", "x")); err == nil || !strings.HasPrefix(err.Error(), "save tokenizer: ") {
		t.Errorf("a file in place of a folder: %v", err)
	}
}

// spm is a small SentencePiece model with further fields of its trainer_spec (2) or normalizer_spec (3), which win over those before them.
func spm(message byte, fields ...byte) string {
	model := smallSentencePiece(false, true, false)
	if message > 0 {
		model = append(append(model, message<<3|2, byte(len(fields))), fields...)
	}
	return string(model)
}

// TestSentencePieceFolders: what a SentencePiece model puts around a text, where tokenizer_config.json says nothing, and where it does.
func TestSentencePieceFolders(t *testing.T) {
	minus := []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1} // -1 as a varint
	noBOS := append([]byte{0xC8, 2}, minus...)                               // field 41
	noEOS := append([]byte{0xD0, 2}, minus...)                               // field 42
	for name, c := range map[string]struct {
		model, config string
		before, after []int32
	}{
		"BOS":                         {spm(0), "{}", []int32{1}, nil},
		"EOS where there is no BOS":   {spm(2, noBOS...), "{}", nil, []int32{2}},
		"neither":                     {spm(2, append(slices.Clone(noBOS), noEOS...)...), "{}", nil, nil},
		"BOS alone":                   {spm(2, noEOS...), "{}", []int32{1}, nil},
		"both, as is said":            {spm(0), `{"add_eos_token":true}`, []int32{1}, []int32{2}},
		"none, as is said":            {spm(0), `{"add_bos_token":false}`, nil, nil},
		"EOS not, as is said":         {spm(2, noBOS...), `{"add_eos_token":false}`, nil, nil},
		"a BOS that there is none of": {spm(2, 0xC8, 2, 0xE7, 7), "{}", nil, nil}, // id 999
	} {
		tok, err := Load(folder(t, map[string]string{"tokenizer.model": c.model, "tokenizer_config.json": c.config}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if before, after := tok.Special(); !slices.Equal(before, c.before) || !slices.Equal(after, c.after) {
			t.Errorf("%s: %v before and %v after, want %v and %v", name, before, after, c.before, c.after)
		}
		id, _ := tok.TokenToID("<0x0A>")
		if got := string(tok.TokenBytes(id)); got != "\n" {
			t.Errorf("%s: the token of a byte is %q", name, got)
		}
	}
	for name, c := range map[string]struct{ model, want string }{
		"white space at the end of words": {spm(2, 0xC0, 1, 1), "treat_whitespace_as_suffix"}, "plain white space": {spm(3, 0x28, 0), "escape_whitespaces=false"}, "words": {spm(2, 0x18, 3), "of type word or char"},
		"an unused piece": {spm(1, 0x0A, 1, 'q', 0x18, 5), `("q") is marked unused`}, "a piece of type 9": {spm(1, 0x0A, 1, 'q', 0x18, 9), `("q") is of the unknown type 9`}, "a piece twice": {spm(1, 0x0A, 1, 'a'), `("a") is empty or the same as piece `},
		"an empty piece": {spm(1, 0x18, 1), "is empty or the same"}, "not UTF-8": {spm(1, 0x0A, 1, 0xFF), "is not UTF-8"}, "a key cut short": {spm(0) + "\x80", "its fields are cut short or damaged"}, "a value cut short": {spm(0) + "\x18\x80", "cut short"},
		"8 bytes cut short": {spm(0) + "\x19\x00\x00", "cut short"}, "4 bytes cut short": {spm(0) + "\x1d\x00\x00", "cut short"}, "a group": {spm(0) + "\x1b", "cut short"}, "a length beyond the end": {spm(0) + "\x1a\x05a", "cut short"},
	} {
		if _, err := fromSentencePiece([]byte(c.model)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for _, fields := range []string{"\x49abcdefgh", "\x4dabcd", "\x48\x01", "\x4a\x01a"} { // that nobody knows
		if _, err := fromSentencePiece([]byte(spm(0) + fields)); err != nil {
			t.Errorf("%q: %v", fields, err)
		}
	}
}

// TestFingerprint changes with all that decides ids, and with nothing else.
func TestFingerprint(t *testing.T) {
	const model = `"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"a":1}}`
	base := parse(t, "{"+model+"}").Fingerprint()
	seen := map[string]string{base: "the model alone"}
	for _, file := range []string{
		`{"normalizer":{"type":"NFC"},` + model + `}`, `{"pre_tokenizer":{"type":"Whitespace"},` + model + `}`, `{"added_tokens":[{"id":2,"content":"x"}],` + model + `}`,
		`{"added_tokens":[{"id":2,"content":"x","special":true}],` + model + `}`, `{"model":{"type":"WordLevel","unk_token":"a","vocab":{"u":0,"a":1}}}`, `{"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":1,"a":0}}}`,
		`{"model":{"type":"BPE","vocab":{"u":0,"a":1,"ua":2,"au":3},"merges":["a u","u a"]}}`, `{"model":{"type":"BPE","vocab":{"u":0,"a":1,"ua":2,"au":3},"merges":["u a","a u"]}}`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["u",0],["a",-1]]}}`, `{"model":{"type":"Unigram","unk_id":0,"vocab":[["u",0],["a",-2]]}}`,
	} {
		f := parse(t, file).Fingerprint()
		if other, ok := seen[f]; ok || len(f) != 32 {
			t.Errorf("%s has the fingerprint %s, as %s", file, f, other)
		}
		seen[f] = file
	}
	for _, file := range []string{`{"normalizer":null, ` + model + `}`, `{"decoder":{"type":"Fuse"},"truncation":{"max_length":3},` + model + `}`, `{"pre_tokenizer" : null,` + strings.ReplaceAll(model, ":", " : ") + `}`} {
		if got := parse(t, file).Fingerprint(); got != base {
			t.Errorf("%s has another fingerprint than the model alone", file)
		}
	}
	if a, b := parse(t, `{"normalizer":{"type":"NFC"},`+model+`}`), parse(t, `{"normalizer": { "type" : "NFC" },`+model+`}`); a.Fingerprint() != b.Fingerprint() {
		t.Error("white space changes the fingerprint")
	}
	one, err := fromSentencePiece([]byte(spm(0)))
	if err != nil {
		t.Fatal(err)
	}
	two, err := fromSentencePiece([]byte(spm(3, 0x12, 0))) // without the charsmap
	if err != nil || one.Fingerprint() == two.Fingerprint() {
		t.Errorf("a charsmap changes nothing (%v)", err)
	}
}

// TestSavedForm: what Save writes ends with a line end, keeps what does not touch ids, and writes merges of pieces with spaces as pairs.
func TestSavedForm(t *testing.T) {
	text := string(mustJSON(t, parse(t, `{"truncation":{"max_length":7},"padding":{"pad_id":3},"model":{"type":"BPE","vocab":{"a":0," ":1,"a ":2},"merges":[["a"," "]]}}`)))
	for _, want := range []string{`"max_length": 7`, `"pad_id": 3`, "[\n        \"a\",\n        \" \"\n      ]", "\n}\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if text = string(mustJSON(t, parse(t, `{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}`))); !strings.Contains(text, `"a b"`) {
		t.Errorf("merges without spaces are no lines in %s", text)
	}
}

// TestSmallParts: single settings of components, each with a text that shows it.
func TestSmallParts(t *testing.T) {
	const letters = `"vocab":{"u":0,"a":1,"b":2," ":3,"é":4,"#a":5,"a</w>":6}`
	for _, c := range []struct {
		file, text string
		want       []int32
	}{
		// a pattern with a scanner takes all, so nothing is left where matches go
		{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},"behavior":"Removed"},"model":{"type":"WordLevel","unk_token":"u",` + letters + `}}`, "a b", nil},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Removed"},"model":{"type":"WordLevel","unk_token":"u",` + letters + `}}`, "ab", []int32{2}},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Removed","invert":true},"model":{"type":"WordLevel","unk_token":"u",` + letters + `}}`, "ab", []int32{1}},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"String":""},"behavior":"MergedWithNext"},"model":{"type":"WordLevel","unk_token":"u",` + letters + `}}`, "aéb", []int32{1, 4, 2}},
		{`{"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"model":{"type":"BPE","end_of_word_suffix":"</w>","merges":[],` + letters + `}}`, "a", []int32{6}},
		{`{"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"#","max_input_chars_per_word":2,` + letters + `}}`, "éa", []int32{4, 5}},
		{`{"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"#","max_input_chars_per_word":2,` + letters + `}}`, "aaa", []int32{0}},
		{`{"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"#",` + letters + `}}`, "aab", []int32{0}},
		{`{"normalizer":{"type":"Strip","strip_left":true},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"a ":1}}}`, " a ", []int32{1}},
		{`{"normalizer":{"type":"Strip","strip_right":true},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0," a":1}}}`, " a\u2003", []int32{1}},
		{`{"normalizer":{"type":"Prepend","prepend":"x"},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"xa":1}}}`, "a", []int32{1}},
		{`{"normalizer":{"type":"Lowercase"},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"i\u0307az":1}}}`, "İAZ", []int32{1}},
		{`{"normalizer":{"type":"StripAccents"},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"eé":1}}}`, "e\u0301é", []int32{1}},
		{`{"pre_tokenizer":{"type":"FixedLength","length":2},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"éa":1,"b":2}}}`, "éab", []int32{1, 2}},
		{`{"pre_tokenizer":{"type":"CharDelimiterSplit","delimiter":"é"},"model":{"type":"WordLevel","unk_token":"u",` + letters + `}}`, "éaéébé", []int32{1, 2}},
	} {
		tok := parse(t, c.file)
		ids, _ := tok.EncodeSpans([]byte(c.text), Options{})
		if got := tok.Encode(nil, []byte(c.text)); !slices.Equal(got, c.want) || !slices.Equal(ids, c.want) {
			t.Errorf("%s: %q is %v, with spans %v, want %v", c.file, c.text, got, ids, c.want)
		}
	}
	if _, err := Parse(replacePart(t, mustJSON(t, load(t, "gpt2")), "model.unk_token", `"<|endoftext|>"`)); err != nil {
		t.Errorf("an unknown token of a vocabulary with all bytes: %v", err)
	}
}

// TestBlocks of characters, at both ends of each and beside them.
func TestBlocks(t *testing.T) {
	for _, b := range [][2]rune{{0x4E00, 0x9FFF}, {0x3400, 0x4DBF}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF}, {0x2F800, 0x2FA1F}} {
		if !isIdeograph(b[0]) || !isIdeograph(b[1]) || isIdeograph(b[0]-1) && b[0] != 0x2B740 || isIdeograph(b[1]+1) && b[1] != 0x2B73F {
			t.Errorf("U+%04X to U+%04X", b[0], b[1])
		}
	}
	e := &Encoder{t: &Tokenizer{}}
	removed := "\x01\x08\x0b\x0e\x1f\x7f\u008f\u009f"
	spaces := "\t\n\x0c\r\u1680\u200b\u200f\u2028\u2029\u2581\ufeff\ufffd"
	kept := "\x00 \u200a\u2010\u008e\u0090\u009e\u00a0\u202a\u2027é\xff"
	if got := string(nmt{0}.normalize(e, chunk{text: []byte(removed + spaces + kept)}).text); got != strings.Repeat(" ", 12)+kept {
		t.Errorf("%q", got)
	}
}

// TestChunkSpans: an empty stretch is at the start of the byte behind it or, at the end, at the end of the byte before.
func TestChunkSpans(t *testing.T) {
	c := chunk{text: []byte("abc"), from: []Span{{2, 3}, {3, 5}, {4, 6}}}
	for in, want := range map[[2]int]Span{{0, 1}: {2, 3}, {0, 3}: {2, 6}, {1, 2}: {3, 5}, {0, 0}: {2, 2}, {1, 1}: {3, 3}, {3, 3}: {6, 6}} {
		if got := c.span(in[0], in[1]); got != want {
			t.Errorf("%v is from %v, want %v", in, got, want)
		}
	}
	if got := (chunk{from: []Span{}}).span(0, 0); got != (Span{}) {
		t.Errorf("nothing is from %v", got)
	}
}

// TestLargestVocabulary that may be trained.
func TestLargestVocabulary(t *testing.T) {
	for size, ok := range map[int]bool{255: false, 256: true, 1 << 24: true, 1<<24 + 1: false} {
		if err := (&TrainConfig{VocabSize: size}).Validate(); (err == nil) != ok {
			t.Errorf("%d tokens: %v", size, err)
		}
	}
}

// TestReplaceBetweenCharacters: an expression that matches nothing at a place puts its content there, and ^ and $ stand at the ends of all lines, as in
// the reference (tokenizers 0.23.3, normalizers.Replace(Regex(regex), content)); with origins and without.
func TestReplaceBetweenCharacters(t *testing.T) {
	for _, c := range []struct{ regex, content, text, want string }{
		{"^", "_", "ab", "_ab"}, {"^", "_", "a\nb", "_a\n_b"}, {"^", "_", "", ""}, {"$", "!", "ab", "ab!"}, {"$", "!", "a\nb", "a!\nb!"}, {"$", "!", "", ""}, {"(?=a)", "x", "ba b", "bxa b"},
		{"b*", "-", "ab", "-a-"}, {"b*", "-", "ba b", "-a- -"}, {"b*", "-", "a\nb", "-a-\n-"}, {`\b`, "|", "ba b", "|ba| |b|"}, {"$", "é", "天", "天é"},
		{"^ +| +$", "<>", "  a \n  b  ", "<>a<>\n<>b<>"}, {"^ +| +$", "<>", "\n \n", "\n<>\n"}, {"^ +| +$", "<>", "a  b", "a  b"}, {"^ +| +$", "<>", " \n", "<>\n"}, {"^ +| +$", "<>", "  ", "<>"},
	} {
		tok, part := &Tokenizer{}, fmt.Sprintf(`{"type":"Replace","pattern":{"Regex":%q},"content":%q}`, c.regex, c.content)
		var err error
		if tok.normalizers, err = buildParts("normalizer", []byte(part), newNormalizer); err != nil {
			t.Fatal(err)
		}
		e := &Encoder{t: tok}
		with, without := e.normalize(tracked([]byte(c.text), 0)), tok.normalized(c.text)
		if without != c.want || string(with.text) != c.want || len(with.from) != len(c.want) {
			t.Errorf("%s in %q: %q, with origins %q (%d), want %q", c.regex, c.text, without, with.text, len(with.from), c.want)
		}
	}
	tok := &Tokenizer{}
	var err error
	if tok.decodeSteps, err = buildParts("decoder", []byte(`{"type":"Replace","pattern":{"Regex":"^"},"content":"x"}`), newDecodeStep); err != nil {
		t.Fatal(err)
	}
	d := tok.newDecoder(true)
	d.push(0, "ab")
	d.push(0, "c")
	if d.flush(); string(d.out) != "xabxc" {
		t.Errorf("decoded %q", d.out)
	}
}

// TestIDsAreBounded by the size of the file, and by 2 to the 26.
func TestIDsAreBounded(t *testing.T) {
	if a, b := maxID(10), maxID(1<<30); a != 40+1<<16 || b != 1<<26 {
		t.Errorf("%d and %d", a, b)
	}
	for id, ok := range map[int]bool{8 + 1<<16: true, 9 + 1<<16: false} {
		_, err := Parse(fmt.Appendf(nil, `{"version":"1.0","model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0,"b":%d}}}`, id))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "outside 0..") {
			t.Errorf("id %d: %v", id, err)
		}
	}
}
