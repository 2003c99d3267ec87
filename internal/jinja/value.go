package jinja

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// A value is nil (None), bool, int64, *big.Int (only carried and printed), float64, Text, *list, *dict, *namespace, undefined or a
// callable: *macro, *loop, *function.

// listKind tells sequences apart where Python does: in printing, comparing, and in what can be asked of them.
type listKind int

const (
	kindList listKind = iota
	kindTuple
	kindRange
	kindView      // of a dict: keys, values or items
	kindGenerator // of a filter: true whatever it holds, without a length
)

// list is any ordered sequence.
type list struct {
	items []any
	kind  listKind
	name  string // of a view or generator, when printed
}

// dict keeps the order of insertion.
type dict struct {
	keys   []any
	values []any
	index  map[any]int // places of the keys by hashKey; nil while they are few and all texts, and looked through
	source int32       // number of the input that this is; 0: none
}

// namespace is what namespace() makes: the one value that a template can change.
type namespace struct{ vars *dict }

// undefined is what a missing name or attribute gives: it prints as nothing and is false; what else is done with it fails.
type undefined struct{ hint string }

// function is a function of the language or a method bound to its value. Functions are equal when they are the same one.
type function struct {
	name string
	call builtin
}

// kwargs are the named arguments of a call, in order.
type kwargs struct {
	names  []string
	values []any
}

// get looks through the names; calls have a handful.
func (k kwargs) get(name string) (any, bool) {
	for i, n := range k.names {
		if n == name {
			return k.values[i], true
		}
	}
	return nil, false
}

// newDict makes a dict of no input.
func newDict() *dict { return &dict{} }

// fewKeys is how many keys a dict looks through: a message has three or four.
const fewKeys = 8

// hashKey makes equal keys equal as Go values; ok is false for what Python cannot hash.
func hashKey(v any) (key any, ok bool) { return hashNested(v, 0) }

// maxKeyDepth bounds tuples in tuples as keys.
const maxKeyDepth = 8

// hashNested is hashKey inside of tuples.
func hashNested(v any, depth int) (key any, ok bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	// True, 1 and 1.0 are one key
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case int64:
		return v, true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v), true
		}
		return v, true
	// a prefix keeps keys of different types apart
	case *big.Int:
		return "big " + v.String(), true
	case Text:
		return "text " + v.s, true
	case *list:
		if v.kind != kindTuple || depth == maxKeyDepth {
			return nil, false
		}
		var b strings.Builder
		// the parts are written with their types and lengths, so that no two tuples are spelled alike
		b.WriteString("tuple ")
		for _, x := range v.items {
			k, ok := hashNested(x, depth+1)
			if !ok {
				return nil, false
			}
			s := fmt.Sprint(k)
			fmt.Fprintf(&b, "%T%d:%s,", k, len(s), s)
		}
		return b.String(), true
	case *dict, *namespace:
		return nil, false
	case undefined:
		return undefined{}, true
	}
	return v, true // callables, by identity
}

// get returns the value of a key; a key that cannot be hashed is not there.
func (d *dict) get(key any) (any, bool) {
	i, _ := d.find(key)
	if i < 0 {
		return nil, false
	}
	return d.values[i], true
}

// find returns the place of a key, -1 where it is not there; ok is false when it cannot be hashed.
func (d *dict) find(key any) (i int, ok bool) {
	if t, isText := key.(Text); isText {
		return d.findString(t.s), true
	}
	k, ok := hashKey(key)
	if !ok {
		return -1, false
	}
	return d.indexed(k), true
}

// findString is find for a text.
func (d *dict) findString(s string) int {
	if d.index != nil {
		return d.indexed("text " + s)
	}
	for i := range d.keys {
		if t, ok := d.keys[i].(Text); ok && t.s == s {
			return i
		}
	}
	return -1
}

// indexed is find by what hashKey makes of a key; without an index all keys are texts, and it is none.
func (d *dict) indexed(k any) int {
	if i, ok := d.index[k]; ok {
		return i
	}
	return -1
}

// getString is get for an attribute, without making a Text of it.
func (d *dict) getString(name string) (any, bool) {
	i := d.findString(name)
	if i < 0 {
		return nil, false
	}
	return d.values[i], true
}

// set adds or replaces; ok is false when key cannot be hashed.
func (d *dict) set(key, value any) (ok bool) {
	i, ok := d.find(key)
	if !ok {
		return false
	}
	if i >= 0 {
		d.values[i] = value
		return true
	}
	d.keys, d.values = append(d.keys, key), append(d.values, value)
	if _, isText := key.(Text); d.index == nil && (len(d.keys) > fewKeys || !isText) {
		d.index = make(map[any]int, 2*len(d.keys))
		for i, key := range d.keys {
			k, _ := hashKey(key)
			d.index[k] = i
		}
	} else if d.index != nil {
		k, _ := hashKey(key)
		d.index[k] = len(d.keys) - 1
	}
	return true
}

