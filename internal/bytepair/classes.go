package bytepair

import (
	"sync"
	"unicode/utf8"
)

// Classes of a character, as far as the patterns tell characters apart.
const (
	classOther    uint8 = iota // everything else, and each byte of invalid UTF-8
	classLetter                // \p{L}
	classNumber                // \p{N}
	classSpace                 // \s
	classNonASCII              // in classes.ascii only: look the character up
)

// Classes maps characters to classes: ASCII by one look-up, the rest by pages of 256 code points.
type Classes struct {
	ascii [256]uint8
	page  [0x110000 >> 8]uint16 // code point >> 8 -> index into pages
	pages [][256]uint8
}

// Unicode is the one table of the process, built on first use and never changed.
var Unicode = sync.OnceValue(newClasses)

func newClasses() *Classes {
	c := &Classes{pages: make([][256]uint8, 1, 160)} // page 0 is all "other"
	c.fill(letterRanges, classLetter)
	c.fill(numberRanges, classNumber)
	c.fill(spaceRanges, classSpace)
	c.sharePages()
	for b := range c.ascii {
		if b < utf8.RuneSelf {
			c.ascii[b] = c.ofRune(rune(b))
		} else {
			c.ascii[b] = classNonASCII
		}
	}
	return c
}

func (c *Classes) fill(ranges []uint32, class uint8) {
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			p := &c.page[r>>8]
			if *p == 0 {
				*p = uint16(len(c.pages))
				c.pages = append(c.pages, [256]uint8{})
			}
			c.pages[*p][r&255] = class
		}
	}
}

// sharePages keeps one copy of equal pages: whole blocks of ideographs are one page of letters.
func (c *Classes) sharePages() {
	first := make(map[[256]uint8]uint16)
	pages := c.pages
	c.pages = nil
	for i, p := range c.page {
		at, ok := first[pages[p]]
		if !ok {
			at = uint16(len(c.pages))
			first[pages[p]] = at
			c.pages = append(c.pages, pages[p])
		}
		c.page[i] = at
	}
}

func (c *Classes) ofRune(r rune) uint8 {
	return c.pages[c.page[uint32(r)>>8]][uint8(r)]
}

// at returns the class and the length in bytes of the character at text[i].
func (c *Classes) at(text []byte, i int) (class uint8, size int) {
	if k := c.ascii[text[i]]; k != classNonASCII {
		return k, 1
	}
	return c.decode(text, i)
}

// decode is the slow half of at. Invalid UTF-8 decodes to U+FFFD, one byte long, which is "other".
func (c *Classes) decode(text []byte, i int) (class uint8, size int) {
	r, size := utf8.DecodeRune(text[i:])
	return c.ofRune(r), size
}

// run returns the end of the run of characters of one class that continues at text[i].
func (c *Classes) run(text []byte, i int, class uint8) int {
	for i < len(text) {
		k := c.ascii[text[i]]
		if k == class {
			i++
			continue
		}
		if k != classNonASCII {
			return i
		}
		k, size := c.decode(text, i)
		if k != class {
			return i
		}
		i += size
	}
	return i
}
