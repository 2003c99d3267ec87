// Package tokenizer turns text into token ids and back.
//
// A [Tokenizer] comes from [Load] (a Hugging Face tokenizer.json, a SentencePiece model, or vocab.json with merges.txt) or from [Train], and
// goes back to disk with [Tokenizer.Save]. It is immutable and safe for concurrent use. Encoding finds added tokens, normalizes what
// is between, cuts it into words, and gives each word to the model: BPE, Unigram, WordPiece or WordLevel. Words repeat, so an
// [Encoder] remembers the ids of recent words; it belongs to one goroutine. Where cutting is one known pattern (GPT-2's, Llama 3's,
// Qwen 2's) or a cut at spaces, a short way does without lists of pieces.
//
// [Tokenizer.EncodeSpans] also tells which bytes of the text each token stands for.
//
// Ids are those of the reference library (tokenizers on PyPI) and, for SentencePiece models, of SentencePiece. Text is bytes: what is not
// valid UTF-8, which the references cannot take, counts byte by byte as neither letter, number nor space. A byte-level model gives
// the same bytes back; a model with byte fallback has a token for each such byte; others have their unknown token.
package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"

	"hone/internal/bytepair"
)

// Tokenizer is a model with what surrounds it: normalizers, pre-tokenizers, added tokens, post-processor, decoder. Immutable; safe for
// concurrent use.
type Tokenizer struct {
	classes       *bytepair.Classes
	normalizers   []normalizer
	preTokenizers []preTokenizer
	pattern       bytepair.Pattern // its scanner is set where cutting is nothing but that (and prefixSpace)
	prefixSpace   bool             // ByteLevel: a text that does not start with a space gets one
	model         wordModel
	bpe           *bpe    // the model, if it is BPE
	spaced        *spaced // nil where there is no short way
	decodeSteps   []func(batch bool) decodeStep
	byteDecode    bool // text is the tokens' bytes, one after the other
	post          postProcessor
	tokens        []token // by id
	byName        map[string]int32
	added         addedTokens
	addedList     []AddedToken // by id
	config        Config
	parts         parts
	modelFields   object
	scores        []float64 // Unigram
	spm           *spmFile  // where it is from SentencePiece: normalization is SentencePiece's own
	kept          keptParts
	encoders      *sync.Pool // of *Encoder, for Encode
}

// token is one entry of the vocabulary.
type token struct {
	name    string // as tokenizer.json spells it; "" for an id that is not in use
	bytes   []byte
	model   bool // in the model's vocabulary
	added   bool
	special bool
	// normalized is an added token's text as normalization makes it, where that differs.
	normalized string
}

// Config is what tokenizer_config.json says beside the model. Token names are "" where there is none.
type Config struct {
	BOS, EOS, PAD, UNK string
	ModelMaxLength     int    // 0: not said
	ChatTemplate       string // verbatim
}

// Encode appends the ids of text to dst, special tokens read as plain text; see [Encoder.Encode]. It takes an encoder from a pool: a
// goroutine that encodes many texts is served better by its own [Encoder].
func (t *Tokenizer) Encode(dst []int32, text []byte) []int32 {
	e := t.encoders.Get().(*Encoder)
	defer t.encoders.Put(e)
	return e.Encode(dst, text)
}

// EncodeWithSpecial is Encode, but special tokens written in text become their ids; see [Encoder.EncodeWithSpecial].
func (t *Tokenizer) EncodeWithSpecial(dst []int32, text []byte) []int32 {
	e := t.encoders.Get().(*Encoder)
	defer t.encoders.Put(e)
	return e.EncodeWithSpecial(dst, text)
}

// VocabSize returns the largest id plus one: the rows that an embedding needs. It counts added tokens and unused ids.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// TokenToID returns the id of a token spelled as tokenizer.json does (a space is Ġ), added tokens included. The empty name is none: a WordLevel
// file may list it, and BOS, EOS and PAD are asked for by it where there are none.
func (t *Tokenizer) TokenToID(name string) (id int32, ok bool) {
	if name == "" {
		return 0, false
	}
	id, ok = t.byName[name]
	return id, ok
}

// IDToToken returns the token's spelling in tokenizer.json; TokenBytes returns its bytes.
func (t *Tokenizer) IDToToken(id int32) (name string, ok bool) {
	if id < 0 || int(id) >= len(t.tokens) || t.tokens[id].name == "" {
		return "", false
	}
	return t.tokens[id].name, true
}

// IsSpecial reports whether id is an added token marked special.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.tokens) && t.tokens[id].special
}

// BOS returns the id of the beginning-of-text token; ok is false when there is none.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.TokenToID(t.config.BOS) }

