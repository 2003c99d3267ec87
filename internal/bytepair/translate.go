package bytepair

import (
	"errors"
	"strings"
)

// onigWordInClass is \w of the reference's engine (Oniguruma) in [...]: letters, marks, decimal digits, letter-like numbers, connectors, and
// letters in circles and squares. Alone, \w takes the superscripts and fractions of Latin-1, too; both were read off the engine for every
// character.
const (
	onigWordInClass = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}Ⓐ-ⓩ\U0001F130-\U0001F149\U0001F150-\U0001F169\U0001F170-\U0001F189"
	onigWord        = onigWordInClass + "²³¹¼-¾"
)

// translator spells an Oniguruma expression for regexp2: \w by its characters, classes in classes taken apart, possessive quantifiers as
// atomic groups.
type translator struct {
	src    string
	at     int
	out    strings.Builder
	groups []int // where open groups start in out
	atom   int   // where the last atom starts in out
}

// translate does not check the expression: what it cannot make sense of it copies, and the engine says what is wrong with it.
func translate(regex string) (string, error) {
	t := &translator{src: regex}
	for t.at < len(t.src) {
		if err := t.step(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

// step copies one element.
func (t *translator) step() error {
	c := t.src[t.at]
	switch c {
	case '\\':
		t.atom = t.out.Len()
		t.escape(false)
	case '[':
		t.atom = t.out.Len()
		return t.class()
	case '(':
		t.groups = append(t.groups, t.out.Len())
		t.copy(1)
	case ')':
		if n := len(t.groups); n > 0 {
			t.atom, t.groups = t.groups[n-1], t.groups[:n-1]
		}
		t.copy(1)
	// a++ is possessive in Oniguruma: what it took is not given back
	case '?', '*', '+':
		t.copy(1)
		if t.at < len(t.src) && t.src[t.at] == '+' && !t.opensGroup() {
			t.at++
			all := t.out.String()
			t.out.Reset()
			t.out.WriteString(all[:t.atom] + "(?>" + all[t.atom:] + ")")
		}
	default:
		t.atom = t.out.Len()
		t.copy(1)
	}
	return nil
}

// opensGroup reports whether the character just copied is the ? of "(?".
func (t *translator) opensGroup() bool {
	return t.at >= 2 && t.src[t.at-1] == '?' && t.src[t.at-2] == '('
}

// copy takes n bytes over as they are.
func (t *translator) copy(n int) {
	n = min(n, len(t.src)-t.at)
	t.out.WriteString(t.src[t.at : t.at+n])
	t.at += n
}

// escape copies a backslash and what belongs to it.
func (t *translator) escape(inClass bool) {
	if t.at+1 >= len(t.src) {
		t.copy(1)
		return
	}
	switch c := t.src[t.at+1]; {
	case c == 'w' && inClass:
		t.out.WriteString(onigWordInClass)
		t.at += 2
	case c == 'w':
		t.out.WriteString("[" + onigWord + "]")
		t.at += 2
	case c == 'W' && !inClass:
		t.out.WriteString("[^" + onigWord + "]")
		t.at += 2
	case c == 'p' || c == 'P':
		t.copy(2)
		if end := strings.IndexByte(t.src[t.at:], '}'); end >= 0 && t.src[t.at] == '{' {
			t.copy(end + 1)
		}
	default:
		t.copy(2)
	}
}

// class copies [...]; a class inside it, which is a union, loses its brackets.
func (t *translator) class() error {
	depth := 0
	for t.at < len(t.src) {
		rest := t.src[t.at:]
		switch {
		case rest[0] == '\\':
			t.escape(true)
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
			if strings.HasPrefix(t.src[t.at:], "^") {
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
			return nil
		default:
			t.copy(1)
		}
	}
	return nil
}
