package bytepair

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

// onigWordInClass is \w of the reference's engine (Oniguruma) in [...]: letters, marks, decimal digits, letter-like numbers, connectors, and
// letters in circles and squares. Alone, \w takes the superscripts and fractions of Latin-1, too; both were read off the engine for every
// character.
const (
	onigWordInClass = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}Ⓐ-ⓩ\U0001F130-\U0001F149\U0001F150-\U0001F169\U0001F170-\U0001F189"
	onigWord        = onigWordInClass + "²³¹¼-¾"
)

// interval is a quantifier in braces with what may follow it; braces that hold anything else are plain characters.
var interval = regexp.MustCompile(`^\{(\d+)?(,(\d+)?)?\}([+?]?)`)

// groupOptions are the letters behind "(?" that switch options on and off.
var groupOptions = regexp.MustCompile(`^\(\?[imx-]*[):]`)

// comment is one in brackets, and named the beginning of a group that has a name.
var (
	comment = regexp.MustCompile(`^\(\?#(?s:[^\\)]|\\.)*\)`)
	named   = regexp.MustCompile(`\(\?<([A-Za-z_]\w*)>`)
)

// translator spells an Oniguruma expression (in its Ruby syntax, which the reference uses) for regexp2: \w by its characters, classes in classes taken
// apart, possessive quantifiers as atomic groups, ^ and $ at the ends of all lines, and options that stand alone, as in a(?i)b|c, as a group of all that
// follows in their group: a(?i:b|c).
type translator struct {
	src    string
	at     int
	out    strings.Builder
	scopes []scope // the whole expression and each open group
	atom   int     // where the last atom starts in out
}

// scope is what options hold for.
type scope struct {
	start    int  // in out
	alone    int  // options that stand alone in it
	folds    bool // letters match in either case
	extended bool // white space and what follows # says nothing
}

// set switches options on, and behind a - off.
func (s *scope) set(options string) {
	on := true
	for _, o := range options {
		switch o {
		case '-':
			on = false
		case 'i':
			s.folds = on
		case 'x':
			s.extended = on
		}
	}
}

// translate does not check the expression: what it cannot make sense of it copies, and the engine says what is wrong with it.
func translate(regex string) (string, error) {
	names := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(regex, -1) {
		if names[m[1]] {
			return "", errors.New("two groups named " + m[1] + " are not supported")
		}
		names[m[1]] = true
	}
	t := &translator{src: regex, scopes: make([]scope, 1)}
	for t.at < len(t.src) {
		if err := t.step(); err != nil {
			return "", err
		}
	}
	t.close()
	return t.out.String(), nil
}

// scope is that of the innermost open group.
func (t *translator) scope() *scope { return &t.scopes[len(t.scopes)-1] }

// close ends the groups of options that stand alone in the innermost open group.
func (t *translator) close() {
	t.out.WriteString(strings.Repeat(")", t.scope().alone))
}

// step copies one element.
func (t *translator) step() error {
	c := t.src[t.at]
	switch c {
	case '\\':
		t.atom = t.out.Len()
		return t.escape()
	case '[':
		t.atom = t.out.Len()
		return t.class()
	case '(':
		t.open()
	case ')':
		if n := len(t.scopes) - 1; n > 0 {
			t.close()
			t.atom, t.scopes = t.scope().start, t.scopes[:n]
		}
		t.copy(1)
	// a++ is possessive in Oniguruma: what it took is not given back
	case '?', '*', '+':
		t.copy(1)
		if t.at < len(t.src) && t.src[t.at] == '+' && !t.opensGroup() {
			t.at++
			t.wrap("(?>", ")")
		}
	case '{':
		t.interval()
	// of all lines, whatever the options; but no line begins behind a line end that ends the text
	case '^':
		t.atom = t.out.Len()
		t.put(1, `(?:\A|(?<=\n)(?!\z))`)
	case '$':
		t.atom = t.out.Len()
		t.put(1, `(?=\n|\z)`)
	default:
		if t.scope().extended && t.blank() {
			return nil
		}
		_, n := utf8.DecodeRuneInString(t.src[t.at:])
		t.atom = t.out.Len()
		t.copy(n)
	}
	return nil
}

