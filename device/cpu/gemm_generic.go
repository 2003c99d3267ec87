package cpu

import (
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/half"
)

// hostGemmKernels are the best routines for this machine.
func hostGemmKernels() *gemmKernels { return newGemmKernels(cpuid.Host()) }

// packsMost is the most of B that a task packs at a time.
const packsMost = 768 << 10

// packs is how much of B a task packs at a time: three quarters of the second cache, or of a usual one where it is unknown. Of 2 MiB
// on an Emerald Rapids more than packsMost was slower.
func packs(f cpuid.Features) int {
	if f.L2 == 0 {
		return 384 << 10
	}
	return min(f.L2*3/4, packsMost)
}

// copies says whether rows of A a multiple of 4 KiB apart, whose lines fall on one set of the first cache, should be copied. A set of
// it has 8 lines in 32 KiB, as many as a stripe has rows; of 12 in 48 KiB enough are left for B's.
func copies(f cpuid.Features) bool { return f.L1D < 48<<10 }

// genericGemmKernels are the portable routines.
func genericGemmKernels(f cpuid.Features) *gemmKernels {
	k := &gemmKernels{
		name: "generic", mr: 4, nr: 8, lanes: 8,
		transpose: transposeGeneric, transposeWiden: transposeWidenGeneric, copyRows: copyRowsGeneric,
		widenRows: widenRowsGeneric, pairRows: pairRowsGeneric, packs: packs(f), copies: copies(f),
	}
	k.stripesA = genericStripes(k.mr)
	k.stripesB = genericStripes(k.nr)
	for rows := 1; rows <= k.mr; rows++ {
		k.f32 = append(k.f32, []tileFunc{func(t *tileArgs) { tileGeneric(t, rows) }})
	}
	return k
}

// floatsAt is the n float32 at p.
func floatsAt(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

// halvesAt is the n bf16 at p.
func halvesAt(p unsafe.Pointer, n int) []uint16 { return unsafe.Slice((*uint16)(p), n) }

// tileGeneric computes tiles of rows × 8; see tileArgs.
func tileGeneric(t *tileArgs, rows int) {
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
func blockGeneric(t *tileArgs, rows int, a, b, c, add unsafe.Pointer) {
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
func tileRow(t *tileArgs, a, b unsafe.Pointer, sum *[8]float32) {
	for k := range t.K {
		x := *(*float32)(unsafe.Add(a, k*t.CS))
		row := (*[8]float32)(unsafe.Add(b, k*t.BS))
		for j, y := range row {
			sum[j] += float32(x * y) // converted, so that no compiler fuses: all machines get the same bits
		}
	}
}

// tileRows2 sums two rows of a tile, four columns at a time to stay in registers.
func tileRows2(t *tileArgs, a, b unsafe.Pointer, sum0, sum1 *[8]float32) {
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
func finishRow(t *tileArgs, r int, c, add unsafe.Pointer, sum *[8]float32) {
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

func transposeGeneric(p *packArgs) {
	for i := range 8 {
		for k, v := range floatsAt(unsafe.Add(p.Src, i*p.SrcStride), 8*p.Vecs) {
			*(*float32)(unsafe.Add(p.Dst, k*p.DstStride+4*i)) = v
		}
	}
}

func transposeWidenGeneric(p *packArgs) {
	for i := range 8 {
		for k, v := range halvesAt(unsafe.Add(p.Src, i*p.SrcStride), 16*p.Vecs) {
			*(*float32)(unsafe.Add(p.Dst, k*p.DstStride+4*i)) = half.BToFloat32(v)
		}
	}
}

func copyRowsGeneric(p *packArgs) {
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

func widenRowsGeneric(p *packArgs) {
	for r := range p.Rows {
		dst := floatsAt(unsafe.Add(p.Dst, r*p.DstStride), 8*p.Vecs)
		for i, v := range halvesAt(unsafe.Add(p.Src, r*p.SrcStride), 8*p.Vecs) {
			dst[i] = half.BToFloat32(v)
		}
	}
}

func pairRowsGeneric(p *packArgs) {
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
	each := func(p *packArgs, f func(dst unsafe.Pointer, r, col int)) {
		for r := range p.Rows {
			for s := range p.Stripes {
				f(unsafe.Add(p.Dst, s*p.Pitch+r*p.DstStride), r, s*n)
			}
		}
	}
	return stripePacker{
		copy: func(p *packArgs) {
			each(p, func(dst unsafe.Pointer, r, col int) {
				copy(floatsAt(dst, n), floatsAt(unsafe.Add(p.Src, r*p.SrcStride+4*col), n))
			})
		},
		widen: func(p *packArgs) {
			each(p, func(dst unsafe.Pointer, r, col int) {
				half.BWiden(floatsAt(dst, n), halvesAt(unsafe.Add(p.Src, r*p.SrcStride+2*col), n))
			})
		},
	}
}
