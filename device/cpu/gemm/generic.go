package gemm

import (
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/half"
)

// GenericKernels are the portable routines.
func GenericKernels(f cpuid.Features) *Kernels {
	k := &Kernels{
		Name: "generic", MR: 4, NR: 8, Lanes: 8,
		Transpose: transposeGeneric, TransposeWiden: transposeWidenGeneric, CopyRows: copyRowsGeneric,
		WidenRows: widenRowsGeneric, PairRows: pairRowsGeneric, packs: packs(f), copies: copies(f),
	}
	k.stripesA = genericStripes(k.MR)
	k.stripesB = genericStripes(k.NR)
	for rows := 1; rows <= k.MR; rows++ {
		k.F32 = append(k.F32, []TileFunc{func(t *TileArgs) { tileGeneric(t, rows) }})
	}
	return k
}

// floatsAt is the n float32 at p.
func floatsAt(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

// halvesAt is the n bf16 at p.
func halvesAt(p unsafe.Pointer, n int) []uint16 { return unsafe.Slice((*uint16)(p), n) }

// tileGeneric computes tiles of rows × 8; see TileArgs.
func tileGeneric(t *TileArgs, rows int) {
	one := *t
	for i := range t.Count {
		// Each tile from the first one: a pointer moved on after the last would point behind its memory.
		a, b, c, add := unsafe.Add(t.A, i*t.AInc), unsafe.Add(t.B, i*t.BInc), unsafe.Add(t.C, i*t.CInc), t.Add
		if add != nil {
			add = unsafe.Add(add, i*t.AddInc)
		}
		one.K, one.LDAdd = t.K, t.LDAdd
		blockGeneric(&one, rows, a, b, c, add)
		for u := t.K; u < t.Units; u += t.K { // further blocks of k are added to the first
			one.K, one.LDAdd = min(t.K, t.Units-u), t.LDC
			blockGeneric(&one, rows, unsafe.Add(a, u*t.CS), unsafe.Add(b, u*t.BS), c, c)
		}
	}
}

// blockGeneric computes a tile over one block of k.
func blockGeneric(t *TileArgs, rows int, a, b, c, add unsafe.Pointer) {
	var sum [4][8]float32
	for r := 0; r < rows; r += 2 {
		if r+1 < rows {
			tileRows2(t, unsafe.Add(a, r*t.RS), b, &sum[r], &sum[r+1])
		} else {
			tileRow(t, unsafe.Add(a, r*t.RS), b, &sum[r])
		}
	}
	for r := range rows {
		finishRow(t, r, c, add, &sum[r])
	}
}

// tileRow sums one row of a tile.
func tileRow(t *TileArgs, a, b unsafe.Pointer, sum *[8]float32) {
	for k := range t.K {
		x := *(*float32)(unsafe.Add(a, k*t.CS))
		row := (*[8]float32)(unsafe.Add(b, k*t.BS))
		for j, y := range row {
			sum[j] += float32(x * y) // converted, so that no compiler fuses: all machines get the same bits
		}
	}
}

// tileRows2 sums two rows of a tile, four columns at a time to stay in registers.
func tileRows2(t *TileArgs, a, b unsafe.Pointer, sum0, sum1 *[8]float32) {
	for h := 0; h < 8; h += 4 {
		var p0, p1, p2, p3, q0, q1, q2, q3 float32
		for k := range t.K {
			x := *(*float32)(unsafe.Add(a, k*t.CS))
			z := *(*float32)(unsafe.Add(a, t.RS+k*t.CS))
			y := (*[4]float32)(unsafe.Add(b, k*t.BS+4*h))
			p0 += float32(x * y[0])
			p1 += float32(x * y[1])
			p2 += float32(x * y[2])
			p3 += float32(x * y[3])
			q0 += float32(z * y[0])
			q1 += float32(z * y[1])
			q2 += float32(z * y[2])
			q3 += float32(z * y[3])
		}
		*(*[4]float32)(sum0[h:]) = [4]float32{p0, p1, p2, p3}
		*(*[4]float32)(sum1[h:]) = [4]float32{q0, q1, q2, q3}
	}
}

// finishRow adds what is to be added to row r of a tile and stores it.
func finishRow(t *TileArgs, r int, c, add unsafe.Pointer, sum *[8]float32) {
	n := 8
	if t.Mask != nil {
		for n = 0; n < 8 && t.Mask[n] != 0; n++ {
		}
	}
	dst := floatsAt(unsafe.Add(c, r*t.LDC), n)
	if add == nil {
		copy(dst, sum[:])
		return
	}
	for j, v := range floatsAt(unsafe.Add(add, r*t.LDAdd), n) {
		dst[j] = v + sum[j]
	}
}

func transposeGeneric(p *PackArgs) {
	for i := range 8 {
		for k, v := range floatsAt(unsafe.Add(p.Src, i*p.SrcStride), 8*p.Vecs) {
			*(*float32)(unsafe.Add(p.Dst, k*p.DstStride+4*i)) = v
		}
	}
}

func transposeWidenGeneric(p *PackArgs) {
	for i := range 8 {
		for k, v := range halvesAt(unsafe.Add(p.Src, i*p.SrcStride), 16*p.Vecs) {
			*(*float32)(unsafe.Add(p.Dst, k*p.DstStride+4*i)) = half.BToFloat32(v)
		}
	}
}

func copyRowsGeneric(p *PackArgs) {
	n := 8 * p.Vecs
	if p.Mask != nil {
		for n -= 8; n%8 < 7 && p.Mask[n%8] != 0; n++ {
		}
	}
	for r := range p.Rows {
		dst := floatsAt(unsafe.Add(p.Dst, r*p.DstStride), 8*p.Vecs)
		clear(dst[copy(dst, floatsAt(unsafe.Add(p.Src, r*p.SrcStride), n)):])
	}
}

func widenRowsGeneric(p *PackArgs) {
	for r := range p.Rows {
		dst := floatsAt(unsafe.Add(p.Dst, r*p.DstStride), 8*p.Vecs)
		for i, v := range halvesAt(unsafe.Add(p.Src, r*p.SrcStride), 8*p.Vecs) {
			dst[i] = half.BToFloat32(v)
		}
	}
}

func pairRowsGeneric(p *PackArgs) {
	for r := range p.Rows {
		dst := unsafe.Slice((*uint32)(unsafe.Add(p.Dst, r*p.DstStride)), 8*p.Vecs)
		odd := halvesAt(unsafe.Add(p.Src, (2*r+1)*p.SrcStride), 8*p.Vecs)
		for i, v := range halvesAt(unsafe.Add(p.Src, 2*r*p.SrcStride), 8*p.Vecs) {
			dst[i] = uint32(odd[i])<<16 | uint32(v)
		}
	}
}

// genericStripes cuts rows into stripes of n units.
func genericStripes(n int) stripePacker {
	each := func(p *PackArgs, f func(dst unsafe.Pointer, r, col int)) {
		for r := range p.Rows {
			for s := range p.Stripes {
				f(unsafe.Add(p.Dst, s*p.Pitch+r*p.DstStride), r, s*n)
			}
		}
	}
	return stripePacker{
		copy: func(p *PackArgs) {
			each(p, func(dst unsafe.Pointer, r, col int) {
				copy(floatsAt(dst, n), floatsAt(unsafe.Add(p.Src, r*p.SrcStride+4*col), n))
			})
		},
		widen: func(p *PackArgs) {
			each(p, func(dst unsafe.Pointer, r, col int) {
				half.BWiden(floatsAt(dst, n), halvesAt(unsafe.Add(p.Src, r*p.SrcStride+2*col), n))
			})
		},
	}
}
