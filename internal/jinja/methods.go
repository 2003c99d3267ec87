package jinja

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// builtin is the code of a function or filter of the language.
type builtin func(st *state, args []any, kw kwargs) any

// methodFunc is a method of a value.
type methodFunc func(st *state, self any, args []any, kw kwargs) any

// missing stands for an argument that was not given.
type missing struct{}

// params matches arguments to names; what is not given is missing.
func (st *state) params(what string, args []any, kw kwargs, names ...string) []any {
	out := make([]any, len(names))
	if len(args) > len(names) {
		st.fail("%s takes not more than %d arguments, got %d", what, len(names), len(args))
	}
	for i := range out {
		out[i] = missing{}
		if i < len(args) {
			out[i] = args[i]
		}
	}
next:
	for k, name := range kw.names {
		for i := range names {
			if names[i] == name {
				if i < len(args) {
					st.fail("%s got %s twice", what, name)
				}
				out[i] = kw.values[k]
				continue next
			}
		}
		st.fail("%s takes no argument %s", what, shorten(name))
	}
	return out
}

// given tells an argument that was left out from None, which filters such as int and tojson take for a value.
func given(v any) bool { _, no := v.(missing); return !no }

// text returns a string argument.
func (st *state) text(what string, v any) Text {
	t, ok := v.(Text)
	if !ok {
		st.need(what, v)
		st.defined(v)
		st.fail("%s needs a string, not %s", what, typeName(v))
	}
	return t
}

// need fails for an argument without a default.
func (st *state) need(what string, v any) {
	if !given(v) {
		st.fail("%s needs one more argument", what)
	}
}

// integer returns a whole number argument, or def when it was not given.
func (st *state) integer(what string, v any, def int) int {
	if !given(v) {
		return def
	}
	i, _, isInt, _ := number(v)
	if !isInt {
		st.defined(v)
		st.fail("%s needs a whole number, not %s", what, typeName(v))
	}
	return int(max(min(i, 1<<40), -(1 << 40)))
}

// flag returns a boolean argument, false when it was not given.
func flag(v any) bool { return given(v) && truth(v) }

// methodOf finds the methods of str, dict, list and tuple that do not change their value; those that would are there to say so.
func methodOf(x any, name string) methodFunc {
	switch x := x.(type) {
	case Text:
		if name == "format" { // not in the table, as its fields may name any method
			return formatMethod
		}
		return textMethods[name]
	case *dict:
		return dictMethods[name]
	case *list:
		switch x.kind {
		case kindList:
			return listMethods[name]
		case kindTuple, kindRange:
			if name == "index" || name == "count" {
				return listMethods[name]
			}
		}
	}
	return nil
}

var textMethods = map[string]methodFunc{
	"strip":        stripMethod(true, true),
	"lstrip":       stripMethod(true, false),
	"rstrip":       stripMethod(false, true),
	"upper":        mapMethod(upperRune),
	"lower":        mapMethod(lowerRune),
	"casefold":     mapMethod(foldRune),
	"swapcase":     mapMethod(swapRune),
	"title":        mapMethod(wordRune),
	"capitalize":   mapMethod(capitalRune),
	"startswith":   affixMethod(strings.HasPrefix),
	"endswith":     affixMethod(strings.HasSuffix),
	"removeprefix": removePrefix,
	"removesuffix": removeSuffix,
	"split":        splitMethod,
	"rsplit":       rsplitMethod,
	"splitlines":   splitLines,
	"partition":    partitionMethod(false),
	"rpartition":   partitionMethod(true),
	"replace":      replaceMethod,
	"find":         findMethod(strings.Index, false),
	"rfind":        findMethod(strings.LastIndex, false),
	"index":        findMethod(strings.Index, true),
	"rindex":       findMethod(strings.LastIndex, true),
	"count":        countMethod,
	"join":         joinMethod,
	"ljust":        justifyMethod(0, 1),
	"rjust":        justifyMethod(1, 0),
	"center":       justifyMethod(1, 1),
	"zfill":        zfill,
	"expandtabs":   expandTabs,
	"isdigit":      testMethod(every(isDigit)),
	"isdecimal":    testMethod(every(unicode.IsDigit)),
	"isnumeric":    testMethod(every(isNumeric)),
	"isalpha":      testMethod(every(unicode.IsLetter)),
	"isalnum":      testMethod(every(isAlphanumeric)),
	"isspace":      testMethod(every(IsSpace)),
	"isascii":      testMethod(func(s string) bool { return utf8.RuneCountInString(s) == len(s) }),
	"isprintable":  testMethod(func(s string) bool { return s == "" || every(strconv.IsPrint)(s) }),
	"isidentifier": testMethod(func(s string) bool { return namePattern.MatchString(s) }),
	"isupper":      testMethod(isUpper),
	"islower":      testMethod(isLower),
	"istitle":      testMethod(isTitle),
}

