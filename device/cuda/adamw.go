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
	kernelSplit  = kernel{"adamw", "split"}
	kernelJoin   = kernel{"adamw", "join"}
)

// params are F32 values, whole or in halves.
type params struct{ whole, high, rest pointer }

func halvesOf(op string, high, rest device.Buffer) params {
	if rest.Len != 2*high.Len {
		panic(fmt.Sprintf("cuda: %s with halves of %d and %d bytes", op, 2*high.Len, rest.Len))
	}
	return params{high: address(need(high, device.BF16)), rest: address(need(rest, device.U8))}
}

type splitArgs struct {
	x      pointer
	halves params
	n      int64
}

// Split stores x in two halves; see device.Device.
func (d *Device) Split(high, rest, x device.Buffer) {
	a := splitArgs{x: f32sOf("Split", x, high.Len), halves: halvesOf("Split", high, rest), n: int64(x.Len)}
	run(d, kernelSplit, line(over(x.Len, 256), 256), &a)
}

// Join computes the x that was split.
func (d *Device) Join(x, high, rest device.Buffer) {
	a := splitArgs{x: f32sOf("Join", x, high.Len), halves: halvesOf("Join", high, rest), n: int64(x.Len)}
	run(d, kernelJoin, line(over(x.Len, 256), 256), &a)
}

type adamWArgs struct {
	param                             params
	grad                              floats
	m, v                              pointer
	mScale, vScale                    pointer
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
	a := adamWArgs{grad: floatsOf(op, k.Grad, n), n: int64(n), codes: d.tableAt(tableDynamic),
		scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		step: float32(float64(k.LR) * corr1), corr2: float32(corr2), eps: k.Eps, keep: float32(1 - float64(k.LR)*float64(k.Decay))}
	if k.Rest.IsZero() {
		a.param.whole = f32sOf(op, k.Param, n)
	} else {
		a.param = params{high: address(need(k.Param, device.BF16)), rest: stateOf(k.Rest, device.U8, 2*n)}
	}
	if k.MScale.IsZero() {
		a.m, a.v = stateOf(k.M, device.F32, n), stateOf(k.V, device.F32, n)
	} else {
		blocks := over(n, device.DynamicBlock)
		a.m, a.v = stateOf(k.M, device.U8, n), stateOf(k.V, device.U8, n)
		a.mScale, a.vScale = f32sOf(op, k.MScale, blocks), f32sOf(op, k.VScale, blocks)
	}
	paged := pagedOperands(&a, &k)
	if len(paged) == 0 {
		d.adamW(&a)
		return
	}
	for lo := 0; lo < n; lo += d.paging.part {
		hi := min(lo+d.paging.part, n)
		part := a.slice(lo, hi)
		d.paging.update(pagedOperands(&part, &k), lo, hi, func() { d.adamW(&part) })
	}
}

// stateOf is where state that may be paged is.
func stateOf(b device.Buffer, t device.DType, n int) pointer {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: AdamW with state of %d elements where %d are needed", b.Len, n))
	}
	return place(need(b, t))
}

// adamW queues the kernel.
func (d *Device) adamW(a *adamWArgs) {
	if a.mScale == 0 {
		run(d, kernelAdamW, line(over(int(a.n), 256), 256), a)
		return
	}
	run(d, kernelAdamW8, line(over(int(a.n), device.DynamicBlock), 256), a)
}

// slice is the update of elements lo to hi, lo being a multiple of device.DynamicBlock.
func (a adamWArgs) slice(lo, hi int) adamWArgs {
	move := func(p *pointer, bytes int) {
		if *p != 0 {
			*p += pointer(lo * bytes)
		}
	}
	moment := 4
	if a.mScale != 0 {
		moment = 1
		a.mScale += pointer(lo / device.DynamicBlock * 4)
		a.vScale += pointer(lo / device.DynamicBlock * 4)
	}
	move(&a.m, moment)
	move(&a.v, moment)
	move(&a.param.whole, 4)
	move(&a.param.high, 2)
	move(&a.param.rest, 2)
	move(&a.grad.p, 4-2*int(a.grad.half))
	a.n = int64(hi - lo)
	return a
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
	write(d, pointer(d.tables.Base()), bits, keep)
}

func (d *Device) tableAt(i int) pointer { return pointer(d.tables.Base()) + pointer(4*i) }
