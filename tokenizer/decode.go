package tokenizer

import "unicode/utf8"

// Decode returns the bytes of ids, special tokens included as they are written. Decoding what Encode gave returns the text byte for
// byte, valid UTF-8 or not (add_prefix_space apart, which adds the space that Decode then shows). Ids that name no token are skipped:
// a model's output layer may have more rows than there are tokens.
func (t *Tokenizer) Decode(ids []int32) []byte {
	var out []byte
	for _, id := range ids {
		out = append(out, t.TokenBytes(id)...)
	}
	return out
}

// TokenBytes returns the bytes of one token, nil for an id that names none. They are the tokenizer's own: do not change them.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.tokens) {
		return nil
	}
	return t.tokens[id].bytes
}

// StreamDecoder decodes ids as they come and gives out whole characters only: a token may end inside a character. What can never become
// valid UTF-8 comes out as U+FFFD, as in the reference. For one goroutine.
type StreamDecoder struct {
	t       *Tokenizer
	pending []byte // an unfinished character, at most 3 bytes, after every call
}

// NewStreamDecoder returns a decoder at the start of a text.
func (t *Tokenizer) NewStreamDecoder() *StreamDecoder { return &StreamDecoder{t: t} }

// Append appends to dst the text that id completes, often nothing.
func (d *StreamDecoder) Append(dst []byte, id int32) []byte {
	d.pending = append(d.pending, d.t.TokenBytes(id)...)
	for len(d.pending) > 0 && utf8.FullRune(d.pending) {
		dst = d.take(dst)
	}
	return dst
}

// Flush ends the text: an unfinished character is appended as U+FFFD. The decoder may then start a new text.
func (d *StreamDecoder) Flush(dst []byte) []byte {
	for len(d.pending) > 0 {
		dst = d.take(dst)
	}
	return dst
}

// take moves one character from pending to dst; an invalid sequence, as long as it could have begun a character, becomes one U+FFFD.
func (d *StreamDecoder) take(dst []byte) []byte {
	r, size := utf8.DecodeRune(d.pending)
	if r == utf8.RuneError && size == 1 {
		for size = min(3, len(d.pending)); size > 1 && utf8.FullRune(d.pending[:size]); size-- {
		}
	}
	d.pending = append(d.pending[:0], d.pending[size:]...)
	return utf8.AppendRune(dst, r)
}
