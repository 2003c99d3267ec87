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

// testMatMulPacked multiplies by packed matrices in both forms that linear layers need, beside dense rows and within wider ones.
func testMatMulPacked(p *pair) {
	shapes := [][3]int{{1, 17, 64}, {3, 40, 128}, {8, 9, 1088}, {13, 24, 192}, {16, 70, 64}, {17, 33, 64}, {40, 130, 256}, {129, 72, 128}, {5, 9, 70}, {150, 64, 64}}
	for i, s := range sample(shapes) {
		for _, packing := range []device.Packing{device.NF4, device.Int8} {
			for _, t := range floatTypes {
				p.matMulPacked(label("MatMul %v by packing %d %s", s, packing, t), packing, s, i%2 == 0, t)
				p.freeAll()
			}
		}
	}
	for _, s := range [][3]int{{19, 12289, 64}, {19, 8, 12288}} { // as many columns as a device may want
		p.matMulPacked(label("MatMul %v by many columns", s), device.NF4, s, true, device.BF16)
		p.freeAll()
	}
}

// matMulPacked checks x·Wᵀ and dy·W, of which the second adds to what is there where the first does not.
func (p *pair) matMulPacked(name string, packing device.Packing, s [3]int, acc bool, t device.DType) {
	m, out, in := s[0], s[1], s[2]
	shape := device.Packed{Packing: packing, Rows: out, Cols: in}
	codes, scales, nested, offset := shape.Sizes()
	parts := []operand{p.empty(codes, device.U8), p.empty(nested, device.F32), p.empty(max(scales, 1), device.U8), p.empty(1, device.F32)}
	w, x, y, bias := p.normal(out*in, device.F32, 1), p.normal(m*in, t, 1), p.normal(m*out, t, 1), p.normal(out, t, 1)
	dx, dy := p.normal(m*(in+8), t, 1), p.normal(m*(out+8), t, 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		q := shape
		q.Codes, q.Nested = at(parts[0]), at(parts[1])
		if offset > 0 {
			q.Scales, q.Offset = at(parts[2]), at(parts[3])
		}
		d.Pack(q, at(w))
		forward := device.MatMul{M: m, N: out, K: in, A: at(x), TransB: true, C: at(y), Accumulate: acc}
		if acc {
			forward.Bias = at(bias)
		}
		device.MatMulPacked(d, forward, q)
		device.MatMulPacked(d, device.MatMul{M: m, N: in, K: out, A: at(dy), LDA: out + 8, C: at(dx), LDC: in + 8, Accumulate: !acc}, q)
	})
	for _, part := range []struct {
		name string
		o    operand
		k    int
	}{{": forward", y, in}, {": gradient", dx, out}} {
		tol := productTolerance(part.k, t)
		if t == device.BF16 {
			tol.ofMax += 1.0 / 256 // the numbers are rounded, too
		}
		p.check(name+part.name, part.o, tol)
	}
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
