package jinja

import (
	"math"
	"math/big"
	"math/bits"
)

// binary is an arithmetic operator on two values, by Python's rules.
func (st *state) binary(op string, a, b any) any {
	st.defined(a)
	if t, ok := a.(Text); ok && op == "%" {
		return st.printf(t, b)
	}
	st.defined(b)
	ai, af, aInt, aOK := number(a)
	bi, bf, bInt, bOK := number(b)
	switch {
	case aOK && bOK && aInt && bInt:
		return st.ints(op, ai, bi)
	case aOK && bOK:
		return st.floats(op, af, bf)
	case op == "+":
		if v, ok := st.join(a, b); ok {
			return v
		}
	case op == "*" && bInt:
		if v, ok := st.repeat(a, bi); ok {
			return v
		}
	case op == "*" && aInt:
		if v, ok := st.repeat(b, ai); ok {
			return v
		}
	}
	st.refuseBig(a, b)
	st.fail("%s %s %s is not defined", typeName(a), op, typeName(b))
	return nil
}

// refuseBig fails where one of two numbers has more than 64 bits: Python computes with them, hone only carries, orders and prints them.
func (st *state) refuseBig(a, b any) {
	_, bigA := a.(*big.Int)
	_, bigB := b.(*big.Int)
	if bigA || bigB {
		st.fail("a template cannot compute with whole numbers of more than 64 bits")
	}
}

// join is + of strings, lists and tuples. A string marked safe makes the other safe by escaping it, as markupsafe's Markup does; macros
// and set blocks are not marked, since autoescape is off.
func (st *state) join(a, b any) (any, bool) {
	if x, ok := a.(Text); ok {
		y, ok := b.(Text)
		if !ok {
			return nil, false
		}
		safe := x.safe || y.safe
		if safe {
			x, y = st.escape(x), st.escape(y)
		}
		st.grow(len(x.s) + len(y.s))
		t := concat(x, y)
		t.safe = safe
		return t, true
	}
	x, okA := a.(*list)
	y, okB := b.(*list)
	if !okA || !okB || x.kind != y.kind || x.kind > kindTuple {
		return nil, false
	}
	st.step(len(x.items) + len(y.items))
	items := make([]any, 0, len(x.items)+len(y.items))
	return &list{items: append(append(items, x.items...), y.items...), kind: x.kind}, true
}

// repeat is * of a string, list or tuple with a whole number, of which one below 1 counts as 0.
func (st *state) repeat(v any, n int64) (any, bool) {
	n = max(n, 0)
	switch x := v.(type) {
	case Text:
		st.repeatable(len(x.s), n)
		var b builder
		for range n {
			b.put(x, 0)
		}
		return b.text(), true
	case *list:
		if x.kind > kindTuple {
			return nil, false
		}
		st.repeatable(len(x.items), n)
		st.step(len(x.items) * int(n))
		out := &list{kind: x.kind}
		for range n {
			out.items = append(out.items, x.items...)
		}
		return out, true
	}
	return nil, false
}

// repeatable refuses size*n above the output limit and charges it.
func (st *state) repeatable(size int, n int64) {
	if n > int64(st.opt.MaxOutput) || int64(size)*n > int64(st.opt.MaxOutput) {
		st.limit(st.opt.MaxOutput + 1)
	}
	st.step(size*int(n)/16 + int(n)/16 + 1)
}

// ints computes with whole numbers. Python's have no limit; here an overflow is an error. Each case leaves the switch when its result does
// not fit.
func (st *state) ints(op string, a, b int64) any {
	switch op {
	case "+":
		// the sum moved to the side that b points to, or it has wrapped around
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		hi, lo := bits.Mul64(magnitude(a), magnitude(b))
		if hi == 0 && (lo < 1<<63 || lo == 1<<63 && (a < 0) != (b < 0)) { // there is one negative number more
			return a * b
		}
	case "/":
		return st.floats("/", float64(a), float64(b))
	case "//", "%":
		st.nonzero(b == 0)
		// Go rounds towards zero, Python down: the remainder has the sign of the divisor
		q, r := a/b, a%b
		if r != 0 && (r < 0) != (b < 0) {
			q, r = q-1, r+b
		}
		if op == "//" {
			return q
		}
		return r
	case "**":
		return st.intPower(a, b)
	}
	st.fail("a number is too large")
	return nil
}

// magnitude is |i|, which for the smallest int64 is no int64.
func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// nonzero fails as Python's ZeroDivisionError.
func (st *state) nonzero(zero bool) {
	if zero {
		st.fail("division by zero")
	}
}

// intPower multiplies step by step, so that the first overflow ends it and 1 ** 10**9 costs as many steps as it asks for.
func (st *state) intPower(a, b int64) any {
	if b < 0 {
		return st.floatPower(float64(a), float64(b))
	}
	var v any = int64(1)
	for ; b > 0 && v != int64(0); b-- {
		st.step(1)
		v = st.ints("*", v.(int64), a)
	}
	return v
}

// floats is float_divmod, float_rem and the like of CPython (Objects/floatobject.c).
func (st *state) floats(op string, a, b float64) any {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		st.nonzero(b == 0)
		return a / b
	case "//":
		st.nonzero(b == 0)
		return floatQuotient(a, b)
	case "%":
		st.nonzero(b == 0)
		return floatMod(a, b)
	}
	return st.floatPower(a, b)
}

// floatQuotient is the floor of the exact quotient: a / b itself is rounded, for 1.0 // 0.1 up to 10.
func floatQuotient(a, b float64) float64 {
	r := math.Mod(a, b)
	q := (a - r) / b
	if r != 0 && (r < 0) != (b < 0) {
		q--
	}
	if q == 0 {
		return math.Copysign(0, a/b)
	}
	// whole but for the rounding of a - r; a half, as of 1e16 // 3.0, goes down
	whole := math.Floor(q)
	if q-whole > 0.5 {
		whole++
	}
	return whole
}

// floatMod is the remainder, which has the sign of the divisor.
func floatMod(a, b float64) float64 {
	r := math.Mod(a, b)
	switch {
	case r == 0:
		return math.Copysign(0, b)
	case (r < 0) != (b < 0):
		r += b
	}
	return r
}

// floatPower may differ from Python's in the last digit, which is the C library's.
func (st *state) floatPower(a, b float64) any {
	st.nonzero(a == 0 && b < 0)
	if a < 0 && b != math.Trunc(b) {
		st.fail("a negative number to a fractional power is not a real number")
	}
	v := math.Pow(a, b)
	if math.IsInf(v, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0) {
		st.fail("a number is too large") // * gives inf there, ** fails
	}
	return v
}
