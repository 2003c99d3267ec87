package jinja

import (
	"slices"
	"strings"
)

// Value is an input of a template.
type Value struct{ v any }

// String returns a string that is a copy of the input numbered source.
func String(s string, source int32) Value {
	return Value{NewText(strings.ToValidUTF8(s, "\ufffd"), source)}
}

// Bool returns a boolean.
func Bool(b bool) Value { return Value{b} }

// None is Python's None.
func None() Value { return Value{nil} }

// List returns a list.
func List(items ...Value) Value {
	l := &list{}
	for _, v := range items {
		l.items = append(l.items, v.v)
	}
	return Value{l}
}

// Object returns an empty dict that is the input numbered source: what the template writes while a loop or macro is at it gets that
// number as its context.
func Object(source int32) Value {
	d := newDict()
	d.source = source
	return Value{d}
}

// IsNone reports whether the value is None, or the zero Value.
func (v Value) IsNone() bool { return v.v == nil }

// IsList reports whether the value is a list.
func (v Value) IsList() bool { _, ok := v.v.(*list); return ok }

// Keys returns the keys of a dict in order.
func (v Value) Keys() []string {
	d, ok := v.v.(*dict)
	if !ok {
		return nil
	}
	out := make([]string, len(d.keys))
	for i, k := range d.keys {
		out[i] = k.(Text).s
	}
	return out
}

// Get returns the value of a dict's key; the zero Value, which is None, if there is none.
func (v Value) Get(key string) Value {
	d, ok := v.v.(*dict)
	if !ok {
		return Value{}
	}
	x, _ := d.getString(key)
	return Value{x}
}

// Set sets a key of a dict. It is for building inputs, before they are used. The key, too, is of the input that the dict is: a template may print it.
func (v Value) Set(key string, x Value) {
	d := v.v.(*dict)
	d.set(NewText(key, d.source), x.v)
}

// Clone copies the dict or list, not what is in it.
func (v Value) Clone() Value {
	switch x := v.v.(type) {
	case *dict:
		return Value{x.clone()}
	case *list:
		l := *x
		l.items = slices.Clone(x.items)
		return Value{&l}
	}
	return v
}
