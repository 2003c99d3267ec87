package devicetest

import "hone/device"

// testMatMulSums computes gradients of weights and biases of layers [n, in] to [n, out], of few rows and many.
func testMatMulSums(p *pair) {
	for _, s := range sample([][3]int{{1, 1, 1}, {3, 5, 7}, {2, 64, 96}, {33, 50, 97}, {300, 24, 49}, {529, 9, 40}, {1100, 2, 50}}) {
		p.eachTypes(1, func(types string, t []device.DType) {
			for form := range 4 {
				p.matMulSums(label("MatMulSums %v%s form %d", s, types, form), s, form, t[0])
			}
		})
	}
}

// matMulSums checks one product; the bits of form are whether there is something to add to for it and for the sums.
func (p *pair) matMulSums(name string, s [3]int, form int, t device.DType) {
	n, in, out := s[0], s[1], s[2]
	x, dy := p.normal(n*in, t, 1), p.normal(n*out, t, 1)
	dw, db := p.normal(in*out, device.F32, 1), p.normal(out, device.F32, 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		m := device.MatMul{M: in, N: out, K: n, A: at(x), B: at(dy), TransA: true, C: at(dw), Accumulate: form&1 != 0}
		device.MatMulSums(d, m, at(db), form&2 != 0)
	})
	p.check(name, dw, productTolerance(n, t))
	p.check(name+" sums", db, productTolerance(n, t))
}
