package bytepair

// Scanner returns the end of the word that starts at text[i]; i < len(text), and the word is never empty. A word depends only on the text
// from i on, so that scanning may start at any word's start.
type Scanner func(c *Classes, text []byte, i int) int

// ScanGPT2 cuts as GPT-2's pattern does:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func ScanGPT2(c *Classes, text []byte, i int) int {
	b := text[i]
	// the space goes with what follows, unless that is space: \s+(?!\S) takes all but its last character
	if b == ' ' && i+1 < len(text) {
		class, size := c.ascii[text[i+1]], 1 // c.at by hand: the compiler does not inline it
		if class == classNonASCII {
			class, size = c.decode(text, i+1)
		}
		if class == classSpace {
			return c.spaces(text, i)
		}
		return c.run(text, i+1+size, class)
	}
	if b == '\'' {
		if n := contraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	class, size := c.ascii[b], 1
	if class == classNonASCII {
		class, size = c.decode(text, i)
	}
	if class == classSpace {
		return c.spaces(text, i)
	}
	return c.run(text, i+size, class)
}

// scanLlama3 cuts as Llama 3's pattern does:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func scanLlama3(c *Classes, text []byte, i int) int { return c.scanByLine(text, i, 3) }

// scanQwen2 cuts as Qwen 2's pattern does, which is Llama 3's with each number character (\p{N}) a word.
func scanQwen2(c *Classes, text []byte, i int) int { return c.scanByLine(text, i, 1) }

// scanByLine is Llama 3's pattern with words of up to maxNumbers numbers.
func (c *Classes) scanByLine(text []byte, i, maxNumbers int) int {
	b := text[i]
	if b == '\'' {
		if n := contractionFold(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	class, size := c.ascii[b], 1 // c.at by hand, as above
	if class == classNonASCII {
		class, size = c.decode(text, i)
	}
	if class == classLetter {
		return c.run(text, i+size, classLetter)
	}
	if class == classNumber {
		return c.numbers(text, i+size, maxNumbers)
	}
	next := i + size
	nextClass, nextSize := classSpace, 0
	if next < len(text) {
		nextClass, nextSize = c.ascii[text[next]], 1
		if nextClass == classNonASCII {
			nextClass, nextSize = c.decode(text, next)
		}
	}
	if nextClass == classLetter && b != '\n' && b != '\r' {
		return c.run(text, next+nextSize, classLetter)
	}
	if class == classOther {
		return newlines(text, c.run(text, next, classOther))
	}
	if b == ' ' && nextClass == classOther {
		return newlines(text, c.run(text, next+nextSize, classOther))
	}
	return c.spacesByLine(text, i)
}

// contraction returns the length of s, t, re, ve, m, ll or d at the start of text (which follows an apostrophe), else 0.
func contraction(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case 's', 't', 'm', 'd':
		return 1
	}
	if len(text) > 1 {
		return contractionOfTwo(text[0], text[1])
	}
	return 0
}

// contractionFold is contraction without regard to case. Case folding also makes U+017F (long s) an s.
func contractionFold(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] | 0x20 {
	case 's', 't', 'm', 'd':
		return 1
	}
	if len(text) < 2 {
		return 0
	}
	if text[0] == 0xC5 && text[1] == 0xBF {
		return 2
	}
	return contractionOfTwo(text[0]|0x20, text[1]|0x20)
}

// contractionOfTwo is 2 for re, ve and ll, else 0. No expression has two that begin alike, so the order of its alternatives does not matter.
func contractionOfTwo(a, b byte) int {
	if a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l' {
		return 2
	}
	return 0
}

// spaces ends a word of whitespace that starts at i: at the end of the text all of it, else all but its last character, which may
// belong to the next word; but one character at least.
func (c *Classes) spaces(text []byte, i int) int {
	last, end := i, i
	for end < len(text) {
		class, size := c.at(text, end)
		if class != classSpace {
			if last > i {
				return last
			}
			return end
		}
		last = end
		end += size
	}
	return end
}

// spacesByLine is spaces, but a run that holds line ends stops after the last of them.
func (c *Classes) spacesByLine(text []byte, i int) int {
	line := 0
	for j := i; j < len(text); {
		class, size := c.at(text, j)
		if class != classSpace {
			break
		}
		j += size
		if text[j-1] == '\n' || text[j-1] == '\r' {
			line = j
		}
	}
	if line > 0 {
		return line
	}
	return c.spaces(text, i)
}

// numbers continues a word of numbers, whose first character ends at i, to most characters.
func (c *Classes) numbers(text []byte, i, most int) int {
	for n := 1; n < most && i < len(text); n++ {
		class, size := c.at(text, i)
		if class != classNumber {
			break
		}
		i += size
	}
	return i
}

// newlines is [\r\n]*.
func newlines(text []byte, i int) int {
	for i < len(text) && (text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}
