package tokenizer

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden holds what the reference library makes of torture texts; testdata/gen/tokenizer.py wrote it.
type golden struct {
	Texts          []string  `json:"texts"`
	AddedTexts     []string  `json:"added_texts"`
	Corpus         []string  `json:"corpus"`
	GPT2           [][]int32 `json:"gpt2"`
	Llama3         [][]int32 `json:"llama3"`
	Variant        [][]int32 `json:"variant"`
	VariantSpecial [][]int32 `json:"variant_special"`
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func load(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Load(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestIDsEqualTheReference(t *testing.T) {
	g := readGolden(t)
	all := append(slices.Clone(g.Texts), g.AddedTexts...)
	for _, c := range []struct {
		file    string
		texts   []string
		special bool
		want    [][]int32
	}{
		{"gpt2", g.Texts, false, g.GPT2},
		{"llama3", g.Texts, false, g.Llama3},
		{"variant", all, false, g.Variant},
		{"variant", all, true, g.VariantSpecial},
	} {
		tok := load(t, c.file)
		if len(c.texts) < 200 || len(c.texts) != len(c.want) {
			t.Fatalf("%s: %d texts, %d results", c.file, len(c.texts), len(c.want))
		}
		for i, text := range c.texts {
			got := tok.Encode(nil, []byte(text))
			if c.special {
				got = tok.EncodeWithSpecial(nil, []byte(text))
			}
			if !slices.Equal(got, c.want[i]) {
				t.Errorf("%s, special %t, %q:\n got %v\nwant %v", c.file, c.special, text, got, c.want[i])
			}
		}
	}
}

func docsOf(docs []string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var buf []byte // one buffer for all: Train must not keep it
		for _, d := range docs {
			buf = append(buf[:0], d...)
			if !yield(buf, nil) {
				return
			}
		}
	}
}

func TestTrainEqualsTheReference(t *testing.T) {
	g := readGolden(t)
	for _, pattern := range []string{PatternGPT2, PatternLlama3} {
		want := load(t, pattern)
		for workers := range 4 {
			got, err := Train(t.Context(), docsOf(g.Corpus), TrainConfig{
				VocabSize: 900, Pattern: pattern, SpecialTokens: []string{"<|endoftext|>"}, Workers: workers,
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.bpe.mergeList, want.bpe.mergeList) || !maps.Equal(got.byName, want.byName) {
				t.Errorf("%s with %d workers: not the reference's merges", pattern, workers)
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	g := readGolden(t)
	texts := append(slices.Clone(g.Texts), "\xff", "a\xc3", "\xe2\x82", "\xed\xa0\x80", strings.Repeat("\x80", 70), "ok \xf0\x9f\x98 no", "\xc3\x28")
	for _, name := range []string{"gpt2", "llama3"} {
		tok := load(t, name)
		for _, text := range texts {
			if got := tok.Decode(tok.Encode(nil, []byte(text))); string(got) != text {
				t.Errorf("%s: %q came back as %q", name, text, got)
			}
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	for _, name := range []string{"gpt2", "llama3", "variant"} {
		tok, dir := load(t, name), t.TempDir()
		special := "<|endoftext|>"
		tok, err := tok.WithConfig(Config{BOS: special, EOS: special, ModelMaxLength: 2048, ChatTemplate: "{{ '<b>' & \"x\" }}\n"})
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Save(dir); err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if again.Fingerprint() != tok.Fingerprint() || again.Config() != tok.Config() {
			t.Errorf("%s: loaded %+v, saved %+v", name, again.Config(), tok.Config())
		}
		first, _ := tok.MarshalJSON()
		second, err := again.MarshalJSON()
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: saving what was loaded gives another file (%v)", name, err)
		}
		if id, ok := again.EOS(); !ok || !again.IsSpecial(id) {
			t.Errorf("%s: EOS is %d, %t", name, id, ok)
		}
		if _, ok := again.PAD(); ok {
			t.Errorf("%s: a PAD token from nowhere", name)
		}
	}
}

func TestAccessors(t *testing.T) {
	tok := load(t, "variant")
	if n := len(tok.AddedTokens()); n != 10 {
		t.Errorf("%d added tokens, want 10", n)
	}
	for id := range int32(tok.VocabSize()) {
		name, ok := tok.IDToToken(id)
		if back, found := tok.TokenToID(name); !ok || !found || back != id {
			t.Errorf("id %d is %q, which is %d", id, name, back)
		}
	}
	for _, id := range []int32{-1, int32(tok.VocabSize()), 1 << 30} {
		if _, ok := tok.IDToToken(id); ok || tok.IsSpecial(id) || len(tok.Decode([]int32{id})) > 0 {
			t.Errorf("id %d exists", id)
		}
	}
	if _, err := tok.WithConfig(Config{EOS: "<nope>"}); err == nil {
		t.Error("an EOS that is no token was taken")
	}
	if load(t, "gpt2").Fingerprint() == load(t, "llama3").Fingerprint() {
		t.Error("two tokenizers, one fingerprint")
	}
}
