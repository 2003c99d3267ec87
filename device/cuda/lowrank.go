package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/lowrank.cu
var (
	kernelLowRankParts = kernel{"lowrank", "low_rank_parts"}
	kernelLowRankSums  = kernel{"lowrank", "low_rank_sums"}
)

// Sizes of kernels/lowrank.cu.
const (
	lowRankColumns = 256
	lowRankRows    = 64
	lowRankStride  = 32
	mostLowRank    = 16
)

// lowRankArgs is struct LowRankArgs.
type lowRankArgs struct {
	dy, u, b         pointer
	du, db           pointer
	duParts, dbParts pointer
	t, w, r, chunk   int32
	scale            float32
	acc              int32
}

var _ device.LowRanker = (*Device)(nil)

// LowRankGrad reads dY once for both of its products.
func (d *Device) LowRankGrad(g device.LowRankGrad) bool {
	t, w, r := g.N, g.Out, g.R
	dy, u, b, du := viewOf(g.DY), viewOf(g.U), viewOf(g.B), viewOf(g.DU)
	if t < lowRankRows || w < lowRankColumns || r > mostLowRank || r%8 != 0 || !chunked(dy, int64(w)) || !chunked(u, int64(r)) || !chunked(b, int64(r)) || du.half == 0 {
		return false
	}
	if g.DY.Len != t*w || g.U.Len != t*r || g.B.Len != w*r || g.DU.Len != t*r {
		panic(fmt.Sprintf("cuda: LowRankGrad of %d rows, %d columns and rank %d with %d, %d, %d and %d elements", t, w, r, g.DY.Len, g.U.Len, g.B.Len, g.DU.Len))
	}
	// by the sizes alone: long parts where there are many columns, which are many blocks
	chunk := min(max(w/16/lowRankRows, 2), 8) * lowRankRows
	duParts, release := d.scratch(over(w, lowRankColumns) * t * r)
	defer release()
	dbParts, release2 := d.scratch(over(t, chunk) * r * w)
	defer release2()
	a := lowRankArgs{dy: dy.p, u: u.p, b: b.p, du: du.p, db: f32sOf("LowRankGrad", g.DB, w*r), duParts: duParts, dbParts: dbParts,
		t: int32(t), w: int32(w), r: int32(r), chunk: int32(chunk), scale: g.Scale, acc: bit(g.AccB)}
	shared := 2 * (lowRankColumns*lowRankStride + 2*lowRankRows*(lowRankColumns+lowRankStride))
	run(d, kernelLowRankParts, shape{x: over(w, lowRankColumns), y: over(t, chunk), threads: 128, shared: shared}, &a)
	run(d, kernelLowRankSums, line(over((t+w)*r, 256), 256), &a)
	return true
}
