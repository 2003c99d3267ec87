package tokenizer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
)

// Tokenizer is a byte-level BPE model with its pattern and added tokens. Immutable; safe for concurrent use.
type Tokenizer struct {
	classes      *classes
	pattern      pattern
	prefixSpace  bool // a text that does not start with a space gets one
	ignoreMerges bool // a word that is a token is that token, whatever the merges say
	byteID       [256]int32
	merges       mergeTable
	mergeList    []pair           // in order of rank, for Save
	whole        map[string]int32 // bytes of a token -> id; only with ignoreMerges
	tokens       []token          // by id
	byName       map[string]int32
	added        addedTokens
	addedList    []AddedToken // by id
	config       Config
	kept         keptParts
	encoders     *sync.Pool // of *Encoder, for Encode
}

// token is one entry of the vocabulary.
type token struct {
	name    string // as tokenizer.json spells it; "" for an id that is not in use
	bytes   []byte
	model   bool // in the model's vocabulary
	special bool
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

// EncodeAll encodes documents in parallel with the given number of goroutines, special tokens read as plain text.
func (t *Tokenizer) EncodeAll(docs [][]byte, workers int) [][]int32 {
	out := make([][]int32, len(docs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, min(workers, len(docs))) {
		wg.Go(func() {
			e := t.NewEncoder()
			var ids []int32
			for i := range next {
				ids = e.Encode(ids[:0], docs[i])
				out[i] = slices.Clone(ids)
			}
		})
	}
	for i := range docs {
		next <- i
	}
	close(next)
	wg.Wait()
	return out
}

// VocabSize returns the largest id plus one: the rows that an embedding needs. It counts added tokens and unused ids.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// TokenToID returns the id of a token spelled as tokenizer.json does (a space is Ġ), added tokens included.
func (t *Tokenizer) TokenToID(name string) (id int32, ok bool) {
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

func (t *Tokenizer) checkConfig(c Config) error {
	for _, f := range []struct{ key, name string }{{"bos_token", c.BOS}, {"eos_token", c.EOS}, {"pad_token", c.PAD}, {"unk_token", c.UNK}} {
		if _, ok := t.byName[f.name]; f.name != "" && !ok {
			return fmt.Errorf("%s %q is not in the vocabulary: add it as a special token or choose one that exists", f.key, f.name)
		}
	}
	return nil
}

// MissingBytes returns the bytes that the vocabulary has no token for. They are dropped when encoding, as the reference does; it is
// empty for every vocabulary made by Train and for most others.
func (t *Tokenizer) MissingBytes() []byte {
	var out []byte
	for b, id := range t.byteID {
		if id < 0 {
			out = append(out, byte(b))
		}
	}
	return out
}

// Fingerprint identifies everything that decides ids: pattern, flags, vocabulary, merges and added tokens, but not Config. It is the
// same on every machine: a key for caches of encoded text.
func (t *Tokenizer) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "hone tokenizer 1\x00%q\x00%t\x00%t\x00%d\x00", t.pattern.regex, t.prefixSpace, t.ignoreMerges, len(t.tokens))
	for id, tok := range t.tokens {
		if tok.name != "" {
			fmt.Fprintf(h, "%d %t %q\n", id, tok.model, tok.name)
		}
	}
	var b [8]byte
	for _, p := range t.mergeList {
		h.Write(binary.LittleEndian.AppendUint64(b[:0], uint64(p)))
	}
	for _, a := range t.addedList {
		fmt.Fprintf(h, "%+v\n", a)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func newPool(t *Tokenizer) *sync.Pool {
	return &sync.Pool{New: func() any { return t.NewEncoder() }}
}
