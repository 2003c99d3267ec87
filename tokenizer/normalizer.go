package tokenizer

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"hone/internal/bytepair"
	"hone/internal/characters"
)

// normalizer rewrites a stretch of text before it is cut. It returns its input where there is nothing to do.
type normalizer interface {
	normalize(e *Encoder, c chunk) chunk
}

// Slots of the edit buffers: normalizers count from 0, pre-tokenizers from here.
const preTokenizerSlots = 4 * maxParts

// newNormalizer makes one normalizer of tokenizer.json; the reference's are under
// tokenizers/src/normalizers.
func newNormalizer(p jsonPart, index int) (normalizer, error) {
	slot := 4 * index // BertNormalizer has several steps
	switch p.Type {
	case "NFC":
		return unicodeForm{slot, norm.NFC}, nil
	case "NFD":
		return unicodeForm{slot, norm.NFD}, nil
	case "NFKC":
		return unicodeForm{slot, norm.NFKC}, nil
	case "NFKD":
		return unicodeForm{slot, norm.NFKD}, nil
	case "Lowercase":
		return lowercase{slot, characters.Reference()}, nil
	case "StripAccents":
		return dropProperty{slot, characters.Reference(), characters.Mark}, nil
	case "Strip":
		return strip{slot, characters.Reference(), p.StripLeft, p.StripRight}, nil
	case "Prepend":
		return prepend{slot: slot, text: []byte(p.Prepend)}, nil
	case "ByteLevel":
		return byteLevelNormalizer{slot}, nil
	case "Nmt":
		return nmt{slot}, nil
	case "Bert", "BertNormalizer":
		return newBertNormalizer(p, slot), nil
	case "Precompiled":
		return newPrecompiled(p.Charsmap, slot)
	case "Replace":
		return newReplace(p, slot)
	}
	return nil, errUnknownPart("NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, BertNormalizer, Nmt, Precompiled, ByteLevel, Sequence")
}

