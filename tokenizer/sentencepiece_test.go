package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spmCase is a SentencePiece model with what SentencePiece makes of texts.
type spmCase struct {
	Name, Model    string
	Texts, Decoded []string
	IDs            [][]int32 `json:"ids"`
	BOS            int32     `json:"bos"`
	EOS            int32     `json:"eos"`
	Size           int
}

func (c *spmCase) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSentencePieceEqualsTheReference(t *testing.T) {
	cases := readCases[spmCase](t, "sentencepiece")
	if len(cases) < 7 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "tokenizer.model"), string(c.bytes(t)))
			tok, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if id, ok := tok.BOS(); tok.VocabSize() != c.Size || ok != (c.BOS >= 0) || ok && id != c.BOS {
				t.Errorf("%d tokens, BOS %d; want %d, %d", tok.VocabSize(), id, c.Size, c.BOS)
			}
			if tok.spaced == nil {
				t.Error("words are not cut at spaces")
			}
			before, after := tok.Special()
			if want := []int32{c.BOS}; c.BOS >= 0 && (!slices.Equal(before, want) || len(after) > 0) {
				t.Errorf("adds %v and %v, want BOS", before, after)
			}
			ties := 0
			defer func() {
				if ties > 2 {
					t.Errorf("%d texts have other tokens of the same score", ties)
				}
			}()
			for i, text := range c.Texts {
				ids := tok.Encode(nil, []byte(text))
				if tok.sameScore(ids, c.IDs[i]) {
					ties++
					continue
				}
				if !slices.Equal(ids, c.IDs[i]) {
					t.Errorf("%q:\n got %v\nwant %v", text, ids, c.IDs[i])
					continue
				}
				if again, spans := tok.EncodeSpans([]byte(text), Options{}); !slices.Equal(again, ids) || len(spans) != len(ids) {
					t.Errorf("%q: spans of %v", text, again)
				}
				if got := string(tok.Decode(ids)); got != c.Decoded[i] && !strings.Contains(c.Decoded[i], "\u2047") && !strings.Contains(text, mark) {
					t.Errorf("%q decodes to %q, want %q", text, got, c.Decoded[i])
				}
			}
		})
	}
}

// sameScore reports whether two ways to cut a text differ and are equally good. SentencePiece adds scores in single precision from the start of
// the text, so which of them it takes depends on what stands before.
func (t *Tokenizer) sameScore(a, b []int32) bool {
	if t.scores == nil || slices.Equal(a, b) {
		return false
	}
	sum := 0.0
	for _, id := range a {
		sum += t.scores[id]
	}
	for _, id := range b {
		sum -= t.scores[id]
	}
	return math.Abs(sum) < 1e-5
}

// fromSentencePiece is what Load makes of a folder with nothing but this tokenizer.model.
func fromSentencePiece(data []byte) (*Tokenizer, error) {
	m, err := parseSPMModel(data)
	if err == nil {
		err = m.setDefaultParts()
	}
	if err != nil {
		return nil, err
	}
	return newTokenizer(m)
}

// A SentencePiece model saved as tokenizer.json gives the same ids for ordinary text.
func TestSaveSentencePiece(t *testing.T) {
	for _, c := range readCases[spmCase](t, "sentencepiece") {
		tok, err := fromSentencePiece(c.bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := tok.Save(dir); err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		for _, text := range []string{"Hello world, it's  1234.", "naïve café 天地", "a\nb", "  x  "} {
			want, got := encodeWith(tok, []byte(text), Options{AddSpecial: true}), encodeWith(again, []byte(text), Options{AddSpecial: true})
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q was %v, is %v", c.Name, text, want, got)
			}
		}
	}
}

