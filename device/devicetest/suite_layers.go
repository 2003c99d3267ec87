package devicetest

import (
	"math"
	"slices"
	"testing"

	"hone/device"
)

func testMatMul(p *pair) {
	shapes := [][3]int{
		{1, 1, 1}, {1, 8, 3}, {2, 3, 5}, {5, 16, 8}, {6, 17, 64}, {7, 15, 33}, {8, 48, 16}, {9, 49, 17}, {13, 100, 257},
		{64, 64, 64}, {65, 31, 300}, {1, 513, 129}, {130, 97, 40}, {33, 770, 20}, {3, 40, 1}, {4, 7, 0},
	}
	for _, s := range sample(shapes) {
		p.eachTypes(2, func(types string, t []device.DType) {
			for form := range 8 {
				p.matMul(label("MatMul %v%s form %d", s, types, form), s, form, t)
			}
		})
	}
	p.batchedMatMul()
	p.manyRows()
	p.fewRows()
	p.fewColumns()
	p.shortSums()
	for _, types := range [][]device.DType{{device.BF16, device.BF16}, {device.BF16, device.F32}} { // a vocabulary may be odd
		p.matMul(label("MatMul of many columns %v", types), [3]int{17, 4099, 8}, 6, types)
		p.matMul(label("MatMul of many rows %v", types), [3]int{4098, 18, 9}, 1, types)
		p.matMul(label("MatMul of long sums %v", types), [3]int{19, 20, 4101}, 0, types)
	}
}

// fewColumns checks products with few columns, as adapters of low rank have them.
func (p *pair) fewColumns() {
	shapes := [][3]int{{70, 16, 6152}, {65, 33, 6144}}
	if testing.Short() {
		shapes = shapes[:1]
	}
	for i, s := range shapes {
		p.eachTypes(2, func(types string, t []device.DType) {
			for _, trans := range []bool{false, true} {
				m, n, k := s[0], s[1], s[2]
				rows, ldb := k, n+3
				if trans {
					rows, ldb = n, k+8
				}
				a, b := p.normal(m*(k+8), t[0], 1), p.normal(rows*ldb, t[0], 1)
				c, bias := p.normal(m*(n+1), t[1], 1), p.normal(n, t[1], 1)
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					mm := device.MatMul{M: m, N: n, K: k, A: at(a), LDA: k + 8, B: at(b), LDB: ldb, TransB: trans, C: at(c), LDC: n + 1, Accumulate: i%2 == 0}
					if i%3 == 0 {
						mm.Bias = at(bias)
					}
					d.MatMul(mm)
				})
				p.check(label("MatMul of few columns %v%s transposed %v", s, types, trans), c, productTolerance(k, t[0]))
			}
		})
	}
}

// shortSums checks products with many columns of few numbers each, as the other half of an adapter has them.
func (p *pair) shortSums() {
	for _, s := range sample([][3]int{{70, 520, 8}, {64, 512, 16}, {145, 776, 24}, {65, 528, 64}}) {
		for form := range 4 {
			m, n, k := s[0], s[1], s[2]
			rows, ldb := k, n+8
			if form&1 != 0 {
				rows, ldb = n, k+16
			}
			a, b, c := p.normal(m*(k+8), device.BF16, 1), p.normal(rows*ldb, device.BF16, 1), p.normal(m*(n+8), device.BF16, 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.MatMul(device.MatMul{M: m, N: n, K: k, A: at(a), LDA: k + 8, B: at(b), LDB: ldb, TransB: form&1 != 0, C: at(c), LDC: n + 8, Accumulate: form&2 != 0})
			})
			p.check(label("MatMul of short sums %v form %d", s, form), c, productTolerance(k, device.BF16))
			p.freeAll()
		}
	}
}

