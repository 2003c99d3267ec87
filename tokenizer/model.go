package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
)

// model is a tokenizer in the terms of tokenizer.json, before the tables are built.
type model struct {
	pattern      pattern
	prefixSpace  bool
	ignoreMerges bool
	unk          string // the model's unk_token
	vocab        map[string]int32
	merges       [][2]string // in order of rank
	added        []AddedToken
	config       Config
	kept         keptParts
}

// newTokenizer checks m and builds the tables.
func newTokenizer(m model) (*Tokenizer, error) {
	t := &Tokenizer{
		classes: unicodeClasses(), pattern: m.pattern, prefixSpace: m.prefixSpace, ignoreMerges: m.ignoreMerges, kept: m.kept,
		byName: make(map[string]int32, len(m.vocab)+len(m.added)),
	}
	if err := t.setVocab(m); err != nil {
		return nil, err
	}
	if err := t.setAdded(m.added); err != nil {
		return nil, err
	}
	if err := t.setMerges(m); err != nil {
		return nil, err
	}
	if err := t.checkConfig(m.config); err != nil {
		return nil, err
	}
	t.config = m.config
	t.encoders = newPool(t)
	return t, nil
}

// maxID bounds ids, so that a hostile file cannot ask for a table far larger than itself.
func maxID(entries int) int32 { return int32(min(4*entries+1<<16, 1<<26)) }

func (t *Tokenizer) setVocab(m model) error {
	limit := maxID(len(m.vocab) + len(m.added))
	size := int32(0)
	for name, id := range m.vocab {
		if id < 0 || id > limit {
			return fmt.Errorf("token %q has id %d, outside 0..%d", name, id, limit)
		}
		if name == "" {
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
	for name, id := range m.vocab {
		if other := t.tokens[id].name; other != "" {
			return fmt.Errorf("tokens %q and %q have the same id %d", min(name, other), max(name, other), id)
		}
		b, ok := byteAlphabet().read(name)
		if !ok {
			b = []byte(name)
		}
		t.tokens[id] = token{name: name, bytes: b, model: true}
		t.byName[name] = id
	}
	return nil
}

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
		tok.name, tok.bytes, tok.special = a.Content, []byte(a.Content), a.Special
		t.byName[a.Content] = a.ID
	}
	t.added = newAddedTokens(t.addedList)
	return nil
}

func (t *Tokenizer) setMerges(m model) error {
	for b := range t.byteID {
		id, ok := m.vocab[string(byteAlphabet().toRune[b])]
		if !ok {
			id = -1
			if m.unk != "" {
				return fmt.Errorf("the vocabulary has no token for byte 0x%02X: a model with unk_token %q in its place is not supported", b, m.unk)
			}
		}
		t.byteID[b] = id
	}
	if m.ignoreMerges {
		t.whole = make(map[string]int32, len(m.vocab))
		for name, id := range m.vocab {
			if b, ok := byteAlphabet().read(name); ok {
				t.whole[string(b)] = id
			}
		}
	}
	t.merges = newMergeTable(len(m.merges))
	t.mergeList = make([]pair, 0, len(m.merges))
	for rank, pieces := range m.merges {
		left, ok1 := m.vocab[pieces[0]]
		right, ok2 := m.vocab[pieces[1]]
		id, ok3 := m.vocab[pieces[0]+pieces[1]]
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("merge %d (%q + %q): the pieces and the result must be in model.vocab", rank, pieces[0], pieces[1])
		}
		t.merges.set(makePair(left, right), makeMerge(rank, id))
		t.mergeList = append(t.mergeList, makePair(left, right))
	}
	return nil
}
