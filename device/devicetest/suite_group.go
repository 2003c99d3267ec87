package devicetest

import "hone/device"

// testMatMuls computes the layers of one input together: of few rows and many, of equal widths and others, one of no columns at all, and
// more of them than a device may take at once.
func testMatMuls(p *pair) {
	for _, s := range sample([][2]int{{1, 64}, {1, 576}, {3, 33}, {16, 96}, {50, 130}}) {
		p.eachTypes(2, func(types string, t []device.DType) {
			m, k := s[0], s[1]
			x := p.normal(m*k, t[0], 1)
			var w, bias, y []operand
			for _, n := range []int{192, 64, 64, 0, 7, 300} {
				w, bias, y = append(w, p.normal(max(n*k, 1), t[0], 1)), append(bias, p.normal(max(n, 1), t[1], 1)), append(y, p.normal(m*n, t[1], 1))
			}
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				var products []device.MatMul
				for i := range w {
					g := device.MatMul{M: m, N: at(y[i]).Len / m, K: k, A: at(x), B: at(w[i]), TransB: true, C: at(y[i]), Accumulate: i%3 == 2}
					if i%2 == 0 {
						g.Bias = at(bias[i])
					}
					products = append(products, g)
				}
				device.MatMuls(d, products)
			})
			for i := range y {
				p.check(label("MatMuls %v%s: product %d", s, types, i), y[i], productTolerance(k, t[0]))
			}
			p.freeAll()
		})
	}
}
