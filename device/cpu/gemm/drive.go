package gemm

import (
	"unsafe"

	"hone/internal/pages"
)

// scratch is the memory a worker packs operands into. It belongs to one
// task at a time and grows to what the largest product needs.
type scratch struct {
	k     *Kernels
	rows  Rows
	a     []float32 // A of a stripe or a block
	b     []float32 // B of a panel or a block
	c     []float32 // sums of a task whose C is bf16
	taken []float32 // sums of a stripe of rows that were taken from another worker, whose C is bf16
	stage []float32 // rows at the edge of an operand
	sums  []float32 // of a product of few rows, lane by lane
	tile  TileArgs
	pack  PackArgs
	plus  *scratch // of what is added to a product
	open  openRows // of the task
}

func newScratch(k *Kernels, rows Rows) *scratch {
	return &scratch{k: k, rows: rows}
}

// block is one task at work: rows i to i+m and columns j to j+n of one product.
type block struct {
	*plan
	s          *scratch
	i, m, j, n int
	offA, offB int            // elements from A and B to this product's
	c          unsafe.Pointer // where sums go: C or scratch, at (i+top, j)
	ldc        int            // its row stride in bytes
	offC       int            // elements from C to (i, j)
	u          int            // the first unit of the block of k
	top        int            // of the block's rows, the first that has its sums at c
	rounds     bool           // the sums of a stripe go to a bf16 C next
	coming     coming         // of the product that the worker will probably compute next, where ahead is not 0
}

// task computes n tasks from t on: one, or some of a product that reads its weight, whose tasks stand side by side.
func (p *plan) task(t, n int, s *scratch) {
	perProduct := p.mTasks * p.nTasks
	product, t := t/perProduct, t%perProduct
	b := block{plan: p, s: s}
	b.i, b.m = partOf(t%p.mTasks, p.mTasks, p.M, p.mStep)
	b.j, b.n = partOf(t/p.mTasks, p.nTasks, p.N, p.nStep)
	if n > 1 {
		last, width := partOf(t+n-1, p.nTasks, p.N, p.nStep)
		b.n = last + width - b.j
	}
	b.offA, b.offB = product*p.StrideA, product*p.StrideB
	b.offC = product*p.StrideC + b.i*p.LDC + b.j
	b.setComing(product)
	b.c, b.ldc = p.C.at(b.offC), p.LDC*4
	if !p.targetF {
		b.ldc = roundUp(b.n, 16) * 4
		pages.Grow(&s.c, b.sumRows()*b.ldc/4)
		b.c = unsafe.Pointer(&s.c[0])
	}
	switch {
	case p.units == 0:
		b.first(0, b.m)
		b.empty()
		b.whole()
	case p.few != nil:
		b.first(0, b.m)
		b.fewRows()
		b.whole()
	case p.stream:
		b.first(0, b.m)
		b.streamPanels()
		b.whole()
	default:
		b.addBlocks(0)
	}
}

// addBlocks adds the products over all blocks of k from unit u on.
func (b *block) addBlocks(u int) {
	for ; u < b.units; u += b.kBlock {
		b.addBlock(u, min(b.kBlock, b.units-u))
	}
}

// whole ends all rows of the block, to which everything but Plus was added.
func (b *block) whole() {
	if b.Plus.K > 0 {
		b.addPlus()
	}
	b.last(0, b.m, false)
}

// sumRows is how many rows of sums a block with a C in bf16 holds in scratch: those of a stripe where
// K is one block, else all.
func (b *block) sumRows() int {
	if b.byStripe() {
		return min(b.k.MR, b.m)
	}
	return b.m
}

// byStripe says whether a stripe is through before the next one begins.
func (b *block) byStripe() bool {
	return b.few == nil && !b.stream && 0 < b.units && b.units <= b.kBlock
}

// first prepares the sums of rows i to i+m of the block, before anything is added to them.
func (b *block) first(i, m int) {
	if b.targetF {
		return
	}
	if b.sumRows() < b.m {
		b.top = i
	}
	if b.Accumulate {
		b.eachRow(i, m, b.s.rows.Widen)
	}
}

// last ends rows i to i+m of the block, to which everything was added: they are still in the first caches. Tiles may have rounded
// them already.
func (b *block) last(i, m int, rounded bool) {
	if b.biasLast() {
		b.addBias(i, m)
	}
	if !b.targetF && !rounded {
		b.eachRow(i, m, func(sums []float32, c []uint16) { b.s.rows.Round(c, sums) })
	}
}

// sums are those of row i of the block.
func (b *block) sums(i int) []float32 { return floatsAt(unsafe.Add(b.c, (i-b.top)*b.ldc), b.n) }

