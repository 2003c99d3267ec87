package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// decoder turns ids into text by a chain of steps.
type decoder struct {
	t     *Tokenizer
	steps []decodeStep
	out   []byte
}

// newDecoder makes the chain of t; batch as for newDecodeStep.
func (t *Tokenizer) newDecoder(batch bool) *decoder {
	d := &decoder{t: t}
	for i, make := range t.decodeSteps {
		d.steps = append(d.steps, make(batch))
		// bytes of one character may be in two tokens, so ByteLevel fuses: what follows it sees one string
		if _, ok := d.steps[len(d.steps)-1].(byteLevelDecoder); ok && i+1 < len(t.decodeSteps) {
			d.steps = append(d.steps, new(fuseDecoder))
		}
	}
	fused := (*fuseDecoder)(nil)
	for _, s := range d.steps {
		switch s := s.(type) {
		case *fuseDecoder:
			fused = s
		// stripping the start of a fused text needs only its start; stripping its end, and any other step, needs all of it
		case *stripDecoder:
			s.fused = fused != nil
			if fused != nil {
				fused.collect = fused.collect || s.stop > 0
			}
		default:
			if fused != nil {
				fused.collect = true
			}
		}
	}
	return d
}

// push sends a token through the steps from the n-th on.
func (d *decoder) push(n int, token string) {
	if n == len(d.steps) {
		d.out = append(d.out, token...)
		return
	}
	d.steps[n].push(token, func(s string) { d.push(n+1, s) })
}

// flush ends the text from the first step to the last, since what one step held back goes through those behind it.
func (d *decoder) flush() {
	for n, s := range d.steps {
		s.flush(func(s string) { d.push(n+1, s) })
	}
}

// Decode returns the text of ids, special tokens included as they are written. For a byte-level tokenizer, decoding what Encode gave
// returns the text byte for byte, valid UTF-8 or not (add_prefix_space apart, which adds the space that Decode then shows). The reference
// returns the same text with skip_special_tokens=False, and U+FFFD for what is not UTF-8. Ids that name no token are skipped: a model's
// output layer may have more rows than there are tokens.
func (t *Tokenizer) Decode(ids []int32) []byte { return t.decode(ids, false) }

// DecodePlain is Decode without special tokens (skip_special_tokens=True).
func (t *Tokenizer) DecodePlain(ids []int32) []byte { return t.decode(ids, true) }

// decode goes without steps where a text is nothing but its tokens' bytes, as of every byte-level model: it needs no strings then.
func (t *Tokenizer) decode(ids []int32, skipSpecial bool) []byte {
	var out []byte
	if t.byteDecode {
		for _, id := range ids {
			if !skipSpecial || !t.IsSpecial(id) {
				out = append(out, t.TokenBytes(id)...)
			}
		}
		return out
	}
	d := t.newDecoder(true)
	for _, id := range ids {
		if name := t.spelling(id); name != "" && (!skipSpecial || !t.IsSpecial(id)) {
			d.push(0, name)
		}
	}
	d.flush()
	return d.out
}

// spelling is what the decoder's steps get for id: a "normalized" added token goes through them as it was found. "" for no token.
func (t *Tokenizer) spelling(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	if tok := &t.tokens[id]; tok.normalized != "" {
		return tok.normalized
	}
	return t.tokens[id].name
}

// TokenBytes returns the bytes of one token, nil for an id that names none. They are the tokenizer's own: do not change them. For a
// tokenizer that is not byte-level they are the token's text inside a longer text: ▁ is a space, ## nothing, <0x0A> one byte.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.tokens) {
		return nil
	}
	return t.tokens[id].bytes
}

