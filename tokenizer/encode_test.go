package tokenizer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"hone/internal/bytepair"
)

// slowMerge is the definition: the leftmost pair of the lowest rank, again and again.
func slowMerge(tok *Tokenizer, word []byte) []int32 {
	var ids []int32
	for _, b := range word {
		ids = append(ids, tok.bpe.byteID[b])
	}
	for {
		at, best := -1, noMerge
		for i := 0; i+1 < len(ids); i++ {
			if m := tok.bpe.merges.get(ids[i], ids[i+1]); m < best {
				at, best = i, m
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, best.id())
	}
}

func TestMergesEqualTheDefinition(t *testing.T) {
	tok := load(t, "gpt2")
	e := tok.NewEncoder()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		word := make([]byte, 1+rng.IntN(150))
		for i := range word {
			word[i] = "aeiounrbdfgkl t\xe5\xa4"[rng.IntN(17)]
		}
		want := slowMerge(tok, word)
		tok.bpe.load(&e.symbols, word)
		if got := e.heap.merge(nil, tok.bpe, &e.symbols); !slices.Equal(got, want) {
			t.Fatalf("heap: %q gave %v, want %v", word, got, want)
		}
		if got := e.miss(nil, word); !slices.Equal(got, want) {
			t.Fatalf("merge: %q gave %v, want %v", word, got, want)
		}
	}
}

// Caches may not change ids: a used encoder, with all its slots fought over, agrees with fresh ones.
func TestCachesChangeNothing(t *testing.T) {
	for _, name := range []string{"gpt2", "variant"} {
		tok := load(t, name)
		used := tok.NewEncoder()
		rng := rand.New(rand.NewPCG(7, 8))
		var text []byte
		for range 60_000 {
			text = append(text, ' ')
			for range 1 + rng.IntN(22) {
				text = append(text, "aeionrst"[rng.IntN(8)])
			}
		}
		want := used.Encode(nil, text)
		if got := used.Encode(nil, text); !slices.Equal(got, want) {
			t.Fatalf("%s: a second run differs", name)
		}
		var single []int32
		for i := 0; i < len(text); {
			end := tok.pattern.Scan(tok.classes, text, i)
			single = append(single, tok.mergeFresh(text[i:end])...)
			i = end
		}
		if !slices.Equal(single, want) {
			t.Fatalf("%s: cached words differ from merged ones", name)
		}
	}
}

// mergeFresh encodes one word without any cache.
func (t *Tokenizer) mergeFresh(word []byte) []int32 {
	e := Encoder{t: t}
	return e.miss(nil, word)
}

func TestEncodeAllocatesNothing(t *testing.T) {
	g := readGolden(t)
	text := []byte(strings.Join(g.Texts, "\n"))
	for _, name := range []string{"gpt2", "llama3"} {
		e := load(t, name).NewEncoder()
		dst := e.Encode(nil, text)
		if n := testing.AllocsPerRun(10, func() { dst = e.Encode(dst[:0], text) }); n != 0 {
			t.Errorf("%s: %v allocations for %d ids", name, n, len(dst))
		}
	}
}

// Work on one long word grows about as its length: counted in heap steps, not in seconds.
func TestLongWordsAreNearLinear(t *testing.T) {
	tok := load(t, "gpt2")
	size := 1 << 20
	if testing.Short() {
		size = 1 << 18
	}
	rng := rand.New(rand.NewPCG(9, 10))
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = byte(rng.Uint32())
	}
	letters := bytes.Map(func(r rune) rune {
		if r < 'A' {
			return 'q'
		}
		return r
	}, []byte(base64.RawStdEncoding.EncodeToString(raw)))
	for name, word := range map[string][]byte{
		"one letter":  bytes.Repeat([]byte("a"), size),
		"signs":       bytes.Repeat([]byte("="), size),
		"base64":      letters[:size],
		"ideographs":  bytes.Repeat([]byte("天地玄黃宇宙洪荒"), size/24),
		"white space": bytes.Repeat([]byte(" "), size),
		"syllables":   bytes.Repeat([]byte("banana"), size/6),
	} {
		steps := func(n int) int {
			e := tok.NewEncoder()
			ids := e.Encode(nil, word[:n])
			if !bytes.Equal(tok.Decode(ids), word[:n]) {
				t.Fatalf("%s: no round trip", name)
			}
			return e.heap.steps
		}
		small, large := steps(size/16), steps(len(word))
		if large > 3*len(word) || large > 20*small+1000 {
			t.Errorf("%s: %d steps for %d bytes, %d for %d", name, small, size/16, large, len(word))
		}
	}
}

func TestEncodeFromManyGoroutines(t *testing.T) {
	g, tok := readGolden(t), load(t, "gpt2")
	var docs [][]byte
	for _, s := range g.Texts {
		docs = append(docs, []byte(s))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, d := range docs {
				if !slices.Equal(tok.Encode(nil, d), g.GPT2[i]) {
					t.Errorf("%q differs", d)
				}
			}
		})
	}
	wg.Wait()
}