// namePattern is a name of Python.
var namePattern = regexp.MustCompile(`^[_\pL\p{Nl}][_\pL\pM\p{Nd}\p{Nl}\p{Pc}]*$`)

// charSet is a set of characters to strip.
func (st *state) charSet(t Text) func(r rune) bool {
	st.step(len(t.s))
	set := make(map[rune]bool)
	for _, r := range t.s {
		set[r] = true
	}
	return func(r rune) bool { return set[r] }
}

// strip cuts characters off the ends.
func strip(t Text, cut func(r rune) bool, left, right bool) Text {
	from, to := 0, len(t.s)
	if left {
		from = len(t.s) - len(strings.TrimLeftFunc(t.s, cut))
	}
	if right {
		to = from + len(strings.TrimRightFunc(t.s[from:], cut))
	}
	return t.slice(from, to)
}

// stripMethod is strip, lstrip and rstrip: the argument is a set of characters, not an affix.
func stripMethod(left, right bool) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		p := st.params("strip", args, kw, "chars")
		st.step(len(self.(Text).s)/64 + 1)
		if !given(p[0]) || p[0] == nil {
			return strip(self.(Text), IsSpace, left, right)
		}
		return strip(self.(Text), st.charSet(st.text("strip", p[0])), left, right)
	}
}

// mapMethod changes characters one by one; what each becomes keeps its origin.
func mapMethod(f runeMap) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		st.params("a method that changes case", args, kw)
		st.grow(3 * len(self.(Text).s)) // a letter becomes three at most
		return self.(Text).mapRunes(f)
	}
}

// affixMethod is startswith and endswith, which take a tuple of affixes for any of them.
func affixMethod(has func(s, affix string) bool) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		p := st.params("startswith or endswith", args, kw, "affix", "start", "end")
		s, _, ok := st.within(self.(Text), p[1], p[2])
		affixes := []any{p[0]}
		if l, isList := p[0].(*list); isList && l.kind == kindTuple {
			affixes = l.items
		}
		return slices.ContainsFunc(affixes, func(v any) bool {
			affix := st.text("startswith", v).s
			st.step(len(affix)/64 + 1)
			return has(s, affix)
		}) && ok
	}
}

// within is t[start:end] with the number of its first character, for methods that look into part of a string; ok is false when start is
// behind the end of t, where not even the empty string is found.
func (st *state) within(t Text, start, end any) (s string, first int, ok bool) {
	st.step(len(t.s)/64 + 1)
	if !given(start) && !given(end) {
		return t.s, 0, true
	}
	n := t.runeCount()
	b := sliceBounds{st.bound("a search", start, 0), st.bound("a search", end, n), 1, true, true}
	idx := b.indices(n)
	from := offset(t.s, idx.start)
	return t.s[from : from+offset(t.s[from:], idx.count)], idx.start, b.lo <= n
}

// bound is an index that may be none or left out.
func (st *state) bound(what string, v any, def int) int {
	if v == nil {
		return def
	}
	return st.integer(what, v, def)
}

// removePrefix takes the prefix off once, where lstrip would take characters.
func removePrefix(st *state, self any, args []any, kw kwargs) any {
	t, p := self.(Text), st.params("removeprefix", args, kw, "prefix")
	if a := st.text("removeprefix", p[0]).s; strings.HasPrefix(t.s, a) {
		return t.slice(len(a), len(t.s))
	}
	return t
}

// removeSuffix takes the suffix off once. The empty one is off already; s[:-0], as one would write it in Python, would take all.
func removeSuffix(st *state, self any, args []any, kw kwargs) any {
	t, p := self.(Text), st.params("removesuffix", args, kw, "suffix")
	if a := st.text("removesuffix", p[0]).s; strings.HasSuffix(t.s, a) {
		return t.slice(0, len(t.s)-len(a))
	}
	return t
}

// splitMethod is str.split; maxsplit counts cuts, so there is one part more than that.
func splitMethod(st *state, self any, args []any, kw kwargs) any {
	t, p := self.(Text), st.params("split", args, kw, "sep", "maxsplit")
	limit := st.integer("split", p[1], -1)
	st.step(len(t.s)/64 + 1)
	// without a separator runs of white space are one, and none is left at the ends
	if !given(p[0]) || p[0] == nil {
		return listOf(st.splitSpace(t, limit))
	}
	sep := st.separator(p[0])
	var out []any
	from := 0
	for limit < 0 || len(out) < limit {
		st.step(2)
		i := strings.Index(t.s[from:], sep)
		if i < 0 {
			break
		}
		out = append(out, t.slice(from, from+i))
		from += i + len(sep)
	}
	return listOf(append(out, t.slice(from, len(t.s))))
}