func TestHostileSentencePiece(t *testing.T) {
	model := readCases[spmCase](t, "sentencepiece")[0].bytes(t)
	for name, data := range map[string][]byte{
		"empty":       nil,
		"text":        []byte("hello"),
		"huge length": {0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F},
		"no unknown":  {0x0A, 0x03, 0x0A, 0x01, 'a'},
		"field 0":     {0x02, 0x00},
		"not UTF-8":   {0x0A, 0x03, 0x0A, 0x01, 0xFF},
		"type word":   append(slices.Clone(model), 0x12, 0x02, 0x18, 0x03),
		"twice":       append(slices.Clone(model), model...),
		"cut":         model[:len(model)/3],
		"long piece":  append(slices.Clone(model), append([]byte{0x0A, 0x84, 0x80, 0x02, 0x0A, 0x80, 0x80, 0x02}, strings.Repeat("ab", 1<<14)...)...),
	} {
		if _, err := fromSentencePiece(data); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// smallSentencePiece is a model of some hundred bytes with a piece of every kind that is read, and a charsmap. The golden models are a thousand times as
// large, and mostly of pieces that differ in their text alone.
func smallSentencePiece(bpe, fallback, user bool) []byte {
	field := func(number int, value []byte) []byte {
		return append(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3|2), uint64(len(value))), value...)
	}
	number := func(number int, value int64) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3), uint64(value))
	}
	flag := func(b bool) int64 {
		if b {
			return 1
		}
		return 0
	}
	var model []byte
	piece := func(text string, kind int64) {
		score := binary.LittleEndian.AppendUint32([]byte{2<<3 | 5}, math.Float32bits(-float32(len(model))/100))
		model = append(model, field(1, slices.Concat(field(1, []byte(text)), score, number(3, kind)))...)
	}
	piece("<unk>", pieceUnknown)
	piece("<s>", pieceControl)
	piece("</s>", pieceControl)
	if user { // a text is cut at these, which takes another way through the encoder
		piece("[x]", pieceUser)
	}
	if fallback {
		for b := range 256 {
			piece(fmt.Sprintf("<0x%02X>", b), pieceByte)
		}
	}
	for _, text := range []string{mark, "a", "b", "ab", mark + "a", mark + "ab", "x", "é"} {
		piece(text, pieceNormal)
	}
	trie := make([]uint32, 0x42)                                                  // "A" becomes "a", and "AB" becomes " x"
	trie[0], trie[1^'A'], trie[0x41] = 1<<10, 'A'|1<<8|1<<10, 1<<31               // the root; A, with a value; its value
	trie[0x41^'B'], trie[0x41^'B'^1] = 'B'|1<<8|1<<10, 1<<31|uint32(len("a\x00")) // B behind A; its value
	charsmap := binary.LittleEndian.AppendUint32(nil, uint32(4*len(trie)))
	for _, unit := range trie {
		charsmap = binary.LittleEndian.AppendUint32(charsmap, unit)
	}
	charsmap = append(charsmap, "a\x00 x\x00"...)
	trainer := slices.Concat(number(3, 1+flag(bpe)), number(24, 0), number(35, flag(fallback)), number(41, 1), number(42, 2), number(43, -1))
	normalizer := slices.Concat(field(2, charsmap), number(3, 1), number(4, flag(!bpe)), number(5, 1))
	return slices.Concat(model, field(2, trainer), field(3, normalizer))
}

func FuzzSentencePiece(f *testing.F) {
	for kind := range 8 {
		bpe, fallback, user := kind&1 > 0, kind&2 > 0, kind&4 > 0
		model := smallSentencePiece(bpe, fallback, user)
		tok, err := fromSentencePiece(model)
		if err != nil {
			f.Fatal(err)
		}
		// two words, each with a character that the charsmap replaces
		if got := string(tok.Decode(tok.Encode(nil, []byte("AABé ab")))); got != "a xé ab" {
			f.Errorf("bpe %v, bytes %v, user %v: %q", bpe, fallback, user, got)
		}
		for _, text := range []string{"ab  AB [x]é\xff天 ", "aababéx", ""} {
			f.Add(model, []byte(text))
		}
	}
	f.Add([]byte{0x0A, 0x03, 0x0A, 0x01, 'a'}, []byte("a"))
	f.Fuzz(func(t *testing.T, data, text []byte) {
		tok, err := fromSentencePiece(data)
		if err != nil {
			return
		}
		tok.Decode(tok.EncodeWithSpecial(nil, text))
	})
}

func TestVocabAndMerges(t *testing.T) {
	want := load(t, "gpt2")
	dir := t.TempDir()
	vocab, err := object(want.vocab()).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "vocab.json"), string(vocab))
	write(t, filepath.Join(dir, "merges.txt"), "#version: 0.2\n"+strings.Join(want.mergeNames().([]string), "\r\n")+"\n")
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"added_tokens_decoder":{"900":{"content":"<tool>","normalized":false}},"add_bos_token":true}`)
	write(t, filepath.Join(dir, "added_tokens.json"), `{"<extra>":901}`)
	write(t, filepath.Join(dir, "special_tokens_map.json"), `{"bos_token":{"content":"<|endoftext|>"},"eos_token":"<|endoftext|>","additional_special_tokens":["<extra>"]}`)
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := readGolden(t)
	for i, text := range g.Texts {
		if got := tok.Encode(nil, []byte(text)); !slices.Equal(got, g.GPT2[i]) {
			t.Errorf("%q: got %v, want %v", text, got, g.GPT2[i])
		}
	}
	eos, _ := tok.EOS()
	got := encodeWith(tok, []byte("<tool><extra>"), Options{ParseSpecial: true, AddSpecial: true})
	if !slices.Equal(got, []int32{eos, 900, 901}) || !tok.IsSpecial(901) || tok.IsSpecial(900) || !tok.IsSpecial(eos) {
		t.Errorf("added tokens: %v", got)
	}
	for name, text := range map[string]string{"merges.txt": "a b c\n", "vocab.json": "[]", "added_tokens.json": "7", "special_tokens_map.json": `{"bos_token":7}`} {
		old, _ := os.ReadFile(filepath.Join(dir, name))
		write(t, filepath.Join(dir, name), text)
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s = %s: %v", name, text, err)
		}
		write(t, filepath.Join(dir, name), string(old))
	}
}