// An expression without a scanner of its own runs on the engine and gives the same ids.
func TestUnknownExpression(t *testing.T) {
	g, data := readGolden(t), mustJSON(t, load(t, "gpt2"))
	other := strings.Replace(bytepair.GPT2, `|\s+(?!\S)|\s+`, `|\s+(?!\S)|(?:\s+)`, 1)
	split := fmt.Sprintf(`{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":%s},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}`, quote(other))
	tok, err := Parse(replacePart(t, data, "pre_tokenizer", split))
	if err != nil {
		t.Fatal(err)
	}
	if tok.pattern.Scan != nil || tok.pattern.Regex != other {
		t.Fatal("the expression is known")
	}
	for i, text := range g.Texts {
		if !isASCII([]byte(text)) { // engines differ in newer characters
			continue
		}
		if got := tok.Encode(nil, []byte(text)); !slices.Equal(got, g.GPT2[i]) {
			t.Errorf("%q: got %v, want %v", text, got, g.GPT2[i])
		}
	}
	if got := tok.Decode(tok.Encode(nil, []byte("a\xff\xe2\x82 b"))); string(got) != "a\xff\xe2\x82 b" {
		t.Errorf("invalid UTF-8 came back as %q", got)
	}
}

func FuzzRoundTrip(f *testing.F) {
	tokens := []*Tokenizer{load(f, "gpt2"), load(f, "llama3")}
	f.Add([]byte("a\xff<|endoftext|> \r\n天天天 'Tis"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, tok := range tokens {
			if got := tok.Decode(tok.Encode(nil, text)); !bytes.Equal(got, text) {
				t.Fatalf("%q came back as %q", text, got)
			}
			if got := tok.Decode(tok.EncodeWithSpecial(nil, text)); !bytes.Equal(got, text) {
				t.Fatalf("with special tokens %q came back as %q", text, got)
			}
		}
	})
}

// TestStreamSkipsAPrompt: what follows a prompt is decoded as what follows it, whatever the decoder does at the start of a text or holds back.
func TestStreamSkipsAPrompt(t *testing.T) {
	const vocab = `{"type":"WordLevel","unk_token":"a","vocab":{"a":0,"▁b":1,"b":2,"##b":3,"c</w>":4,"<0xE6>":5,"<0x97>":6,"<0xA5>":7}}`
	for _, c := range []struct {
		decoder      string
		prompt, next []int32
		want         string
	}{
		{`{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`, []int32{1}, []int32{1, 2}, " bb"},
		{`{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`, []int32{8}, []int32{1, 2}, "bb"}, // behind nothing but a special token
		{`{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`, []int32{8, 1}, []int32{1, 5, 6, 7}, " b日"},
		{`{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"}]}`, []int32{0, 5, 6}, []int32{7, 2}, "日b"},
		{`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"b"},"content":"d"}]}`, []int32{0, 2}, []int32{2, 0}, "da"},
		{`{"type":"WordPiece","prefix":"##","cleanup":false}`, []int32{0}, []int32{2, 3}, " bb"},
		{`{"type":"WordPiece","prefix":"##","cleanup":false}`, []int32{0}, []int32{3, 2}, "b b"},
		{`{"type":"BPEDecoder","suffix":"</w>"}`, []int32{0, 4}, []int32{0, 4}, " ac"},
		{`null`, []int32{0}, []int32{2, 0}, " b a"},
		{`{"type":"ByteLevel"}`, []int32{0}, []int32{2, 0}, "ba"},
	} {
		tok, err := Parse([]byte(`{"added_tokens":[{"id":8,"content":"<s>","special":true}],"model":` + vocab + `,"decoder":` + c.decoder + `}`))
		if err != nil {
			t.Fatal(err)
		}
		d := tok.NewStreamDecoder()
		d.Skip(c.prompt)
		var out []byte
		for _, id := range c.next {
			out = d.Append(out, id)
		}
		if out = d.Flush(out); string(out) != c.want {
			t.Errorf("%s: %v goes on as %q, want %q", c.decoder, c.prompt, out, c.want)
		}
	}
}

func TestStreamDecoder(t *testing.T) {
	tok := load(t, "gpt2")
	for text, want := range map[string]string{
		"plain":                    "plain",
		"天👍é":                      "天👍é",
		"a\xffb":                   "a\uFFFDb",
		"\xe2\x82":                 "\uFFFD",
		"\xe2\x82x":                "\uFFFDx",
		"\xf0\x9f\x98\xf0\x9f\x98": "\uFFFD\uFFFD",
		"\xed\xa0\x80":             "\uFFFD\uFFFD\uFFFD",
		"\xc3\x28":                 "\uFFFD(",
		"":                         "",
	} {
		d := tok.NewStreamDecoder()
		var out []byte
		for _, b := range []byte(text) { // byte by byte: the worst a model can do
			before := len(out)
			out = d.Append(out, tok.bpe.byteID[b])
			if !bytes.Equal(bytes.ToValidUTF8(out[before:], nil), out[before:]) {
				t.Errorf("%q: half a character came out", text)
			}
		}
		if out = d.Flush(out); string(out) != want {
			t.Errorf("%q streams as %q, want %q", text, out, want)
		}
	}
}