// EOS returns the id of the end-of-text token; ok is false when there is none.
func (t *Tokenizer) EOS() (id int32, ok bool) { return t.TokenToID(t.config.EOS) }

// PAD returns the id of the padding token; ok is false when there is none.
func (t *Tokenizer) PAD() (id int32, ok bool) { return t.TokenToID(t.config.PAD) }

// AddedTokens returns the added tokens in order of their ids.
func (t *Tokenizer) AddedTokens() []AddedToken { return slices.Clone(t.addedList) }

// Config returns what tokenizer_config.json says.
func (t *Tokenizer) Config() Config { return t.config }

// WithConfig returns a tokenizer with another Config. Its token names must be in the vocabulary.
func (t *Tokenizer) WithConfig(c Config) (*Tokenizer, error) {
	if err := t.checkConfig(c); err != nil {
		return nil, err
	}
	u := *t
	u.config = c
	u.encoders = newPool(&u)
	return &u, nil
}

// checkConfig refuses names that are no tokens: a run would notice them only when a text ends.
func (t *Tokenizer) checkConfig(c Config) error {
	for _, f := range []struct{ key, name string }{{"bos_token", c.BOS}, {"eos_token", c.EOS}, {"pad_token", c.PAD}, {"unk_token", c.UNK}} {
		if _, ok := t.byName[f.name]; f.name != "" && !ok {
			return fmt.Errorf("%s %q is not in the vocabulary: add it as a special token or choose one that exists", f.key, f.name)
		}
	}
	return nil
}

// Special returns the ids that the post-processor puts before and after a text.
func (t *Tokenizer) Special() (before, after []int32) {
	return slices.Clone(t.post.before), slices.Clone(t.post.after)
}

// Start is what stands before a document: what the post-processor puts there or, where it puts nothing, the token that ends texts, as between
// documents, or else BOS. It is empty when there is none of them.
func (t *Tokenizer) Start() []int32 {
	if before, _ := t.Special(); len(before) > 0 {
		return before
	}
	for _, token := range []func() (int32, bool){t.EOS, t.BOS} {
		if id, ok := token(); ok {
			return []int32{id}
		}
	}
	return nil
}

// Prompt returns the ids of a text that is to be gone on with: what the post-processor puts before it and its own. Where that makes none, as of an
// empty text, they are those of Start; none at all are left where that is empty, too.
func (t *Tokenizer) Prompt(text []byte) []int32 {
	before, _ := t.Special()
	if ids := t.Encode(before, text); len(ids) > 0 {
		return ids
	}
	return t.Start()
}

// MissingBytes returns the bytes that a byte-level vocabulary has no token for. They are dropped when encoding, as the reference does; it
// is empty for every vocabulary made by Train and for most others, and for models that do not read bytes.
func (t *Tokenizer) MissingBytes() []byte {
	var out []byte
	if t.bpe == nil || !t.bpe.bytes {
		return nil
	}
	for b, id := range t.bpe.byteID {
		if id < 0 {
			out = append(out, byte(b))
		}
	}
	return out
}

// Fingerprint identifies everything that decides ids: components, vocabulary, merges and added tokens, but not Config. It is the
// same on every machine: a key for caches of encoded text.
func (t *Tokenizer) Fingerprint() string {
	h := sha256.New()
	fields, _ := t.modelFields.MarshalJSON() // plain values
	if t.spm != nil {
		fmt.Fprintf(h, "sentencepiece %x\x00", sha256.Sum256(t.spm.charsmap))
	}
	fmt.Fprintf(h, "hone tokenizer 3\x00%s\x00%s\x00%s\x00%d\x00", compact(t.parts.normalizer), compact(t.parts.preTokenizer), compact(fields), len(t.tokens))
	for id, tok := range t.tokens {
		if tok.name != "" {
			fmt.Fprintf(h, "%d %t %q\n", id, tok.model, tok.name)
		}
	}
	var b [8]byte
	if t.bpe != nil {
		for _, p := range t.bpe.mergeList {
			h.Write(binary.LittleEndian.AppendUint64(b[:0], uint64(p)))
		}
	}
	for _, s := range t.scores {
		h.Write(binary.LittleEndian.AppendUint64(b[:0], math.Float64bits(s)))
	}
	for _, a := range t.addedList {
		fmt.Fprintf(h, "%+v\n", a)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// compact takes the white space out of JSON that has been read before.
func compact(raw json.RawMessage) []byte {
	var buf bytes.Buffer
	if isNull(raw) {
		return nil
	}
	if json.Compact(&buf, raw) != nil {
		return raw
	}
	return buf.Bytes()
}

// newPool makes the pool of Encode's encoders.
func newPool(t *Tokenizer) *sync.Pool {
	return &sync.Pool{New: func() any { return t.NewEncoder() }}
}