// manyRows checks products with a bias of rows enough for what a device may do there alone.
func (p *pair) manyRows() {
	for i, s := range sample([][3]int{{512, 16, 24}, {777, 40, 8}, {1024, 8, 264}, {600, 8, 32}}) {
		p.eachTypes(2, func(types string, t []device.DType) {
			m, n, k := s[0], s[1], s[2]
			a, b, c, bias := p.normal(m*k, t[0], 1), p.normal(n*k, t[0], 1), p.normal(m*(n+8), t[1], 1), p.normal(n, t[1], 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.MatMul(device.MatMul{M: m, N: n, K: k, A: at(a), B: at(b), TransB: i%2 == 0, C: at(c), LDC: n + 8, Bias: at(bias)})
			})
			p.check(label("MatMul of many rows and a bias %v%s", s, types), c, productTolerance(k, t[0]))
		})
	}
}

// fewRows checks products of few rows by dense matrices, as decoding has them.
func (p *pair) fewRows() {
	for i, s := range sample([][3]int{{1, 40, 64}, {3, 17, 72}, {8, 129, 256}, {13, 24, 1096}, {16, 9, 520}, {2, 8, 2056}}) {
		p.eachTypes(2, func(types string, t []device.DType) {
			m, n, k := s[0], s[1], s[2]
			a, b := p.normal(m*(k+8), t[0], 1), p.normal(n*k, t[0], 1)
			c, bias := p.normal(m*n, t[1], 1), p.normal(n, t[1], 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				mm := device.MatMul{M: m, N: n, K: k, A: at(a), LDA: k + 8, B: at(b), TransB: true, C: at(c), Accumulate: i%2 == 0}
				if i%3 == 0 {
					mm.Bias = at(bias)
				}
				d.MatMul(mm)
			})
			p.check(label("MatMul of few rows %v%s", s, types), c, productTolerance(k, t[0]))
		})
	}
}

// matMul checks one product; the bits of form are TransA, TransB and Accumulate.
func (p *pair) matMul(name string, s [3]int, form int, t []device.DType) {
	m, n, k := s[0], s[1], s[2]
	lda, ldb, ldc := k+3, n+1, n+5
	transA, transB, acc := form&1 != 0, form&2 != 0, form&4 != 0
	sizeA, sizeB := max(m*lda, 1), max(k*ldb, 1)
	if transA {
		lda = m + 3
		sizeA = max(k*lda, 1)
	}
	if transB {
		ldb = k + 1
		sizeB = max(n*ldb, 1)
	}
	a, b := p.normal(sizeA, t[0], 1), p.normal(sizeB, t[0], 1)
	c, bias := p.normal(m*ldc, t[1], 1), p.normal(n, t[1], 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		mm := device.MatMul{
			M: m, N: n, K: k, A: at(a), B: at(b), C: at(c), TransA: transA, TransB: transB,
			LDA: lda, LDB: ldb, LDC: ldc, Accumulate: acc,
		}
		if form%3 == 0 {
			mm.Bias = at(bias)
		}
		d.MatMul(mm)
	})
	p.check(name, c, productTolerance(k, t[0]))
}

// productTolerance allows for float32 sums of k products, and for hardware whose
// products of bf16 flush tiny numbers and round in their own order.
func productTolerance(k int, t device.DType) tolerance {
	tol := tolerance{rel: 1e-5, abs: 1e-6, ofMax: 1e-6 * math.Sqrt(float64(k+1))}
	if t == device.BF16 {
		tol.ofMax *= 4
	}
	return tol
}

func (p *pair) batchedMatMul() {
	const batch, m, n, k = 5, 20, 33, 17
	p.eachTypes(2, func(types string, t []device.DType) {
		a, b, c := p.normal(batch*(m*k+2), t[0], 1), p.normal(batch*n*k, t[0], 1), p.normal(batch*(m*n+3), t[1], 1)
		p.both(func(d device.Device, at func(operand) device.Buffer) {
			d.MatMul(device.MatMul{
				M: m, N: n, K: k, A: at(a), B: at(b), C: at(c), TransB: true,
				Batch: batch, StrideA: m*k + 2, StrideB: n * k, StrideC: m*n + 3,
			})
		})
		p.check("batched MatMul"+types, c, productTolerance(k, t[0]))
	})
}