// eachRow calls f with the scratch sums of rows i to i+m and their places in the bf16 C.
func (b *block) eachRow(i, m int, f func(sums []float32, c []uint16)) {
	for r := i; r < i+m; r++ {
		f(b.sums(r), halvesAt(b.C.at(b.offC+r*b.LDC), b.n))
	}
}

// empty is the product over no k: zero or the bias, or nothing to add.
func (b *block) empty() {
	if b.Accumulate {
		return
	}
	for r := range b.m {
		row := b.sums(r)
		clear(row)
		if b.Bias != nil {
			copy(row, b.Bias[b.j:])
		}
	}
}

// biasLast says whether the bias is added to sums that began with C, a rare case.
func (b *block) biasLast() bool { return b.Accumulate && b.Bias != nil }

// addBias adds it.
func (b *block) addBias(i, m int) {
	for r := i; r < i+m; r++ {
		row := b.sums(r)
		for j, v := range b.Bias[b.j : b.j+b.n] {
			row[j] += v
		}
	}
}

// addBlock adds the product over units u to u+kc of k.
func (b *block) addBlock(u, kc int) {
	b.u = u
	b.openAll()
	add := b.begin(u, kc)
	b.byStripes(u, kc, add)
	b.s.tile = TileArgs{}
}

// begin sets what the tiles of a block of k share, and returns what is added to the first of them.
func (b *block) begin(u, kc int) (add unsafe.Pointer) {
	t := &b.s.tile
	*t = TileArgs{K: b.rowsOfB(kc), LDC: b.ldc}
	switch {
	case u > 0 || b.Accumulate:
		add, t.LDAdd = b.c, b.ldc
	case b.Bias != nil:
		add = unsafe.Pointer(&b.Bias[b.j])
	}
	return add
}

// byStripes puts all of B into the second cache and multiplies one stripe of A
// after the other with it, but those that other workers take.
func (b *block) byStripes(u, kc int, add unsafe.Pointer) {
	p, ends := b.prepareB(u, kc), u+kc == b.units
	plus, packed, more := block{}, packedB{}, ends && b.Plus.K > 0
	if more {
		plus = b.plusBlock()
		packed = plus.prepareB(0, plus.units)
	}
	rounds := ends && !b.targetF && !b.biasLast()
	b.rounds, plus.rounds = rounds && !more, rounds && more
	rounded := rounds && b.k.rounds
	if b.Sums != nil && b.i == 0 {
		b.sumColumns(p, u)
	}
	claim := b.claim(u, kc)
	for {
		i, m := b.next(claim)
		if m == 0 {
			b.m = i
			return
		}
		a, aPlus := b.prepareA(b.i+i, m, u, kc), packedA{}
		if more {
			aPlus = plus.prepareA(b.i+i, m, 0, plus.units)
		}
		if b.ahead > 0 && b.targetF && !b.biasLast() {
			b.byPanels(a, p, add, i, m)
			continue
		}
		for r := 0; r < m; r += b.k.MR {
			rows := min(b.k.MR, m-r)
			if u == 0 {
				b.first(i+r, rows)
			}
			b.stripe(a, p, add, i, r, rows)
			if more {
				plus.c, plus.top = b.c, b.top
				plus.stripe(aPlus, packed, plus.c, i, r, rows)
			}
			if ends {
				b.last(i+r, rows, rounded)
			}
		}
	}
}

// ones are units of k, 1 as an f32 and as a pair of bf16.
var ones, onePairs = float32(1), uint32(0x3f803f80)

// sumColumns adds the columns of a packed block of B, from unit u on, to Sums: the product of a row of ones with it.
func (b *block) sumColumns(p packedB, u int) {
	t := &b.s.tile
	t.A, t.RS, t.CS, t.BS = unsafe.Pointer(&ones), 0, 0, p.row
	if b.pairs {
		t.A = unsafe.Pointer(&onePairs)
	}
	for i, j := 0, 0; j < b.n; i++ {
		n := b.panel(j)
		t.B, t.C, t.Add = p.panel(i, j), unsafe.Pointer(&b.Sums[b.j+j]), nil
		if u > 0 || b.AddSums {
			t.Add = t.C
		}
		b.call(1, n, 1)
		j += n
	}
}

