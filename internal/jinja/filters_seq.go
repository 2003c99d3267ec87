package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// Filters of sequences. Those that are generators in the reference are so here: true even when empty, without a length, and used up by one
// loop.
func listFilter(st *state, args []any, kw kwargs) any {
	items := st.iterate(st.params("list", args, kw, "value")[0])
	st.step(len(items))
	return listOf(slices.Clone(items))
}

// first takes the next item of a generator and leaves it the rest.
func first(st *state, args []any, kw kwargs) any {
	v := st.params("first", args, kw, "seq")[0]
	if l, ok := v.(*list); ok && l.kind == kindGenerator && len(l.items) > 0 {
		if st.watch != nil {
			st.watch.spent(l)
		}
		x := l.items[0]
		l.items = l.items[1:]
		return x
	}
	items := st.iterate(v)
	if len(items) == 0 {
		return undefined{"there is no first item, the sequence is empty"}
	}
	return items[0]
}

// last needs a sequence that can be read backwards.
func last(st *state, args []any, kw kwargs) any {
	v := st.params("last", args, kw, "seq")[0]
	if l, ok := v.(*list); ok && l.kind == kindGenerator {
		st.fail("a generator has no last item; make it a list first with |list")
	}
	items := st.iterate(v)
	if len(items) == 0 {
		return undefined{"there is no last item, the sequence is empty"}
	}
	return items[len(items)-1]
}

// reverse turns a string around, and gives an iterator over anything else.
func reverse(st *state, args []any, kw kwargs) any {
	v := st.params("reverse", args, kw, "value")[0]
	items := slices.Clone(st.iterate(v))
	slices.Reverse(items)
	st.step(len(items))
	switch v := v.(type) {
	case Text:
		return st.joinTexts(Text{}, items)
	case *list:
		if v.kind == kindGenerator { // it cannot be read backwards, so the reference makes a list of it
			return listOf(items)
		}
	}
	return generator("reversed", items)
}

// itemsFilter is dict.items for a loop; an undefined value has none.
func itemsFilter(st *state, args []any, kw kwargs) any {
	switch d := st.params("items", args, kw, "value")[0].(type) {
	case *dict:
		st.step(len(d.keys))
		return generator("items", d.items())
	case undefined:
		return generator("items", nil)
	}
	st.fail("items works on dicts, not %s", typeName(args[0]))
	return nil
}

// getter returns what attribute= means: the value at a dotted path of attributes and indices; nil attribute is the item itself.
func (st *state) getter(attribute any) func(any) any { return st.getterOr(attribute, nil) }

// getterOr is getter with a default, if not nil, for each part of the path that is not there: behind it the path goes on from the default.
func (st *state) getterOr(attribute, def any) func(any) any {
	if !given(attribute) || attribute == nil {
		return func(v any) any { return v }
	}
	parts := []any{attribute}
	if _, ok := attribute.(int64); !ok {
		parts = nil
		for _, p := range strings.Split(st.text("attribute", attribute).s, ".") {
			if i, err := strconv.ParseUint(p, 10, 31); err == nil {
				parts = append(parts, int64(i))
			} else {
				parts = append(parts, Text{s: p})
			}
		}
	}
	return func(v any) any {
		for _, p := range parts {
			if v = st.item(v, p); def != nil && given(def) && isUndefined(v) {
				v = def
			}
		}
		return v
	}
}

// folded ignores the case of strings unless told not to.
func folded(get func(any) any, caseSensitive any) func(any) any {
	if flag(caseSensitive) {
		return get
	}
	return func(v any) any {
		v = get(v)
		if t, ok := v.(Text); ok {
			return Text{s: mapRunes(t.s, lowerRune)}
		}
		return v
	}
}

// joinFilter joins the str of items, unlike str.join, which takes only strings.
func joinFilter(st *state, args []any, kw kwargs) any {
	p := st.params("join", args, kw, "value", "d", "attribute")
	sep, get := Text{}, st.getter(p[2])
	if given(p[1]) {
		sep = st.display(p[1])
	}
	items := st.iterate(p[0])
	out := make([]any, len(items))
	for i, v := range items {
		out[i] = get(v)
	}
	return st.joinTexts(sep, out)
}