// separator refuses the empty one, as Python does: every place of a text would be one.
func (st *state) separator(v any) string {
	sep := st.text("split", v).s
	if sep == "" {
		st.fail("split needs a separator that is not empty")
	}
	return sep
}

// splitSpace splits at runs of white space.
func (st *state) splitSpace(t Text, limit int) []any {
	out, from := []any{}, 0
	for {
		st.step(2)
		from += len(t.s[from:]) - len(strings.TrimLeftFunc(t.s[from:], IsSpace))
		if from == len(t.s) {
			return out
		}
		n := strings.IndexFunc(t.s[from:], IsSpace)
		if limit >= 0 && len(out) == limit {
			return append(out, t.slice(from, len(t.s)))
		}
		if n < 0 {
			return append(out, t.slice(from, len(t.s)))
		}
		out = append(out, t.slice(from, from+n))
		from += n
	}
}

// rsplitMethod is str.rsplit, which differs from split only where maxsplit leaves a rest: that is then on the left.
func rsplitMethod(st *state, self any, args []any, kw kwargs) any {
	t, p := self.(Text), st.params("rsplit", args, kw, "sep", "maxsplit")
	limit := st.integer("rsplit", p[1], -1)
	st.step(len(t.s)/64 + 1)
	// the last run of white space, found by its last character; the rest of it goes when the next piece is stripped
	find := func(s string) (at, n int) {
		at = strings.LastIndexFunc(s, IsSpace)
		if at < 0 {
			return -1, 0
		}
		_, n = utf8.DecodeRuneInString(s[at:])
		return at, n
	}
	space := !given(p[0]) || p[0] == nil
	if !space {
		sep := st.separator(p[0])
		find = func(s string) (int, int) { return strings.LastIndex(s, sep), len(sep) }
	}
	s, out := t.s, []any(nil) // what is left of the text; slicing the text itself would copy its runs for each piece
	for limit < 0 || len(out) < limit {
		st.step(2)
		if space {
			s = strings.TrimRightFunc(s, IsSpace)
		}
		i, n := find(s)
		if i < 0 {
			break
		}
		out = append(out, t.slice(i+n, len(s)))
		s = s[:i]
	}
	if space {
		s = strings.TrimRightFunc(s, IsSpace)
	}
	if !space || s != "" {
		out = append(out, t.slice(0, len(s)))
	}
	slices.Reverse(out) // the pieces were found from the right
	return listOf(out)
}

// isLineEnd lists what str.splitlines cuts at, which is more than \n and \r: the separators of ASCII and Unicode, too.
func isLineEnd(r rune) bool {
	return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
}

// splitLines is str.splitlines: a line end at the end of the text begins no further line, unlike in split("\n").
func splitLines(st *state, self any, args []any, kw kwargs) any {
	t, p := self.(Text), st.params("splitlines", args, kw, "keepends")
	keep := flag(p[0])
	st.step(len(t.s)/64 + 1)
	out := []any{}
	for from := 0; from < len(t.s); {
		st.step(2)
		n := strings.IndexFunc(t.s[from:], isLineEnd)
		if n < 0 {
			return listOf(append(out, t.slice(from, len(t.s))))
		}
		_, size := utf8.DecodeRuneInString(t.s[from+n:])
		if strings.HasPrefix(t.s[from+n:], "\r\n") {
			size = 2
		}
		if keep {
			n, size = n+size, 0
		}
		out = append(out, t.slice(from, from+n))
		from += n + size
	}
	return listOf(out)
}

// partitionMethod cuts at the first or last separator into three; without one the text is the first or the last part.
func partitionMethod(last bool) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		t, p := self.(Text), st.params("partition", args, kw, "sep")
		sep := st.separator(p[0])
		st.scan(len(t.s))
		i := strings.Index(t.s, sep)
		if last {
			i = strings.LastIndex(t.s, sep)
		}
		switch {
		case i < 0 && last:
			return tupleOf(Text{}, Text{}, t)
		case i < 0:
			return tupleOf(t, Text{}, Text{})
		}
		return tupleOf(t.slice(0, i), t.slice(i, i+len(sep)), t.slice(i+len(sep), len(t.s)))
	}
}

