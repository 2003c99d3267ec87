package devicetest

import (
	"errors"
	"math"
	"slices"

	"hone/device"
)

func testAdamW(p *pair) {
	for _, t := range floatTypes {
		for _, n := range sizesFor(nil) {
			for step := 1; step <= 5; step += 2 {
				param, grad := p.normal(n, device.F32, 1), p.normal(n, t, 1)
				m, v := p.normal(n, device.F32, 0.1), p.positive(n, device.F32)
				high, rest := p.empty(n, device.BF16), p.empty(2*n, device.U8)
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					a := device.AdamW{
						Param: at(param), Grad: at(grad), M: at(m), V: at(v),
						LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 0.5, Step: step,
					}
					if step == 3 {
						d.Split(at(high), at(rest), at(param))
						a.Param, a.Rest = at(high), at(rest)
					}
					d.AdamW(a)
					if step == 3 {
						d.Join(at(param), at(high), at(rest))
					}
				})
				name := label("AdamW %d %s step %d", n, t, step)
				p.check(name+": parameters", param, tight)
				p.check(name+": first moment", m, tight)
				p.check(name+": second moment", v, tight)
				if step == 3 {
					p.check(name+": upper halves", high, tight)
				}
			}
			p.freeAll()
		}
	}
}

// testSplit joins what was split, bit for bit, and checks the rounding of the upper half, ties and what is not finite among the values.
func testSplit(p *pair) {
	for _, n := range sizesFor(nil) {
		values := make([]float32, n)
		for i := range values {
			b := p.rand.Uint32()
			switch i % 5 {
			case 1:
				b = b&0xffff0000 | 0x8000
			case 2:
				b = b&0xffff0000 | []uint32{0, 1, 0x7fff, 0x8001, 0xffff}[p.rand.IntN(5)]
			case 3:
				b = []uint32{0, 1 << 31, 0x7f800000, 0xff800000, 0x7fffffff, 0x7f7fffff, 0xff800001, 1, 0x807fffff}[p.rand.IntN(9)]
			}
			values[i] = math.Float32frombits(b)
		}
		x, high, rest := p.dev.Alloc(n, device.F32), p.dev.Alloc(n, device.BF16), p.dev.Alloc(2*n, device.U8)
		p.dev.Write(x, values)
		p.dev.Split(high, rest, x)
		p.dev.Fill(x, 7)
		p.dev.Join(x, high, rest)
		back, upper := make([]float32, n), make([]uint16, n)
		if err := errors.Join(p.dev.Read(back, x), p.dev.Read(upper, high)); err != nil {
			p.Fatal(err)
		}
		for i, v := range values {
			was, is := math.Float32bits(v), math.Float32bits(back[i])
			if isNaN := v != v; isNaN && (back[i] == back[i] || upper[i]&0x7fff <= 0x7f80) || !isNaN && (was != is || (was+0x8000-uint32(upper[i])<<16) > 0x10000) {
				p.Fatalf("Split %d: element %d, %x, comes back as %x from an upper half of %x", n, i, was, is, upper[i])
			}
		}
		for _, b := range []device.Buffer{x, high, rest} {
			p.dev.Free(b)
		}
	}
}

// testAdamW8 makes three steps with 8-bit moments from the same state on both devices each time, so that a number that
// lies between two codes within rounding is not carried on. Eps is large since second moments round to 0 before first ones do.
func testAdamW8(p *pair) {
	for _, t := range floatTypes {
		for _, n := range sample([]int{1, 9, 20001, 255, 256, 1025, 257, 4097}) {
			blocks := (n + device.DynamicBlock - 1) / device.DynamicBlock
			param, high, rest := p.normal(n, device.F32, 1), p.empty(n, device.BF16), p.empty(2*n, device.U8)
			m, v := p.empty(n, device.U8), p.empty(n, device.U8)
			mScale, vScale := p.floats(device.F32, make([]float32, blocks)), p.floats(device.F32, make([]float32, blocks))
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.Fill(at(m), 0)
				d.Fill(at(v), 0)
			})
			for step := 1; step <= 3; step++ {
				grad := p.spread(n, t)
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					d.Split(at(high), at(rest), at(param))
					d.AdamW(device.AdamW{
						Param: at(high), Rest: at(rest), Grad: at(grad), M: at(m), V: at(v), MScale: at(mScale), VScale: at(vScale),
						LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-3, Decay: 0.1, Scale: 0.5, Step: step,
					})
					d.Join(at(param), at(high), at(rest))
				})
				name := label("AdamW8 %d %s step %d", n, t, step)
				p.check(name+": parameters", param, tolerance{rel: 1e-5, abs: 1e-5})
				p.check(name+": scales of the first moment", mScale, tight)
				p.check(name+": scales of the second moment", vScale, tight)
				p.check(name+": upper halves", high, tolerance{rel: 1e-5, abs: 1e-5})
				p.codes(name+": first moment", m)
				p.codes(name+": second moment", v)
			}
			p.freeAll()
		}
	}
}

// spread makes an operand of numbers over many orders of magnitude, zeros and a block of zeros among them.
func (p *pair) spread(n int, t device.DType) operand {
	v := make([]float32, n)
	for i := range v {
		if i%17 != 3 && i/device.DynamicBlock != 2 {
			v[i] = float32(p.rand.NormFloat64() * math.Exp(2*p.rand.NormFloat64()))
		}
	}
	return p.floats(t, v)
}

// codes compares codes: few may be neighbours of the right ones, and both devices go on from the reference's.
func (p *pair) codes(name string, o operand) {
	p.Helper()
	got, want := make([]uint8, o.dev.Len), make([]uint8, o.dev.Len)
	if err := p.dev.Read(got, o.dev); err != nil {
		p.Fatal(err)
	}
	if err := p.ref.Read(want, o.ref); err != nil {
		p.Fatal(err)
	}
	off := 0
	for i, w := range want {
		if d := int(got[i]) - int(w); d != 0 {
			off++
			if d*d > 1 {
				p.Errorf("%s: code %d of %d is %d, want %d", name, i, len(want), got[i], w)
				return
			}
		}
	}
	if off > 3+len(want)/500 {
		p.Errorf("%s: %d of %d codes are off by one", name, off, len(want))
	}
	p.dev.Write(o.dev, want)
}

// testPaged holds a device that can page to the contract of device.Pager.
func testPaged(p *pair) {
	pager, ok := p.dev.(device.Pager)
	if !ok {
		return
	}
	dir := p.TempDir()
	const n = 10000
	b, err := pager.AllocPaged(dir, n, device.F32)
	if err != nil {
		p.Fatal(err)
	}
	got, want := make([]float32, n), make([]float32, n)
	check := func(when string) {
		if err := p.dev.Read(got, b); err != nil {
			p.Fatal(err)
		}
		if !slices.Equal(got, want) {
			p.Errorf("paged memory holds something else %s", when)
		}
	}
	check("when fresh")
	for i := range want {
		want[i] = float32(2 * i)
	}
	p.dev.Write(b, want)
	p.dev.AddScaled(b.Slice(5, n), 1, b.Slice(5, n))
	for i := range want[5:] {
		want[5+i] *= 2
	}
	pager.Evict(b)
	check("after Evict")
	pager.Evict(b.Slice(100, 5000))
	check("after Evict of a part")
	p.dev.Free(b)
	mustPanic(p.T, "Free of a freed paged buffer", func() { p.dev.Free(b) })
	if _, err := pager.AllocPaged(dir+"/missing", 1, device.F32); err == nil {
		p.Error("a buffer was paged to a folder that is not there")
	}
}
