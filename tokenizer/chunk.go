package tokenizer

import "unicode/utf8"

// Span is a range of bytes of an input text.
type Span struct{ Start, End int }

// chunk is a stretch of text on its way through normalizers and pre-tokenizers.
type chunk struct {
	text  []byte
	from  []Span // for each byte of text, where in the input it is from; nil when nobody asked
	first bool   // it starts where the input starts
}

// slice returns part of a chunk.
func (c chunk) slice(start, end int) chunk {
	out := chunk{text: c.text[start:end], first: c.first && start == 0}
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
	c := chunk{text: text, from: make([]Span, len(text)), first: offset == 0}
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
	d.out.text = append(d.out.text, d.src.text[d.at:to]...)
	if d.src.from != nil {
		d.out.from = append(d.out.from, d.src.from[d.at:to]...)
	}
	d.at = to
}

// skip leaves the source out up to to.
func (d *edit) skip(to int) { d.at = to }

// put writes text for the source up to to: its n-th character is from the n-th there, or from the last one.
func (d *edit) put(to int, text []byte) {
	if d.src.from == nil {
		d.out.text = append(d.out.text, text...)
		d.at = to
		return
	}
	for len(text) > 0 {
		_, size := utf8.DecodeRune(text)
		_, width := utf8.DecodeRune(d.src.text[d.at:to])
		d.insert(text[:size], Span{d.src.from[d.at].Start, d.src.from[d.at+width-1].End})
		text = text[size:]
		if d.at+width < to {
			d.at += width
		}
	}
	d.at = to
}

// putLast writes text for the source up to to: all of it is from the last character there.
func (d *edit) putLast(to int, text []byte) {
	var origin Span
	if d.src.from != nil && to > 0 {
		_, width := utf8.DecodeLastRune(d.src.text[:to])
		origin = Span{d.src.from[to-width].Start, d.src.from[to-1].End}
	}
	d.insert(text, origin)
	d.at = to
}

// putRune is put for one character.
func (d *edit) putRune(to int, r rune) {
	var b [utf8.UTFMax]byte
	d.put(to, b[:utf8.EncodeRune(b[:], r)])
}

// insert writes text that is from origin.
func (d *edit) insert(text []byte, origin Span) {
	d.out.text = append(d.out.text, text...)
	if d.src.from != nil {
		for range text {
			d.out.from = append(d.out.from, origin)
		}
	}
}

// prefix writes text in front of what comes, as from the next character.
func (d *edit) prefix(text []byte) {
	var origin Span
	if d.src.from != nil && d.at < len(d.src.text) {
		_, width := utf8.DecodeRune(d.src.text[d.at:])
		origin = Span{d.src.from[d.at].Start, d.src.from[d.at+width-1].End}
	}
	d.insert(text, origin)
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