// replace is str.replace; count < 0 replaces all.
func (st *state) replace(t, old, with Text, count int) Text {
	if old.s == "" {
		return st.interleave(t, with, count)
	}
	st.scan(len(t.s))
	n := strings.Count(t.s, old.s)
	if count >= 0 {
		n = min(n, count)
	}
	if n == 0 {
		return t
	}
	// before anything is made: a few replacements in a loop grow a text beyond all memory
	st.grow(len(t.s) + n*(len(with.s)-len(old.s)))
	var b builder
	from := 0
	for range n {
		i := from + strings.Index(t.s[from:], old.s)
		b.put(t.slice(from, i), 0)
		b.put(with, 0)
		from = i + len(old.s)
	}
	b.put(t.slice(from, len(t.s)), 0)
	return b.text()
}

// interleave is str.replace of the empty string: before each character and at the end.
func (st *state) interleave(t, with Text, count int) Text {
	chars := st.iterate(t)
	if count < 0 || count > len(chars)+1 {
		count = len(chars) + 1
	}
	st.grow(len(t.s) + count*len(with.s))
	var b builder
	for i := range len(chars) + 1 {
		if i < count {
			b.put(with, 0)
		}
		if i < len(chars) {
			b.put(chars[i].(Text), 0)
		}
	}
	return b.text()
}

// replaceMethod takes strings only, unlike the filter.
func replaceMethod(st *state, self any, args []any, kw kwargs) any {
	p := st.params("replace", args, kw, "old", "new", "count")
	return st.replace(self.(Text), st.text("replace", p[0]), st.text("replace", p[1]), st.integer("replace", p[2], -1))
}

// findMethod is find, rfind, index and rindex, in characters from the start of the whole text.
func findMethod(find func(s, sub string) int, must bool) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		p := st.params("find", args, kw, "sub", "start", "end")
		part, first, ok := st.within(self.(Text), p[1], p[2])
		if i := find(part, st.text("find", p[0]).s); ok && i >= 0 {
			return int64(first + utf8.RuneCountInString(part[:i]))
		}
		if must {
			st.fail("the substring was not found")
		}
		return int64(-1)
	}
}

// countMethod counts without overlaps; the empty string is found before each character and at the end.
func countMethod(st *state, self any, args []any, kw kwargs) any {
	p := st.params("count", args, kw, "sub", "start", "end")
	part, _, ok := st.within(self.(Text), p[1], p[2])
	if !ok {
		return int64(0)
	}
	return int64(strings.Count(part, st.text("count", p[0]).s))
}

// joinMethod takes strings only, unlike the filter, and looks at all of them before it joins any.
func joinMethod(st *state, self any, args []any, kw kwargs) any {
	p := st.params("join", args, kw, "items")
	st.need("join", p[0])
	items := st.iterate(p[0])
	for _, v := range items {
		st.text("join", v)
	}
	return st.joinTexts(self.(Text), items)
}

// joinTexts joins the str of items.
func (st *state) joinTexts(sep Text, items []any) Text {
	var b builder
	for i, v := range items {
		t := st.display(v)
		st.grow(len(sep.s) + len(t.s))
		st.limit(len(b.buf) + len(sep.s) + len(t.s))
		if i > 0 {
			b.put(sep, 0)
		}
		b.put(t, 0)
	}
	return b.text()
}

// justifyMethod pads to a width: left and right say on which sides.
func justifyMethod(left, right int) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		p := st.params("a method that pads", args, kw, "width", "fillchar")
		st.need("a method that pads", p[0])
		fill := Text{s: " "}
		if given(p[1]) {
			if fill = st.text("padding", p[1]); fill.runeCount() != 1 {
				st.fail("the fill must be one character")
			}
		}
		return st.pad(self.(Text), fill, st.integer("padding", p[0], 0), left, right)
	}
}

// pad fills a text up to a width, on the left, on the right, or on both sides.
func (st *state) pad(t, fill Text, width, left, right int) Text {
	st.scan(len(t.s))
	n := t.runeCount()
	if width <= n {
		return t
	}
	st.grow(len(t.s) + (width-n)*len(fill.s))
	before := 0
	switch {
	case left == 1 && right == 1:
		before = (width-n)/2 + (width-n)&width&1 // as CPython rounds
	case left == 1:
		before = width - n
	}
	a, _ := st.repeat(fill, int64(before))
	b, _ := st.repeat(fill, int64(width-n-before))
	return concat(a.(Text), t, b.(Text))
}

