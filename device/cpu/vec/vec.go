// Package vec computes rows of numbers: activations, sums, softmax, norms, updates, conversions of types. It is where the kernels of package cpu
// meet the processor. Every function has a portable body (generic.go), which is the definition and serves where there is no other, and for AVX2,
// AVX-512 and NEON assembly of one source, _asm/vec; a Path says which of them run.
//
// A function handles every length and any alignment, touches nothing beyond its rows, and lets NaN and infinities pass. Rows of one call have the
// same length, that of the first which is read; shorter ones panic. A sum runs in an order that the length alone fixes, on one path, so that
// no result depends on where rows lie or on how many workers share them. All functions may run at one time; none allocates.
package vec

import "hone/device"

// Unary computes y = op(x); y may be x.
func (path Path) Unary(op device.UnaryOp, y, x []float32) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if op == device.Identity {
		copy(y, x)
		return
	}
	if !path.doorUnary(op, &y[0], &x[0], n) {
		genericUnary(op, y, x)
	}
}

// UnaryGrad computes d = op'(x)·dy; d may be dy or x.
func (path Path) UnaryGrad(op device.UnaryOp, d, x, dy []float32) {
	n := len(x)
	if n == 0 {
		return
	}
	d, dy = d[:n], dy[:n]
	if op == device.Identity {
		copy(d, dy)
		return
	}
	if !path.doorUnaryGrad(op, &d[0], &x[0], &dy[0], n) {
		genericUnaryGrad(op, d, x, dy)
	}
}

// UnaryBoth computes y = op(x) and d = op'(x)·d.
func (path Path) UnaryBoth(op device.UnaryOp, y, d, x []float32) {
	n := len(x)
	if n > 0 && !path.doorUnaryBoth(op, &y[:n][0], &d[:n][0], &x[0], n) {
		path.Unary(op, y, x)
		path.UnaryGrad(op, d, x, d)
	}
}

// Binary computes y = a op b; y may be a or b.
func (path Path) Binary(op device.BinaryOp, y, a, b []float32) {
	n := len(a)
	if n == 0 {
		return
	}
	y, b = y[:n], b[:n]
	if !path.doorBinary(op, &y[0], &a[0], &b[0], n) {
		genericBinary(op, y, a, b)
	}
}

// Add computes y = a + b; y may be a or b.
func (path Path) Add(y, a, b []float32) { path.Binary(device.Add, y, a, b) }

// Mul computes y = a·b, likewise.
func (path Path) Mul(y, a, b []float32) { path.Binary(device.Mul, y, a, b) }

// Axpy computes y += a·x.
func (path Path) Axpy(y []float32, a float32, x []float32) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if !path.doorAxpy(&y[0], &x[0], n, a) {
		genericAxpy(y, a, x)
	}
}

// Scale computes x *= a.
func (path Path) Scale(x []float32, a float32) {
	if len(x) > 0 && !path.doorScale(&x[0], len(x), a) {
		genericScale(x, a)
	}
}

// Fill sets x to v.
func Fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// Gated computes y = act(gate)·up; y may be any operand. Activations without assembly of their own are computed by themselves first.
func (path Path) Gated(act device.UnaryOp, y, gate, up []float32) {
	n := len(gate)
	if n == 0 {
		return
	}
	y, up = y[:n], up[:n]
	if !path.doorGated(act, &y[0], &gate[0], &up[0], n) {
		path.composeGated(y, gate, up, act)
	}
}

// composeGated is Gated for every activation. It computes in pieces so that y may be up.
func (path Path) composeGated(y, gate, up []float32, act device.UnaryOp) {
	var tmp [256]float32
	for lo := 0; lo < len(gate); lo += len(tmp) {
		hi := min(lo+len(tmp), len(gate))
		t := tmp[:hi-lo]
		path.Unary(act, t, gate[lo:hi])
		path.Mul(y[lo:hi], t, up[lo:hi])
	}
}

// GatedGrad are the operands of Path.GatedGrad, all of the same length.
type GatedGrad struct{ DGate, DUp, Gate, Up, DY []float32 }

// GatedGrad computes dgate = act'(gate)·up·dy and dup = act(gate)·dy. Each
// output may be any input.
func (path Path) GatedGrad(act device.UnaryOp, g GatedGrad) {
	n := len(g.Gate)
	if n == 0 {
		return
	}
	if !path.doorGatedGrad(act, &g.DGate[:n][0], &g.DUp[:n][0], &g.Gate[0], &g.Up[:n][0], &g.DY[:n][0], n) {
		path.composeGatedGrad(act, g)
	}
}

// GatedBoth computes y = act(gate)·up, dgate = act'(gate)·up·d and d = act(gate)·d.
func (path Path) GatedBoth(act device.UnaryOp, y, dgate, d, gate, up []float32) {
	n := len(gate)
	if n > 0 && !path.doorGatedBoth(act, &y[:n][0], &dgate[:n][0], &d[:n][0], &gate[0], &up[:n][0], n) {
		path.Gated(act, y, gate, up)
		path.GatedGrad(act, GatedGrad{dgate, d, gate, up, d})
	}
}

func (path Path) composeGatedGrad(act device.UnaryOp, g GatedGrad) {
	var a, b [256]float32
	for lo := 0; lo < len(g.Gate); lo += len(a) {
		hi := min(lo+len(a), len(g.Gate))
		gate, dy := g.Gate[lo:hi], g.DY[lo:hi]
		ta, tb := a[:hi-lo], b[:hi-lo]
		path.Unary(act, ta, gate)
		path.Mul(ta, ta, dy)
		path.UnaryGrad(act, tb, gate, dy)
		path.Mul(tb, tb, g.Up[lo:hi])
		copy(g.DUp[lo:hi], ta)
		copy(g.DGate[lo:hi], tb)
	}
}

// UnaryBF16 is Unary on bf16, where the path has a kernel for it, and says whether it had.
func (path Path) UnaryBF16(op device.UnaryOp, y, x []uint16) bool {
	n := len(x)
	return n == 0 || path.doorUnaryBF16(op, &y[:n][0], &x[0], n)
}

// UnaryBothBF16 is UnaryBoth, likewise.
func (path Path) UnaryBothBF16(op device.UnaryOp, y, d, x []uint16) bool {
	n := len(x)
	return n == 0 || path.doorUnaryBothBF16(op, &y[:n][0], &d[:n][0], &x[0], n)
}

// BinaryBF16 is Binary, likewise.
func (path Path) BinaryBF16(op device.BinaryOp, y, a, b []uint16) bool {
	n := len(a)
	return n == 0 || path.doorBinaryBF16(op, &y[:n][0], &a[0], &b[:n][0], n)
}

// GatedBF16 is Gated, likewise.
func (path Path) GatedBF16(act device.UnaryOp, y, gate, up []uint16) bool {
	n := len(gate)
	return n == 0 || path.doorGatedBF16(act, &y[:n][0], &gate[0], &up[:n][0], n)
}

// GatedBothBF16 is GatedBoth, likewise.
func (path Path) GatedBothBF16(act device.UnaryOp, y, dgate, d, gate, up []uint16) bool {
	n := len(gate)
	return n == 0 || path.doorGatedBothBF16(act, &y[:n][0], &dgate[:n][0], &d[:n][0], &gate[0], &up[:n][0], n)
}
