package jinja

import (
	"math"
	"math/big"
	"strings"
)

// maxEval bounds how deep expressions nest while they are evaluated.
const maxEval = 5000

// eval is evaluate with its bounds: a long chain such as 1+1+1+... makes a tree as deep as it is long, which must not reach the end of
// Go's stack.
func (st *state) eval(x expr) any {
	v := st.evalUnseen(x)
	if st.watch != nil {
		st.watch.used(x, v)
	}
	return v
}

// evalUnseen is eval for where a list is not looked at, or the caller says what is.
func (st *state) evalUnseen(x expr) any {
	if st.evals++; st.evals > maxEval {
		st.fail("expressions nest deeper than %d", maxEval)
	}
	st.step(1)
	v := st.evaluate(x)
	st.evals--
	return v
}

// evaluate is one case for each node of ast.go, by a type switch: methods on the nodes would spread the language over a dozen places.
func (st *state) evaluate(x expr) any {
	switch x := x.(type) {
	case constExpr:
		return x.value
	case nameExpr:
		return st.name(x.name)
	case listExpr:
		return st.listOf(x)
	case dictExpr:
		return st.dictOf(x)
	case condExpr:
		if truth(st.eval(x.test)) {
			return st.evalUnseen(x.yes)
		}
		if x.no == nil {
			return undefined{"the condition of an inline if without else is false"}
		}
		return st.evalUnseen(x.no)
	case boolExpr:
		left := st.eval(x.left)
		if truth(left) != x.and {
			return left
		}
		return st.eval(x.right)
	case notExpr:
		return !truth(st.eval(x.x))
	// a < b < c is a < b and b < c, each part evaluated once
	case compareExpr:
		return st.comparisons(x)
	case binaryExpr:
		return st.binary(x.op, st.eval(x.left), st.eval(x.right))
	case unaryExpr:
		return st.unary(x.op, st.eval(x.x))
	// ~ joins the str of its parts, undefined ones included, where + would fail
	case concatExpr:
		var b builder
		for _, item := range x.items {
			t := st.display(st.eval(item))
			st.grow(len(t.s))
			st.limit(len(b.buf) + len(t.s))
			b.put(t, 0)
		}
		return b.text()
	case attrExpr:
		return st.attr(st.eval(x.x), x.name)
	case indexExpr:
		return st.subscript(x)
	case *callExpr:
		fn := st.eval(x.fn)
		args, kw := st.args(x.args)
		return st.apply(fn, args, kw)
	case filterExpr:
		v := st.filter(x)
		if st.watch != nil {
			st.watch.generator(v)
		}
		return v
	case testExpr:
		return st.test(x)
	}
	st.fail("this expression cannot stand here")
	return nil
}

// name looks a variable up: scopes from the inside out, then the functions of the language, which templates may thus hide.
func (st *state) name(name string) any {
	if v, ok := st.scope.lookup(name); ok {
		return v
	}
	if f, ok := globals[name]; ok {
		return f
	}
	return undefined{"'" + name + "' is undefined"}
}

// defined fails on undefined values, where Python would.
func (st *state) defined(v any) {
	if u, ok := v.(undefined); ok {
		st.fail("%s", u.hint)
	}
}

// listOf makes a list or a tuple.
func (st *state) listOf(x listExpr) any {
	l := &list{items: make([]any, len(x.items))}
	for i, item := range x.items {
		l.items[i] = st.eval(item)
	}
	if x.tuple {
		l.kind = kindTuple
	}
	return l
}

// dictOf makes a dict; of equal keys the last value counts, at the place of the first, as in Python.
func (st *state) dictOf(x dictExpr) any {
	d := newDict()
	for i := range x.keys {
		st.put(d, st.eval(x.keys[i]), st.eval(x.values[i]))
	}
	return d
}

// put sets a key that a template computed.
func (st *state) put(d *dict, key, value any) {
	st.step(1)
	st.hashing(key, 0)
	if !d.set(key, value) {
		st.fail("%s cannot be the key of a dict", typeName(key))
	}
}

// hashing charges for what hashKey reads of a key.
func (st *state) hashing(key any, depth int) {
	switch k := key.(type) {
	case Text:
		st.scan(len(k.s))
	case *list:
		if k.kind == kindTuple && depth < maxKeyDepth {
			st.step(len(k.items))
			for _, x := range k.items {
				st.hashing(x, depth+1)
			}
		}
	}
}

// lookup is dict.get for a key that a template computed.
func (st *state) lookup(d *dict, key any) (v any, ok bool) {
	st.hashing(key, 0)
	if _, ok := hashKey(key); !ok {
		st.fail("%s cannot be the key of a dict", typeName(key))
	}
	return d.get(key)
}

