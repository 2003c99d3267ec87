package cuda

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

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

// updated is struct Updated of kernels/adamw.cu.
type updated struct {
	param          params
	grad           floats
	m, v           pointer
	mScale, vScale pointer
	n              int64
	step, keep     float32
	first, _       int32
}

// adamWConstants are what the tensors of a launch share.
type adamWConstants struct {
	codes                             pointer
	scale, beta1, rest1, beta2, rest2 float32
	corr2, eps                        float32
	count                             int32 // of tensors
}

// adamWArgs is struct AdamWArgs: 40 tensors are within the 4 KiB that a launch may have for arguments.
type adamWArgs struct {
	adamWConstants
	of [40]updated
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
	c := adamWConstants{codes: d.tableAt(tableDynamic), scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		corr2: float32(corr2), eps: k.Eps}
	t := updated{grad: floatsOf(op, k.Grad, n), n: int64(n), step: float32(float64(k.LR) * corr1), keep: float32(1 - float64(k.LR)*float64(k.Decay))}
	if k.Rest.IsZero() {
		t.param.whole = f32sOf(op, k.Param, n)
	} else {
		t.param = params{high: address(need(k.Param, device.BF16)), rest: stateOf(k.Rest, device.U8, 2*n)}
	}
	if k.MScale.IsZero() {
		t.m, t.v = stateOf(k.M, device.F32, n), stateOf(k.V, device.F32, n)
	} else {
		blocks := over(n, device.DynamicBlock)
		t.m, t.v = stateOf(k.M, device.U8, n), stateOf(k.V, device.U8, n)
		t.mScale, t.vScale = f32sOf(op, k.MScale, blocks), f32sOf(op, k.VScale, blocks)
	}
	paged := pagedOperands(&t, &k)
	if len(paged) == 0 {
		d.holdUpdate(c, t)
		return
	}
	for lo := 0; lo < n; lo += d.paging.part {
		hi := min(lo+d.paging.part, n)
		part := t.slice(lo, hi)
		d.paging.update(pagedOperands(&part, &k), lo, hi, func() { d.holdUpdate(c, part) })
	}
}

// stateOf is where state that may be paged is.
func stateOf(b device.Buffer, t device.DType, n int) pointer {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: AdamW with state of %d elements where %d are needed", b.Len, n))
	}
	return place(need(b, t))
}

// blocks is how many of a grid update t.
func (t *updated) blocks() int {
	if t.mScale == 0 {
		return over(int(t.n), 1024)
	}
	return over(int(t.n), device.DynamicBlock)
}

// uses are those of t's memory.
func (t *updated) uses() []use {
	moment := pointer(4)
	if t.mScale != 0 {
		moment = 1
	}
	state := func(p, bytes pointer) use {
		if p == 0 {
			return use{}
		}
		return use{p, p + bytes, true}
	}
	n, scales := pointer(t.n), pointer(4*t.blocks())
	return []use{state(t.param.whole, 4*n), state(t.param.high, 2*n), state(t.param.rest, 2*n), state(t.m, moment*n), state(t.v, moment*n),
		state(t.mScale, scales), state(t.vScale, scales), useOf(t.grad, 1, 0, t.n, false)}
}

// holdUpdate joins t to the updates that are held, or holds it in their place.
func (d *Device) holdUpdate(c adamWConstants, t updated) {
	if t.n == 0 {
		return
	}
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	a, uses := &h.update, t.uses()
	c.count = a.count
	if a.count == 0 || int(a.count) == len(a.of) || a.adamWConstants != c || (a.of[0].mScale == 0) != (t.mScale == 0) || !h.free(uses) {
		d.release()
		a.adamWConstants, a.count = c, 0
	} else {
		last := &a.of[a.count-1]
		t.first = last.first + int32(last.blocks())
	}
	a.of[a.count] = t
	a.count++
	h.uses = append(h.uses, uses...)
}

// releaseUpdates queues the updates that are held, which are locked.
func (d *Device) releaseUpdates() {
	a := &d.held.update
	last, k := &a.of[a.count-1], kernelAdamW
	if last.mScale != 0 {
		k = kernelAdamW8
	}
	d.launch(k, line(int(last.first)+last.blocks(), 256), unsafe.Pointer(a), unsafe.Sizeof(*a))
	a.count = 0
}

// slice is the update of elements lo to hi, lo being a multiple of device.DynamicBlock.
func (t updated) slice(lo, hi int) updated {
	move := func(p *pointer, bytes int) {
		if *p != 0 {
			*p += pointer(lo * bytes)
		}
	}
	moment := 4
	if t.mScale != 0 {
		moment = 1
		t.mScale += pointer(lo / device.DynamicBlock * 4)
		t.vScale += pointer(lo / device.DynamicBlock * 4)
	}
	move(&t.m, moment)
	move(&t.v, moment)
	move(&t.param.whole, 4)
	move(&t.param.high, 2)
	move(&t.param.rest, 2)
	move(&t.grad.p, 4-2*int(t.grad.half))
	t.n = int64(hi - lo)
	return t
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
