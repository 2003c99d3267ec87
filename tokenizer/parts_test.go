package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// readCases reads golden cases; testdata/gen/tokenizer_parts.py wrote them.
func readCases[T any](t testing.TB, name string) []T {
	t.Helper()
	return readGzip[struct{ Cases []T }](t, name).Cases
}

// readGzip reads a golden file, and puts SentencePiece's usual charsmap where it names it.
func readGzip[T any](t testing.TB, name string) (file T) {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("NMT_NFKC")) {
		data = bytes.ReplaceAll(data, []byte("NMT_NFKC"), nmtNFKC(t))
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// nmtNFKC is SentencePiece's usual charsmap in base64. It is large, so the golden files hold it once, in the SentencePiece model "unigram".
func nmtNFKC(t testing.TB) []byte {
	t.Helper()
	for _, c := range readCases[spmCase](t, "sentencepiece") {
		if c.Name == "unigram" {
			f, err := parseSPM(c.bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			return []byte(base64.StdEncoding.EncodeToString(f.charsmap))
		}
	}
	t.Fatal("no model with a charsmap")
	return nil
}

// partCase is one component with what the reference makes of texts (or, for a decoder, of lists of tokens).
type partCase struct {
	Kind    string
	Part    json.RawMessage
	In, Out []json.RawMessage
}

func decodeJSON[T any](t testing.TB, raw json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPartsEqualTheReference(t *testing.T) {
	kinds := map[string]int{}
	for _, c := range readCases[partCase](t, "parts") {
		kinds[c.Kind]++
		c.check(t)
	}
	if kinds["normalizer"] < 20 || kinds["pre_tokenizer"] < 50 || kinds["decoder"] < 15 {
		t.Errorf("cases are missing: %v", kinds)
	}
}

// check runs the component over the texts; it reports the first that differ.
func (c *partCase) check(t *testing.T) {
	tok := &Tokenizer{}
	var err error
	switch c.Kind {
	case "normalizer":
		tok.normalizers, err = buildParts(c.Kind, c.Part, newNormalizer)
	case "pre_tokenizer":
		tok.preTokenizers, err = buildParts(c.Kind, c.Part, newPreTokenizer)
	case "decoder":
		tok.decodeSteps, err = buildParts(c.Kind, c.Part, newDecodeStep)
	}
	if err != nil {
		t.Errorf("%s: %v", c.Part, err)
		return
	}
	bad := 0
	for i := range c.In {
		if got, want := runPart(t, tok, c.Kind, c.In[i], c.Out[i]); got != want {
			if bad++; bad <= 3 {
				t.Errorf("%s %.200s, %s:\n got %s\nwant %s", c.Kind, c.Part, c.In[i], got, want)
			}
		}
	}
	if bad > 3 {
		t.Errorf("%s %.200s: %d of %d texts differ", c.Kind, c.Part, bad, len(c.In))
	}
}

// runPart runs a component and returns its result and the expected one as text.
func runPart(t *testing.T, tok *Tokenizer, kind string, in, out json.RawMessage) (got, want string) {
	e := &Encoder{t: tok}
	switch kind {
	case "normalizer":
		text := []byte(decodeJSON[string](t, in))
		with := e.normalize(tracked(text, 0))
		plain := string(e.normalize(newChunk(text, true)).text)
		if plain != string(with.text) || len(with.from) != len(with.text) {
			t.Errorf("%q: with and without origins differ", text)
		}
		return plain, decodeJSON[string](t, out)
	case "pre_tokenizer":
		text := []byte(decodeJSON[string](t, in))
		type piece [3]any
		list := [][3]any{}
		p := e.cut(tracked(text, 0))
		for _, w := range p.cuts {
			s := widen(text, p.span(w.start, w.end))
			list = append(list, piece{string(p.text[w.start:w.end]), s.Start, s.End})
		}
		a, _ := json.Marshal(list)
		b, _ := json.Marshal(decodeJSON[[]any](t, out))
		return string(a), string(b)
	}
	if string(out) == "null" { // the reference panics
		return "", ""
	}
	d := tok.newDecoder(true)
	stream := tok.newDecoder(false)
	for _, s := range decodeJSON[[]string](t, in) {
		d.push(0, s)
		stream.push(0, s)
	}
	d.flush()
	stream.flush()
	want = decodeJSON[string](t, out)
	if utf8.ValidString(want) && !strings.Contains(want, "\uFFFD") && string(stream.out) != want {
		t.Errorf("%s streams as %q, want %q", in, stream.out, want)
	}
	return lossy(d.out), want
}

// widen grows a span to whole characters, as the reference counts.
func widen(text []byte, s Span) Span {
	for s.Start > 0 && s.Start < len(text) && !utf8.RuneStart(text[s.Start]) {
		s.Start--
	}
	for s.End > s.Start && s.End < len(text) && !utf8.RuneStart(text[s.End]) {
		s.End++
	}
	return s
}

// lossy replaces what is not UTF-8 as the reference does: one U+FFFD for each sequence that could have begun a character.
func lossy(b []byte) string {
	d := StreamDecoder{pending: bytes.Clone(b)}
	var out []byte
	for len(d.pending) > 0 {
		out = d.take(out)
	}
	return string(out)
}

// modelCase is a tokenizer with what the reference makes of texts.
type modelCase struct {
	Name, Tokenizer string
	Texts           []string
	Results         []struct {
		IDs          []int32  `json:"ids"`
		Spans        [][2]int `json:"spans"`
		Special      []int32  `json:"special"`
		SpecialSpans [][2]int `json:"special_spans"`
		Text, Plain  string
	}
}

func TestModelsEqualTheReference(t *testing.T) {
	cases := readCases[modelCase](t, "models")
	if len(cases) < 20 {
		t.Fatalf("%d cases", len(cases))
	}
	texts, short, crossed := spacedTexts(), 0, 0
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if plain := withoutNormalized(t, c.Tokenizer); plain.spaced != nil || plain.pattern.Scan != nil {
				checkShortWay(t, plain, texts)
				if short++; plain.spaced != nil && plain.spaced.joins != [256]bool{} {
					crossed++
				}
			}
			tok, err := Parse([]byte(c.Tokenizer))
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(mustJSON(t, tok))
			if err != nil || again.Fingerprint() != tok.Fingerprint() {
				t.Errorf("what was saved loads differently: %v", err)
			}
			for i, text := range c.Texts {
				if t.Failed() && i > 400 {
					break
				}
				checkModel(t, tok, []byte(text), &c, i)
			}
		})
	}
	if short < 12 || crossed < 1 {
		t.Errorf("%d models have a short way, %d of them merges across spaces", short, crossed)
	}
}

