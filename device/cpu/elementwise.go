package cpu

import (
	"fmt"

	"hone/device"
	"hone/internal/half"
)

// Fill sets every element of y to v.
func (d *Device) Fill(y device.Buffer, v float32) {
	switch y.DType {
	case device.F32:
		s := f32s(y)
		d.each(y.Len, func(lo, hi int) { vecFill(s[lo:hi], v) })
	case device.BF16:
		s, h := bf16s(y), half.BFromFloat32(v)
		d.each(y.Len, func(lo, hi int) { fillOf(s[lo:hi], h) })
	case device.I32:
		s, i := i32s(y), int32(v)
		d.each(y.Len, func(lo, hi int) { fillOf(s[lo:hi], i) })
	default:
		s, u := u8s(y), uint8(v)
		d.each(y.Len, func(lo, hi int) { fillOf(s[lo:hi], u) })
	}
}

func fillOf[T uint8 | uint16 | int32](s []T, v T) {
	if v == 0 { // most fills are; the runtime clears with whole vectors
		clear(s)
		return
	}
	for i := range s {
		s[i] = v
	}
}

// Unary computes y = op(x).
func (d *Device) Unary(op device.UnaryOp, y, x device.Buffer) {
	if op >= device.UnaryOps {
		panic(badOp("unary", uint8(op)))
	}
	n := y.Len
	if y.DType == device.BF16 && x.DType == device.BF16 && op == device.Identity { // nothing is converted, so every bit stays, those of a NaN too
		d.copyBF16(y, x)
		return
	}
	out, in := floatsOf("Unary", y, n), floatsOf("Unary", x, n)
	d.each(n, func(lo, hi int) {
		if out.h != nil && in.h != nil && vecUnaryBF16Door(op, &out.h[lo], &in.h[lo], hi-lo) {
			return
		}
		var buf chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			t := out.out(lo, end, buf[:])
			if op == device.Identity && in.h == nil {
				t = in.f[lo:end] // rounded from where it is
				if out.h == nil {
					copy(out.f[lo:end], t)
				}
			} else {
				vecUnary(op, t, in.load(lo, end, t))
			}
			out.store(lo, t)
		}
	})
}

func (d *Device) copyBF16(y, x device.Buffer) {
	if x.Len != y.Len {
		panic(fmt.Sprintf("cpu: Unary with operands of %d and %d elements", y.Len, x.Len))
	}
	out, in := bf16s(y), bf16s(x)
	d.each(y.Len, func(lo, hi int) { copy(out[lo:hi], in[lo:hi]) })
}

// UnaryGrad computes dx (+)= op'(x)·dy.
func (d *Device) UnaryGrad(op device.UnaryOp, dx, x, dy device.Buffer, acc bool) {
	if op >= device.UnaryOps {
		panic(badOp("unary", uint8(op)))
	}
	n := dx.Len
	out, in, grad := floatsOf("UnaryGrad", dx, n), floatsOf("UnaryGrad", x, n), floatsOf("UnaryGrad", dy, n)
	d.each(n, func(lo, hi int) {
		var a, b, c, t chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			gy := grad.load(lo, end, b[:])
			gx := in.load(lo, end, a[:])
			if !acc {
				y := out.out(lo, end, t[:])
				vecUnaryGrad(op, y, gx, gy)
				out.store(lo, y)
				continue
			}
			g := t[:end-lo]
			vecUnaryGrad(op, g, gx, gy)
			y := out.load(lo, end, c[:])
			vecAdd(y, y, g)
			out.store(lo, y)
		}
	})
}

// UnaryBoth computes y = op(x) and dy = op'(x)·dy.
func (d *Device) UnaryBoth(op device.UnaryOp, y, dy, x device.Buffer) {
	if op >= device.UnaryOps {
		panic(badOp("unary", uint8(op)))
	}
	n := y.Len
	out, grad, in := floatsOf("UnaryBoth", y, n), floatsOf("UnaryBoth", dy, n), floatsOf("UnaryBoth", x, n)
	d.each(n, func(lo, hi int) {
		if out.h != nil && grad.h != nil && in.h != nil && vecUnaryBothBF16Door(op, &out.h[lo], &grad.h[lo], &in.h[lo], hi-lo) {
			return
		}
		var a, b, t chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			v, g := out.out(lo, end, t[:]), grad.load(lo, end, b[:])
			vecUnaryBoth(op, v, g, in.load(lo, end, a[:]))
			out.store(lo, v)
			grad.store(lo, g)
		}
	})
}

// Binary computes y = a op b.
func (d *Device) Binary(op device.BinaryOp, y, a, b device.Buffer) {
	if op >= device.BinaryOps {
		panic(badOp("binary", uint8(op)))
	}
	n := y.Len
	k := binary{op, floatsOf("Binary", y, n), floatsOf("Binary", a, n), floatsOf("Binary", b, n)}
	if small(1, n) {
		k.part(0, n)
		return
	}
	shared := k
	d.each(n, func(lo, hi int) { shared.part(lo, hi) })
}

// binary is a checked call of Binary.
type binary struct {
	op               device.BinaryOp
	out, left, right floats
}

