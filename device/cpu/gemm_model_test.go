package cpu

import (
	"unsafe"

	"hone/internal/cpuid"
)

// modelKernels stand for AVX-512 on a machine without it: tiles of its shape in
// plain Go, with the packers and the driver that it really uses. What they leave
// untested there are its tiles alone.
func modelKernels(pairs bool) *gemmKernels {
	all := cpuid.Host()
	all.AVX512F, all.AVX512BW, all.AVX512DQ, all.AVX512VL, all.AVX512BF16 = true, true, true, true, pairs
	all.SlowBF16Dots = false
	k := newGemmKernels(all)
	k.f32, k.bf16, k.widen = modelTiles(k, false), nil, nil
	k.fewF32, k.fewWiden, k.fewPairs = nil, nil, nil
	if k.name = "model of AVX-512"; pairs {
		k.name, k.bf16 = "model of AVX-512 BF16", modelTiles(k, true)
	}
	return k
}

func modelTiles(k *gemmKernels, pairs bool) (tiles [][]tileFunc) {
	for rows := 1; rows <= k.mr; rows++ {
		var row []tileFunc
		for vecs := 1; vecs <= k.nr/k.lanes; vecs++ {
			row = append(row, func(t *tileArgs) { modelTile(t, rows, vecs, pairs) })
		}
		tiles = append(tiles, row)
	}
	return tiles
}

// modelTile is tileArgs' formula.
func modelTile(t *tileArgs, rows, vecs int, pairs bool) {
	for n := range t.Count {
		for r := range rows {
			for c := range 16 * vecs {
				if c >= 16*(vecs-1) && t.Bits>>(c%16)&1 == 0 {
					continue
				}
				a, b := unsafe.Add(t.A, n*t.AInc+r*t.RS), unsafe.Add(t.B, n*t.BInc+4*c)
				var sum float32
				for k := range t.K {
					sum = modelUnit(unsafe.Add(a, k*t.CS), unsafe.Add(b, k*t.BS), sum, pairs)
				}
				if t.Add != nil {
					sum += *(*float32)(unsafe.Add(t.Add, n*t.AddInc+r*t.LDAdd+4*c))
				}
				*(*float32)(unsafe.Add(t.C, n*t.CInc+r*t.LDC+4*c)) = sum
			}
		}
	}
}

func modelUnit(a, b unsafe.Pointer, sum float32, pairs bool) float32 {
	if !pairs {
		return fma32(*(*float32)(a), *(*float32)(b), sum)
	}
	x, y := (*[2]uint16)(a), (*[2]uint16)(b)
	sum = fma32(fromBF16(x[0]), fromBF16(y[0]), sum)
	return fma32(fromBF16(x[1]), fromBF16(y[1]), sum)
}
