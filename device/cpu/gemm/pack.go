package gemm

import (
	"unsafe"

	"hone/internal/pages"
)

// packedA is a block of A as the kernels read it, in bytes: rows at rs and
// columns at cs within a stripe of mr rows, and stripes at stripe.
type packedA struct {
	p              unsafe.Pointer
	rs, cs, stripe int
	packed         bool // a copy
}

// prepareA returns rows i to i+m of op(A) for units u to u+kc. F32 is read where it is, unless its rows would compete for the same
// cache lines: those of a row-major A, as many as a stripe has, for a set of the first cache, those of a transposed one, as many as
// a block of k has units, for sets of the second. A transposed one, which comes from there again for each panel, is packed for more
// than two of them, too.
func (b *block) prepareA(i, m, u, kc int) packedA {
	switch {
	case b.TransA && b.readsA(m, u, kc):
		return packedA{b.A.at(b.offA + u*b.LDA + i), 4, 4 * b.LDA, 4 * b.k.MR, false}
	case b.TransA:
		return b.packStripes(i, m, u, kc)
	case b.pairs && b.readsA(m, u, kc):
		return packedA{b.A.at(b.offA + i*b.LDA + 2*u), 2 * b.LDA, 4, 2 * b.LDA * b.k.MR, false}
	case b.pairs:
		return b.copyPairs(i, m, u, kc)
	case b.readsA(m, u, kc):
		return packedA{b.A.at(b.offA + i*b.LDA + u), 4 * b.LDA, 4, 4 * b.LDA * b.k.MR, false}
	}
	ld := roundUp(kc, 8) + 16 // no multiple of 4 KiB
	pages.Grow(&b.s.a, m*ld+8)
	dst := unsafe.Pointer(&b.s.a[0])
	b.rowsOf(b.A, dst, b.offA+i*b.LDA+u, rowShape{rows: m, cols: kc, ld: b.LDA, dstStride: 4 * ld})
	return packedA{dst, 4 * ld, 4, 4 * ld * b.k.MR, true}
}

// readsA says whether m rows of op(A) are read where they are.
func (b *block) readsA(m, u, kc int) bool {
	switch {
	case b.TransA:
		return b.k.columns && !b.A.bf16 && b.n <= 2*b.k.NR && b.LDA < 2048 && b.LDA%1024 != 0
	case b.pairs:
		return (!b.k.copies || b.LDA%2048 != 0 || m == 1) && 2*(u+kc) <= b.K
	}
	return !b.A.bf16 && (!b.k.copies || b.LDA%1024 != 0 || m == 1)
}

// copyPairs copies rows of a bf16 A and completes a last odd pair with zero.
func (b *block) copyPairs(i, m, u, kc int) packedA {
	ld := kc + 16 // units, no multiple of 4 KiB
	pages.Grow(&b.s.a, m*ld)
	for r := range m {
		row := halvesAt(unsafe.Pointer(&b.s.a[r*ld]), 2*kc)
		row[2*kc-1] = 0
		copy(row, halvesAt(b.A.at(b.offA+(i+r)*b.LDA+2*u), min(2*kc, b.K-2*u)))
	}
	return packedA{unsafe.Pointer(&b.s.a[0]), 4 * ld, 4, 4 * ld * b.k.MR, true}
}

// packStripes packs an A stored [K, M]: stripes of mr rows, column after column.
// In a last, narrower stripe a column is stored 8 wide, and the next one
// overwrites what is beyond mr.
func (b *block) packStripes(i, m, u, kc int) packedA {
	mr := b.k.MR
	pitch := mr*kc + 16 // no multiple of 4 KiB
	pages.Grow(&b.s.a, roundUp(m, mr)/mr*pitch)
	dst := unsafe.Pointer(&b.s.a[0])
	if full := m / mr; full > 0 {
		sh := rowShape{rows: kc, cols: mr, ld: b.LDA, dstStride: 4 * mr}
		b.stripesOf(b.k.stripesA, b.A, dst, b.offA+i, u, full, 4*pitch, sh)
	}
	if rest := m % mr; rest > 0 {
		r := m - rest
		sh := rowShape{rows: kc, cols: rest, ld: b.LDA, dstStride: 4 * mr}
		b.columnsOf(b.A, unsafe.Add(dst, r/mr*4*pitch), b.offA+i+r, u, sh)
	}
	return packedA{dst, 4, 4 * mr, 4 * pitch, true}
}