// clone copies a dict, not what is in it.
func (d *dict) clone() *dict {
	return &dict{slices.Clone(d.keys), slices.Clone(d.values), maps.Clone(d.index), d.source}
}

// setString is set for a name of the template's own.
func (d *dict) setString(name string, value any) { d.set(Text{s: name}, value) }

// items are the pairs of a dict as tuples.
func (d *dict) items() []any {
	out := make([]any, len(d.keys))
	for i := range d.keys {
		out[i] = tupleOf(d.keys[i], d.values[i])
	}
	return out
}

// tupleOf, listOf and generator make sequences of items that nobody else changes.
func tupleOf(items ...any) *list { return &list{items: items, kind: kindTuple} }
func listOf(items []any) *list   { return &list{items: items} }
func generator(name string, items []any) *list {
	return &list{items: items, kind: kindGenerator, name: name}
}

// truth is Python's bool of a value.
func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case Text:
		return v.s != ""
	case *list:
		return v.kind == kindGenerator || len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// typeName is what Python calls the type of a value.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case Text:
		return "str"
	case *list:
		switch v.kind {
		case kindTuple:
			return "tuple"
		case kindRange:
			return "range"
		case kindView:
			return v.name
		case kindGenerator:
			return "generator"
		}
		return "list"
	case *dict:
		return "dict"
	case *namespace:
		return "Namespace"
	case undefined:
		return "Undefined"
	}
	return "function"
}