// testMatMulPlus adds products in all forms to others, of few rows and many, of few sums and of more than a device may take at once.
func testMatMulPlus(p *pair) {
	for _, s := range sample([][4]int{{1, 1, 1, 1}, {1, 60, 96, 16}, {7, 33, 40, 5}, {16, 96, 64, 8}, {40, 50, 0, 16}, {50, 130, 300, 16}, {20, 30, 17, 300}}) {
		p.eachTypes(2, func(types string, t []device.DType) {
			for form := range 8 {
				p.matMulPlus(label("MatMulPlus %v%s form %d", s, types, form), s, form, t)
			}
		})
	}
}

// matMulPlus checks one pair of products; the bits of form are TransA and TransB of the second and Accumulate of the first.
func (p *pair) matMulPlus(name string, s [4]int, form int, t []device.DType) {
	m, n, k, r := s[0], s[1], s[2], s[3]
	lda, ldb, ldc := r+3, n+1, n+5
	transA, transB := form&1 != 0, form&2 != 0
	sizeA, sizeB := m*lda, r*ldb
	if transA {
		lda = m + 3
		sizeA = r * lda
	}
	if transB {
		ldb = r + 1
		sizeB = n * ldb
	}
	x, w, bias := p.normal(max(m*k, 1), t[0], 1), p.normal(max(n*k, 1), t[0], 1), p.normal(n, device.F32, 1)
	a, b, c := p.normal(sizeA, t[0], 1), p.normal(sizeB, t[0], 1), p.normal(m*ldc, t[1], 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		first := device.MatMul{M: m, N: n, K: k, A: at(x), B: at(w), TransB: true, C: at(c), LDC: ldc, Accumulate: form&4 != 0, Bias: at(bias)}
		device.MatMulPlus(d, first, device.MatMul{K: r, A: at(a), B: at(b), TransA: transA, TransB: transB, LDA: lda, LDB: ldb})
	})
	tol := productTolerance(k+r, t[0])
	if t[1] == device.BF16 { // one of the two may round in between
		tol.rel, tol.ofMax = 1.0/128, 1.0/128
	}
	p.check(name, c, tol)
}

// testMatMulScaled scales products of the forms that low-rank updates have: of few rows and many, few columns, and long sums.
func testMatMulScaled(p *pair) {
	for _, s := range sample([][3]int{{1, 8, 96}, {7, 33, 40}, {40, 16, 300}, {64, 8, 6200}, {70, 50, 6200}, {20, 16, 0}}) {
		p.eachTypes(2, func(types string, t []device.DType) {
			for form := range 2 {
				m, n, k := s[0], s[1], s[2]
				x, w, c := p.normal(max(m*k, 1), t[0], 1), p.normal(max(n*k, 1), t[0], 1), p.empty(m*n, t[1])
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					device.MatMulScaled(d, device.MatMul{M: m, N: n, K: k, A: at(x), B: at(w), TransB: form == 1, C: at(c)}, -1.3)
				})
				tol := productTolerance(k, t[0])
				if t[1] == device.BF16 { // it may round once more
					tol.rel, tol.ofMax = 1.0/128, 1.0/128
				}
				p.check(label("MatMulScaled %v%s form %d", s, types, form), c, tol)
				p.freeAll()
			}
		})
	}
}

