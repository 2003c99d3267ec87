package tokenizer

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"hone/internal/bytepair"
)

// decodeStep is a step from tokens to text. Tokens go through it one by one, so that decoding can be streamed.
type decodeStep interface {
	// push takes a token and hands on what is certain.
	push(token string, emit func(string))
	// flush hands on the rest and makes the step new.
	flush(emit func(string))
}

// newDecodeSteps reads decoder. Where there is none, tokens have spaces between; an empty Sequence is one, and puts them side by side.
func newDecodeSteps(raw json.RawMessage) ([]func(batch bool) decodeStep, error) {
	if isNull(raw) {
		return []func(bool) decodeStep{func(bool) decodeStep { return new(spaceDecoder) }}, nil
	}
	return buildParts("decoder", raw, newDecodeStep)
}

// newDecodeStep returns a function that makes the step, since steps have a state. For batch, text is that of the reference to the letter;
// for streams complete characters come out as soon as possible.
func newDecodeStep(p jsonPart, _ int) (func(batch bool) decodeStep, error) {
	switch p.Type {
	case "ByteLevel":
		return func(bool) decodeStep { return byteLevelDecoder{} }, nil
	case "Metaspace":
		m, err := newMetaspace(p, 0)
		if err != nil {
			return nil, err
		}
		return func(bool) decodeStep { return &metaspaceDecoder{metaspace: *m, start: true} }, nil
	case "ByteFallback":
		return func(batch bool) decodeStep { return &byteFallbackDecoder{batch: batch} }, nil
	case "Fuse":
		return func(bool) decodeStep { return &fuseDecoder{} }, nil
	case "Strip":
		content, err := oneRune(orString(p.Content, ""), "content")
		if err == nil && (p.Start < 0 || p.Stop < 0) {
			err = errors.New("its start and stop must not be negative")
		}
		return func(bool) decodeStep {
			return &stripDecoder{content: content, start: p.Start, stop: p.Stop, left: p.Start}
		}, err
	case "Replace":
		find, content, err := newReplacement(p)
		return func(bool) decodeStep { return replaceDecoder{find, content} }, err
	case "WordPiece":
		prefix, clean := orString(p.Prefix, "##"), orTrue(p.Cleanup)
		return func(bool) decodeStep { return &wordPieceDecoder{prefix: prefix, cleanup: clean, start: true} }, nil
	case "BPEDecoder":
		suffix := orString(p.Suffix, "</w>")
		return func(bool) decodeStep { return &bpeDecoder{suffix: suffix} }, nil
	case "CTC":
		c := ctcDecoder{pad: orString(p.PadToken, "<pad>"), delimiter: orString(p.WordDelimiter, "|"), cleanup: orTrue(p.Cleanup)}
		return func(bool) decodeStep { c := c; return &c }, nil
	}
	return nil, errUnknownPart("ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace, WordPiece, BPEDecoder, CTC, Sequence")
}

// spaceDecoder is what the reference does without a decoder: tokens with spaces between.
type spaceDecoder struct{ some bool }

// push writes the space before a token, not behind it: whether one follows is not known yet.
func (d *spaceDecoder) push(token string, emit func(string)) {
	if d.some {
		emit(" ")
	}
	d.some = true
	emit(token)
}

func (d *spaceDecoder) flush(func(string)) { d.some = false }

// byteLevelDecoder reads GPT-2's alphabet. Bytes stay as they are, valid UTF-8 or not.
type byteLevelDecoder struct{}

// push leaves a token alone that is not all of the alphabet, such as an added one with a space in it.
func (byteLevelDecoder) push(token string, emit func(string)) {
	if b, ok := bytepair.ByteAlphabet().Read(token); ok {
		token = string(b)
	}
	emit(token)
}

func (byteLevelDecoder) flush(func(string)) {}

// metaspaceDecoder turns the visible space back, and drops those of the first token where encoding adds one.
type metaspaceDecoder struct {
	metaspace
	start bool
}

// push drops every visible space of the first token, not its first alone: the reference does (decoders/metaspace via pre_tokenizers/metaspace.rs).
func (d *metaspaceDecoder) push(token string, emit func(string)) {
	space := " "
	if d.start && d.prepend != prependNever {
		space = ""
	}
	d.start = false
	emit(strings.ReplaceAll(token, string(d.replacement), space))
}

func (d *metaspaceDecoder) flush(func(string)) { d.start = true }

// byteFallbackDecoder joins <0x..> tokens to characters. A run of them that is not valid UTF-8 becomes one U+FFFD for each byte: the whole
// run for batch; in a stream, what follows its last complete character.
type byteFallbackDecoder struct {
	batch bool
	run   []byte
}

// push waits for no more than a whole character when it streams; a batch waits for the end of the run, since one bad byte spoils all of
// it.
func (d *byteFallbackDecoder) push(token string, emit func(string)) {
	b, ok := byteToken(token)
	if !ok {
		d.flush(emit)
		emit(token)
		return
	}
	d.run = append(d.run, b)
	if d.batch {
		return
	}
	for len(d.run) > 0 {
		r, size := utf8.DecodeRune(d.run)
		if r == utf8.RuneError && size == 1 {
			return
		}
		emit(string(d.run[:size]))
		d.run = append(d.run[:0], d.run[size:]...)
	}
}

