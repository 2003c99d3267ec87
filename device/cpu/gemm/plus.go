package gemm

// A product may have a second one added to it, such as the low-rank update of a linear layer. Its sums over k are few,
// so alone it would take as long as C takes to be read and written. Here each stripe of C gets them while it is in
// the first caches, and a C in bf16 is rounded once.

// Plus is what is added: a product of the M, N and C of the first.
type Plus struct {
	K              int // 0: nothing
	A, B           Mat
	LDA, LDB       int
	TransA, TransB bool
}

// PlusMax is the largest K of it, so that its sums are one block.
const PlusMax = kBlockMax

// check fills in defaults and reports whether the operands fit.
func (g *Plus) check(m, n int) bool {
	a, b := [2]int{m, g.K}, [2]int{g.K, n}
	if g.TransA {
		a = [2]int{g.K, m}
	}
	if g.TransB {
		b = [2]int{n, g.K}
	}
	return 0 <= g.K && g.K <= PlusMax && g.A.fits(a, &g.LDA, 1, 0) && g.B.fits(b, &g.LDB, 1, 0)
}

// planPlus plans what is added to p, whose tasks it follows.
func (p *plan) planPlus(base *plan) {
	g := &base.Plus
	p.Args = Args{M: base.M, N: base.N, K: g.K, A: g.A, B: g.B, C: base.C, LDA: g.LDA, LDB: g.LDB, LDC: base.LDC, TransA: g.TransA, TransB: g.TransB,
		Accumulate: true}
	p.order(base.k)
}

// plusBlock is the part of the second product for b's part of C, with memory of its own.
func (b *block) plusBlock() block {
	if b.s.plus == nil {
		b.s.plus = newScratch(b.k, b.s.rows)
	}
	p := block{plan: b.plus, s: b.s.plus, i: b.i, m: b.m, j: b.j, n: b.n, c: b.c, ldc: b.ldc, offC: b.offC}
	p.begin(0, p.units)
	return p
}

// addPlus adds the second product to the finished sums of the block.
func (b *block) addPlus() {
	p := b.plusBlock()
	packed := p.prepareB(0, p.units)
	for i := 0; i < p.m; i += stripeGroup * p.k.MR {
		m := min(stripeGroup*p.k.MR, p.m-i)
		a := p.prepareA(p.i+i, m, 0, p.units)
		for r := 0; r < m; r += p.k.MR {
			p.stripe(a, packed, p.c, i, r, min(p.k.MR, m-r))
		}
	}
	p.s.tile = TileArgs{}
}