// testLowRankGrad computes what a low-rank update has of its output's gradient: of few rows, of many, and of more columns and rows than one part has.
func testLowRankGrad(p *pair) {
	for _, s := range sample([][3]int{{3, 40, 4}, {70, 264, 8}, {64, 256, 16}, {100, 300, 16}, {65, 520, 32}, {150, 272, 8}, {1100, 1032, 16}}) {
		for i, t := range floatTypes {
			n, out, r := s[0], s[1], s[2]
			dy, u, b, du, db := p.normal(n*out, t, 1), p.normal(n*r, t, 1), p.normal(out*r, t, 1), p.empty(n*r, t), p.normal(out*r, device.F32, 1)
			acc := (n+i)%2 == 0
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				device.LowRankGrads(d, device.LowRankGrad{N: n, R: r, Out: out, DY: at(dy), U: at(u), B: at(b), DU: at(du), DB: at(db), Scale: -0.7, AccB: acc})
			})
			tol := productTolerance(out, t)
			if t == device.BF16 { // it may round once more
				tol.rel, tol.ofMax = 1.0/128, 1.0/128
			}
			p.check(label("LowRankGrad %v %s: of the middle", s, t), du, tol)
			p.check(label("LowRankGrad %v %s: of the second factor", s, t), db, productTolerance(n, t))
			p.freeAll()
		}
	}
}

var normShapes = [][2]int{{1, 1}, {1, 8}, {3, 7}, {5, 64}, {2, 100}, {17, 384}, {65, 129}, {300, 65}, {2, 1030}, {3, 4100}}

// sumNormShapes have rows of all lengths that devices tell apart.
var sumNormShapes = [][2]int{{3, 7}, {9, 64}, {9, 384}, {3, 1000}, {2, 1030}, {2, 4096}, {1, 4100}, {1, 16384}}

func testNorm(p *pair) {
	for _, center := range []bool{false, true} {
		for _, shape := range sample(normShapes) {
			p.eachTypes(2, func(types string, t []device.DType) {
				for options := range 4 {
					if center && shape[1] == 1 {
						continue // the variance of one number is rounding error
					}
					p.norm(label("Norm %v%s center %v options %d", shape, types, center, options), shape, center, options, t)
				}
			})
		}
		for _, shape := range sample(sumNormShapes) {
			p.eachTypes(2, func(types string, t []device.DType) {
				p.normOfSum(label("Norm of a sum %v%s center %v", shape, types, center), shape, center, t)
			})
		}
	}
}

// norm checks the kernel and its gradient; options are bits: no weight, and an offset with accumulation.
func (p *pair) norm(name string, shape [2]int, center bool, options int, t []device.DType) {
	n, c := shape[0], shape[1]
	x, y, same := p.normal(n*c, t[0], 2), p.empty(n*c, t[1]), p.normal(n*c, t[0], 1)
	w, b := p.normal(c, t[1], 1), p.normal(c, t[1], 1)
	mean, rstd := p.empty(n, device.F32), p.empty(n, device.F32)
	dy, dx, dySame := p.normal(n*c, t[1], 1), p.normal(n*c, t[0], 1), p.normal(n*c, t[1], 1)
	dw, db := p.normal(c, device.F32, 1), p.normal(c, device.F32, 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		a := device.Norm{C: c, Y: at(y), X: at(x), Weight: at(w), Rstd: at(rstd), Eps: 1e-5, Center: center}
		if center {
			a.Bias, a.Mean = at(b), at(mean)
		}
		g := device.NormGrad{C: c, DX: at(dx), DY: at(dy), X: at(x), Weight: at(w), Mean: a.Mean, Rstd: a.Rstd, Center: center, DWeight: at(dw)}
		if center {
			g.DBias = at(db)
		}
		if options&1 != 0 {
			a.Weight, a.Bias, g.Weight, g.DWeight, g.DBias = device.Buffer{}, device.Buffer{}, device.Buffer{}, device.Buffer{}, device.Buffer{}
		}
		if options&2 != 0 {
			a.WeightOffset, g.WeightOffset, g.AccX, g.AccW = 1, 1, true, true
		}
		d.Norm(a)
		d.NormGrad(g)
		g.DX, g.DY, g.AccX = at(dySame), at(dySame), false
		d.NormGrad(g)
		a.Mean, a.Rstd, a.X, a.Y = device.Buffer{}, device.Buffer{}, at(same), at(same)
		d.Norm(a)
	})
	tol := tolerance{rel: 2e-5, abs: 1e-5, ofMax: 4e-6}
	p.check(name+": y", y, tol)
	p.check(name+": y in place", same, tol)
	p.check(name+": rstd", rstd, tol)
	p.check(name+": mean", mean, tol)
	p.check(name+": dx", dx, tol)
	p.check(name+": dx in place of dy", dySame, tol)
	p.check(name+": dweight", dw, tolerance{rel: 2e-5, abs: 1e-5, ofMax: 1e-5})
	p.check(name+": dbias", db, tolerance{rel: 2e-5, abs: 1e-5, ofMax: 1e-5})
}