// zfill puts zeros behind a sign.
func zfill(st *state, self any, args []any, kw kwargs) any {
	t, p := self.(Text), st.params("zfill", args, kw, "width")
	st.need("zfill", p[0])
	sign := 0
	if strings.HasPrefix(t.s, "-") || strings.HasPrefix(t.s, "+") {
		sign = 1
	}
	width := st.integer("zfill", p[0], 0) - sign
	return concat(t.slice(0, sign), st.pad(t.slice(sign, len(t.s)), Text{s: "0"}, width, 1, 0))
}

// testMethod is a method that asks something of the whole string.
func testMethod(is func(string) bool) methodFunc {
	return func(st *state, self any, args []any, kw kwargs) any {
		st.params("a method that tests characters", args, kw)
		s := self.(Text).s
		st.step(len(s)/64 + 1)
		return is(s)
	}
}

// every asks it of each character; there must be one.
func every(is func(rune) bool) func(string) bool {
	return func(s string) bool { return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0 }
}

// expandTabs puts spaces up to the next multiple of a width in the place of tabs; columns count from the last line end.
func expandTabs(st *state, self any, args []any, kw kwargs) any {
	t, width := self.(Text), st.integer("expandtabs", st.params("expandtabs", args, kw, "tabsize")[0], 8)
	if width > maxWidth {
		st.fail("a width is above %d", maxWidth)
	}
	st.repeatable(max(width, 1), int64(strings.Count(t.s, "\t")))
	st.grow(len(t.s))
	var b builder
	column := 0
	t.Runs(func(i, j int, o Origin) {
		for _, r := range t.s[i:j] {
			switch {
			case r == '\t' && width > 0:
				n := width - column%width
				b.add(strings.Repeat(" ", n), o)
				column += n
			case r == '\t':
			default:
				b.add(string(r), o)
				if column++; r == '\n' || r == '\r' {
					column = 0
				}
			}
		}
	})
	return b.text()
}

var dictMethods = map[string]methodFunc{
	"get": func(st *state, self any, args []any, kw kwargs) any {
		p := st.params("get", args, kw, "key", "default")
		st.need("get", p[0])
		if v, ok := st.lookup(self.(*dict), p[0]); ok {
			return v
		}
		if !given(p[1]) {
			return nil
		}
		return p[1]
	},
	"items": func(st *state, self any, args []any, kw kwargs) any {
		st.params("items", args, kw)
		return st.view("dict_items", self.(*dict).items())
	},
	"keys": func(st *state, self any, args []any, kw kwargs) any {
		st.params("keys", args, kw)
		return st.view("dict_keys", self.(*dict).keys)
	},
	"values": func(st *state, self any, args []any, kw kwargs) any {
		st.params("values", args, kw)
		return st.view("dict_values", self.(*dict).values)
	},
	"copy": func(st *state, self any, args []any, kw kwargs) any {
		st.params("copy", args, kw)
		out := newDict()
		st.update(out, self.(*dict))
		return out
	},
	"clear": readOnly, "pop": readOnly, "popitem": readOnly, "setdefault": readOnly, "update": readOnly,
}

// view is a snapshot, not Python's live view; templates cannot change dicts, so nobody can tell.
func (st *state) view(name string, items []any) *list {
	st.step(len(items))
	return &list{items: items, kind: kindView, name: name}
}

// update adds the pairs of another dict.
func (st *state) update(d, from *dict) {
	for i := range from.keys {
		st.put(d, from.keys[i], from.values[i])
	}
}

// readOnly refuses what would change a value: chat templates run in an immutable sandbox.
func readOnly(st *state, _ any, _ []any, _ kwargs) any {
	st.fail("templates cannot change lists and dicts; build a new one, as in a + [b]")
	return nil
}

var listMethods = map[string]methodFunc{
	"index": func(st *state, self any, args []any, kw kwargs) any {
		p := st.params("index", args, kw, "value")
		for i, v := range self.(*list).items {
			if st.equal(v, p[0], 0) {
				return int64(i)
			}
		}
		st.fail("the value is not in the list")
		return nil
	},
	"count": func(st *state, self any, args []any, kw kwargs) any {
		p, n := st.params("count", args, kw, "value"), int64(0)
		for _, v := range self.(*list).items {
			if st.equal(v, p[0], 0) {
				n++
			}
		}
		return n
	},
	"copy": func(st *state, self any, args []any, kw kwargs) any {
		st.params("copy", args, kw)
		l := *self.(*list)
		return &l
	},
	"append": readOnly, "extend": readOnly, "insert": readOnly, "pop": readOnly, "remove": readOnly, "clear": readOnly,
	"reverse": readOnly, "sort": readOnly,
}
