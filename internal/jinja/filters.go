package jinja

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filter evaluates x|name(args).
func (st *state) filter(x filterExpr) any {
	v := st.body
	if x.x != nil {
		v = st.eval(x.x)
	}
	args, kw := st.args(x.args)
	return st.applyFilter(x.name, v, args, kw)
}

// applyFilter calls a filter by name, which map('upper') does, too.
func (st *state) applyFilter(name string, v any, args []any, kw kwargs) any {
	f, ok := st.filters[name]
	if !ok {
		st.fail("the filter %q is unknown", shorten(name))
	}
	return f(st, append([]any{v}, args...), kw)
}

// filterBody applies the filters of a block to what the block wrote.
func (st *state) filterBody(filter expr, v any) any {
	outer := st.body
	st.body = v
	out := st.eval(filter)
	st.body = outer
	return out
}

// filterTable lists the filters of the language.
func filterTable() map[string]builtin {
	return map[string]builtin{
		"abs": absFilter, "attr": attrFilter, "batch": batch, "capitalize": caseFilter(capitalRune), "center": center, "count": lengthFilter,
		"d": defaultFilter, "default": defaultFilter, "dictsort": dictSort, "e": escapeHTML, "escape": escapeHTML, "first": first,
		"float": floatFilter, "format": formatFilter, "groupby": groupBy, "indent": indent, "int": intFilter, "items": itemsFilter,
		"join": joinFilter, "last": last, "length": lengthFilter, "list": listFilter, "lower": caseFilter(lowerRune), "map": mapFilter,
		"max": extreme(1), "min": extreme(-1), "reject": selectFilter("reject", false, false), "rejectattr": selectFilter("rejectattr", true, false),
		"replace": replaceFilter, "reverse": reverse, "round": round, "safe": safeFilter, "select": selectFilter("select", false, true),
		"selectattr": selectFilter("selectattr", true, true), "slice": sliceFilter, "sort": sortFilter, "string": stringFilter, "sum": sum,
		"title": textFilter(titleWords), "tojson": tojson, "trim": trim, "truncate": truncate, "unique": unique, "upper": caseFilter(upperRune),
		"urlencode": urlEncode, "wordcount": wordCount,
	}
}

// textFilter makes a filter of a function of the value's text.
func textFilter(f func(Text) Text) builtin {
	return func(st *state, args []any, kw kwargs) any {
		t := st.display(st.params("this filter", args, kw, "s")[0])
		st.grow(3 * len(t.s)) // a letter becomes three at most
		return f(t)
	}
}

// caseFilter makes a filter of what becomes of each character.
func caseFilter(f runeMap) builtin {
	return textFilter(func(t Text) Text { return t.mapRunes(f) })
}

// stringFilter is str(x); an undefined value is the empty string.
func stringFilter(st *state, args []any, kw kwargs) any {
	return st.display(st.params("string", args, kw, "s")[0])
}

// trim cuts white space, or the given characters, off both ends.
func trim(st *state, args []any, kw kwargs) any {
	p := st.params("trim", args, kw, "value", "chars")
	t := st.display(p[0])
	st.step(len(t.s)/64 + 1)
	if !given(p[1]) || p[1] == nil {
		return strip(t, IsSpace, true, true)
	}
	return strip(t, st.charSet(st.text("trim", p[1])), true, true)
}

// center pads both sides; the odd space goes where str.center puts it.
func center(st *state, args []any, kw kwargs) any {
	p := st.params("center", args, kw, "value", "width")
	return st.pad(st.display(p[0]), Text{s: " "}, st.integer("center", p[1], 80), 1, 1)
}

// titleWords makes the first letter of each word large and the rest small; words begin after white space, hyphens and brackets. The rest is
// made small by itself, so a Σ that is all of it does not end a word.
func titleWords(t Text) Text {
	begins, rest := true, 0 // whether a word begins; where the rest of this one does
	return t.mapRunes(func(s string, i int, r rune) string {
		switch {
		case IsSpace(r) || strings.ContainsRune("-({[<", r):
			begins = true
			return string(r)
		case begins:
			_, n := utf8.DecodeRuneInString(s[i:])
			begins, rest = false, i+n
			return upperRune(s, i, r)
		}
		return lowerRune(s[rest:], i-rest, r)
	})
}

// replaceFilter takes anything for strings, unlike the method.
func replaceFilter(st *state, args []any, kw kwargs) any {
	p := st.params("replace", args, kw, "s", "old", "new", "count")
	st.need("replace", p[1])
	st.need("replace", p[2])
	count := -1
	if given(p[3]) && p[3] != nil {
		count = st.integer("replace", p[3], -1)
	}
	return st.replace(st.display(p[0]), st.display(p[1]), st.display(p[2]), count)
}

// defaultFilter replaces undefined values and, with boolean=true, all that are false.
func defaultFilter(st *state, args []any, kw kwargs) any {
	p := st.params("default", args, kw, "value", "default_value", "boolean")
	_, isUndefined := p[0].(undefined)
	switch {
	case !isUndefined && !(flag(p[2]) && !truth(p[0])):
		return p[0]
	case !given(p[1]):
		return Text{}
	}
	return p[1]
}