// flush ends a run of bytes: all of it is text, or none of it.
func (d *byteFallbackDecoder) flush(emit func(string)) {
	switch {
	case len(d.run) == 0:
	case utf8.Valid(d.run):
		emit(string(d.run))
	default:
		for range d.run {
			emit("\uFFFD")
		}
	}
	d.run = d.run[:0]
}

// byteToken reads a token such as <0x0A>.
func byteToken(s string) (b byte, ok bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	for _, c := range []byte(s[3:5]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		b = b<<4 | c
	}
	return b, true
}

// fuseDecoder makes one string of all tokens; steps after it that need the whole string get it at the end.
type fuseDecoder struct {
	collect bool // the next steps need the whole string
	text    strings.Builder
}

// push collects only where a later step asks for it, so that the usual chain of Llama 2 streams.
func (d *fuseDecoder) push(token string, emit func(string)) {
	if d.collect {
		d.text.WriteString(token)
		return
	}
	emit(token)
}

// flush hands on the whole text.
func (d *fuseDecoder) flush(emit func(string)) {
	if d.collect {
		emit(d.text.String())
		d.text.Reset()
	}
}

// stripDecoder takes up to start and stop characters off the ends of each token; after Fuse, off the start of the text.
type stripDecoder struct {
	content     rune
	start, stop int
	fused       bool // tokens are parts of one string; stop is 0
	left        int  // characters that may still be taken off that string
}

// push takes characters off the first tokens of a fused text as they come, for there is no more to know about them.
func (d *stripDecoder) push(token string, emit func(string)) {
	if !d.fused {
		d.left = d.start
	}
	for d.left > 0 && token != "" {
		r, size := utf8.DecodeRuneInString(token)
		if r != d.content {
			d.left = 0
			break
		}
		token = token[size:]
		d.left--
	}
	for range d.stop {
		r, size := utf8.DecodeLastRuneInString(token)
		if size == 0 || r != d.content {
			break
		}
		token = token[:len(token)-size]
	}
	emit(token)
}

func (d *stripDecoder) flush(func(string)) { d.left = d.start }

type replaceDecoder struct {
	find    matcher
	content string
}

// push looks for the pattern in each token by itself, as the reference does without Fuse before it.
func (d replaceDecoder) push(token string, emit func(string)) {
	if l, ok := d.find.(literal); ok {
		emit(strings.ReplaceAll(token, string(l.text), d.content))
		return
	}
	var out strings.Builder
	for _, m := range d.find.find(nil, []byte(token)) {
		if m.is {
			out.WriteString(d.content)
		} else {
			out.WriteString(token[m.start:m.end])
		}
	}
	emit(out.String())
}

func (replaceDecoder) flush(func(string)) {}

// wordPieceDecoder puts a space before each token that starts a word: un ##able to becomes "unable to".
type wordPieceDecoder struct {
	prefix         string
	cleanup, start bool
}

// push cleans up token by token, so what stands in two of them, as do and not, stays.
func (d *wordPieceDecoder) push(token string, emit func(string)) {
	if !d.start {
		tail, ok := strings.CutPrefix(token, d.prefix)
		if token = tail; !ok {
			token = " " + token
		}
	}
	d.start = false
	if d.cleanup {
		token = cleanup(token)
	}
	emit(token)
}

func (d *wordPieceDecoder) flush(func(string)) { d.start = true }

// cleanup removes spaces that English text does not have.
// The list and its order are the reference's (decoders/wordpiece.rs).
func cleanup(s string) string {
	for _, r := range [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
		{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}

// bpeDecoder turns the suffix that ends words into a space, except at the end: lo w</w> er</w> becomes "low er". So it holds one token back.
type bpeDecoder struct {
	suffix, held string
	some         bool
}

// push hands on the token before this one: only the last one's suffix is no space.
func (d *bpeDecoder) push(token string, emit func(string)) {
	if d.some {
		emit(strings.ReplaceAll(d.held, d.suffix, " "))
	}
	d.held, d.some = token, true
}

// flush hands on the last token.
func (d *bpeDecoder) flush(emit func(string)) {
	if d.some {
		emit(strings.ReplaceAll(d.held, d.suffix, ""))
	}
	d.held, d.some = "", false
}

// ctcDecoder drops repeated tokens and padding, of which a speech model gives many: h h e l <pad> l o becomes "hello" (Graves and
// others: Connectionist Temporal Classification, 2006).
type ctcDecoder struct {
	pad, delimiter, last string
	cleanup, some        bool
}

// push compares with the token before, padding included: padding between two equal tokens is what makes a double letter.
func (d *ctcDecoder) push(token string, emit func(string)) {
	if d.some && token == d.last {
		return
	}
	d.last, d.some = token, true
	token = strings.ReplaceAll(token, d.pad, "")
	if d.cleanup {
		token = strings.ReplaceAll(cleanup(token), d.delimiter, " ")
	}
	if token != "" {
		emit(token)
	}
}

func (d *ctcDecoder) flush(func(string)) { d.last, d.some = "", false }
