package gemm

import (
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/half"
)

// modelKernels stand for AVX-512 on a machine without it: tiles of its shape in
// plain Go, with the packers and the driver that it really uses. What they leave
// untested there are its tiles alone.
func modelKernels(pairs bool) *Kernels {
	all := cpuid.Host()
	all.AVX512F, all.AVX512BW, all.AVX512DQ, all.AVX512VL, all.AVX512BF16 = true, true, true, true, pairs
	all.SlowBF16Dots = false
	k := NewKernels(all)
	k.Name, k.F32, k.BF16, k.widen = "model of AVX-512", modelTiles(k, modelF32), nil, modelTiles(k, modelWidened)
	k.Halves, k.FewF32, k.FewWiden, k.FewPairs, k.streams = nil, nil, nil, nil, streamTiles{}
	if pairs {
		k.Name, k.BF16 = "model of AVX-512 BF16", modelTiles(k, modelPairs)
	}
	return k
}

// modelUnit adds the product of what a tile reads for unit k, from a and b on, to a sum.
type modelUnit func(t *TileArgs, a, b unsafe.Pointer, k int, sum float32) float32

func modelTiles(k *Kernels, unit modelUnit) (tiles [][]TileFunc) {
	for rows := 1; rows <= k.MR; rows++ {
		var row []TileFunc
		for vecs := 1; vecs <= k.NR/k.Lanes; vecs++ {
			row = append(row, func(t *TileArgs) { modelTile(t, rows, vecs, unit) })
		}
		tiles = append(tiles, row)
	}
	return tiles
}

// modelTile is TileArgs' formula.
func modelTile(t *TileArgs, rows, vecs int, unit modelUnit) {
	for n := range t.Count {
		for r := range rows {
			for c := range 16 * vecs {
				if c >= 16*(vecs-1) && t.Bits>>(c%16)&1 == 0 {
					continue
				}
				sum := modelSum(t, n, r, c, unit)
				if t.Out != nil {
					*(*uint16)(unsafe.Add(t.Out, r*t.LDOut+2*(16*vecs*n+c))) = half.BFromFloat32(sum)
				} else {
					*(*float32)(unsafe.Add(t.C, n*t.CInc+r*t.LDC+4*c)) = sum
				}
			}
		}
	}
}

// modelSum is element c of row r of tile n.
func modelSum(t *TileArgs, n, r, c int, unit modelUnit) (total float32) {
	a, b := unsafe.Add(t.A, n*t.AInc+r*t.RS), unsafe.Add(t.B, n*t.BInc+4*c)
	for u, all := 0, max(t.K, t.Units); u < all; u += t.K {
		var sum float32
		for k := u; k < min(u+t.K, all); k++ {
			sum = unit(t, a, b, k, sum)
		}
		switch {
		case u > 0:
			total += sum
		case t.Add != nil:
			total = *(*float32)(unsafe.Add(t.Add, n*t.AddInc+r*t.LDAdd+4*c)) + sum
		default:
			total = sum
		}
	}
	return total
}

func modelF32(t *TileArgs, a, b unsafe.Pointer, k int, sum float32) float32 {
	return fma32(*(*float32)(unsafe.Add(a, k*t.CS)), *(*float32)(unsafe.Add(b, k*t.BS)), sum)
}

func modelPairs(t *TileArgs, a, b unsafe.Pointer, k int, sum float32) float32 {
	x, y := (*[2]uint16)(unsafe.Add(a, k*t.CS)), (*[2]uint16)(unsafe.Add(b, k*t.BS))
	sum = fma32(half.BToFloat32(x[0]), half.BToFloat32(y[0]), sum)
	return fma32(half.BToFloat32(x[1]), half.BToFloat32(y[1]), sum)
}

func modelWidened(t *TileArgs, a, b unsafe.Pointer, k int, sum float32) float32 {
	y := (*[2]uint16)(unsafe.Add(b, k*t.BS))
	sum = fma32(*(*float32)(unsafe.Add(a, 2*k*t.CS)), half.BToFloat32(y[0]), sum)
	return fma32(*(*float32)(unsafe.Add(a, (2*k+1)*t.CS)), half.BToFloat32(y[1]), sum)
}