// stripe multiplies one stripe of A, at row i+r of the block, with all panels of B.
func (b *block) stripe(a packedA, p packedB, add unsafe.Pointer, i, r, rows int) {
	t := &b.s.tile
	b.setA(a, r/b.k.MR)
	t.BS, t.BInc, t.CInc, t.AddInc = p.row, p.pitch, 4*b.k.NR, 0
	if add != nil {
		t.AddInc = 4 * b.k.NR
	}
	b.setC(add, i+r, 0)
	t.B = p.p
	b.askNextA(a, i, r, max(p.full, 1)) // of the narrower panels only a first one asks
	b.call(rows, b.k.NR, p.full)
	for at, j := p.full, p.full*b.k.NR; j < b.n; at++ {
		if j > 0 {
			t.Lines = 0
		}
		n := b.panel(j)
		b.setC(add, i+r, j)
		t.B = p.panel(at, j)
		b.call(rows, n, 1)
		j += n
	}
	t.Lines = 0
}

// panel is the width of the panel of B at column j. A last panel of one vector
// could not keep the multipliers busy: it takes a vector from the one before.
func (b *block) panel(j int) int {
	nr, lanes, left := b.k.NR, b.k.Lanes, b.n-j
	if !b.Arranged && left > nr && left <= nr+lanes && nr > 2*lanes {
		return nr - lanes
	}
	return min(nr, left)
}

func (b *block) setA(a packedA, stripe int) {
	t := &b.s.tile
	t.A, t.RS, t.CS = unsafe.Add(a.p, stripe*a.stripe), a.rs, a.cs
}

// askNextA makes each of count tiles of the stripe at row i+r of the block ask for its share of what comes next of A: of the stripe
// after it, or where stripes are packed by groups, of the group after it, as it is before packing.
func (b *block) askNextA(a packedA, i, r, count int) {
	t, mr := &b.s.tile, b.k.MR
	switch {
	case !a.packed && b.TransA: // asking gains nothing that could be measured
		return
	case !a.packed:
		if b.i+i+r+mr < b.M {
			t.Next, t.NextRS, t.NextStep = unsafe.Add(t.A, a.stripe), a.rs, 64
			t.Lines = ceilDiv(ceilDiv(t.K*t.CS, 64), count)
		}
		return
	}
	size, group := b.A.size(), stripeGroup*mr
	next, depth, at := b.i+i+group, t.K, b.u // rows of op(A), and elements along k
	switch {
	case b.pairs:
		depth, at = 2*depth, 2*at
	case b.widens:
		depth = 2 * depth // of the rows of B that K counts each takes two
	}
	if !b.k.asks || next >= b.i+b.m {
		return
	}
	if !b.TransA {
		if next+r < b.M {
			t.Next, t.NextRS, t.NextStep = b.A.at(b.offA+(next+r)*b.LDA+at), b.LDA*size, 64
			t.Lines = ceilDiv(ceilDiv(depth*size, 64), count)
		}
		return
	}
	// A group is some lines wide: each is asked for along k, by as many stripes as the group has to a line.
	line := 64 / size
	stripes := line / mr
	part := r / mr % stripes * (depth / stripes)
	if col := next + r/line*line; col < b.M {
		t.Next, t.NextRS, t.NextStep = b.A.at(b.offA+(at+part)*b.LDA+col), b.LDA*size, mr*b.LDA*size
		t.Lines = ceilDiv(ceilDiv(depth/stripes, mr), count)
	}
}

// setC points the tile at row i, column j of the block. A bias has no rows: LDAdd is 0.
func (b *block) setC(add unsafe.Pointer, i, j int) {
	t := &b.s.tile
	t.C, t.Out = unsafe.Add(b.c, (i-b.top)*b.ldc+4*j), nil
	if b.rounds {
		t.Out, t.LDOut = b.C.at(b.offC+i*b.LDC+j), 2*b.LDC
	}
	t.Add = nil
	if add != nil {
		t.Add = unsafe.Add(add, (i-b.top)*t.LDAdd+4*j)
	}
}

// call computes count tiles of the given rows and columns.
func (b *block) call(rows, cols, count int) {
	if count == 0 {
		return
	}
	b.mask(cols, count)
	b.tiles[rows-1][ceilDiv(cols, b.k.Lanes)-1](&b.s.tile)
}

// mask sets the number of tiles and the lanes that count in their last vector.
func (b *block) mask(cols, count int) {
	t := &b.s.tile
	t.Count, t.Mask, t.Bits = count, nil, ^uint64(0)
	if last := cols % b.k.Lanes; last != 0 {
		t.Bits = 1<<last - 1
		if b.k.Lanes == 8 {
			t.Mask = &laneMasks[last]
		}
	}
}

// laneMasks[n] selects the first n of 8 lanes.
var laneMasks = func() (m [9][8]int32) {
	for n := range m {
		for i := range n {
			m[n][i] = -1
		}
	}
	return m
}()
