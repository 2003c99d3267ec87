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
	pages Pages
}

// Unicode is the one table of the process, built on first use and never changed.
var Unicode = sync.OnceValue(newClasses)

// newClasses takes the ranges of classes_table.go, not package unicode's: ids must not change with the Unicode version of the Go release.
func newClasses() *Classes {
	c := new(Classes) // the three do not overlap
	c.pages.Add(letterRanges, classLetter)
	c.pages.Add(numberRanges, classNumber)
	c.pages.Add(spaceRanges, classSpace)
	c.pages.Share()
	for b := range c.ascii {
		if b < utf8.RuneSelf {
			c.ascii[b] = c.ofRune(rune(b))
		} else {
			c.ascii[b] = classNonASCII
		}
	}
	return c
}

// ofRune is the class of a character: surrogates and U+FFFD are "other".
func (c *Classes) ofRune(r rune) uint8 { return c.pages.Of(r) }

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
