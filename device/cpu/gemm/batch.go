package gemm

import "unsafe"

// Of a batch of small products a worker begins every few microseconds with operands that lie in memory, and what it asks for a stripe before it
// needs it comes too late. So the tiles of a product ask the second cache for the operands of the one after it.

// coming is what tiles ask for: A, then B of another product.
type coming [2]struct {
	p     unsafe.Pointer
	left  int // lines
	lines int // of them, for each row of a tile
}

// lookAhead sets how far ahead a product is that the tiles may ask for: a whole one, if it is a task of its own, whose operands lie side by
// side and have room in the second cache beside those at work.
func (p *plan) lookAhead(threads int) {
	dense := p.StrideA == p.M*p.K && p.StrideB == p.N*p.K
	if p.k.asks && dense && p.mTasks*p.nTasks == 1 && p.Batch > threads && p.M >= p.k.MR && p.K*(p.M*p.A.size()+p.N*p.B.size()) <= comingMost {
		p.ahead = threads
	}
}

// comingMost is the most that tiles ask for.
const comingMost = 512 << 10

// setComing sets what the tiles of the given product ask for. A call of a kernel asks for one operand alone.
func (b *block) setComing(product int) {
	if product += b.ahead; b.ahead == 0 || product >= b.Batch {
		return
	}
	a, z := &b.coming[0], &b.coming[1]
	a.p, a.left = b.A.at(product*b.StrideA), b.M*b.K*b.A.size()/64
	z.p, z.left = b.B.at(product*b.StrideB), b.N*b.K*b.B.size()/64
	stripes := b.M / b.k.MR
	calls, rows := ceilDiv(b.N, b.k.NR)*ceilDiv(stripes, stripeGroup), min(stripes, stripeGroup)*b.k.MR
	callsA := max(min(calls*a.left/max(a.left+z.left, 1), calls-1), 1)
	a.lines, z.lines = ceilDiv(a.left, callsA*rows), ceilDiv(z.left, max(calls-callsA, 1)*rows)
}

// askComing makes each of count tiles ask for its share.
func (b *block) askComing(count int) {
	for i := range b.coming {
		c, t := &b.coming[i], &b.s.tile
		if c.left > 0 {
			t.Lines = min(c.lines, ceilDiv(c.left, count*b.k.MR))
			t.Next, t.NextRS, t.NextStep = c.p, 64*t.Lines*count, 64
			n := t.Lines * count * b.k.MR
			if c.left -= n; c.left > 0 { // else the address could be behind the operand
				c.p = unsafe.Add(c.p, 64*n)
			}
			return
		}
	}
}

// byPanels multiplies rows i to i+m of the block, prepared as a, with one panel of B after the other: a panel of a small product stays in the
// first cache while the stripes of A pass by, and one call of a kernel has all of them.
func (b *block) byPanels(a packedA, p packedB, add unsafe.Pointer, i, m int) {
	t, mr := &b.s.tile, b.k.MR
	t.BS, t.AInc, t.BInc, t.CInc, t.AddInc = p.row, a.stripe, 0, mr*t.LDC, mr*t.LDAdd
	for at, j := 0, 0; j < b.n; at++ {
		n := b.panel(j)
		t.B = p.panel(at, j)
		if full := m / mr; full > 0 {
			b.setA(a, 0)
			b.setC(add, i, j)
			b.askComing(full)
			b.call(mr, n, full)
			t.Lines = 0
		}
		if rest := m % mr; rest > 0 {
			b.setA(a, m/mr)
			b.setC(add, i+m-rest, j)
			b.call(rest, n, 1)
		}
		j += n
	}
}
