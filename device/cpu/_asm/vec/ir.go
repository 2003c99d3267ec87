package main

import (
	"fmt"
	"math"
)

// A kernel body is recorded once, as a list of operations on vectors of one
// lane; the emitter then writes it for several lanes side by side.

// value is a vector in the body: the result of an operation, a constant or a parameter.
type value int

type instr struct {
	op   string
	dst  value // -1 for none
	args []value
	imm  int    // shift count, compare predicate
	ptr  string // of load and store
	acc  int    // of operations on accumulators
}

// reduction says how the lanes of an accumulator become one number.
type reduction struct {
	result string // pointer argument that receives it
	op     string // "add", "max" or "imax"
	init   uint32 // bits of the first value
	unord  bool   // not a number: a mask that makes the next accumulator's result NaN
}

// body records operations.
type body struct {
	code    []instr
	values  int
	consts  map[value]uint32
	byBits  map[uint32]value
	params  map[value]string
	byName  map[string]value
	accs    []reduction
	counter bool // the kernel uses the element index
}

func record(f func(*body)) *body {
	b := &body{
		consts: map[value]uint32{}, byBits: map[uint32]value{},
		params: map[value]string{}, byName: map[string]value{},
	}
	f(b)
	return b
}

func (b *body) fresh() value { b.values++; return value(b.values - 1) }

func (b *body) emit(op string, imm int, args ...value) value {
	d := b.fresh()
	b.code = append(b.code, instr{op: op, dst: d, args: args, imm: imm})
	return d
}

// c is a float constant.
func (b *body) c(f float64) value { return b.bits(math.Float32bits(float32(f))) }

// bits is a constant by its bits.
func (b *body) bits(u uint32) value {
	if v, ok := b.byBits[u]; ok {
		return v
	}
	v := b.fresh()
	b.byBits[u], b.consts[v] = v, u
	return v
}

// p is a scalar argument, broadcast.
func (b *body) p(name string) value {
	if v, ok := b.byName[name]; ok {
		return v
	}
	v := b.fresh()
	b.byName[name], b.params[v] = v, name
	return v
}

func (b *body) load(ptr string) value {
	v := b.emit("load", 0)
	b.code[len(b.code)-1].ptr = ptr
	return v
}

func (b *body) store(ptr string, v value) {
	b.code = append(b.code, instr{op: "store", dst: -1, args: []value{v}, ptr: ptr})
}

func (b *body) add(x, y value) value  { return b.emit("add", 0, x, y) }
func (b *body) sub(x, y value) value  { return b.emit("sub", 0, x, y) }
func (b *body) mul(x, y value) value  { return b.emit("mul", 0, x, y) }
func (b *body) div(x, y value) value  { return b.emit("div", 0, x, y) }
func (b *body) sqrt(x value) value    { return b.emit("sqrt", 0, x) }
func (b *body) and(x, y value) value  { return b.emit("and", 0, x, y) }
func (b *body) or(x, y value) value   { return b.emit("or", 0, x, y) }
func (b *body) xor(x, y value) value  { return b.emit("xor", 0, x, y) }
func (b *body) iadd(x, y value) value { return b.emit("iadd", 0, x, y) }
func (b *body) isub(x, y value) value { return b.emit("isub", 0, x, y) }
func (b *body) imul(x, y value) value { return b.emit("imul", 0, x, y) }
func (b *body) float(x value) value   { return b.emit("float", 0, x) }
func (b *body) trunc(x value) value   { return b.emit("trunc", 0, x) } // to an integer, toward zero

func (b *body) shl(x value, n int) value { return b.emit("shl", n, x) }
func (b *body) shr(x value, n int) value { return b.emit("shr", n, x) }
func (b *body) sra(x value, n int) value { return b.emit("sra", n, x) }

// fma is x·y + z, fnma z - x·y.
func (b *body) fma(x, y, z value) value  { return b.emit("fma", 0, x, y, z) }
func (b *body) fnma(x, y, z value) value { return b.emit("fnma", 0, x, y, z) }

// fms is x·y - z.
func (b *body) fms(x, y, z value) value { return b.emit("fms", 0, x, y, z) }

// atMost and atLeast bound x, the second argument; a NaN x stays.
func (b *body) atMost(bound, x value) value  { return b.emit("min", 0, bound, x) }
func (b *body) atLeast(bound, x value) value { return b.emit("max", 0, bound, x) }

// Compare predicates of VCMPPS.
const (
	cmpEQ    = 0
	cmpLT    = 1
	cmpLE    = 2
	cmpUnord = 3
)

// sel is yes where x pred y, else no.
func (b *body) sel(pred int, x, y, yes, no value) value {
	return b.emit("sel", pred, x, y, yes, no)
}

// keepGE is x where r >= bound as unsigned integers, else 0.
func (b *body) keepGE(r, bound, x value) value { return b.emit("keepge", 0, r, bound, x) }

// live is x with the lanes beyond the end set to 0, liveOr sets them to other.
func (b *body) live(x value) value          { return b.emit("live", 0, x) }
func (b *body) liveOr(x, other value) value { return b.emit("liveor", 0, x, other) }

// index is the number of each element.
func (b *body) index() value {
	b.counter = true
	return b.emit("index", 0)
}

// acc declares an accumulator.
func (b *body) acc(r reduction) int {
	b.accs = append(b.accs, r)
	return len(b.accs) - 1
}

func (b *body) into(op string, acc int, args ...value) {
	b.code = append(b.code, instr{op: op, dst: -1, args: args, acc: acc})
}

// poly is the polynomial with coefficients c, the constant term first.
func (b *body) poly(x value, c ...float64) value {
	r := b.c(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		r = b.fma(r, x, b.c(c[i]))
	}
	return r
}

func must(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}