// spacedTexts are random texts of many spaces.
func spacedTexts() []string {
	r := rand.New(rand.NewPCG(81, 82))
	texts := []string{" ", "  a", "a  ", " a ▁ b", "<s> a", "\n\n a"}
	for range 60 {
		var text strings.Builder
		for range 1 + r.IntN(16) {
			text.WriteString([]string{"a", "b", " ", " ", "  ", "the", "The", "é", "e\u0301", "天", ".", "\n", "12", "<s>", "\xff"}[r.IntN(15)])
		}
		texts = append(texts, text.String())
	}
	return texts
}

// withoutNormalized is the tokenizer without the added tokens that are looked for in normalized text, with which Encode takes no short way.
func withoutNormalized(t *testing.T, file string) *Tokenizer {
	m, err := parseModel([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	m.added = slices.DeleteFunc(m.added, func(a AddedToken) bool { return a.Normalized })
	tok, err := newTokenizer(m)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// checkShortWay compares Encode, which takes a short way, with EncodeSpans, which never does.
func checkShortWay(t *testing.T, tok *Tokenizer, texts []string) {
	for _, text := range texts {
		for _, o := range []Options{{}, {ParseSpecial: true}} {
			want, _ := tok.EncodeSpans([]byte(text), o)
			if got := encodeWith(tok, []byte(text), o); !slices.Equal(got, want) {
				t.Errorf("%q, %+v, the short way:\n got %v\nwant %v", text, o, got, want)
			}
		}
	}
}

// spansDiffer reports texts whose spans are not those of the reference, whose charsmap loses count when the first character goes.
func spansDiffer(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\v"))
}

// encodeWith returns the ids that EncodeSpans is to give.
func encodeWith(tok *Tokenizer, text []byte, o Options) []int32 {
	encode := tok.Encode
	if o.ParseSpecial {
		encode = tok.EncodeWithSpecial
	}
	before, after := tok.Special()
	if !o.AddSpecial {
		before, after = nil, nil
	}
	return append(encode(before, text), after...)
}

func checkModel(t *testing.T, tok *Tokenizer, text []byte, c *modelCase, i int) {
	want := &c.Results[i]
	ids := tok.Encode(nil, text)
	if !slices.Equal(ids, want.IDs) {
		t.Errorf("%q:\n got %v\nwant %v", text, ids, want.IDs)
		return
	}
	if again := tok.Encode(nil, text); !slices.Equal(again, ids) {
		t.Errorf("%q: a second time %v", text, again)
	}
	all := Options{ParseSpecial: true, AddSpecial: true}
	special := encodeWith(tok, text, all)
	if !slices.Equal(special, want.Special) {
		t.Errorf("%q, special:\n got %v\nwant %v", text, special, want.Special)
		return
	}
	for _, s := range []struct {
		o     Options
		ids   []int32
		spans [][2]int
	}{{Options{}, want.IDs, want.Spans}, {all, want.Special, want.SpecialSpans}} {
		ids, spans := tok.EncodeSpans(text, s.o)
		if !slices.Equal(ids, s.ids) {
			t.Errorf("%q, spans:\n got %v\nwant %v", text, ids, s.ids)
			continue
		}
		for k, span := range spans {
			if spansDiffer(text) {
				break
			}
			if span = widen(text, span); span.Start == span.End && s.spans[k][0] == s.spans[k][1] {
				continue
			}
			if span.Start != s.spans[k][0] || span.End != s.spans[k][1] {
				t.Errorf("%q: token %d (%d) spans %v, want %v", text, k, ids[k], span, s.spans[k])
				break
			}
		}
	}
	if got := lossy(tok.Decode(special)); got != want.Text {
		t.Errorf("%q decodes to %q, want %q", text, got, want.Text)
	}
	// The reference does not know its own special token again when normalization changed it, and leaves it in the text.
	if got := lossy(tok.DecodePlain(special)); got != want.Plain && !strings.Contains(string(text), "<|im_end|>") {
		t.Errorf("%q decodes without special tokens to %q, want %q", text, got, want.Plain)
	}
	stream := tok.NewStreamDecoder()
	var out []byte
	for _, id := range special {
		out = stream.Append(out, id)
	}
	if out = stream.Flush(out); string(out) != want.Text {
		t.Errorf("%q streams as %q, want %q", text, out, want.Text)
	}
}

// TestExamples holds what comments show.
func TestExamples(t *testing.T) {
	pieces := func(part, text string) string {
		tok := &Tokenizer{}
		var err error
		if tok.preTokenizers, err = buildParts("pre_tokenizer", json.RawMessage(part), newPreTokenizer); err != nil {
			t.Fatal(err)
		}
		var out []string
		p := (&Encoder{t: tok}).cut(tracked([]byte(text), 0))
		for _, c := range p.cuts {
			out = append(out, string(p.text[c.start:c.end]))
		}
		return strings.Join(out, "|")
	}
	for behavior, want := range map[string]string{
		"Removed": "the|final|countdown", "Isolated": "the|-|final|-|-|countdown", "MergedWithPrevious": "the-|final-|-|countdown",
		"MergedWithNext": "the|-final|-|-countdown", "Contiguous": "the|-|final|--|countdown",
	} {
		if got := pieces(`{"type":"Punctuation","behavior":"`+behavior+`"}`, "the-final--countdown"); got != want {
			t.Errorf("%s: %s, want %s", behavior, got, want)
		}
	}
	for _, c := range []struct{ part, text, want string }{
		{`{"type":"Metaspace","replacement":"▁"}`, "Hey friend", "▁Hey|▁friend"},
		{`{"type":"ByteLevel","add_prefix_space":false}`, "Hey é", "Hey|ĠÃ©"},
		{`{"type":"BertPreTokenizer"}`, "it's a_b", "it|'|s|a|_|b"},
	} {
		if got := pieces(c.part, c.text); got != c.want {
			t.Errorf("%s: %s, want %s", c.part, got, c.want)
		}
	}
	for _, c := range []struct{ part, tokens, want string }{
		{`{"type":"WordPiece"}`, "un ##able to", "unable to"},
		{`{"type":"BPEDecoder"}`, "lo w</w> er</w>", "low er"},
		{`{"type":"CTC"}`, "h h e l <pad> l o", "hello"},
	} {
		tok := &Tokenizer{}
		var err error
		if tok.decodeSteps, err = buildParts("decoder", json.RawMessage(c.part), newDecodeStep); err != nil {
			t.Fatal(err)
		}
		d := tok.newDecoder(true)
		for s := range strings.FieldsSeq(c.tokens) {
			d.push(0, s)
		}
		if d.flush(); string(d.out) != c.want {
			t.Errorf("%s: %q, want %q", c.part, d.out, c.want)
		}
	}
}
