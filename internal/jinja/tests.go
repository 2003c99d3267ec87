package jinja

import (
	"math/big"
	"slices"
)

// test evaluates x is name(args).
func (st *state) test(x testExpr) any {
	v := st.evalUnseen(x.x)
	if st.watch != nil && x.name != "defined" { // a list that is there is there whatever its length
		st.watch.used(x.x, v)
	}
	args, kw := st.args(x.args)
	return st.applyTest(x.name, v, args, kw)
}

// compareTests are the tests that are operators.
var compareTests = map[string]string{
	"eq": "==", "equalto": "==", "==": "==", "ne": "!=", "!=": "!=", "lt": "<", "lessthan": "<", "<": "<", "le": "<=", "<=": "<=",
	"gt": ">", "greaterthan": ">", ">": ">", "ge": ">=", ">=": ">=", "in": "in",
}

// applyTest calls a test by name, which select and its kin do, too.
func (st *state) applyTest(name string, v any, args []any, kw kwargs) bool {
	if op, ok := compareTests[name]; ok {
		if len(args) != 1 {
			st.fail("the test %s needs one argument", name)
		}
		return st.comparison(op, v, args[0])
	}
	if f, ok := tests[name]; ok {
		if len(args)+len(kw.names) > 0 {
			st.fail("the test %s takes no argument", name)
		}
		return f(v)
	}
	switch name {
	case "divisibleby":
		if len(args) != 1 {
			st.fail("the test divisibleby needs one argument")
		}
		return st.equal(st.binary("%", v, args[0]), int64(0), 0)
	case "sameas":
		if len(args) != 1 {
			st.fail("the test sameas needs one argument")
		}
		return st.same(v, args[0])
	// tests of whether this program knows a filter or a test, for templates that do without
	case "filter", "test":
		if _, ok := hashKey(v); !ok {
			st.fail("the test %s needs a name, not %s", name, typeName(v))
		}
		s, ok := v.(Text)
		_, isFilter := st.filters[s.s]
		return ok && (name == "filter" && isFilter || name == "test" && st.isTest(s.s))
	case "odd", "even":
		want := int64(0)
		if name == "odd" {
			want = 1
		}
		return st.equal(st.binary("%", v, int64(2)), want, 0)
	case "lower", "upper":
		s := st.display(v).s
		st.step(len(s)/64 + 1)
		return name == "lower" && isLower(s) || name == "upper" && isUpper(s)
	}
	st.fail("the test %q is unknown", shorten(name))
	return false
}

// isTest knows the tests of applyTest, too, which need more than the value.
func (st *state) isTest(name string) bool {
	_, a := tests[name]
	_, b := compareTests[name]
	return a || b || slices.Contains([]string{"divisibleby", "sameas", "filter", "test", "odd", "even", "lower", "upper"}, name)
}

// same is Python's is, for what templates compare with it.
func (st *state) same(a, b any) bool {
	_, textA := a.(Text)
	_, textB := b.(Text)
	if textA || textB {
		return textA && textB && st.equal(a, b, 0)
	}
	return a == b
}

// isUndefined is true of a name or attribute that is not there; None is defined.
func isUndefined(v any) bool { _, ok := v.(undefined); return ok }

// tests are those without arguments.
var tests = map[string]func(v any) bool{
	"defined":   func(v any) bool { return !isUndefined(v) },
	"undefined": isUndefined,
	"none":      func(v any) bool { return v == nil },
	"boolean":   func(v any) bool { _, ok := v.(bool); return ok },
	"true":      func(v any) bool { b, ok := v.(bool); return ok && b },
	"false":     func(v any) bool { b, ok := v.(bool); return ok && !b },
	"integer":   isInteger,
	"float":     func(v any) bool { _, ok := v.(float64); return ok },
	"number": func(v any) bool {
		_, _, _, ok := number(v)
		return ok || isInteger(v)
	},
	"string":  func(v any) bool { _, ok := v.(Text); return ok },
	"mapping": func(v any) bool { _, ok := v.(*dict); return ok },
	"iterable": func(v any) bool {
		switch v.(type) {
		case Text, *list, *dict, undefined:
			return true
		}
		return false
	},
	// has a length and can be indexed, as the reference tries out; so do dicts and undefined values
	"sequence": func(v any) bool {
		switch v := v.(type) {
		case Text, *dict, undefined:
			return true
		case *list:
			return v.kind <= kindRange
		}
		return false
	},
	"callable": func(v any) bool {
		switch v.(type) {
		case *macro, *function, *loop, undefined:
			return true
		}
		return false
	},
	"escaped": func(any) bool { return false },
}

// isInteger is false of booleans, which are integers to Python but not to this test.
func isInteger(v any) bool {
	switch v.(type) {
	case int64, *big.Int:
		return true
	}
	return false
}