// normOfSum checks that a norm which follows a sum at once leaves the bits of one which waits for it: a device may make one pass of both.
func (p *pair) normOfSum(name string, shape [2]int, center bool, t []device.DType) {
	n, c := shape[0], shape[1]
	a, b, w := p.normal(n*c, t[0], 1), p.normal(n*c, t[1], 1), p.normal(c, t[1], 1)
	made := []operand{p.empty(n*c, t[0]), p.empty(n*c, t[1]), p.empty(n, device.F32), p.empty(n, device.F32)}
	k := device.Norm{C: c, X: made[0].dev, Y: made[1].dev, Rstd: made[2].dev, Weight: w.dev, Eps: 1e-5, Center: center}
	if center {
		k.Bias, k.Mean = w.dev, made[3].dev
	}
	var bits [2][]uint32
	for i := range bits {
		for _, o := range made {
			p.dev.Fill(o.dev, 0)
		}
		p.dev.Binary(device.Add, k.X, a.dev, b.dev)
		if i == 0 {
			if err := p.dev.Sync(); err != nil {
				p.Fatalf("%s: %v", name, err)
			}
		}
		p.dev.Norm(k)
		for _, o := range made {
			v := make([]float32, o.devWhole.Len)
			if err := p.dev.Read(v, o.devWhole); err != nil {
				p.Fatalf("%s: %v", name, err)
			}
			for _, x := range v {
				bits[i] = append(bits[i], math.Float32bits(x))
			}
		}
	}
	if !slices.Equal(bits[0], bits[1]) {
		p.Errorf("%s: other bits, or other elements, than with a wait between", name)
	}
}

func testRope(p *pair) {
	shapes := []struct{ n, heads, d, rotary int }{{1, 1, 2, 2}, {5, 3, 8, 8}, {33, 2, 64, 64}, {7, 4, 80, 32}, {200, 3, 64, 64}, {9, 1, 6, 0}, {2, 2, 1200, 1200}}
	const positions = 50
	for _, s := range shapes {
		p.eachTypes(2, func(types string, t []device.DType) {
			for _, inverse := range []bool{false, true} {
				half := s.rotary / 2
				x, y, same := p.normal(s.n*s.heads*s.d, t[0], 1), p.empty(s.n*s.heads*s.d, t[1]), p.normal(s.n*s.heads*s.d, t[0], 1)
				cos, sin := p.normal(positions*half, device.F32, 1), p.normal(positions*half, device.F32, 1)
				at1 := p.indices(s.n, positions)
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					r := device.Rope{Y: at(y), X: at(x), Cos: at(cos), Sin: at(sin), Positions: at(at1), Heads: s.heads, D: s.d, Rotary: s.rotary, Inverse: inverse}
					d.Rope(r)
					r.X, r.Y = at(same), at(same)
					d.Rope(r)
				})
				name := label("Rope %+v%s inverse %v", s, types, inverse)
				p.check(name, y, sums)
				p.check(name+" in place", same, sums)
			}
		})
	}
}