// lengthFilter is len: of a text in characters, of an undefined value 0, and of a generator an error.
func lengthFilter(st *state, args []any, kw kwargs) any {
	p := st.params("length", args, kw, "value")
	n, ok := st.length(p[0])
	if !ok {
		st.fail("%s has no length", typeName(p[0]))
	}
	return int64(n)
}

// absFilter is abs(x), of whole numbers of any size.
func absFilter(st *state, args []any, kw kwargs) any {
	v := st.params("abs", args, kw, "x")[0]
	// booleans are numbers here, as in Python
	i, f, isInt, ok := number(v)
	n, isBig := v.(*big.Int)
	switch {
	case isBig:
		return new(big.Int).Abs(n)
	case !ok:
		st.defined(v)
		st.fail("%s has no absolute value", typeName(v))
	case isInt && i >= 0:
		return i
	case isInt:
		return st.unary("-", i)
	}
	return math.Abs(f)
}

// attrFilter is the attribute alone, never an item.
func attrFilter(st *state, args []any, kw kwargs) any {
	p := st.params("attr", args, kw, "obj", "name")
	name := st.display(p[1]).s
	st.defined(p[0])
	if v, ok := st.property(p[0], name); ok {
		return v
	}
	return undefined{"'" + typeName(p[0]) + "' has no attribute '" + shorten(name) + "'"}
}

// intFilter reads strings in a base and cuts floats off towards zero; what cannot be read is the default, never an error.
func intFilter(st *state, args []any, kw kwargs) any {
	p := st.params("int", args, kw, "value", "default", "base")
	var def any = int64(0)
	if given(p[1]) {
		def = p[1]
	}
	st.defined(p[0])
	if b, ok := p[0].(*big.Int); ok {
		return b
	}
	if t, ok := p[0].(Text); ok {
		st.scan(len(t.s))
		return parseInt(strings.TrimFunc(t.s, IsSpace), st.integer("int", p[2], 10), def)
	}
	i, f, isInt, ok := number(p[0])
	switch {
	case !ok:
		return def
	case isInt:
		return i
	}
	return truncInt(f, def)
}

// truncInt cuts a float off to a whole number of any size; def where there is none.
func truncInt(f float64, def any) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return def
	}
	i, _ := big.NewFloat(f).Int(nil)
	return normInt(i)
}

// parseInt is int(s, base); a string with a point, in base 10 or not, is tried as a float then, as do_int of filters.py does.
func parseInt(s string, base int, def any) any {
	s = asciiDigits(s)
	if base < 2 || base > 36 || len(s) > 1000 {
		return def
	}
	if i, ok := new(big.Int).SetString(plainDigits(s, base), base); ok {
		return normInt(i)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && !strings.ContainsAny(s, "xXpP_") {
		return truncInt(f, def)
	}
	return def
}

// plainDigits leaves out what int(s, base) allows beside a sign and digits: the prefix of the base, and single underscores between digits.
// It returns "" where they stand elsewhere.
func plainDigits(s string, base int) string {
	sign, digits := "", strings.ToLower(s)
	if strings.HasPrefix(digits, "-") || strings.HasPrefix(digits, "+") {
		sign, digits = digits[:1], digits[1:]
	}
	if prefix := map[int]string{2: "0b", 8: "0o", 16: "0x"}[base]; prefix != "" && strings.HasPrefix(digits, prefix) {
		digits = strings.TrimPrefix(digits[len(prefix):], "_")
	}
	if strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") || strings.ContainsAny(digits, "+-") {
		return ""
	}
	return sign + strings.ReplaceAll(digits, "_", "")
}

// floatFilter reads strings as Python does, inf and nan too, but not Go's hexadecimal floats.
func floatFilter(st *state, args []any, kw kwargs) any {
	p := st.params("float", args, kw, "value", "default")
	var def any = 0.0
	if given(p[1]) {
		def = p[1]
	}
	st.defined(p[0])
	if t, ok := p[0].(Text); ok {
		st.grow(len(t.s))
		s := asciiDigits(strings.TrimFunc(t.s, IsSpace))
		if f, err := strconv.ParseFloat(s, 64); (err == nil || math.IsInf(f, 0)) && !strings.ContainsAny(s, "xXpP") {
			return f
		}
		return def
	}
	if x := exact(p[0]); x != nil {
		f, _ := x.Float64()
		return f
	}
	if f, isFloat := p[0].(float64); isFloat { // NaN
		return f
	}
	return def
}

