package tokenizer

import "strings"

// Options say how EncodeSpans reads a text. The reference gives the same ids with encode_special_tokens=!ParseSpecial and
// add_special_tokens=AddSpecial.
type Options struct {
	ParseSpecial bool // special tokens written in the text become their ids; else they are plain text
	AddSpecial   bool // the post-processor adds its tokens, such as BOS
}

// EncodeSpans returns the ids of text and for each the bytes of text that it stands for. Spans are in order. A token
// of a byte-level model covers exactly its bytes, so that spans tile the text. Elsewhere a token that normalization made covers the
// characters it was made from: several tokens may cover the same character, and no token covers what was removed. Tokens that
// AddSpecial adds have empty spans.
func (t *Tokenizer) EncodeSpans(text []byte, o Options) ([]int32, []Span) {
	e := t.encoders.Get().(*Encoder)
	defer t.encoders.Put(e)
	var ids []int32
	var spans []Span
	if o.AddSpecial {
		for _, id := range t.post.before {
			ids, spans = append(ids, id), append(spans, Span{})
		}
	}
	at := 0
	for _, m := range t.added.passes[0].find(nil, text, o.ParseSpecial) {
		ids, spans = e.stretchSpans(ids, spans, tracked(text[at:m.start], at), o.ParseSpecial)
		ids, spans = append(ids, m.id), append(spans, Span{m.start, m.end})
		at = m.end
	}
	ids, spans = e.stretchSpans(ids, spans, tracked(text[at:], at), o.ParseSpecial)
	if o.AddSpecial {
		for _, id := range t.post.after {
			ids, spans = append(ids, id), append(spans, Span{len(text), len(text)})
		}
	}
	return ids, spans
}

func (e *Encoder) stretchSpans(ids []int32, spans []Span, c chunk, special bool) ([]int32, []Span) {
	c = e.normalize(c)
	at := 0
	for _, m := range e.t.added.passes[1].find(nil, c.text, special) {
		ids, spans = e.wordSpans(ids, spans, c.slice(at, m.start))
		ids, spans = append(ids, m.id), append(spans, c.span(m.start, m.end))
		at = m.end
	}
	return e.wordSpans(ids, spans, c.slice(at, len(c.text)))
}

func (e *Encoder) wordSpans(ids []int32, spans []Span, c chunk) ([]int32, []Span) {
	p := e.cut(c)
	for _, w := range p.cuts {
		n := len(spans)
		ids, spans = e.t.model.encodeSpans(e, ids, spans, p.text[w.start:w.end])
		for i := n; i < len(spans); i++ {
			spans[i] = p.span(w.start+spans[i].Start, w.start+spans[i].End)
		}
	}
	return ids, spans
}

// encode finds added tokens and encodes what is between.
func (e *Encoder) encode(dst []int32, text []byte, special bool) []int32 {
	outer := &e.t.added.passes[0]
	if !outer.any(special) {
		return e.stretch(dst, chunk{text: text, first: true}, special)
	}
	e.added = outer.find(e.added[:0], text, special)
	at := 0
	for _, m := range e.added {
		dst = append(e.stretch(dst, chunk{text: text[at:m.start], first: at == 0}, special), m.id)
		at = m.end
	}
	return e.stretch(dst, chunk{text: text[at:], first: at == 0}, special)
}

// stretch encodes what is between added tokens; those that are "normalized" are looked for here.
func (e *Encoder) stretch(dst []int32, c chunk, special bool) []int32 {
	inner := &e.t.added.passes[1]
	if !inner.any(special) {
		if s := e.t.spaced; s != nil {
			return e.spacedStretch(dst, c)
		}
		return e.words(dst, e.normalize(c))
	}
	c = e.normalize(c)
	e.inner = inner.find(e.inner[:0], c.text, special)
	at := 0
	for _, m := range e.inner {
		dst = append(e.words(dst, c.slice(at, m.start)), m.id)
		at = m.end
	}
	return e.words(dst, c.slice(at, len(c.text)))
}

func (e *Encoder) normalize(c chunk) chunk {
	for _, n := range e.t.normalizers {
		c = n.normalize(e, c)
	}
	return c
}

// normalized is what normalization makes of an added token's text; SentencePiece leaves its symbols as they are.
func (t *Tokenizer) normalized(text string) string {
	if t.spm != nil {
		return strings.ReplaceAll(text, " ", mark)
	}
	e := &Encoder{t: t}
	return string(e.normalize(chunk{text: []byte(text), first: true}).text)
}

// words encodes text that is normalized and holds no added tokens.
func (e *Encoder) words(dst []int32, c chunk) []int32 {
	if len(c.text) == 0 {
		return dst
	}
	if t := e.t; t.pattern.scan != nil {
		text := c.text
		if t.prefixSpace && text[0] != ' ' {
			text = append([]byte{' '}, text...)
		}
		scan, classes := t.pattern.scan, t.classes
		for i := 0; i < len(text); {
			end := scan(classes, text, i)
			dst = e.word(dst, text, i, end)
			i = end
		}
		return dst
	}
	p := e.cut(c)
	for _, w := range p.cuts {
		dst = e.word(dst, p.text, w.start, w.end)
	}
	return dst
}

// cut runs the pre-tokenizers.
func (e *Encoder) cut(c chunk) *pieces {
	p := &e.pieces
	p.e, p.chunk, p.cuts = e, c, p.cuts[:0]
	if len(c.text) > 0 {
		p.cuts = append(p.cuts, cut{0, len(c.text)})
	}
	for _, step := range e.t.preTokenizers {
		step.apply(e, p)
	}
	return p
}