func testEmbedding(p *pair) {
	p.eachTypes(2, func(types string, t []device.DType) {
		for _, s := range [][3]int{{1, 1, 1}, {5, 3, 7}, {40, 64, 10}, {300, 65, 20}, {33, 1030, 4}, {0, 8, 4}} {
			n, c, v := s[0], s[1], s[2]
			table, y, ids := p.normal(v*c, t[0], 1), p.empty(n*c, t[1]), p.indices(n, v)
			dtable := p.normal(v*c, device.F32, 1)
			dy := p.normal(n*c, t[0], 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.Embedding(at(y), at(table), at(ids))
				d.EmbeddingGrad(at(dtable), at(dy), at(ids))
			})
			p.check(label("Embedding %v%s", s, types), y, exact)
			p.check(label("EmbeddingGrad %v%s", s, types), dtable, sums)
		}
	})
	table, y := p.normal(4*8, device.F32, 1), p.empty(8, device.F32)
	for _, id := range []int32{-1, 4} {
		bad := p.ints([]int32{id})
		mustPanic(p.T, label("Embedding of id %d in a table of 4", id), func() { p.dev.Embedding(y.dev, table.dev, bad.dev) })
		mustPanic(p.T, label("EmbeddingGrad of id %d in a table of 4", id), func() { p.dev.EmbeddingGrad(table.dev, y.dev, bad.dev) })
	}
}

func testPutRows(p *pair) {
	p.eachTypes(2, func(types string, t []device.DType) {
		for _, s := range [][3]int{{1, 1, 1}, {5, 3, 7}, {40, 64, 100}, {20, 65, 20}, {3, 1030, 4}} {
			n, c, r := s[0], s[1], s[2]
			x, y := p.normal(n*c, t[0], 1), p.normal(r*c, t[1], 1)
			rows := make([]int32, r)
			for i, row := range p.rand.Perm(r) {
				rows[i] = int32(row)
			}
			places := p.ints(rows[:n])
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				device.PutRows(d, at(y), at(x), at(places), rows[:n])
			})
			p.check(label("PutRows %v%s", s, types), y, exact)
		}
	})
}

func testCrossEntropy(p *pair) {
	for _, s := range sample([][2]int{{1, 1}, {1, 5}, {3, 16}, {7, 65}, {20, 100}, {5, 1030}, {3, 5000}, {2, 20001}, {300, 31}}) {
		for options := range 32 {
			p.crossEntropy(s[0], s[1], options)
		}
		p.freeAll()
	}
}

// crossEntropy checks one call; options are bits: no weights, z-loss and smoothing, gradient in place, BF16 gradient, rows apart.
func (p *pair) crossEntropy(n, v, options int) {
	targets := make([]int32, n)
	for i := range targets {
		targets[i] = int32(p.rand.IntN(v))
		if i%5 == 3 {
			targets[i] = -1 - int32(i)
		}
	}
	dtype := device.F32
	if options&8 != 0 {
		dtype = device.BF16
	}
	ld := v
	if options&16 != 0 {
		ld += 3
	}
	x, ids, loss, entropy := p.normal(n*ld, device.F32, 3), p.ints(targets), p.empty(n, device.F32), p.empty(n, device.F32)
	w, we, dx := p.normal(n, device.F32, 1), p.normal(n, device.F32, 1), p.empty(n*ld, dtype)
	inPlace := options&4 != 0 && dtype == device.F32
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		c := device.CrossEntropy{V: v, Logits: at(x), Targets: at(ids), Loss: at(loss), DLogits: at(dx)}
		if options&1 == 0 {
			c.Weights, c.EntropyWeights, c.Entropy = at(w), at(we), at(entropy)
		}
		if options&2 != 0 {
			c.ZLoss, c.Smoothing = 0.01, 0.1
		}
		if ld != v {
			c.LD = ld
		}
		if inPlace {
			c.DLogits = at(x)
		}
		d.CrossEntropy(c)
	})
	name := label("CrossEntropy [%d, %d] options %d", n, v, options)
	tol := tolerance{rel: 1e-5, abs: 2e-5}
	p.check(name+": loss", loss, tol)
	p.check(name+": entropy", entropy, tol)
	p.check(name+": gradient", dx, tolerance{rel: 2e-5, abs: 2e-6})
	p.check(name+": gradient in place", x, tolerance{rel: 2e-5, abs: 2e-6})
}
