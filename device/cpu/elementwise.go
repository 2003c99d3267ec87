package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
	"hone/internal/half"
)

// Fill sets every element of y to v.
func (d *Device) Fill(y device.Buffer, v float32) {
	switch y.DType {
	case device.F32:
		s := f32s(y)
		d.each(y.Len, func(lo, hi int) { vec.Fill(s[lo:hi], v) })
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
	out, in := d.floats("Unary", y, n), d.floats("Unary", x, n)
	d.each(n, func(lo, hi int) {
		if out.H != nil && in.H != nil && d.path.UnaryBF16(op, out.H[lo:hi], in.H[lo:hi]) {
			return
		}
		var buf chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			t := out.Out(lo, end, buf[:])
			if op == device.Identity && in.H == nil {
				t = in.F[lo:end] // rounded from where it is
				if out.H == nil {
					copy(out.F[lo:end], t)
				}
			} else {
				d.path.Unary(op, t, in.Load(lo, end, t))
			}
			out.Store(lo, t)
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
	out, in, grad := d.floats("UnaryGrad", dx, n), d.floats("UnaryGrad", x, n), d.floats("UnaryGrad", dy, n)
	d.each(n, func(lo, hi int) {
		var a, b, c, t chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			gy := grad.Load(lo, end, b[:])
			gx := in.Load(lo, end, a[:])
			if !acc {
				y := out.Out(lo, end, t[:])
				d.path.UnaryGrad(op, y, gx, gy)
				out.Store(lo, y)
				continue
			}
			g := t[:end-lo]
			d.path.UnaryGrad(op, g, gx, gy)
			y := out.Load(lo, end, c[:])
			d.path.Add(y, y, g)
			out.Store(lo, y)
		}
	})
}

// UnaryBoth computes y = op(x) and dy = op'(x)·dy.
func (d *Device) UnaryBoth(op device.UnaryOp, y, dy, x device.Buffer) {
	if op >= device.UnaryOps {
		panic(badOp("unary", uint8(op)))
	}
	n := y.Len
	out, grad, in := d.floats("UnaryBoth", y, n), d.floats("UnaryBoth", dy, n), d.floats("UnaryBoth", x, n)
	d.each(n, func(lo, hi int) {
		if out.H != nil && grad.H != nil && in.H != nil && d.path.UnaryBothBF16(op, out.H[lo:hi], grad.H[lo:hi], in.H[lo:hi]) {
			return
		}
		var a, b, t chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			v, g := out.Out(lo, end, t[:]), grad.Load(lo, end, b[:])
			d.path.UnaryBoth(op, v, g, in.Load(lo, end, a[:]))
			out.Store(lo, v)
			grad.Store(lo, g)
		}
	})
}

// Binary computes y = a op b.
func (d *Device) Binary(op device.BinaryOp, y, a, b device.Buffer) {
	if op >= device.BinaryOps {
		panic(badOp("binary", uint8(op)))
	}
	n := y.Len
	k := binary{op, d.floats("Binary", y, n), d.floats("Binary", a, n), d.floats("Binary", b, n)}
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
	out, left, right vec.Floats
}

// part computes elements lo to hi.
func (k *binary) part(lo, hi int) {
	if k.out.H != nil && k.left.H != nil && k.right.H != nil && k.out.Path.BinaryBF16(k.op, k.out.H[lo:hi], k.left.H[lo:hi], k.right.H[lo:hi]) {
		return
	}
	var u, v, t chunk
	for ; lo < hi; lo += vec.Chunk {
		end := min(lo+vec.Chunk, hi)
		s := k.out.Out(lo, end, t[:])
		k.out.Path.Binary(k.op, s, k.left.Load(lo, end, u[:]), k.right.Load(lo, end, v[:]))
		k.out.Store(lo, s)
	}
}

// AddScaled computes y += a·x.
func (d *Device) AddScaled(y device.Buffer, a float32, x device.Buffer) {
	n := y.Len
	out, in := d.floats("AddScaled", y, n), d.floats("AddScaled", x, n)
	d.each(n, func(lo, hi int) {
		var u, t chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			s := out.Load(lo, end, t[:])
			d.path.Axpy(s, a, in.Load(lo, end, u[:]))
			out.Store(lo, s)
		}
	})
}