// setTokenBytes fills in the bytes of tokens that are not byte-level: a token is decoded as the second of a text.
func (t *Tokenizer) setTokenBytes() {
	d := t.newDecoder(true)
	for i := range t.tokens {
		tok := &t.tokens[i]
		if b, ok := byteToken(tok.name); ok && t.hasByteFallback() {
			tok.bytes = []byte{b}
			continue
		}
		if tok.special || tok.name == "" {
			continue
		}
		d.push(0, "a")
		d.out = d.out[:0]
		d.push(0, tok.name)
		d.flush()
		tok.bytes = slices.Clone(d.out)
		d.out = d.out[:0]
	}
}

func (t *Tokenizer) hasByteFallback() bool {
	return slices.ContainsFunc(t.newDecoder(true).steps, func(s decodeStep) bool { _, ok := s.(*byteFallbackDecoder); return ok })
}

// StreamDecoder decodes ids as they come and gives out whole characters only: a token may end inside a character. What can never become
// valid UTF-8 comes out as U+FFFD, as in the reference. For one goroutine.
type StreamDecoder struct {
	t       *Tokenizer
	steps   *decoder // nil where tokens are bytes
	pending []byte   // an unfinished character, at most 3 bytes, after every call
	skipped []byte   // text of skipped ids that the steps still hold back
}

// NewStreamDecoder returns a decoder at the start of a text.
func (t *Tokenizer) NewStreamDecoder() *StreamDecoder {
	d := &StreamDecoder{t: t}
	if !t.byteDecode {
		d.steps = t.newDecoder(false)
	}
	return d
}

// Skip goes over ids whose text is known, such as a prompt's: it is not given out, and what comes next is decoded as what follows it. So a space
// stays that decoders take off the start of a text, as those of Llama 2 do. Special tokens among ids are passed over.
func (d *StreamDecoder) Skip(ids []int32) {
	if d.steps == nil {
		return // bytes stand for themselves wherever they are
	}
	known := d.t.DecodePlain(ids)
	given := 0
	for _, id := range ids {
		if name := d.t.spelling(id); name != "" && !d.t.IsSpecial(id) {
			d.steps.push(0, name)
			given += len(d.steps.out)
			d.steps.out = d.steps.out[:0]
		}
	}
	d.skipped = known[min(given, len(known)):]
}

// Append appends to dst the text that id completes, often nothing.
func (d *StreamDecoder) Append(dst []byte, id int32) []byte {
	if d.steps == nil {
		d.pending = append(d.pending, d.t.TokenBytes(id)...)
	} else if name := d.t.spelling(id); name != "" {
		d.steps.push(0, name)
		d.drain()
	}
	for len(d.pending) > 0 && utf8.FullRune(d.pending) {
		dst = d.take(dst)
	}
	return dst
}

// drain moves what the steps gave out to pending.
func (d *StreamDecoder) drain() {
	out := d.steps.out
	for len(out) > 0 && len(d.skipped) > 0 {
		if out[0] != d.skipped[0] { // what came next made another text of it
			d.skipped = nil
			break
		}
		out, d.skipped = out[1:], d.skipped[1:]
	}
	d.pending = append(d.pending, out...)
	d.steps.out = d.steps.out[:0]
}

// Flush ends the text: an unfinished character is appended as U+FFFD. The decoder may then start a new text.
func (d *StreamDecoder) Flush(dst []byte) []byte {
	if d.steps != nil {
		d.steps.flush()
		d.drain()
		d.skipped = nil
	}
	for len(d.pending) > 0 {
		dst = d.take(dst)
	}
	return dst
}

// take moves one character from pending to dst; an invalid sequence, as long as it could have begun a character, becomes one U+FFFD.
func (d *StreamDecoder) take(dst []byte) []byte {
	r, size := utf8.DecodeRune(d.pending)
	// as many bytes as could have begun a character count as one, which is what Rust's String::from_utf8_lossy does
	if r == utf8.RuneError && size == 1 {
		for size = min(3, len(d.pending)); size > 1 && utf8.FullRune(d.pending[:size]); size-- {
		}
	}
	d.pending = append(d.pending[:0], d.pending[size:]...)
	return utf8.AppendRune(dst, r)
}
