package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Options say how EncodeSpans reads a text. The reference gives the same ids with encode_special_tokens=!ParseSpecial and
// add_special_tokens=AddSpecial.
type Options struct {
	ParseSpecial bool // special tokens written in the text become their ids; else they are plain text
	AddSpecial   bool // the post-processor adds its tokens, such as BOS
}

// EncodeSpans returns the ids of text and for each the bytes of text that it stands for. Spans are in order, but for an unknown
// token that comes out behind the bytes of the next characters. A token
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
		at = min(at, m.start)
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

// stretchSpans is stretch with spans; c is tracked.
func (e *Encoder) stretchSpans(ids []int32, spans []Span, c chunk, special bool) ([]int32, []Span) {
	c = e.normalize(c)
	at := 0
	for _, m := range e.t.added.passes[1].find(nil, c.text, special) {
		ids, spans = e.wordSpans(ids, spans, c.slice(min(at, m.start), m.start))
		ids, spans = append(ids, m.id), append(spans, c.span(m.start, m.end))
		at = m.end
	}
	return e.wordSpans(ids, spans, c.slice(at, len(c.text)))
}

// wordSpans is words with spans: what the model says about a word's bytes is led back to the input.
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
		return e.stretch(dst, newChunk(text, true), special)
	}
	e.added = outer.find(e.added[:0], text, special)
	at := 0
	for _, m := range e.added {
		dst = append(e.stretch(dst, newChunk(text[min(at, m.start):m.start], at == 0), special), m.id)
		at = m.end
	}
	return e.stretch(dst, newChunk(text[at:], at == 0), special)
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
		dst = append(e.words(dst, c.slice(min(at, m.start), m.start)), m.id)
		at = m.end
	}
	return e.words(dst, c.slice(at, len(c.text)))
}

// normalize runs the normalizers. The result lives in their buffers until the next call.
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
	return string(e.normalize(newChunk([]byte(text), true)).text)
}

