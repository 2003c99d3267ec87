package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hone/internal/bytepair"
)

// model is a tokenizer in the terms of tokenizer.json, before the tables are built.
type model struct {
	kind         string // BPE, Unigram, WordPiece or WordLevel
	vocab        map[string]int32
	names        []string  // Unigram: by id
	scores       []float64 // Unigram: by id
	merges       [][2]string
	ranks        []int32 // of merges, where they are not just their places
	unk          string  // the model's unk_token, "" for none
	unkID        int32   // Unigram; -1 for none
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
	prefix       string // continuing_subword_prefix
	suffix       string // end_of_word_suffix
	maxChars     int    // WordPiece
	added        []AddedToken
	config       Config
	parts        parts
	kept         keptParts
	spm          *spmFile // where the model is from SentencePiece
}

// parts are the components of tokenizer.json as they are written there.
type parts struct{ normalizer, preTokenizer, postProcessor, decoder json.RawMessage }

// wordModel turns one word into tokens.
type wordModel interface {
	// encode appends the ids of word.
	encode(e *Encoder, dst []int32, word []byte) []int32
	// encodeSpans appends the ids, and for each the bytes of word that it covers.
	encodeSpans(e *Encoder, dst []int32, spans []Span, word []byte) ([]int32, []Span)
}

// newTokenizer checks m and builds the tables.
func newTokenizer(m model) (*Tokenizer, error) {
	t := &Tokenizer{classes: bytepair.Unicode(), parts: m.parts, kept: m.kept, byName: make(map[string]int32, len(m.vocab)+len(m.added))}
	if err := t.setVocab(&m); err != nil {
		return nil, err
	}
	if err := t.setAdded(m.added); err != nil {
		return nil, err
	}
	if err := t.setParts(&m); err != nil {
		return nil, err
	}
	if err := t.setModel(&m); err != nil {
		return nil, err
	}
	if err := t.checkConfig(m.config); err != nil {
		return nil, err
	}
	// after the model, whose merges decide whether the short way leads to the same ids
	t.spaced = newSpaced(t, &m)
	t.modelFields = m.fields()
	t.added = newAddedTokens(t.addedList, t.normalized)
	for _, a := range t.addedList {
		if a.Normalized {
			tok := &t.tokens[a.ID]
			if tok.normalized = t.normalized(a.Content); t.byteDecode && tok.normalized != "" && tok.normalized != tok.name {
				tok.bytes = []byte(tok.normalized)
				if b, ok := bytepair.ByteAlphabet().Read(tok.normalized); ok {
					tok.bytes = b
				}
			}
		}
	}
	t.config = m.config
	t.encoders = newPool(t)
	return t, nil
}

// maxID bounds ids, so that a hostile file cannot ask for a table far larger than itself.
func maxID(entries int) int32 { return int32(min(4*entries+1<<16, 1<<26)) }

// setVocab fills the tokens of the model. Ids may have holes, but not many more than there are tokens.
func (t *Tokenizer) setVocab(m *model) error {
	limit := maxID(len(m.vocab) + len(m.names) + len(m.added))
	size := int32(len(m.names))
	for name, id := range m.vocab {
		if id < 0 || id > limit {
			return fmt.Errorf("token %q has id %d, outside 0..%d", name, id, limit)
		}
		if name == "" && m.kind == "BPE" {
			return fmt.Errorf("model.vocab has an empty token (id %d)", id)
		}
		size = max(size, id+1)
	}
	for _, a := range m.added {
		if a.ID < 0 || a.ID > limit {
			return fmt.Errorf("added token %q has id %d, outside 0..%d", a.Content, a.ID, limit)
		}
		size = max(size, a.ID+1)
	}
	t.tokens = make([]token, size)
	for id, name := range m.names { // a piece that is listed twice has two ids, of which encoding uses the last
		t.tokens[id] = token{name: name, model: true}
	}
	for name, id := range m.vocab {
		if other := t.tokens[id].name; other != "" && other != name {
			return fmt.Errorf("tokens %q and %q have the same id %d", min(name, other), max(name, other), id)
		}
		t.tokens[id] = token{name: name, model: true}
		t.byName[name] = id
	}
	return nil
}

