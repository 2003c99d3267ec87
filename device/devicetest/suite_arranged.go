package devicetest

import "hone/device"

// testArrange holds a device that can arrange weights to the contract of device.Arranger.
func testArrange(p *pair) {
	arranger, ok := p.dev.(device.Arranger)
	if !ok {
		p.Log("the device arranges no weights")
		return
	}
	for _, s := range sample([][3]int{{1, 1, 1}, {1, 300, 96}, {3, 50, 17}, {5, 97, 64}, {16, 130, 33}, {40, 49, 129}, {2, 1000, 576}}) {
		for _, t := range floatTypes {
			for _, transB := range []bool{true, false} {
				p.arrange(label("Arrange %v %s transB %v", s, t, transB), arranger, s, t, transB)
				p.freeAll()
			}
		}
	}
}

// arrange wants of an arranged weight [k, n] the product, the rows and the whole of the weight as it was.
func (p *pair) arrange(name string, arranger device.Arranger, s [3]int, t device.DType, transB bool) {
	m, n, k := s[0], s[1], s[2]
	x, w, bias, y, whole := p.normal(m*k, t, 1), p.normal(k*n, t, 1), p.normal(n, device.F32, 1), p.empty(m*n, t), p.empty(k*n, t)
	a, ok := arranger.Arrange(w.dev, k, n, transB)
	if !ok {
		return
	}
	defer p.dev.Free(a.Buf)
	product := device.MatMul{M: m, N: n, K: k, TransB: transB}
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		g := product
		g.A, g.B, g.C, g.Bias = at(x), at(w), at(y), at(bias)
		if d == p.dev {
			g.B, g.Arranged = a.Buf, true
		}
		d.MatMul(g)
		if d == p.dev {
			arranger.Rearrange(at(whole), a)
		} else {
			d.Unary(device.Identity, at(whole), at(w))
		}
	})
	p.check(name+": product", y, productTolerance(k, t))
	p.check(name+": as it was", whole, exact)
	if !transB {
		return
	}
	ids := p.ints([]int32{int32(n - 1), 0, int32(n / 2)})
	rows := p.empty(3*k, t)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		if d == p.dev {
			arranger.ArrangedRows(at(rows), a, at(ids))
		} else {
			d.Embedding(at(rows), at(w), at(ids))
		}
	})
	p.check(name+": rows", rows, exact)
}
