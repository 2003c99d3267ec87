package filters

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"hone/data/curate/words"
)

// plainAnswer is a text without what two answers that say the same may differ by: case, white space, punctuation at the ends of words, quotation marks, and what
// Markdown marks lists, headings, quotations, code and emphasis with. Operators stay, and so does punctuation in front of a word or inside of one: a+b is not
// a-b, -5 not 5, a.b not a,b and !x not x.
func plainAnswer(text string) string {
	var parts []string
	for line := range strings.Lines(strings.ToLower(text)) {
		if line = withoutListMark(strings.TrimSpace(line)); strings.HasPrefix(line, "```") {
			continue
		}
		marks := emphasis(line)
		for i := 0; i < len(line); {
			r, n := utf8.DecodeRuneInString(line[i:])
			switch {
			case words.InWord(r):
				if n = strings.IndexFunc(line[i:], func(r rune) bool { return !words.InWord(r) }); n < 0 {
					n = len(line) - i
				}
				parts = append(parts, line[i:i+n])
			case strings.ContainsRune(emphasisMarks, r):
				n = runOf(line, i)
				if len(marks) == 0 || marks[0] != i {
					parts = append(parts, line[i:i+n])
				} else {
					marks = marks[1:]
				}
			case unicode.IsSymbol(r), unicode.IsPunct(r) && saysSomething(r, line[i+n:]):
				parts = append(parts, line[i:i+n])
			}
			i += n
		}
	}
	return strings.Join(parts, " ")
}

// saysSomething reports whether punctuation tells texts apart: quotation marks, dashes and other punctuation beyond ASCII do not, nor do marks that end a word.
func saysSomething(r rune, behind string) bool {
	const ends = ".,;:!?"
	if r >= utf8.RuneSelf || r == '"' || r == '\'' {
		return false
	}
	next, _ := utf8.DecodeRuneInString(behind)
	return !strings.ContainsRune(ends, r) || behind != "" && !unicode.IsSpace(next) && !strings.ContainsRune(ends+"\"'”’»)]}"+emphasisMarks, next)
}

// withoutListMark is a line without bullet, heading or quotation mark.
func withoutListMark(line string) string {
	mark, rest, ok := strings.Cut(line, " ")
	if ok && (mark == "-" || mark == "*" || mark == "+" || strings.Trim(mark, "#") == "" || strings.Trim(mark, ">") == "") {
		return strings.TrimSpace(rest)
	}
	return line
}

const emphasisMarks = "*_`~"

// runOf is the length of the run of equal bytes at i.
func runOf(line string, i int) int {
	return len(line) - i - len(strings.TrimLeft(line[i:], line[i:i+1]))
}

// emphasis is where the runs of marks stand that open or close emphasis: in front of a word or behind one, with a partner in the line. Those between two words
// are operators, and so are those without a partner, as of a pointer.
func emphasis(line string) (places []int) {
	type run struct {
		at            int
		mark          string
		opens, closes bool
	}
	var runs []run
	first, last := map[string]int{}, map[string]int{} // places of runs that open and that close
	for i := 0; i < len(line); {
		next := strings.IndexAny(line[i:], emphasisMarks)
		if next < 0 {
			break
		}
		i += next
		end := i + runOf(line, i)
		before, _ := utf8.DecodeLastRuneInString(line[:i])
		after, _ := utf8.DecodeRuneInString(line[end:])
		// at the ends of a line the character is RuneError, which is no part of a word
		r := run{i, line[i:end], !words.InWord(before) && end < len(line) && after != ' ', !words.InWord(after) && i > 0 && before != ' '}
		if _, ok := first[r.mark]; r.opens && !ok {
			first[r.mark] = i
		}
		if r.closes {
			last[r.mark] = i
		}
		runs, i = append(runs, r), end
	}
	for _, r := range runs {
		from, opened := first[r.mark]
		if to, closed := last[r.mark]; r.opens && closed && to > r.at || r.closes && opened && from < r.at {
			places = append(places, r.at)
		}
	}
	return places
}