// setAdded puts added tokens in, which may be the model's own, with flags.
func (t *Tokenizer) setAdded(added []AddedToken) error {
	t.addedList = slices.Clone(added)
	slices.SortFunc(t.addedList, func(a, b AddedToken) int { return cmp.Compare(a.ID, b.ID) })
	for _, a := range t.addedList {
		if a.Content == "" {
			return fmt.Errorf("added token %d is empty", a.ID)
		}
		tok := &t.tokens[a.ID]
		if tok.name != "" && tok.name != a.Content {
			return fmt.Errorf("added token %q has the id %d of token %q", a.Content, a.ID, tok.name)
		}
		if id, ok := t.byName[a.Content]; ok && id != a.ID {
			return fmt.Errorf("added token %q has the ids %d and %d", a.Content, id, a.ID)
		}
		tok.name, tok.added, tok.special = a.Content, true, a.Special
		t.byName[a.Content] = a.ID
	}
	return nil
}

// setParts builds the components around the model.
func (t *Tokenizer) setParts(m *model) (err error) {
	if t.normalizers, err = buildParts("normalizer", m.parts.normalizer, newNormalizer); err != nil {
		return err
	}
	if t.preTokenizers, err = buildParts("pre_tokenizer", m.parts.preTokenizer, newPreTokenizer); err != nil {
		return err
	}
	if t.decodeSteps, err = newDecodeSteps(m.parts.decoder); err != nil {
		return err
	}
	if t.spm = m.spm; t.spm != nil {
		if t.normalizers, err = m.spm.normalizers(); err != nil {
			return err
		}
	}
	t.post, err = newPostProcessor(m.parts.postProcessor, len(t.tokens))
	return err
}

// setModel builds the model and the bytes of its tokens. A BPE model after ByteLevel reads bytes, and its tokens are spelled bytes.
func (t *Tokenizer) setModel(m *model) (err error) {
	bytes := t.readsBytes(m)
	switch m.kind {
	case "BPE":
		if t.bpe, err = newBPE(m, bytes); err == nil {
			t.model = t.bpe
		}
	case "Unigram":
		t.model, err = newUnigram(m)
		t.scores = m.scores
	case "WordPiece":
		t.model, err = newWordPiece(m)
	case "WordLevel":
		t.model, err = newWordLevel(m)
	default:
		err = fmt.Errorf("model type %q is not supported (supported: BPE, Unigram, WordPiece, WordLevel)", m.kind)
	}
	if err != nil {
		return err
	}
	if steps := t.newDecoder(true).steps; len(steps) == 1 {
		_, t.byteDecode = steps[0].(byteLevelDecoder)
	}
	for i := range t.tokens {
		tok := &t.tokens[i]
		tok.bytes = []byte(tok.name)
		// added tokens are spelled as they are; the reference reads é, for one, as the byte 0xE9
		if b, ok := bytepair.ByteAlphabet().Read(tok.name); ok && t.byteDecode && !tok.added {
			tok.bytes = b
		}
	}
	if !t.byteDecode {
		t.setTokenBytes()
	}
	return nil
}

// readsBytes reports whether the model reads bytes, and sets the pre-tokenizers up for that.
func (t *Tokenizer) readsBytes(m *model) bool {
	n := len(t.preTokenizers)
	if m.kind != "BPE" || m.prefix != "" || m.suffix != "" || n == 0 {
		return false
	}
	last, ok := t.preTokenizers[n-1].(*byteLevel)
	if !ok {
		return false
	}
	for _, p := range t.preTokenizers[:n-1] {
		switch p.(type) {
		case *byteLevel, *metaspace: // they rewrite the text
			return false
		}
	}
	// what becomes of a byte without a token is then a matter of the character that spells it
	if m.unk != "" || m.byteFallback {
		for _, r := range bytepair.ByteAlphabet().Spelling {
			if _, ok := m.vocab[string(r)]; !ok {
				return false
			}
		}
	}
	t.preTokenizers[n-1] = &last.byteLevelCut
	t.prefixSpace = last.prefixSpace
	// Where the words of one known pattern are all that cutting is, Encode scans and merges in one go.
	switch {
	case n == 1 && last.regex:
		t.pattern, _ = bytepair.NewPattern(bytepair.GPT2)
	case n == 2 && !last.regex && !last.prefixSpace:
		if s, ok := t.preTokenizers[0].(*split); ok && s.scanner() != nil {
			t.pattern = *s.scanner()
		}
	}
	return true
}