// part computes elements lo to hi.
func (k *binary) part(lo, hi int) {
	if lo == hi || k.out.h != nil && k.left.h != nil && k.right.h != nil && vecBinaryBF16Door(k.op, &k.out.h[lo], &k.left.h[lo], &k.right.h[lo], hi-lo) {
		return
	}
	var u, v, t chunk
	for ; lo < hi; lo += vecChunk {
		end := min(lo+vecChunk, hi)
		s := k.out.out(lo, end, t[:])
		vecBinary(k.op, s, k.left.load(lo, end, u[:]), k.right.load(lo, end, v[:]))
		k.out.store(lo, s)
	}
}

// AddScaled computes y += a·x.
func (d *Device) AddScaled(y device.Buffer, a float32, x device.Buffer) {
	n := y.Len
	out, in := floatsOf("AddScaled", y, n), floatsOf("AddScaled", x, n)
	d.each(n, func(lo, hi int) {
		var u, t chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			s := out.load(lo, end, t[:])
			vecAxpy(s, a, in.load(lo, end, u[:]))
			out.store(lo, s)
		}
	})
}

// Scale computes y *= a.
func (d *Device) Scale(y device.Buffer, a float32) {
	out := floatsOf("Scale", y, y.Len)
	d.each(y.Len, func(lo, hi int) {
		var t chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			s := out.load(lo, end, t[:])
			vecScale(s, a)
			out.store(lo, s)
		}
	})
}

// Gated computes y = act(gate)·up.
func (d *Device) Gated(act device.UnaryOp, y, gate, up device.Buffer) {
	if act >= device.UnaryOps {
		panic(badOp("unary", uint8(act)))
	}
	n := y.Len
	k := gated{act, floatsOf("Gated", y, n), floatsOf("Gated", gate, n), floatsOf("Gated", up, n)}
	if small(1, n) {
		k.part(0, n)
		return
	}
	shared := k
	d.each(n, func(lo, hi int) { shared.part(lo, hi) })
}

// gated is a checked call of Gated.
type gated struct {
	act           device.UnaryOp
	out, gate, up floats
}

// part computes elements lo to hi.
func (k *gated) part(lo, hi int) {
	if lo == hi || k.out.h != nil && k.gate.h != nil && k.up.h != nil && vecGatedBF16Door(k.act, &k.out.h[lo], &k.gate.h[lo], &k.up.h[lo], hi-lo) {
		return
	}
	var a, b, t chunk
	for ; lo < hi; lo += vecChunk {
		end := min(lo+vecChunk, hi)
		s := k.out.out(lo, end, t[:])
		vecGated(k.act, s, k.gate.load(lo, end, a[:]), k.up.load(lo, end, b[:]))
		k.out.store(lo, s)
	}
}

// GatedGrad computes dgate = act'(gate)·up·dy and dup = act(gate)·dy.
func (d *Device) GatedGrad(act device.UnaryOp, dgate, dup, gate, up, dy device.Buffer) {
	if act >= device.UnaryOps {
		panic(badOp("unary", uint8(act)))
	}
	n := dgate.Len
	dg, du := floatsOf("GatedGrad", dgate, n), floatsOf("GatedGrad", dup, n)
	g, u, y := floatsOf("GatedGrad", gate, n), floatsOf("GatedGrad", up, n), floatsOf("GatedGrad", dy, n)
	d.each(n, func(lo, hi int) {
		var buf [5]chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			v := gatedGrad{
				dgate: dg.out(lo, end, buf[0][:]), dup: du.out(lo, end, buf[1][:]),
				gate: g.load(lo, end, buf[2][:]), up: u.load(lo, end, buf[3][:]), dy: y.load(lo, end, buf[4][:]),
			}
			vecGatedGrad(act, v)
			dg.store(lo, v.dgate)
			du.store(lo, v.dup)
		}
	})
}

// GatedBoth computes y = act(gate)·up, dgate = act'(gate)·up·dy and dy = act(gate)·dy.
func (d *Device) GatedBoth(act device.UnaryOp, y, dgate, dy, gate, up device.Buffer) {
	if act >= device.UnaryOps {
		panic(badOp("unary", uint8(act)))
	}
	n := y.Len
	out, dg, grad := floatsOf("GatedBoth", y, n), floatsOf("GatedBoth", dgate, n), floatsOf("GatedBoth", dy, n)
	g, u := floatsOf("GatedBoth", gate, n), floatsOf("GatedBoth", up, n)
	d.each(n, func(lo, hi int) {
		if out.h != nil && dg.h != nil && grad.h != nil && g.h != nil && u.h != nil &&
			vecGatedBothBF16Door(act, &out.h[lo], &dg.h[lo], &grad.h[lo], &g.h[lo], &u.h[lo], hi-lo) {
			return
		}
		var buf [5]chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			v, slope, down := out.out(lo, end, buf[0][:]), dg.out(lo, end, buf[1][:]), grad.load(lo, end, buf[2][:])
			vecGatedBoth(act, v, slope, down, g.load(lo, end, buf[3][:]), u.load(lo, end, buf[4][:]))
			out.store(lo, v)
			dg.store(lo, slope)
			grad.store(lo, down)
		}
	})
}