// number returns the value as int64 or float64, booleans as 0 and 1.
func number(v any) (i int64, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

// floatRepr prints a float as Python does.
func floatRepr(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	// repr switches to an exponent there (CPython, Python/pystrtod.c, format code r)
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64) // Go's exponent has two digits at least, as Python's
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// display is Python's str of a value.
// An undefined value prints as nothing: templates write {{ message.x }} for what may be left out.
func (st *state) display(v any) Text {
	switch v := v.(type) {
	case Text:
		return v
	case undefined:
		return Text{}
	}
	var b builder
	st.repr(&b, v, 0)
	return b.text()
}

// repr is Python's repr of a value.
func (st *state) repr(b *builder, v any, depth int) {
	st.deeper(depth)
	// a value may hold the same list twice on every level, so that what is printed grows with 2 to the depth: each part is charged
	st.step(1)
	switch v := v.(type) {
	case nil:
		b.str("None")
	case bool:
		if v {
			b.str("True")
		} else {
			b.str("False")
		}
	case int64:
		b.str(strconv.FormatInt(v, 10))
	case *big.Int:
		b.str(v.String())
	case float64:
		b.str(floatRepr(v))
	case Text:
		st.grow(len(v.s))
		if v.safe {
			b.str("Markup(")
		}
		reprString(b, v)
		if v.safe {
			b.str(")")
		}
	case *list:
		st.reprList(b, v, depth)
	case *dict:
		st.reprDict(b, v, depth)
	case *namespace:
		b.str("<Namespace ")
		st.reprDict(b, v.vars, depth+1)
		b.str(">")
	case undefined:
		b.str("Undefined")
	default:
		st.fail("a function cannot be printed")
	}
	st.limit(len(b.buf))
}

// reprList prints (1,) for a tuple of one and dict_keys([...]) for a view. Generators and functions print as addresses in Python, which is
// never meant.
func (st *state) reprList(b *builder, l *list, depth int) {
	open, end := "[", "]"
	switch l.kind {
	case kindTuple:
		open, end = "(", ")"
		if len(l.items) == 1 {
			end = ",)"
		}
	case kindView:
		open, end = l.name+"([", "])"
	case kindGenerator:
		st.fail("a generator cannot be printed; make it a list first with |list")
	case kindRange:
		if l.name == "" {
			st.fail("a slice of a range cannot be printed; make it a list first with |list")
		}
		b.str(l.name)
		return
	}
	b.str(open)
	for i, x := range l.items {
		if i > 0 {
			b.str(", ")
		}
		st.repr(b, x, depth+1)
	}
	b.str(end)
}

// reprDict prints keys in their order, which is that of the input.
func (st *state) reprDict(b *builder, d *dict, depth int) {
	b.str("{")
	for i := range d.keys {
		if i > 0 {
			b.str(", ")
		}
		st.repr(b, d.keys[i], depth+1)
		b.str(": ")
		st.repr(b, d.values[i], depth+1)
	}
	b.str("}")
}

// reprString quotes as Python does: with ' unless the text has ' and no ".
func reprString(b *builder, t Text) {
	quote := byte('\'')
	if strings.Contains(t.s, "'") && !strings.Contains(t.s, `"`) {
		quote = '"'
	}
	b.str(string(quote))
	t.Runs(func(i, j int, o Origin) {
		for _, r := range t.s[i:j] {
			switch {
			case r == rune(quote) || r == '\\':
				b.add("\\"+string(r), o)
			case r == '\n':
				b.add(`\n`, o)
			case r == '\r':
				b.add(`\r`, o)
			case r == '\t':
				b.add(`\t`, o)
			case r < 0x20 || r == 0x7f:
				b.add(fmt.Sprintf(`\x%02x`, r), o)
			case r > 0x7f && !strconv.IsPrint(r):
				b.add(escapeRune(r), o)
			default:
				b.add(string(r), o)
			}
		}
	})
	b.str(string(quote))
}

// escapeRune is how repr and ascii write a character that cannot be seen or is not ASCII.
func escapeRune(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// equal is Python's ==.
func (st *state) equal(a, b any, depth int) bool {
	st.deeper(depth)
	st.step(1)
	// True == 1 == 1.0
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		return ok && (aInt && bInt && ai == bi || !(aInt && bInt) && af == bf)
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case *big.Int:
		o, ok := b.(*big.Int)
		return ok && a.Cmp(o) == 0
	case Text:
		o, ok := b.(Text)
		if !ok || len(a.s) != len(o.s) {
			return false
		}
		st.scan(len(a.s))
		return a.s == o.s
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *list:
		o, ok := b.(*list)
		if !ok || a.kind != o.kind || len(a.items) != len(o.items) {
			return false
		}
		if a.kind == kindGenerator {
			return a == o
		}
		for i := range a.items {
			if !st.equal(a.items[i], o.items[i], depth+1) {
				return false
			}
		}
		return true
	case *dict:
		return st.equalDicts(a, b, depth)
	}
	return a == b
}

// equalDicts does not look at the order of keys.
func (st *state) equalDicts(a *dict, b any, depth int) bool {
	o, ok := b.(*dict)
	if a == o { // as in Python, without a look at what is in it
		return true
	}
	if !ok || len(a.keys) != len(o.keys) {
		return false
	}
	for i, k := range a.keys {
		v, ok := st.lookup(o, k)
		if !ok || !st.equal(a.values[i], v, depth+1) {
			return false
		}
	}
	return true
}

// compare orders two values; it fails where Python does.
func (st *state) compare(a, b any, depth int) int {
	st.deeper(depth)
	st.step(1)
	if ai, af, aInt, ok := number(a); ok {
		if bi, bf, bInt, ok := number(b); ok {
			if aInt && bInt {
				return cmpOrdered(ai, bi)
			}
			return cmpOrdered(af, bf)
		}
	}
	if x, y := exact(a), exact(b); x != nil && y != nil {
		return x.Cmp(y)
	}
	switch x := a.(type) {
	case Text:
		if y, ok := b.(Text); ok {
			st.scan(min(len(x.s), len(y.s)))
			return strings.Compare(x.s, y.s)
		}
	case *list:
		y, ok := b.(*list)
		if !ok || x.kind != y.kind || x.kind > kindTuple {
			break
		}
		// lists are ordered by their first items that are not equal
		for i := range min(len(x.items), len(y.items)) {
			if !st.equal(x.items[i], y.items[i], depth+1) {
				return st.compare(x.items[i], y.items[i], depth+1)
			}
		}
		return len(x.items) - len(y.items)
	}
	st.defined(a)
	st.defined(b)
	st.fail("%s and %s cannot be compared", typeName(a), typeName(b))
	return 0
}

// exact returns a number of any size; nil for what is none, and for NaN.
func exact(v any) *big.Float {
	i, f, isInt, ok := number(v)
	n, isBig := v.(*big.Int)
	switch {
	case isBig:
		return new(big.Float).SetInt(n)
	case !ok || math.IsNaN(f):
		return nil
	case isInt:
		return new(big.Float).SetInt64(i)
	}
	return big.NewFloat(f)
}

// cmpOrdered is not cmp.Compare, which orders NaN: to Python NaN is neither less nor more, so it counts as equal here; see comparison.
func cmpOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// iterate returns what a loop over the value sees.
func (st *state) iterate(v any) []any {
	switch v := v.(type) {
	case *list:
		items := v.items
		if v.kind == kindGenerator {
			if st.watch != nil {
				st.watch.spent(v)
			}
			v.items = nil // a generator runs once
		}
		return items
	case *dict:
		return v.keys
	case Text:
		st.step(2 * len(v.s)) // a character of its own takes far more memory than a byte
		return v.chars()
	case undefined:
		return nil
	}
	st.fail("%s cannot be looped over", typeName(v))
	return nil
}

// length is Python's len; ok is false where there is none.
func (st *state) length(v any) (n int, ok bool) {
	switch v := v.(type) {
	case *list:
		return len(v.items), v.kind != kindGenerator
	case *dict:
		return len(v.keys), true
	case Text:
		st.scan(len(v.s))
		return v.runeCount(), true
	case undefined:
		return 0, true
	}
	return 0, false
}