// args evaluates the arguments of a call.
func (st *state) args(a arguments) (args []any, kw kwargs) {
	for _, x := range a.pos {
		args = append(args, st.eval(x))
	}
	for i, x := range a.keywords {
		kw.names, kw.values = append(kw.names, a.names[i]), append(kw.values, st.eval(x))
	}
	if a.star != nil {
		args = append(args, st.iterate(st.eval(a.star))...)
	}
	if a.starstar != nil {
		d, ok := st.eval(a.starstar).(*dict)
		if !ok {
			st.fail("** needs a dict")
		}
		for i, k := range d.keys {
			name, ok := k.(Text)
			if !ok {
				st.fail("** needs a dict with strings as keys")
			}
			kw.names, kw.values = append(kw.names, name.s), append(kw.values, d.values[i])
		}
	}
	st.step(len(args) + len(kw.names))
	return args, kw
}

// apply calls a value.
func (st *state) apply(fn any, args []any, kw kwargs) any {
	switch fn := fn.(type) {
	case *macro:
		return fn.call(st, args, kw)
	case *loop:
		return fn.call(st, args)
	case *function:
		return fn.call(st, args, kw)
	}
	st.defined(fn)
	st.fail("%s cannot be called", typeName(fn))
	return nil
}

// comparisons stops at the first that does not hold.
func (st *state) comparisons(x compareExpr) any {
	left := st.eval(x.first)
	for _, op := range x.ops {
		right := st.eval(op.x)
		if !st.comparison(op.op, left, right) {
			return false
		}
		left = right
	}
	return true
}

// comparison is one operator of a comparison.
func (st *state) comparison(op string, a, b any) bool {
	switch op {
	case "==":
		return st.equal(a, b, 0)
	case "!=":
		return !st.equal(a, b, 0)
	case "in":
		return st.contains(b, a)
	case "not in":
		return !st.contains(b, a)
	}
	c := st.compare(a, b, 0)
	switch {
	case isNaN(a) || isNaN(b): // neither less nor more nor equal, so not even <= holds
		return false
	case op == "<":
		return c < 0
	case op == "<=":
		return c <= 0
	case op == ">":
		return c > 0
	}
	return c >= 0
}

func isNaN(v any) bool {
	f, ok := v.(float64)
	return ok && math.IsNaN(f)
}

// contains is Python's item in container.
func (st *state) contains(container, item any) bool {
	switch c := container.(type) {
	case Text:
		t, ok := item.(Text)
		if !ok {
			st.defined(item)
			st.fail("only a string can be in a string, not %s", typeName(item))
		}
		st.step(len(c.s)/64 + 1)
		return strings.Contains(c.s, t.s)
	case *dict:
		_, ok := st.lookup(c, item)
		return ok
	case *namespace:
		st.fail("Namespace cannot be searched with in")
	}
	for _, v := range st.iterate(container) {
		if st.equal(v, item, 0) {
			return true
		}
	}
	return false
}

// attr is x.name: a method or, failing that, an item.
func (st *state) attr(x any, name string) any {
	st.defined(x)
	if v, ok := st.property(x, name); ok {
		return v
	}
	if d, ok := x.(*dict); ok {
		if v, ok := d.getString(name); ok {
			return v
		}
	}
	return undefined{"'" + typeName(x) + "' has no attribute '" + shorten(name) + "'"}
}

// property finds a method or an attribute that is no item.
func (st *state) property(x any, name string) (any, bool) {
	switch x := x.(type) {
	case *namespace:
		return x.vars.getString(name)
	case *loop:
		return x.attr(st, name)
	case *macro:
		if name == "name" {
			return Text{s: x.def.name}, true
		}
	case *function:
		if x.name == "dict" && name == "fromkeys" {
			return &function{name, fromKeys}, true
		}
	// a group of groupby is a named tuple
	case *list:
		if x.kind == kindTuple && len(x.items) == 2 && x.name == "group" {
			switch name {
			case "grouper":
				return x.items[0], true
			case "list":
				return x.items[1], true
			}
		}
	}
	if f := methodOf(x, name); f != nil {
		return &function{name, func(st *state, args []any, kw kwargs) any { return f(st, x, args, kw) }}, true
	}
	return nil, false
}

// subscript is x[index]: an item or, failing that, an attribute.
func (st *state) subscript(x indexExpr) any {
	v := st.evalUnseen(x.x)
	if s, ok := x.index.(sliceExpr); ok {
		return st.slice(v, s)
	}
	index := st.eval(x.index)
	if l, ok := v.(*list); ok && st.watch != nil {
		i, _, isInt, _ := number(index)
		st.watch.item(l, i, isInt)
	}
	return st.item(v, index)
}