// isASCII reports whether every byte of text is below 0x80.
func isASCII(text []byte) bool {
	for len(text) >= 8 {
		if (text[0]|text[1]|text[2]|text[3]|text[4]|text[5]|text[6]|text[7])&0x80 != 0 {
			return false
		}
		text = text[8:]
	}
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unicodeForm is NFC, NFD, NFKC or NFKD.
type unicodeForm struct {
	slot int
	form norm.Form
}

// Composition and decomposition are Unicode Standard Annex 15's.
func (u unicodeForm) normalize(e *Encoder, c chunk) chunk {
	// most text is normal already
	if isASCII(c.text) || u.form.IsNormal(c.text) {
		return c
	}
	d := e.edit(u.slot, c)
	for d.at < len(c.text) {
		// segment by segment, so that origins stay close: at a boundary nothing combines with what stands before
		n := u.form.NextBoundary(c.text[d.at:], true)
		long := false
		if n >= maxMarks {
			if end := u.runEnd(c.text, d.at+n); end > d.at+n && utf8.Valid(c.text[d.at:end]) {
				n, long = end-d.at, true
			}
		}
		segment := c.text[d.at : d.at+n]
		switch {
		case !long && u.form.IsNormal(segment):
			d.keep(d.at + n)
		case long || (c.from != nil || d.at < c.head) && utf8.Valid(segment):
			d.putFormed(d.at+n, u.formed(segment))
		default:
			e.form = u.form.Append(e.form[:0], segment...)
			d.put(d.at+n, e.form)
		}
	}
	return d.done()
}

// maxMarks is after how many marks package norm begins anew, as the Stream-Safe Text Format has it; the forms themselves know no such limit.
const maxMarks = 30

// runEnd returns the end of the marks that go on at at, where package norm would begin anew.
func (u unicodeForm) runEnd(text []byte, at int) int {
	for at < len(text) {
		p := u.form.Properties(text[at:])
		if p.Size() == 0 || p.BoundaryBefore() {
			break
		}
		at += p.Size()
	}
	return at
}

// formedRune is a character of a normal form. It stands for the next character of the source and, where change is negative, for so many more behind that;
// where change is positive, it comes from the same character as the one before it.
type formedRune struct {
	r      rune
	ccc    int // combining class
	change int
}

// formed is the form of a character with its marks, of which package norm takes only so many and does not tell the origins: decomposed, ordered by combining
// class and, for NFC and NFKC, composed again (Unicode Standard, section 3.11). Origins are counted as the reference counts them.
func (u unicodeForm) formed(text []byte) []formedRune {
	form := norm.NFD
	if u.form == norm.NFKC || u.form == norm.NFKD {
		form = norm.NFKD
	}
	var run []formedRune
	var one []byte
	for i := 0; i < len(text); {
		_, size := utf8.DecodeRune(text[i:])
		one = form.Append(one[:0], text[i:i+size]...)
		for j := 0; j < len(one); {
			r, width := utf8.DecodeRune(one[j:])
			run = append(run, formedRune{r, int(form.Properties(one[j:]).CCC()), min(j, 1)})
			j += width
		}
		i += size
	}
	for start := 0; start < len(run); start++ {
		end := start
		for end < len(run) && run[end].ccc != 0 {
			end++
		}
		slices.SortStableFunc(run[start:end], func(a, b formedRune) int { return a.ccc - b.ccc })
		start = end
	}
	if form == u.form {
		return run
	}
	out := run[:0]
	starter, last := -1, -1 // the place of the last character of class 0, and the class of what has been written after it
	for _, m := range run {
		if starter >= 0 && last < m.ccc {
			if one := []rune(norm.NFC.String(string([]rune{out[starter].r, m.r}))); len(one) == 1 {
				out[starter].r = one[0]
				out[starter].change += m.change - 1
				continue
			}
		}
		if last = m.ccc; m.ccc == 0 {
			starter, last = len(out), -1
		}
		out = append(out, m)
	}
	return out
}

type lowercase struct {
	slot  int
	props *characters.Table
}

// normalize has a way of its own for ASCII, which no letter gets longer in.
func (l lowercase) normalize(e *Encoder, c chunk) chunk {
	d := e.edit(l.slot, c)
	if c.from == nil && isASCII(c.text) {
		d.keep(len(c.text))
		for i, b := range d.out.text {
			if 'A' <= b && b <= 'Z' {
				d.out.text[i] = b + 'a' - 'A'
			}
		}
		return d.done()
	}
	for i := 0; i < len(c.text); {
		r, size := utf8.DecodeRune(c.text[i:])
		// İ becomes i and a dot above; no other letter has two (Rust's char::to_lowercase, which knows no words, so Σ is always σ)
		low, second := l.props.Lower(r)
		if low != r {
			d.keep(i)
			d.putRune(i+size, low)
		}
		if second != 0 {
			d.insert(utf8.AppendRune(nil, second), i, i+size)
		}
		i += size
	}
	return d.done()
}

// dropProperty removes the characters that have a property.
type dropProperty struct {
	slot  int
	props *characters.Table
	bit   uint8
}

// normalize keeps what is not valid UTF-8: such a byte has no properties.
func (n dropProperty) normalize(e *Encoder, c chunk) chunk {
	if isASCII(c.text) {
		return c // no accents there
	}
	d := e.edit(n.slot, c)
	for i := 0; i < len(c.text); {
		props, size := n.props.At(c.text, i)
		if props&n.bit != 0 {
			d.keep(i)
			d.skip(i + size)
		}
		i += size
	}
	return d.done()
}

// strip removes white space at the ends.
type strip struct {
	slot        int
	props       *characters.Table
	left, right bool
}

// normalize needs no buffer, for it only takes off the ends.
func (s strip) normalize(_ *Encoder, c chunk) chunk {
	start, end := 0, len(c.text)
	for s.left && start < end {
		props, size := s.props.At(c.text, start)
		if props&characters.White == 0 {
			break
		}
		start += size
	}
	for s.right && start < end {
		r, size := utf8.DecodeLastRune(c.text[:end])
		if r == utf8.RuneError && size == 1 || s.props.Of(r)&characters.White == 0 {
			break
		}
		end -= size
	}
	return c.slice(start, end)
}

// prepend writes text in front, unless there is nothing.
type prepend struct {
	slot int
	text []byte
	once bool // only at the start of the input
}

// normalize gives the prefix the origin of the first character, so that a token of both covers that.
func (p prepend) normalize(e *Encoder, c chunk) chunk {
	if len(c.text) == 0 || p.once && !c.first {
		return c
	}
	d := e.edit(p.slot, c)
	d.prefix(p.text)
	return d.done()
}

// byteLevelNormalizer spells bytes in GPT-2's alphabet.
type byteLevelNormalizer struct{ slot int }

// normalize makes text longer, up to twice; see growth in parts.go.
func (n byteLevelNormalizer) normalize(e *Encoder, c chunk) chunk {
	d := e.edit(n.slot, c)
	spell(&d, len(c.text))
	return d.done()
}

// spell writes the source up to to in GPT-2's alphabet.
func spell(d *edit, to int) {
	a := bytepair.ByteAlphabet()
	for d.at < to {
		i := d.at
		if i < d.src.head {
			d.headed(utf8.RuneLen(a.Spelling[d.src.text[i]]))
		}
		d.out.text = utf8.AppendRune(d.out.text, a.Spelling[d.src.text[i]])
		if d.src.from != nil {
			for len(d.out.from) < len(d.out.text) {
				d.out.from = append(d.out.from, d.src.from[i])
			}
		}
		d.at++
	}
}

// nmt removes control characters and makes unusual white space plain, as SentencePiece's nmt rules do.
type nmt struct{ slot int }

// normalize leaves a byte that is not UTF-8 alone: the U+FFFD that it decodes to is not in the text.
func (n nmt) normalize(e *Encoder, c chunk) chunk {
	d := e.edit(n.slot, c)
	for i := 0; i < len(c.text); {
		r, size := utf8.DecodeRune(c.text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
		// the lists of Nmt in the reference's unicode.rs
		case r >= 0x01 && r <= 0x08 || r == 0x0B || r >= 0x0E && r <= 0x1F || r == 0x7F || r == 0x8F || r == 0x9F:
			d.keep(i)
			d.skip(i + size)
		case r == '\t' || r == '\n' || r == 0x0C || r == '\r' || r == 0x1680 || r >= 0x200B && r <= 0x200F || r == 0x2028 || r == 0x2029 ||
			r == 0x2581 || r == 0xFEFF || r == 0xFFFD:
			d.keep(i)
			d.putRune(i+size, ' ')
		}
		i += size
	}
	return d.done()
}

// replace puts content in the place of each match.
type replace struct {
	slot    int
	find    matcher
	content []byte
}

// newReplace reads pattern and content.
func newReplace(p jsonPart, slot int) (normalizer, error) {
	find, content, err := newReplacement(p)
	return replace{slot, find, []byte(content)}, err
}

// normalize gives all of the content the origin of the match's last character, as the reference's alignments do.
func (r replace) normalize(e *Encoder, c chunk) chunk {
	// nothing to copy then
	if l, ok := r.find.(literal); ok && !bytes.Contains(c.text, l.text) {
		return c
	}
	d := e.edit(r.slot, c)
	e.hits = r.find.find(e.hits[:0], c.text)
	for _, m := range e.hits {
		if m.is {
			d.keep(m.start)
			d.putLast(m.end, r.content)
		}
	}
	return d.done()
}

// bertNormalizer is BERT's cleaning: control characters out, white space plain, ideographs apart, accents off, lower case.
type bertNormalizer struct {
	clean, chinese bool
	slot           int
	props          *characters.Table
	rest           []normalizer // accents and lower case
	lower          bool
}

// newBertNormalizer reads the switches; accents come off where nothing is said and letters are made small, as in BERT's uncased models.
func newBertNormalizer(p jsonPart, slot int) normalizer {
	lower := orTrue(p.Lowercase)
	accents := lower
	if p.StripAccents != nil {
		accents = *p.StripAccents
	}
	b := bertNormalizer{clean: orTrue(p.CleanText), chinese: orTrue(p.ChineseChars), slot: slot, props: characters.Reference(), lower: lower}
	if accents {
		b.rest = append(b.rest, unicodeForm{slot + 1, norm.NFD}, dropProperty{slot + 2, b.props, characters.Accent})
	}
	if lower {
		b.rest = append(b.rest, lowercase{slot + 3, b.props})
	}
	return b
}

// normalize cleans first: accents are taken off what is left.
func (b bertNormalizer) normalize(e *Encoder, c chunk) chunk {
	if b.clean || b.chinese {
		c = b.cleaned(e, c)
	}
	for _, n := range b.rest {
		c = n.normalize(e, c)
	}
	return c
}

// cleaned removes control characters, makes white space plain and puts ideographs apart, in one pass.
func (b bertNormalizer) cleaned(e *Encoder, c chunk) chunk {
	d := e.edit(b.slot, c)
	for i := 0; i < len(c.text); {
		if ch := c.text[i]; ch >= ' ' && ch < 0x7F {
			i++
			continue
		}
		r, size := utf8.DecodeRune(c.text[i:])
		props := b.props.Of(r)
		switch {
		case r == utf8.RuneError && size == 1: // an invalid byte stays and will be unknown
		case b.clean && props&characters.Control != 0:
			d.keep(i)
			d.skip(i + size)
		// tabs and line ends are control characters to Unicode, but white space to BERT
		case b.clean && (props&characters.White != 0 || r == '\t' || r == '\n' || r == '\r'):
			d.keep(i)
			d.putRune(i+size, ' ')
		case b.chinese && isIdeograph(r):
			d.keep(i)
			d.insert([]byte{' '}, i, i+size)
			d.keep(i + size)
			d.insert([]byte{' '}, i, i+size)
		}
		i += size
	}
	return d.done()
}

// isIdeograph is BERT's list of blocks.
func isIdeograph(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF || r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}