// round rounds half to even, as Python, or up or down.
func round(st *state, args []any, kw kwargs) any {
	p := st.params("round", args, kw, "value", "precision", "method")
	i, f, isInt, ok := number(p[0])
	if !ok {
		st.defined(p[0])
		st.refuseBig(p[0], p[0])
		st.fail("%s cannot be rounded", typeName(p[0]))
	}
	digits, how := st.integer("round", p[1], 0), "common"
	if given(p[2]) {
		how = st.text("round", p[2]).s
	}
	scale := math.Pow(10, float64(digits))
	switch how {
	case "ceil":
		return math.Ceil(f*scale)/scale + 0
	case "floor":
		return math.Floor(f*scale)/scale + 0 // no negative zero, which Python's floor, a whole number, does not have
	case "common":
	default:
		st.fail("round knows common, ceil and floor, not %q", shorten(how))
	}
	if isInt && digits >= 0 {
		return i // of a boolean, too
	}
	if digits < 0 || digits > 300 {
		r := math.RoundToEven(f*scale) / scale
		if isInt {
			return int64(r)
		}
		return r
	}
	// the decimal digits of f, correctly rounded, and back, as CPython's round: 2.675 is a little less than it looks and becomes 2.67
	r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
	return r
}

// wordCount counts runs of \w, as the reference's pattern.
func wordCount(st *state, args []any, kw kwargs) any {
	t := st.display(st.params("wordcount", args, kw, "s")[0])
	st.step(len(t.s)/64 + 1)
	return int64(len(strings.FieldsFunc(t.s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })))
}

// truncate shortens a text to a length, its end included, but lets one pass that is longer by no more than the leeway; it cuts at the last
// space unless killwords. What is no string but has a length may pass, too.
func truncate(st *state, args []any, kw kwargs) any {
	p := st.params("truncate", args, kw, "s", "length", "killwords", "end", "leeway")
	end := Text{s: "..."}
	if given(p[3]) {
		end = st.display(p[3])
	}
	n, leeway := st.integer("truncate", p[1], 255), 5
	if given(p[4]) && p[4] != nil {
		leeway = st.integer("truncate", p[4], 5)
	}
	keep := n - end.runeCount()
	if keep < 0 || leeway < 0 {
		st.fail("truncate needs a length of at least its end, and a leeway of at least 0")
	}
	size, ok := st.length(p[0])
	switch {
	case !ok:
		st.fail("%s has no length", typeName(p[0]))
	case size <= n+leeway:
		return p[0]
	}
	t := st.text("truncate", p[0])
	t = t.slice(0, offset(t.s, keep))
	if i := strings.LastIndexByte(t.s, ' '); i >= 0 && !flag(p[2]) {
		t = t.slice(0, i)
	}
	return concat(t, end)
}

// indent puts spaces, or the given text, before each line but, unless told otherwise, the first and empty ones.
func indent(st *state, args []any, kw kwargs) any {
	p := st.params("indent", args, kw, "s", "width", "first", "blank")
	t, by := st.text("indent", p[0]), Text{}
	if w, ok := p[1].(Text); ok {
		by = w
	} else {
		by.s = st.spaces(st.integer("indent", p[1], 4))
	}
	first, blank := flag(p[2]), flag(p[3])
	st.grow(len(t.s) + strings.Count(t.s, "\n")*len(by.s))
	var b builder
	if first {
		b.put(by, 0)
	}
	// the line end that is added keeps a last line that is empty
	lines := splitLines(st, concat(t, Text{s: "\n"}), nil, kwargs{}).(*list).items
	for i, line := range lines {
		if i > 0 {
			b.str("\n")
			if blank || line.(Text).s != "" {
				b.put(by, 0)
			}
		}
		b.put(line.(Text), 0)
	}
	return b.text()
}

// htmlEscapes are markupsafe's.
var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// escapeHTML is markupsafe's escape, which marks what it returns, so that a second one changes nothing.
func escapeHTML(st *state, args []any, kw kwargs) any {
	return st.escape(st.display(st.params("escape", args, kw, "s")[0]))
}

// escape is a text safe to stand in HTML; one that is marked so stays as it is.
func (st *state) escape(t Text) Text {
	if !t.safe {
		st.grow(6 * len(t.s))
		t = t.mapRuns(htmlEscapes.Replace)
		t.safe = true
	}
	return t
}

// safeFilter marks a text, so that e leaves it as it is and + escapes what it is joined with.
func safeFilter(st *state, args []any, kw kwargs) any {
	t := st.display(st.params("safe", args, kw, "value")[0])
	t.safe = true
	return t
}

// urlEncode is url_quote of jinja2's utils.py: letters, digits and _.-~/ stay, other bytes are %XX.
func urlEncode(st *state, args []any, kw kwargs) any {
	v := st.params("urlencode", args, kw, "value")[0]
	switch v.(type) {
	case *dict, *list:
		st.fail("urlencode works on strings")
	}
	t := st.display(v)
	st.grow(3 * len(t.s))
	return t.mapRuns(func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			if c < 0x80 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("_.-~/", c) >= 0) {
				b.WriteByte(c)
			} else {
				b.WriteString("%" + strings.ToUpper(strconv.FormatInt(int64(c)+0x100, 16)[1:]))
			}
		}
		return b.String()
	})
}

// formatFilter is printf with the arguments, or with the keywords for %(name)s.
func formatFilter(st *state, args []any, kw kwargs) any {
	format := st.display(args[0])
	if len(kw.names) > 0 {
		d := newDict()
		for i, name := range kw.names {
			d.setString(name, kw.values[i])
		}
		return st.printf(format, d)
	}
	return st.printf(format, tupleOf(slices.Clone(args[1:])...))
}