// open copies what begins a group, and empties comments: brackets in them are none.
func (t *translator) open() {
	rest := t.src[t.at:]
	if n := len(comment.FindString(rest)); n > 0 {
		t.put(n, "(?#)")
		return
	}
	options := groupOptions.FindString(rest)
	// m lets the dot match line ends, which is s to the engine
	spelled := strings.ReplaceAll(strings.TrimRight(options, ":)"), "m", "s")
	if strings.HasSuffix(options, ")") {
		t.scope().alone++
		t.scope().set(options)
		t.atom = t.out.Len()
		t.put(len(options), spelled+":")
		return
	}
	inner := scope{start: t.out.Len(), folds: t.scope().folds, extended: t.scope().extended}
	inner.set(options)
	t.scopes = append(t.scopes, inner)
	if options != "" {
		t.put(len(options)-1, spelled)
		return
	}
	t.copy(1)
}

// blank copies white space that says nothing, or passes over a comment, and reports whether one stood there.
func (t *translator) blank() bool {
	rest := t.src[t.at:]
	switch rest[0] {
	case ' ', '\t', '\n', '\r', '\f':
		t.copy(1)
	case '#':
		line, _, _ := strings.Cut(rest, "\n")
		t.put(len(line), " ")
	default:
		return false
	}
	return true
}

// interval copies a quantifier in braces. In Oniguruma {,n} begins at 0, and what follows {n} or {n,m} is a quantifier of its own: a{2}+ is (?:a{2})+, not
// possessive, and a{2}? is (?:a{2})?; only behind {n,} and {n,m} does ? mean as few as possible.
func (t *translator) interval() {
	m := interval.FindStringSubmatch(t.src[t.at:])
	if m == nil || m[1] == "" && m[3] == "" {
		t.atom = t.out.Len()
		t.copy(1)
		return
	}
	low, high, mark := m[1], m[2], m[4]
	if low == "" {
		low = "0"
	}
	t.put(len(m[0]), "{"+low+high+"}")
	if mark == "+" || mark == "?" && high == "" {
		t.wrap("(?:", ")")
	}
	t.out.WriteString(mark)
}

// wrap puts brackets around the last atom and its quantifier.
func (t *translator) wrap(open, end string) {
	all := t.out.String()
	t.out.Reset()
	t.out.WriteString(all[:t.atom] + open + all[t.atom:] + end)
}

// put writes s in the place of n bytes.
func (t *translator) put(n int, s string) {
	t.out.WriteString(s)
	t.at += n
}

// opensGroup reports whether the character just copied is the ? of "(?".
func (t *translator) opensGroup() bool {
	return t.at >= 2 && t.src[t.at-1] == '?' && t.src[t.at-2] == '('
}

// copy takes n bytes over as they are.
func (t *translator) copy(n int) {
	t.out.WriteString(t.src[t.at : t.at+n])
	t.at += n
}

// wordBoundary is \b, between a character of \w and one that is none, or an end of the text; elsewhere is \B.
const (
	wordBoundary = "(?:(?<=[" + onigWord + "])(?![" + onigWord + "])|(?<![" + onigWord + "])(?=[" + onigWord + "]))"
	elsewhere    = "(?:(?<=[" + onigWord + "])(?=[" + onigWord + "])|(?<![" + onigWord + "])(?![" + onigWord + "]))"
)

// hexDigits are \h.
const hexDigits = "0-9a-fA-F"

// numbered is a character by its number.
var numbered = regexp.MustCompile(`^\\(x\{[0-9a-fA-F]*\}|x[0-9a-fA-F]{0,2}|u[0-9a-fA-F]{0,4})`)