// check refuses what no component can do.
func (m *model) check() error {
	switch {
	case len(m.vocab) == 0:
		return errors.New("model.vocab is missing or empty")
	case m.byteFallback && (m.prefix != "" || m.suffix != ""):
		return errors.New("model.byte_fallback together with continuing_subword_prefix or end_of_word_suffix is not supported")
	}
	return nil
}

// fields are the settings of the model as Save writes them, without vocabulary and merges.
func (m *model) fields() object {
	orNull := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	switch m.kind {
	case "Unigram":
		unk := any(nil)
		if m.unkID >= 0 {
			unk = m.unkID
		}
		return object{{"type", m.kind}, {"unk_id", unk}, {"byte_fallback", m.byteFallback}}
	case "WordPiece":
		return object{{"type", m.kind}, {"unk_token", m.unk}, {"continuing_subword_prefix", m.prefix}, {"max_input_chars_per_word", m.maxChars}}
	case "WordLevel":
		return object{{"type", m.kind}, {"unk_token", m.unk}}
	}
	return object{{"type", "BPE"}, {"dropout", nil}, {"unk_token", orNull(m.unk)}, {"continuing_subword_prefix", orNull(m.prefix)},
		{"end_of_word_suffix", orNull(m.suffix)}, {"fuse_unk", m.fuseUnk}, {"byte_fallback", m.byteFallback}, {"ignore_merges", m.ignoreMerges}}
}

// jsonModel is any model of tokenizer.json.
type jsonModel struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	Unk          *string         `json:"unk_token"`
	UnkID        *int32          `json:"unk_id"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	MaxChars     *int            `json:"max_input_chars_per_word"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       jsonMerges      `json:"merges"`
}

// model reads the settings; the type of old files follows from the fields they have.
func (j *jsonModel) model() (model, error) {
	m := model{kind: j.Type, merges: j.Merges, unk: orString(j.Unk, ""), unkID: -1, fuseUnk: j.FuseUnk, byteFallback: j.ByteFallback,
		ignoreMerges: j.IgnoreMerges, prefix: orString(j.Prefix, ""), suffix: orString(j.Suffix, ""), maxChars: 100}
	list := strings.HasPrefix(strings.TrimSpace(string(j.Vocab)), "[")
	if m.kind == "" {
		switch {
		case list:
			m.kind = "Unigram"
		case j.Merges != nil:
			m.kind = "BPE"
		case j.Prefix != nil || j.MaxChars != nil:
			m.kind = "WordPiece"
		default:
			m.kind = "WordLevel"
		}
	}
	if j.Dropout != nil && *j.Dropout != 0 {
		return m, fmt.Errorf("model.dropout %v is not supported: only null is", *j.Dropout)
	}
	if j.UnkID != nil {
		m.unkID = *j.UnkID
	}
	if j.MaxChars != nil {
		m.maxChars = *j.MaxChars
	}
	if j.Unk == nil {
		m.unk = map[string]string{"WordPiece": "[UNK]", "WordLevel": "<unk>"}[m.kind]
	}
	if j.Prefix == nil && m.kind == "WordPiece" {
		m.prefix = "##"
	}
	if isNull(j.Vocab) {
		return m, errors.New("model.vocab is missing or empty")
	}
	if m.kind == "BPE" && j.Merges == nil {
		return m, errors.New("model.merges is missing; a model without merges has an empty list")
	}
	if list {
		return m, m.readPieces(j.Vocab)
	}
	if err := unmarshalMap(j.Vocab, &m.vocab); err != nil {
		return m, fmt.Errorf("model.vocab: %w", err)
	}
	return m, m.check()
}

// readPieces reads Unigram's vocabulary: a list of [piece, score].
func (m *model) readPieces(raw json.RawMessage) error {
	var list [][]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || m.kind != "Unigram" {
		return fmt.Errorf("model.vocab must be a list of [piece, score] for Unigram and an object for others")
	}
	m.vocab = make(map[string]int32, len(list))
	for id, p := range list {
		var name string
		var score float64
		if len(p) != 2 || isNull(p[0]) || isNull(p[1]) || json.Unmarshal(p[0], &name) != nil || json.Unmarshal(p[1], &score) != nil {
			return fmt.Errorf("model.vocab: entry %d is not [piece, score]", id)
		}
		m.vocab[name] = int32(id)
		m.names, m.scores = append(m.names, name), append(m.scores, score)
	}
	return m.check()
}