// item is environment.getitem: what has no such item is looked up as an attribute, and gives an undefined value rather than an error, so
// that a template may ask {{ message['x'] is defined }}.
func (st *state) item(v, index any) any {
	st.defined(v)
	// true and false are the indices 1 and 0, floats are none
	i, _, isInt, _ := number(index)
	switch c := v.(type) {
	case *dict:
		st.hashing(index, 0)
		if found, ok := c.get(index); ok {
			return found
		}
	case *list:
		if isInt && c.kind <= kindRange {
			if i < 0 {
				i += int64(len(c.items))
			}
			if i >= 0 && i < int64(len(c.items)) {
				return c.items[i]
			}
		}
	case Text:
		if isInt {
			return st.charAt(c, i)
		}
	}
	if name, ok := index.(Text); ok {
		if found, ok := st.property(v, name.s); ok {
			return found
		}
	}
	return undefined{"'" + typeName(v) + "' has no element " + shorten(st.display(index).s)}
}

// charAt is s[i] by characters.
func (st *state) charAt(t Text, i int64) any {
	st.step(len(t.s)/64 + 1)
	n := int64(t.runeCount())
	if i < 0 {
		i += n
	}
	if i < 0 || i >= n {
		return undefined{"string index out of range"}
	}
	from := offset(t.s, int(i))
	return t.slice(from, from+offset(t.s[from:], 1))
}

// slice is x[lo:hi:step] for lists and strings.
func (st *state) slice(v any, x sliceExpr) any {
	st.defined(v)
	bound := func(e expr) (int, bool) {
		if e == nil {
			return 0, false
		}
		w := st.eval(e)
		if w == nil {
			return 0, false
		}
		i, _, isInt, _ := number(w)
		if !isInt {
			st.defined(w)
			st.fail("a slice needs whole numbers, not %s", typeName(w))
		}
		return int(i), true
	}
	lo, hasLo := bound(x.lo)
	hi, hasHi := bound(x.hi)
	step, hasStep := bound(x.step)
	if !hasStep {
		step = 1
	}
	if step == 0 {
		st.fail("the step of a slice is zero")
	}
	n, ok := st.length(v)
	if l, isList := v.(*list); !ok || isList && l.kind > kindRange {
		st.fail("%s cannot be sliced", typeName(v))
	}
	bounds := sliceBounds{lo, hi, step, hasLo, hasHi}
	idx := bounds.indices(n)
	switch c := v.(type) {
	case *list:
		st.step(idx.count)
		out := &list{kind: c.kind}
		if st.watch != nil {
			st.watch.tail(c, out, bounds)
		}
		if end := idx.start + idx.count; step == 1 { // lists do not change: the part is not copied, and has no room to grow into the rest
			out.items = c.items[idx.start:end:end]
			return out
		}
		for k := range idx.count {
			out.items = append(out.items, c.items[idx.start+k*step])
		}
		return out
	case Text:
		st.step(len(c.s)/64 + 1)
		if step == 1 {
			from := offset(c.s, idx.start)
			return c.slice(from, from+offset(c.s[from:], idx.count))
		}
		chars := st.iterate(c)
		var b builder
		for k := range idx.count {
			b.put(chars[idx.start+k*step].(Text), 0)
		}
		return b.text()
	}
	st.fail("%s cannot be sliced", typeName(v))
	return nil
}

// sliceBounds are lo, hi and step of a slice as written.
type sliceBounds struct {
	lo, hi, step int
	hasLo, hasHi bool
}

// sliceIndices are the places start, start+step, ... that a slice takes.
type sliceIndices struct{ start, count int }

// indices is Python's slice.indices, with the count in place of the end.
func (b sliceBounds) indices(n int) sliceIndices {
	clamp := func(i int) int {
		if i < 0 {
			i += n
		}
		if b.step > 0 {
			return min(max(i, 0), n)
		}
		return min(max(i, -1), n-1)
	}
	lo, hi := 0, n
	if b.step < 0 {
		lo, hi = n-1, -1
	}
	if b.hasLo {
		lo = clamp(b.lo)
	}
	if b.hasHi {
		hi = clamp(b.hi)
	}
	count := 0
	switch {
	case b.step > 0 && hi > lo:
		count = (hi-lo-1)/b.step + 1
	case b.step < 0 && hi < lo:
		count = (lo-hi-1)/-b.step + 1
	}
	return sliceIndices{lo, count}
}

// unary is -x or +x; of a boolean it is a number.
func (st *state) unary(op string, v any) any {
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		if b, isBig := v.(*big.Int); isBig && op == "-" {
			return new(big.Int).Neg(b)
		}
		st.defined(v)
		st.fail("%s has no sign", typeName(v))
	case op == "+" && isInt:
		return i
	case op == "+":
		return f
	case isInt && i != -1<<63:
		return -i
	case isInt:
		st.fail("a number is too large")
	}
	return -f
}
