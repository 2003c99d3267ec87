package devicetest

import "hone/device"

// testPack demands the very codes of the reference, and the numbers they stand for.
func testPack(p *pair) {
	for _, packing := range []device.Packing{device.NF4, device.Int8} {
		for _, s := range [][2]int{{1, 1}, {1, 63}, {3, 64}, {5, 13}, {7, 129}, {130, 130}, {96, 1024}, {64, 577}} {
			for _, t := range floatTypes {
				name := label("Pack %d of %v %s", packing, s, t)
				x := make([]float32, s[0]*s[1])
				for i := range x {
					x[i] = float32(p.rand.NormFloat64() * (0.01 + float64(i%s[1])/float64(s[1])))
				}
				if s[0] > 2 {
					fill(x[s[1]:2*s[1]], 0) // a row, and perhaps a block, of nothing
				}
				p.pack(name, packing, s, p.floats(device.F32, x), t)
				p.freeAll()
			}
		}
	}
}

func (p *pair) pack(name string, packing device.Packing, s [2]int, x operand, t device.DType) {
	shape := device.Packed{Packing: packing, Rows: s[0], Cols: s[1]}
	codes, scales, nested, offset := shape.Sizes()
	parts := []operand{p.empty(codes, device.U8), p.empty(nested, device.F32), p.empty(max(scales, 1), device.U8), p.empty(1, device.F32)}
	y := p.empty(s[0]*s[1], t)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		q := shape
		q.Codes, q.Nested = at(parts[0]), at(parts[1])
		if offset > 0 {
			q.Scales, q.Offset = at(parts[2]), at(parts[3])
		}
		d.Pack(q, at(x))
		d.Unpack(at(y), q)
	})
	p.sameBytes(name+": codes", parts[0])
	p.check(name+": nested", parts[1], tight)
	if offset > 0 {
		p.sameBytes(name+": scales", parts[2])
		p.check(name+": offset", parts[3], tight)
	}
	p.check(name+": unpacked", y, tight)
}

func (p *pair) sameBytes(name string, o operand) {
	got, want := make([]uint8, o.dev.Len), make([]uint8, o.dev.Len)
	if err := p.dev.Read(got, o.dev); err != nil {
		p.Fatal(err)
	}
	if err := p.ref.Read(want, o.ref); err != nil {
		p.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			p.Fatalf("%s: byte %d is %#x, want %#x", name, i, got[i], want[i])
		}
	}
}