// iterateTrue is iterate for filters that take whatever is false for an empty sequence.
func (st *state) iterateTrue(v any) []any {
	if !truth(v) {
		return nil
	}
	return st.iterate(v)
}

// mapFilter is either attribute=... or the name of a filter with its arguments.
func mapFilter(st *state, args []any, kw kwargs) any {
	items := st.iterateTrue(args[0])
	out := make([]any, 0, len(items))
	if len(args) == 1 {
		p := st.params("map", nil, kw, "attribute", "default")
		st.need("map", p[0])
		get := st.getterOr(p[0], p[1])
		for _, v := range items {
			st.step(1)
			out = append(out, get(v))
		}
		return generator("map", out)
	}
	name := st.text("map", args[1]).s
	for _, v := range items {
		st.step(1)
		out = append(out, st.applyFilter(name, v, args[2:], kw))
	}
	return generator("map", out)
}

// selectFilter is select, reject, selectattr and rejectattr.
func selectFilter(what string, byAttr, want bool) builtin {
	return func(st *state, args []any, kw kwargs) any {
		items, rest := st.iterateTrue(args[0]), args[1:]
		get := func(v any) any { return v }
		if byAttr {
			if len(rest) == 0 {
				st.fail("%s needs the name of an attribute", what)
			}
			get, rest = st.getter(rest[0]), rest[1:]
		}
		var out []any
		for _, v := range items {
			st.step(1)
			ok := false
			if len(rest) == 0 {
				ok = truth(get(v))
			} else {
				ok = st.applyTest(st.text(what, rest[0]).s, get(v), rest[1:], kw)
			}
			if ok == want {
				out = append(out, v)
			}
		}
		return generator(what, out)
	}
}

// sorted returns items in order of their keys.
func (st *state) sorted(items []any, key func(any) any, backwards bool) []any {
	order, by := make([]int, len(items)), make([]any, len(items))
	for i := range items {
		order[i], by[i] = i, key(items[i])
	}
	sign := 1
	if backwards {
		sign = -1
	}
	slices.SortStableFunc(order, func(a, b int) int { return sign * st.compare(by[a], by[b], 0) })
	out := make([]any, len(items))
	for i, k := range order {
		out[i] = items[k]
	}
	return out
}

// sortFilter sorts by a list of attributes. The reference's keys are lists even for one, which matters for what has no order but equals
// itself, such as undefined values.
func sortFilter(st *state, args []any, kw kwargs) any {
	p := st.params("sort", args, kw, "value", "reverse", "case_sensitive", "attribute")
	attributes := []any{p[3]}
	if t, ok := p[3].(Text); ok {
		attributes = nil
		for _, a := range strings.Split(t.s, ",") {
			attributes = append(attributes, Text{s: a})
		}
	}
	var gets []func(any) any
	for _, a := range attributes {
		gets = append(gets, folded(st.getter(a), p[2]))
	}
	return listOf(st.sorted(st.iterate(p[0]), func(v any) any {
		keys := make([]any, len(gets))
		for i, get := range gets {
			keys[i] = get(v)
		}
		return listOf(keys)
	}, flag(p[1])))
}

// dictSort gives pairs, by key or value; strings are compared without case unless told otherwise.
func dictSort(st *state, args []any, kw kwargs) any {
	p := st.params("dictsort", args, kw, "value", "case_sensitive", "by", "reverse")
	d, ok := p[0].(*dict)
	if !ok {
		st.fail("dictsort works on dicts, not %s", typeName(p[0]))
	}
	at := int64(0)
	if given(p[2]) && st.text("dictsort", p[2]).s == "value" {
		at = 1
	}
	get := folded(st.getter(at), p[1])
	return listOf(st.sorted(d.items(), get, flag(p[3])))
}

