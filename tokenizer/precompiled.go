package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"hone/internal/characters"
)

// precompiled is SentencePiece's table of replacements: a double-array trie over the bytes to replace, whose values are places in a
// list of zero-terminated replacements. As the reference does, a short grapheme cluster is replaced by what stands for its shortest
// prefix in the table, and other text character by character.
type precompiled struct {
	slot     int
	props    *characters.Table
	units    []uint32
	replaced []byte
	plain    [utf8.RuneSelf]bool // ASCII characters that the table leaves alone
	never    [256]bool           // bytes that nothing in the table starts with
}

// newPrecompiled reads a charsmap, of which an empty one replaces nothing. Places in it are checked where they are used.
func newPrecompiled(charsmap []byte, slot int) (normalizer, error) {
	p := &precompiled{slot: slot, props: characters.Reference()}
	// the size of the trie in bytes, the trie, the replacements (SentencePiece's normalizer.cc, EncodePrecompiledCharsMap)
	if len(charsmap) > 0 {
		if len(charsmap) < 4 {
			return nil, errors.New("its charsmap is cut short")
		}
		size := int64(binary.LittleEndian.Uint32(charsmap))
		charsmap = charsmap[4:]
		if size > int64(len(charsmap)) || size%4 != 0 {
			return nil, errors.New("its charsmap is cut short or damaged")
		}
		p.units = make([]uint32, size/4)
		for i := range p.units {
			p.units[i] = binary.LittleEndian.Uint32(charsmap[4*i:])
		}
		p.replaced = charsmap[size:]
	}
	for b := range p.plain {
		_, found := p.lookup([]byte{byte(b)})
		p.plain[b] = !found
	}
	for b := range p.never {
		p.never[b] = !p.starts(byte(b))
	}
	return p, nil
}

// longestReplacement is the length of the longest text in a charsmap that newPrecompiled takes.
func longestReplacement(charsmap []byte) int {
	most := 1
	if len(charsmap) > 0 {
		for text := range bytes.SplitSeq(charsmap[4+int64(binary.LittleEndian.Uint32(charsmap)):], []byte{0}) {
			most = max(most, len(text))
		}
	}
	return most
}

// lookup returns what stands for the shortest prefix of text in the table. The units of the trie: bits 0-7 are a label, bit 8 says
// that a value follows, bits 10-30 (times 256 with bit 9) are the distance to the children.
func (p *precompiled) lookup(text []byte) (replacement []byte, found bool) {
	if len(p.units) == 0 {
		return nil, false
	}
	at := offsetOf(p.units[0])
	for _, b := range text {
		if b == 0 {
			return nil, false
		}
		at ^= uint32(b)
		if int64(at) >= int64(len(p.units)) {
			return nil, false
		}
		unit := p.units[at]
		if unit&(1<<31|0xFF) != uint32(b) {
			return nil, false
		}
		at ^= offsetOf(unit)
		if unit>>8&1 != 0 {
			return p.value(at)
		}
	}
	return nil, false
}

// starts reports whether something in the table starts with b.
func (p *precompiled) starts(b byte) bool {
	if len(p.units) == 0 || b == 0 {
		return false
	}
	at := offsetOf(p.units[0]) ^ uint32(b)
	return int64(at) < int64(len(p.units)) && p.units[at]&(1<<31|0xFF) == uint32(b)
}

// longest is lookup for the longest prefix; size is its length, 0 where there is none.
// SentencePiece itself takes the longest; only tokenizers takes the shortest.
func (p *precompiled) longest(text []byte) (replacement []byte, size int) {
	if len(p.units) == 0 {
		return nil, 0
	}
	at := offsetOf(p.units[0])
	for i, b := range text {
		if at ^= uint32(b); b == 0 || int64(at) >= int64(len(p.units)) {
			break
		}
		unit := p.units[at]
		if unit&(1<<31|0xFF) != uint32(b) {
			break
		}
		at ^= offsetOf(unit)
		if unit>>8&1 != 0 {
			if to, ok := p.value(at); ok {
				replacement, size = to, i+1
			}
		}
	}
	return replacement, size
}

// offsetOf is the distance to a unit's children (Darts-clone's double array, include/darts.h).
func offsetOf(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// value is the replacement that a unit points to; damaged places give none.
func (p *precompiled) value(at uint32) ([]byte, bool) {
	if int64(at) >= int64(len(p.units)) {
		return nil, false
	}
	start := int64(p.units[at] & (1<<31 - 1))
	if start >= int64(len(p.replaced)) {
		return nil, false
	}
	text := p.replaced[start:]
	if end := bytes.IndexByte(text, 0); end >= 0 {
		text = text[:end]
	}
	return text, true
}

// normalize passes plain ASCII by without a look at clusters, unless a mark may follow: e and a combining accent are one cluster.
func (p *precompiled) normalize(e *Encoder, c chunk) chunk {
	d := e.edit(p.slot, c)
	for i := 0; i < len(c.text); {
		if b := c.text[i]; b < utf8.RuneSelf && p.plain[b] && (i+1 == len(c.text) || c.text[i+1] < utf8.RuneSelf) {
			i++
			continue
		}
		end := p.cluster(c.text, i)
		// the reference's bound on the bytes of a cluster that is looked up whole (spm_precompiled)
		if end-i < 6 {
			if to, ok := p.lookup(c.text[i:end]); ok {
				d.keep(i)
				d.put(end, to)
				i = end
				continue
			}
		}
		for i < end {
			_, size := utf8.DecodeRune(c.text[i:])
			if to, ok := p.lookup(c.text[i : i+size]); ok {
				d.keep(i)
				d.put(i+size, to)
			}
			i += size
		}
	}
	return d.done()
}

// cluster returns the end of the grapheme cluster at i (Unicode Standard Annex 29). It is exact for clusters shorter than 6 bytes; longer
// ones only need to be long.
func (p *precompiled) cluster(text []byte, i int) int {
	r, size := utf8.DecodeRune(text[i:])
	i += size
	if r == '\r' && i < len(text) && text[i] == '\n' {
		return i + 1
	}
	for i < len(text) && characters.Prepends(r) {
		next, size := utf8.DecodeRune(text[i:])
		if characters.BreaksCluster(next) {
			return i
		}
		r, i = next, i+size
	}
	if characters.BreaksCluster(r) {
		return i
	}
	for i < len(text) {
		props, size := p.props.At(text, i)
		if props&characters.Joined == 0 {
			break
		}
		i += size
	}
	return i
}