// stripesOf packs stripes of sh.cols columns of m, stored with k along rows, for
// sh.rows units of k from u on. Element off is the first column's in row 0.
func (b *block) stripesOf(s stripePacker, m Mat, dst unsafe.Pointer, off, u, stripes, pitch int, sh rowShape) {
	p := &b.s.pack
	*p = PackArgs{Dst: dst, Src: m.at(off + u*sh.ld), DstStride: sh.dstStride, SrcStride: sh.ld * m.size(), Rows: sh.rows, Stripes: stripes, Pitch: pitch}
	switch {
	case b.pairs:
		p.Src = m.at(off + 2*u*sh.ld)
		if p.Rows = min(sh.rows, b.K/2-u); p.Rows > 0 {
			s.pair(p)
		}
		if last := p.Rows; last < sh.rows { // the last pair is incomplete
			sh.rows = 1
			for i := range stripes {
				b.columnsOf(m, unsafe.Add(dst, i*pitch+last*sh.dstStride), off+i*sh.cols, u+last, sh)
			}
		}
	case m.bf16:
		s.widen(p)
	default:
		s.copy(p)
	}
}

// columnsOf packs columns of m as stripesOf does, of any number.
func (b *block) columnsOf(m Mat, dst unsafe.Pointer, off, u int, sh rowShape) {
	if b.pairs {
		b.pairsOf(m, dst, off+2*u*sh.ld, min(2*sh.rows, b.K-2*u), sh)
		return
	}
	b.rowsOf(m, dst, off+u*sh.ld, sh)
}

// packedB is the panels of B of a block: the first at p, each pitch bytes after the one before, with rows row bytes apart. Those of full
// width come first.
type packedB struct {
	p                unsafe.Pointer
	pitch, row, full int
	inPlace          bool // B is row-major, and a panel is where its columns are
}

// panel is where panel i is, whose first column is j.
func (p *packedB) panel(i, j int) unsafe.Pointer {
	if p.inPlace {
		return unsafe.Add(p.p, 4*j)
	}
	return unsafe.Add(p.p, i*p.pitch)
}

// readsB says whether op(B) is read where it is: whole vectors of a row-major B of two panels at most, whose rows are hardly
// longer, so that no more lines are read than of a copy.
func (b *block) readsB() bool {
	nr, lanes := b.k.NR, b.k.Lanes
	return !b.TransB && !b.B.bf16 && b.n%lanes == 0 && b.LDB%lanes == 0 && b.LDB <= 2*nr
}

// prepareB returns op(B) for units u to u+kc.
func (b *block) prepareB(u, kc int) packedB {
	if b.Arranged {
		return packedB{b.arrangedB(b.j, u), 4 * b.k.NR * b.panelUnits, 4 * b.k.NR, b.n / b.k.NR, false}
	}
	if b.readsB() {
		return packedB{b.B.at(b.offB + u*b.LDB + b.j), 4 * b.k.NR, 4 * b.LDB, b.fullPanels(), true}
	}
	pitch := roundUp(kc, 16)*b.k.NR + 16 // no multiple of 4 KiB
	pages.Grow(&b.s.b, pitch*(ceilDiv(b.n, b.k.NR)+2))
	full := b.packB(pitch, u, kc)
	return packedB{unsafe.Pointer(&b.s.b[0]), 4 * pitch, 4 * b.k.NR, full, false}
}

// fullPanels is how many panels of B have full width.
func (b *block) fullPanels() (full int) {
	for b.panel(full*b.k.NR) == b.k.NR {
		full++
	}
	return full
}

// packB packs the panels of op(B) for units u to u+kc, each at its pitch in
// floats, and returns how many have full width. They come first.
func (b *block) packB(pitch, u, kc int) (full int) {
	nr := b.k.NR
	full = b.fullPanels()
	dst := unsafe.Pointer(&b.s.b[0])
	sh := rowShape{rows: kc, cols: nr, ld: b.LDB, dstStride: 4 * nr}
	if !b.TransB && full > 0 {
		b.stripesOf(b.k.stripesB, b.B, dst, b.offB+b.j, u, full, 4*pitch, sh)
	}
	for i, j := 0, 0; j < b.n; i++ {
		n := b.panel(j)
		switch at := unsafe.Add(dst, i*4*pitch); {
		case b.TransB:
			b.transposeB(at, b.j+j, n, u, kc)
		case i >= full:
			sh.cols = n
			b.columnsOf(b.B, at, b.offB+b.j+j, u, sh)
		}
		j += n
	}
	return full
}

// rowShape is the shape of a part of a matrix: ld in elements, dstStride in bytes.
type rowShape struct{ rows, cols, ld, dstStride int }

// rowsOf copies part of m, from element off on, as f32. Columns are written in
// groups of 8; what is beyond cols is undefined.
func (b *block) rowsOf(m Mat, dst unsafe.Pointer, off int, sh rowShape) {
	p := &b.s.pack
	*p = PackArgs{Dst: dst, Src: m.at(off), DstStride: sh.dstStride, SrcStride: sh.ld * m.size(), Rows: sh.rows, Vecs: ceilDiv(sh.cols, 8)}
	if !m.bf16 {
		if r := sh.cols % 8; r != 0 {
			p.Mask = &laneMasks[r]
		}
		b.k.CopyRows(p)
		return
	}
	// There is no masked load of bf16: only rows whose 8 columns lie within the operand are read directly.
	if p.Rows = sh.within(m.n - off); p.Rows > 0 {
		b.k.WidenRows(p)
	}
	pages.Grow(&b.s.stage, 8*p.Vecs)
	for r := p.Rows; r < sh.rows; r++ {
		copy(halvesAt(unsafe.Pointer(&b.s.stage[0]), sh.cols), halvesAt(m.at(off+r*sh.ld), sh.cols))
		p.Dst, p.Src, p.Rows = unsafe.Add(dst, r*sh.dstStride), unsafe.Pointer(&b.s.stage[0]), 1
		b.k.WidenRows(p)
	}
}