// unique keeps the first of equal items, which for strings ignores case.
func unique(st *state, args []any, kw kwargs) any {
	p := st.params("unique", args, kw, "value", "case_sensitive", "attribute")
	get, seen := folded(st.getter(p[2]), p[1]), newDict()
	var out []any
	for _, v := range st.iterate(p[0]) {
		k := get(v)
		if _, ok := st.lookup(seen, k); !ok {
			st.put(seen, k, nil)
			out = append(out, v)
		}
	}
	return generator("unique", out)
}

// extreme is max for sign 1 and min for -1: the first of the largest or smallest.
func extreme(sign int) builtin {
	return func(st *state, args []any, kw kwargs) any {
		p := st.params("min or max", args, kw, "value", "case_sensitive", "attribute")
		items, get := st.iterate(p[0]), folded(st.getter(p[2]), p[1])
		if len(items) == 0 {
			return undefined{"there is no item, the sequence is empty"}
		}
		best := items[0]
		for _, v := range items[1:] {
			if sign*st.compare(get(v), get(best), 0) > 0 {
				best = v
			}
		}
		return best
	}
}

// groupBy sorts by the attribute and makes (grouper, list) pairs of runs with the same; the grouper is the value of the first in its own
// case.
func groupBy(st *state, args []any, kw kwargs) any {
	p := st.params("groupby", args, kw, "value", "attribute", "default", "case_sensitive")
	st.need("groupby", p[1])
	get := st.getterOr(p[1], p[2])
	key := folded(get, p[3])
	var groups []any
	var open *list
	var openKey any
	for _, v := range st.sorted(st.iterate(p[0]), key, false) {
		if k := key(v); open == nil || !st.equal(k, openKey, 0) {
			open, openKey = &list{}, k
			groups = append(groups, &list{items: []any{get(v), open}, kind: kindTuple, name: "group"})
		}
		open.items = append(open.items, v)
	}
	return listOf(groups)
}

// sum adds with +, so lists can be joined by it if start is one.
func sum(st *state, args []any, kw kwargs) any {
	p := st.params("sum", args, kw, "iterable", "attribute", "start")
	var total any = int64(0)
	if given(p[2]) {
		total = p[2]
	}
	if _, ok := total.(Text); ok {
		st.fail("sum adds no strings; use join")
	}
	get := st.getter(p[1])
	for _, v := range st.iterate(p[0]) {
		total = st.binary("+", total, get(v))
	}
	return total
}

// batch cuts into lists of n, the last one filled up if asked for.
func batch(st *state, args []any, kw kwargs) any {
	p := st.params("batch", args, kw, "value", "linecount", "fill_with")
	st.need("batch", p[1])
	n := st.integer("batch", p[1], 0)
	if n < 1 || n > st.opt.MaxSteps {
		st.fail("batch needs a positive count")
	}
	var out []any
	for part := range slices.Chunk(st.iterate(p[0]), n) {
		part = slices.Clone(part)
		for given(p[2]) && p[2] != nil && len(part) < n {
			st.step(1)
			part = append(part, p[2])
		}
		st.step(len(part))
		out = append(out, listOf(part))
	}
	return generator("batch", out)
}

// sliceFilter deals items out to n lists, the longer ones first; the fill goes to those that are one short.
func sliceFilter(st *state, args []any, kw kwargs) any {
	p := st.params("slice", args, kw, "value", "slices", "fill_with")
	st.need("slice", p[1])
	n, items := st.integer("slice", p[1], 0), st.iterate(p[0])
	if n < 1 {
		st.fail("slice needs a positive count")
	}
	var out []any
	from := 0
	for i := range n {
		st.step(1)
		size := len(items) / n
		if i < len(items)%n {
			size++
		}
		st.step(size)
		part := slices.Clone(items[from : from+size])
		if given(p[2]) && p[2] != nil && i >= len(items)%n {
			part = append(part, p[2])
		}
		out = append(out, listOf(part))
		from += size
	}
	return generator("slice", out)
}
