package cuda

import (
	"fmt"
	"math"
	"slices"

	"hone/device"
)

// kernels/adamw.cu
var (
	kernelAdamW  = kernel{"adamw", "adamw"}
	kernelAdamW8 = kernel{"adamw", "adamw8"}
)

type adamWArgs struct {
	param                             pointer
	grad                              floats
	m, v                              pointer
	mScale, vScale                    pointer
	half                              pointer
	codes                             pointer
	n                                 int64
	scale, beta1, rest1, beta2, rest2 float32
	step, corr2, eps, keep            float32
}

// AdamW updates parameters in place; see device.AdamW.
func (d *Device) AdamW(k device.AdamW) {
	const op = "AdamW"
	if k.Step < 1 {
		panic(fmt.Sprintf("cuda: AdamW at step %d", k.Step))
	}
	n := k.Param.Len
	corr1 := 1 / (1 - math.Pow(float64(k.Beta1), float64(k.Step)))
	corr2 := 1 / (1 - math.Pow(float64(k.Beta2), float64(k.Step)))
	a := adamWArgs{param: f32sOf(op, k.Param, n), grad: floatsOf(op, k.Grad, n), n: int64(n), codes: d.tableAt(tableDynamic),
		scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		step: float32(float64(k.LR) * corr1), corr2: float32(corr2), eps: k.Eps, keep: float32(1 - float64(k.LR)*float64(k.Decay))}
	if !k.Half.IsZero() {
		if k.Half.DType != device.BF16 && n > 0 {
			panic("cuda: AdamW with a half copy that is not bf16")
		}
		a.half = floatsOf(op, k.Half, n).p
	}
	if k.MScale.IsZero() {
		a.m, a.v = f32sOf(op, k.M, n), f32sOf(op, k.V, n)
		run(d, kernelAdamW, line(over(n, 256), 256), &a)
		return
	}
	if k.M.Len != n || k.V.Len != n {
		panic("cuda: AdamW with moments of another size")
	}
	blocks := over(n, device.DynamicBlock)
	a.m, a.v = address(need(k.M, device.U8)), address(need(k.V, device.U8))
	a.mScale, a.vScale = f32sOf(op, k.MScale, blocks), f32sOf(op, k.VScale, blocks)
	run(d, kernelAdamW8, line(blocks, 256), &a)
}

// Where code books stand in the device's table.
const (
	tableDynamic = 0 // [2, 256]: signed and unsigned
	tableNF4     = 512
	tableSize    = tableNF4 + 16
)

// writeTables puts the code books on the card.
func (d *Device) writeTables() {
	signed, unsigned := device.DynamicMap(true), device.DynamicMap(false)
	all := slices.Concat(signed[:], unsigned[:], device.NF4Codes[:])
	d.tables = d.room(4 * tableSize)
	bits := make([]int32, len(all))
	for i, f := range all {
		bits[i] = int32(math.Float32bits(f))
	}
	d.upload(pointer(d.tables.Base()), bits)
}

func (d *Device) tableAt(i int) pointer { return pointer(d.tables.Base()) + pointer(4*i) }