// within is how many of the rows may be read in groups of 8 columns when n
// elements follow from the first.
func (sh rowShape) within(n int) int {
	wide := roundUp(sh.cols, 8)
	if n < wide {
		return 0
	}
	if sh.ld == 0 {
		return sh.rows
	}
	return min(sh.rows, (n-wide)/sh.ld+1)
}

// pairsOf packs pairs of rows of a bf16 matrix: rows 2r and 2r+1 become row r of
// sh.rows rows of pairs. The matrix has the given number of rows; a missing last one is zero.
func (b *block) pairsOf(m Mat, dst unsafe.Pointer, off, rows int, sh rowShape) {
	p := &b.s.pack
	*p = PackArgs{Dst: dst, Src: m.at(off), DstStride: sh.dstStride, SrcStride: sh.ld * 2, Vecs: ceilDiv(sh.cols, 8)}
	p.Rows = min(rowShape{rows: rows, cols: sh.cols, ld: sh.ld}.within(m.n-off)/2, rows/2)
	if p.Rows > 0 {
		b.k.PairRows(p)
	}
	width := 8 * p.Vecs
	pages.Grow(&b.s.stage, width)
	stage := halvesAt(unsafe.Pointer(&b.s.stage[0]), 2*width)
	*p = PackArgs{Src: unsafe.Pointer(&b.s.stage[0]), SrcStride: 2 * width, Rows: p.Rows, Vecs: p.Vecs}
	for r := p.Rows; r < sh.rows; r++ {
		clear(stage)
		for h := 2 * r; h < min(2*r+2, rows); h++ {
			copy(stage[h%2*width:], halvesAt(m.at(off+h*sh.ld), sh.cols))
		}
		p.Dst, p.Rows = unsafe.Add(dst, r*sh.dstStride), 1
		b.k.PairRows(p)
	}
}

// transposeB packs columns of a B stored [N, K], 8 at a time.
func (b *block) transposeB(dst unsafe.Pointer, j, n, u, kc int) {
	for g := 0; g < n; g += 8 {
		b.transposeGroup(unsafe.Add(dst, 4*g), j+g, min(8, n-g), u, kc)
	}
}

// transposeGroup packs up to 8 columns. Columns that do not exist and the last
// units of k go through the stage.
func (b *block) transposeGroup(dst unsafe.Pointer, j, n, u, kc int) {
	transpose, perUnit, block := b.k.Transpose, 1, 8 // elements of a unit, units of a step
	switch {
	case b.pairs:
		perUnit = 2
	case b.B.bf16:
		transpose, block = b.k.TransposeWiden, 16
	}
	off := b.offB + j*b.LDB + u*perUnit
	p := &b.s.pack
	*p = PackArgs{Dst: dst, Src: b.B.at(off), DstStride: 4 * b.k.NR, SrcStride: b.LDB * b.B.size()}
	whole := kc / block
	if b.pairs && 2*(u+kc) > b.K {
		whole = (kc - 1) / block // the last pair is incomplete
	}
	if n < 8 {
		whole = 0
	}
	if p.Vecs = whole; whole > 0 {
		transpose(p)
	}
	b.transposeStaged(transpose, off, n, whole*block*perUnit, min(kc*perUnit, b.K-u*perUnit))
}

// transposeStaged transposes elements from to to of n rows of B by way of the
// stage, where a row has room for the largest block of k.
func (b *block) transposeStaged(transpose PackFunc, off, n, from, to int) {
	if from >= to {
		return
	}
	p := &b.s.pack
	size := b.B.size()
	stride := roundUp((to-from)*size, 32)
	pages.Grow(&b.s.stage, 8*stride/4)
	stage := b.s.stage[:8*stride/4]
	clear(stage)
	for r := range n {
		row := unsafe.Pointer(&stage[r*stride/4])
		src := b.B.at(off + r*b.LDB + from)
		copy(unsafe.Slice((*byte)(row), (to-from)*size), unsafe.Slice((*byte)(src), (to-from)*size))
	}
	units := from
	if b.pairs {
		units = from / 2
	}
	p.Dst, p.Src = unsafe.Add(p.Dst, units*p.DstStride), unsafe.Pointer(&stage[0])
	p.SrcStride, p.Vecs = stride, stride/32
	transpose(p)
}
