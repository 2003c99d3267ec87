package jinja

import "fmt"

// maxRange is the reference's bound of range().
const maxRange = 100000

// globals are the functions that every template sees.
var globals = map[string]*function{
	"range":           {"range", rangeGlobal},
	"dict":            {"dict", dictGlobal},
	"namespace":       {"namespace", namespaceGlobal},
	"raise_exception": {"raise_exception", raiseException},
	"strftime_now":    {"strftime_now", strftimeNow},
}

// rangeGlobal is safe_range of jinja2's sandbox.py: a range that must not be too long. It is printed as Python prints it, whatever the
// arguments were.
func rangeGlobal(st *state, args []any, kw kwargs) any {
	p := st.params("range", args, kw, "start", "stop", "step")
	st.need("range", p[0])
	from, to, step := 0, st.integer("range", p[0], 0), st.integer("range", p[2], 1)
	if given(p[1]) {
		from, to = to, st.integer("range", p[1], 0)
	}
	if step == 0 {
		st.fail("the step of range is zero")
	}
	n := 0
	switch {
	case step > 0 && to > from:
		n = (to-from-1)/step + 1
	case step < 0 && to < from:
		n = (from-to-1)/-step + 1
	}
	if n > maxRange {
		st.fail("a range has %d numbers, more than the %d that are allowed", n, maxRange)
	}
	st.step(n)
	l := &list{kind: kindRange, name: fmt.Sprintf("range(%d, %d)", from, to)}
	if step != 1 {
		l.name = fmt.Sprintf("range(%d, %d, %d)", from, to, step)
	}
	for i := range n {
		l.items = append(l.items, int64(from+i*step))
	}
	return l
}

// dictGlobal makes a dict of a dict or pairs, and keywords.
func dictGlobal(st *state, args []any, kw kwargs) any {
	d := newDict()
	if len(args) > 1 {
		st.fail("dict takes not more than one argument")
	}
	for _, a := range args {
		st.defined(a)
		if from, ok := a.(*dict); ok {
			st.update(d, from)
			continue
		}
		for _, pair := range st.iterate(a) {
			kv := st.iterate(pair)
			if len(kv) != 2 {
				st.fail("dict needs pairs")
			}
			st.put(d, kv[0], kv[1])
		}
	}
	for i, name := range kw.names {
		st.put(d, Text{s: name}, kw.values[i])
	}
	return d
}

// fromKeys is dict.fromkeys, which transformers lets templates call: a dict of the items of its first argument, all with its second, or None.
func fromKeys(st *state, args []any, kw kwargs) any {
	if len(args) < 1 || len(args) > 2 || len(kw.names) > 0 {
		st.fail("dict.fromkeys takes one or two arguments without names")
	}
	d := newDict()
	for _, k := range st.iterate(args[0]) {
		st.put(d, k, append(args, nil)[1])
	}
	return d
}

// namespaceGlobal takes what dict takes.
func namespaceGlobal(st *state, args []any, kw kwargs) any {
	d := dictGlobal(st, args, kw).(*dict)
	for _, k := range d.keys {
		if t, ok := k.(Text); ok {
			st.checkPrivate(t.s)
		}
	}
	ns := &namespace{d}
	if st.watch != nil && !st.watch.started {
		st.watch.namespaces = append(st.watch.namespaces, ns)
	}
	return ns
}

// strftimeNow is transformers' function; the caller sets the clock, so that a run can be repeated.
func strftimeNow(st *state, args []any, kw kwargs) any {
	format := st.text("strftime_now", st.params("strftime_now", args, kw, "format")[0]).s
	st.grow(32 * len(format))
	return Text{s: strftime(st.now(), format)}
}

// raiseException is transformers' function, by which templates refuse conversations, such as two messages of the user in a row.
func raiseException(st *state, args []any, kw kwargs) any {
	p := st.params("raise_exception", args, kw, "message")
	st.need("raise_exception", p[0])
	panic(failure{&RaisedError{longest(st.display(p[0]).s, 1000)}})
}