// escape copies a backslash and what belongs to it, outside of classes.
func (t *translator) escape() error {
	switch t.next() {
	case 'w':
		t.put(2, "["+onigWord+"]")
	case 'W':
		t.put(2, "[^"+onigWord+"]")
	case 'b':
		t.put(2, wordBoundary)
	case 'B':
		t.put(2, elsewhere)
	case 'h':
		t.put(2, "["+hexDigits+"]")
	case 'G':
		return errors.New(`\G is not supported`)
	case 'p', 'P': // is of its own case in any
		property := strings.HasPrefix(t.src[t.at+2:], "{")
		if t.character(); property && t.scope().folds {
			t.wrap("(?-i:", ")")
		}
	default:
		t.character()
	}
	return nil
}

// next is the character behind the backslash, 0 at the end.
func (t *translator) next() byte {
	if t.at+1 >= len(t.src) {
		return 0
	}
	return t.src[t.at+1]
}

// character copies a backslash with the character, or the property or number of one, behind it.
func (t *translator) character() {
	rest := t.src[t.at:]
	switch c := t.next(); c {
	case 0:
		t.copy(1)
	case 'Q', 'E': // which quote for the engine
		t.put(2, string(c))
	case 'p', 'P':
		if !strings.HasPrefix(rest[2:], "{") { // the letter itself
			t.put(2, string(c))
			return
		}
		if strings.HasPrefix(rest[2:], "{^") {
			t.put(4, `\`+string(c^'p'^'P')+"{")
		} else {
			t.copy(2)
		}
		if end := strings.IndexByte(t.src[t.at:], '}'); end >= 0 {
			t.copy(end + 1)
		}
	case 'x', 'u': // all digits are of one atom
		t.copy(len(numbered.FindString(rest)))
	case '_': // which the engine takes for a letter, and those it refuses
		t.put(2, "_")
	default:
		_, n := utf8.DecodeRuneInString(rest[1:])
		t.copy(1 + n)
	}
}

// class copies [...]; a class inside it, which is a union, loses its brackets. \W inside has no spelling of its own beside other characters: what it is
// with them is everything but the characters of \w that are not of the others.
func (t *translator) class() error {
	start, depth, negated, notWord := t.out.Len(), 0, strings.HasPrefix(t.src[t.at:], "[^"), false
	for t.at < len(t.src) {
		rest := t.src[t.at:]
		switch {
		case rest[0] == '\\':
			switch t.next() {
			case 'w':
				t.put(2, onigWordInClass)
			case 'h':
				t.put(2, hexDigits)
			case 'W':
				t.at += 2
				notWord = true
			default:
				t.character()
			}
		case strings.HasPrefix(rest, "&&"):
			return errors.New("an intersection of classes (&&) is not supported")
		case rest[0] == '[' && depth > 0 && strings.HasPrefix(rest, "[:"):
			return errors.New("a POSIX class ([:...:]) is not supported")
		case rest[0] == '[' && depth > 0 && strings.HasPrefix(rest, "[^"):
			return errors.New("a negated class inside a class is not supported")
		case rest[0] == '[' && depth > 0:
			depth++
			t.at++
		case rest[0] == '[':
			depth++
			t.copy(1)
			if negated {
				t.copy(1)
			}
			if strings.HasPrefix(t.src[t.at:], "]") { // first, it is a plain character
				t.copy(1)
			}
		case rest[0] == ']' && depth > 1:
			depth--
			t.at++
		case rest[0] == ']':
			t.copy(1)
			if notWord {
				t.withoutWords(start, negated)
			}
			return nil
		default:
			t.copy(1)
		}
	}
	return nil
}

// withoutWords spells the class from start on, in which \W was beside what is there.
func (t *translator) withoutWords(start int, negated bool) {
	all := t.out.String()
	others := all[start+1 : len(all)-1]
	if negated {
		others = others[1:]
	}
	words := onigWordInClass
	if others != "" {
		if others[0] == '^' { // it was not the first
			others = `\` + others
		}
		words += "-[" + others + "]"
	}
	t.out.Reset()
	t.out.WriteString(all[:start])
	switch {
	case negated:
		t.out.WriteString("[" + words + "]")
	case others == "":
		t.out.WriteString("[^" + words + "]")
	default:
		t.out.WriteString(`[\s\S-[` + words + "]]")
	}
}