// Scale computes y *= a.
func (d *Device) Scale(y device.Buffer, a float32) {
	out := d.floats("Scale", y, y.Len)
	d.each(y.Len, func(lo, hi int) {
		var t chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			s := out.Load(lo, end, t[:])
			d.path.Scale(s, a)
			out.Store(lo, s)
		}
	})
}

// Gated computes y = act(gate)·up.
func (d *Device) Gated(act device.UnaryOp, y, gate, up device.Buffer) {
	if act >= device.UnaryOps {
		panic(badOp("unary", uint8(act)))
	}
	n := y.Len
	k := gated{act, d.floats("Gated", y, n), d.floats("Gated", gate, n), d.floats("Gated", up, n)}
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
	out, gate, up vec.Floats
}

// part computes elements lo to hi.
func (k *gated) part(lo, hi int) {
	if k.out.H != nil && k.gate.H != nil && k.up.H != nil && k.out.Path.GatedBF16(k.act, k.out.H[lo:hi], k.gate.H[lo:hi], k.up.H[lo:hi]) {
		return
	}
	var a, b, t chunk
	for ; lo < hi; lo += vec.Chunk {
		end := min(lo+vec.Chunk, hi)
		s := k.out.Out(lo, end, t[:])
		k.out.Path.Gated(k.act, s, k.gate.Load(lo, end, a[:]), k.up.Load(lo, end, b[:]))
		k.out.Store(lo, s)
	}
}

// GatedGrad computes dgate = act'(gate)·up·dy and dup = act(gate)·dy.
func (d *Device) GatedGrad(act device.UnaryOp, dgate, dup, gate, up, dy device.Buffer) {
	if act >= device.UnaryOps {
		panic(badOp("unary", uint8(act)))
	}
	n := dgate.Len
	dg, du := d.floats("GatedGrad", dgate, n), d.floats("GatedGrad", dup, n)
	g, u, y := d.floats("GatedGrad", gate, n), d.floats("GatedGrad", up, n), d.floats("GatedGrad", dy, n)
	d.each(n, func(lo, hi int) {
		var buf [5]chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			v := vec.GatedGrad{
				DGate: dg.Out(lo, end, buf[0][:]), DUp: du.Out(lo, end, buf[1][:]),
				Gate: g.Load(lo, end, buf[2][:]), Up: u.Load(lo, end, buf[3][:]), DY: y.Load(lo, end, buf[4][:]),
			}
			d.path.GatedGrad(act, v)
			dg.Store(lo, v.DGate)
			du.Store(lo, v.DUp)
		}
	})
}

// GatedBoth computes y = act(gate)·up, dgate = act'(gate)·up·dy and dy = act(gate)·dy.
func (d *Device) GatedBoth(act device.UnaryOp, y, dgate, dy, gate, up device.Buffer) {
	if act >= device.UnaryOps {
		panic(badOp("unary", uint8(act)))
	}
	n := y.Len
	out, dg, grad := d.floats("GatedBoth", y, n), d.floats("GatedBoth", dgate, n), d.floats("GatedBoth", dy, n)
	g, u := d.floats("GatedBoth", gate, n), d.floats("GatedBoth", up, n)
	d.each(n, func(lo, hi int) {
		if out.H != nil && dg.H != nil && grad.H != nil && g.H != nil && u.H != nil &&
			d.path.GatedBothBF16(act, out.H[lo:hi], dg.H[lo:hi], grad.H[lo:hi], g.H[lo:hi], u.H[lo:hi]) {
			return
		}
		var buf [5]chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			v, slope, down := out.Out(lo, end, buf[0][:]), dg.Out(lo, end, buf[1][:]), grad.Load(lo, end, buf[2][:])
			d.path.GatedBoth(act, v, slope, down, g.Load(lo, end, buf[3][:]), u.Load(lo, end, buf[4][:]))
			out.Store(lo, v)
			dg.Store(lo, slope)
			grad.Store(lo, down)
		}
	})
}
