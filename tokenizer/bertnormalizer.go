package tokenizer

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bertNormalizer is BERT's cleaning: control characters out, white space plain, ideographs apart, accents off, lower case.
type bertNormalizer struct {
	clean, chinese bool
	slot           int
	props          *properties
	rest           []normalizer // accents and lower case
	lower          bool
}

func newBertNormalizer(p jsonPart, slot int) normalizer {
	lower := orTrue(p.Lowercase)
	accents := lower
	if p.StripAccents != nil {
		accents = *p.StripAccents
	}
	b := bertNormalizer{clean: orTrue(p.CleanText), chinese: orTrue(p.ChineseChars), slot: slot, props: unicodeProperties(), lower: lower}
	if accents {
		b.rest = append(b.rest, unicodeForm{slot + 1, norm.NFD}, dropProperty{slot + 2, b.props, propAccent})
	}
	if lower {
		b.rest = append(b.rest, lowercase{slot + 3, b.props})
	}
	return b
}

func (b bertNormalizer) normalize(e *Encoder, c chunk) chunk {
	if b.clean || b.chinese {
		c = b.cleaned(e, c)
	}
	for _, n := range b.rest {
		c = n.normalize(e, c)
	}
	return c
}

func (b bertNormalizer) cleaned(e *Encoder, c chunk) chunk {
	d := e.edit(b.slot, c)
	for i := 0; i < len(c.text); {
		if ch := c.text[i]; ch >= ' ' && ch < 0x7F {
			i++
			continue
		}
		r, size := utf8.DecodeRune(c.text[i:])
		props := b.props.of(r)
		switch {
		case r == utf8.RuneError && size == 1: // an invalid byte stays and will be unknown
		case b.clean && props&propControl != 0:
			d.keep(i)
			d.skip(i + size)
		case b.clean && (props&propWhite != 0 || r == '\t' || r == '\n' || r == '\r'):
			d.keep(i)
			d.putRune(i+size, ' ')
		case b.chinese && isIdeograph(r):
			origin := c.spanOr(i, i+size)
			d.keep(i)
			d.insert([]byte{' '}, origin)
			d.keep(i + size)
			d.insert([]byte{' '}, origin)
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