// words encodes text that is normalized and holds no added tokens.
func (e *Encoder) words(dst []int32, c chunk) []int32 {
	if len(c.text) == 0 {
		return dst
	}
	// the short way of byte-level models: no list of pieces, and the scanner called directly
	if t := e.t; t.pattern.Scan != nil {
		text := c.text
		if t.prefixSpace && text[0] != ' ' {
			text = append([]byte{' '}, text...)
		}
		scan, classes := t.pattern.Scan, t.classes
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

// Span is a range of bytes of an input text.
type Span struct{ Start, End int }

// chunk is a stretch of text on its way through normalizers and pre-tokenizers.
type chunk struct {
	text  []byte
	from  []Span // for each byte of text, where in the input it is from; nil when nobody asked
	first bool   // it starts where the input starts, whatever has been removed from there
	head  int    // so many bytes of text, from its start on, are from the input's first character
}

// newChunk returns text as a chunk; start says that the input starts with it.
func newChunk(text []byte, start bool) chunk {
	c := chunk{text: text, first: start}
	if start {
		_, c.head = utf8.DecodeRune(text)
	}
	return c
}

// slice returns part of a chunk.
func (c chunk) slice(start, end int) chunk {
	out := chunk{text: c.text[start:end], first: c.first && start == 0, head: min(max(c.head-start, 0), end-start)}
	if c.from != nil {
		out.from = c.from[start:end]
	}
	return out
}

// span returns where in the input text[start:end] is from.
func (c chunk) span(start, end int) Span {
	switch {
	case start < end:
		return Span{c.from[start].Start, max(c.from[start].Start, c.from[end-1].End)}
	case start < len(c.from):
		return Span{c.from[start].Start, c.from[start].Start}
	case start > 0:
		return Span{c.from[start-1].End, c.from[start-1].End}
	}
	return Span{}
}

// tracked returns text as a chunk that knows where its bytes, which start at offset in the input, are from.
func tracked(text []byte, offset int) chunk {
	c := newChunk(text, offset == 0)
	c.from = make([]Span, len(text))
	for i := range c.from {
		c.from[i] = Span{offset + i, offset + i + 1}
	}
	return c
}

// edit rewrites a chunk from left to right. Its methods take the place in the source up to which they work.
type edit struct {
	e    *Encoder
	slot int
	src  chunk
	out  chunk
	at   int // the source before it is done
}

// edit starts to rewrite src. Steps that are under way at the same time need different slots.
func (e *Encoder) edit(slot int, src chunk) edit {
	for len(e.buffers) <= slot {
		e.buffers = append(e.buffers, nil)
	}
	d := edit{e: e, slot: slot, src: src, out: chunk{text: e.buffers[slot][:0], first: src.first}}
	if src.from != nil {
		d.out.from = make([]Span, 0, len(src.text))
	}
	return d
}

// keep copies the source up to to.
func (d *edit) keep(to int) {
	if d.at < d.src.head {
		d.headed(min(to, d.src.head) - d.at)
	}
	d.out.text = append(d.out.text, d.src.text[d.at:to]...)
	if d.src.from != nil {
		d.out.from = append(d.out.from, d.src.from[d.at:to]...)
	}
	d.at = to
}

// headed counts n bytes that are about to be written and are from the input's first character, unless others stand before them.
func (d *edit) headed(n int) {
	if d.out.head == len(d.out.text) {
		d.out.head += n
	}
}

// skip leaves the source out up to to.
func (d *edit) skip(to int) { d.at = to }

// put writes text for the source up to to: its n-th character is from the n-th there, or from the last one.
func (d *edit) put(to int, text []byte) {
	if d.src.from == nil && d.at >= d.src.head {
		d.out.text = append(d.out.text, text...)
		d.at = to
		return
	}
	for len(text) > 0 {
		_, size := utf8.DecodeRune(text)
		_, width := utf8.DecodeRune(d.src.text[d.at:to])
		d.insert(text[:size], d.at, d.at+width)
		text = text[size:]
		if d.at+width < to {
			d.at += width
		}
	}
	d.at = to
}

// putLast writes text for the source up to to: all of it is from the last character there.
func (d *edit) putLast(to int, text []byte) {
	_, width := utf8.DecodeLastRune(d.src.text[:to])
	d.insert(text, to-width, to)
	d.at = to
}

// putFormed writes a normal form for the source up to to.
func (d *edit) putFormed(to int, run []formedRune) {
	start, end := d.at, d.at // of the source's character that was taken last
	take := func() {
		if end < to {
			_, width := utf8.DecodeRune(d.src.text[end:to])
			start, end = end, end+width
		}
	}
	var b [utf8.UTFMax]byte
	for _, m := range run {
		if m.change <= 0 || start == end {
			take()
		}
		d.insert(b[:utf8.EncodeRune(b[:], m.r)], start, end)
		for range -m.change {
			take()
		}
	}
	d.at = to
}

// putRune is put for one character.
func (d *edit) putRune(to int, r rune) {
	var b [utf8.UTFMax]byte
	d.put(to, b[:utf8.EncodeRune(b[:], r)])
}

// insert writes text that is from the source's [start, end).
func (d *edit) insert(text []byte, start, end int) {
	if start < d.src.head {
		d.headed(len(text))
	}
	d.out.text = append(d.out.text, text...)
	if d.src.from == nil {
		return
	}
	var origin Span
	if len(d.src.from) > 0 {
		origin = d.src.span(start, end)
	}
	for range text {
		d.out.from = append(d.out.from, origin)
	}
}

// prefix writes text in front of what comes, as from the next character.
func (d *edit) prefix(text []byte) {
	_, width := utf8.DecodeRune(d.src.text[d.at:])
	d.insert(text, d.at, d.at+width)
}

// done copies the rest and returns the new chunk, which is good until the slot is used again.
func (d *edit) done() chunk {
	d.keep(len(d.src.text))
	d.e.buffers[d.slot] = d.out.text[:0]
	return d.out
}

// cut is a piece of a text.
type cut struct{ start, end int }

// pieces is a text in pieces, as pre-tokenizers make them.
type pieces struct {
	e *Encoder
	chunk
	cuts []cut
	next []cut // scratch
}

// resplit replaces each piece by what split appends for it; empty pieces go.
func (p *pieces) resplit(split func(dst []cut, start, end int) []cut) {
	p.next = p.next[:0]
	for _, c := range p.cuts {
		if c.start < c.end {
			p.next = split(p.next, c.start, c.end)
		}
	}
	p.cuts, p.next = p.next, p.cuts
}
