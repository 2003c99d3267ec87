package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/experts.cu
var (
	kernelRoute       = kernel{"experts", "route"}
	kernelRouteGrad   = kernel{"experts", "route_grad"}
	kernelCombine     = kernel{"experts", "combine"}
	kernelCombineGrad = kernel{"experts", "combine_grad"}
)

type routeArgs struct {
	logits, dlogits floats
	index           pointer
	weights         pointer
	probs           pointer
	dweights, dsum  pointer
	rows            int64
	e, k            int32
}

func routeOf(op string, a device.Route) (routeArgs, int) {
	rows := rowsOf(op, a.Logits, a.E)
	if a.K < 1 || a.K > a.E || a.Index.Len != rows*a.K {
		panic(fmt.Sprintf("cuda: %s of %d rows to %d of %d experts with %d places", op, rows, a.K, a.E, a.Index.Len))
	}
	return routeArgs{logits: viewOf(a.Logits), index: address(need(a.Index, device.I32)), weights: f32sOf(op, a.Weights, rows*a.K),
		rows: int64(rows), e: int32(a.E), k: int32(a.K)}, rows
}

// Route picks the K largest logits of each row; probabilities are added up over the rows in a second pass.
func (d *Device) Route(a device.Route) {
	r, rows := routeOf("Route", a)
	forget(a.Index)
	sum := optionalF32s("Route", a.ProbSum, a.E)
	if sum != 0 {
		probs, release := d.scratch(rows * a.E)
		defer release()
		r.probs = probs
	}
	run(d, kernelRoute, line(over(rows, 4), 128), &r)
	if sum != 0 {
		d.columns(columnArgs{dy: floats{p: r.probs}, sum: sum, rows: r.rows, c: r.e})
	}
}

// RouteGrad is the gradient of Route.
func (d *Device) RouteGrad(a device.RouteGrad) {
	r, rows := routeOf("RouteGrad", a.Route)
	r.dlogits, r.dweights = floatsOf("RouteGrad", a.DLogits, rows*a.E), f32sOf("RouteGrad", a.DWeights, rows*a.K)
	r.dsum = optionalF32s("RouteGrad", a.DProbSum, a.E)
	run(d, kernelRouteGrad, line(over(rows, 4), 128), &r)
}

type combineArgs struct {
	y, x, dy, dx floats
	index        pointer
	weights      pointer
	dweights     pointer
	failure      pointer
	n            int64
	c, k, m      int32
}

func (d *Device) combineOf(op string, a device.Combine) (combineArgs, int) {
	from := rowsOf(op, a.X, a.C)
	if a.K < 1 || a.Index.Len%a.K != 0 {
		panic(fmt.Sprintf("cuda: %s of %d rows, %d at a time", op, a.Index.Len, a.K))
	}
	checkIndices(op, "row", known(a.Index), from)
	return combineArgs{x: viewOf(a.X), index: address(a.Index), weights: optionalF32s(op, a.Weights, a.Index.Len), failure: d.failureWord(),
		n: int64(a.Index.Len / a.K), c: int32(a.C), k: int32(a.K), m: int32(from)}, a.Index.Len / a.K
}

// Combine adds rows up.
func (d *Device) Combine(a device.Combine) {
	m, n := d.combineOf("Combine", a)
	m.y = floatsOf("Combine", a.Y, n*a.C)
	run(d, kernelCombine, line(n, 256), &m)
}

// CombineGrad is the gradient of Combine.
func (d *Device) CombineGrad(a device.CombineGrad) {
	const op = "CombineGrad"
	m, n := d.combineOf(op, a.Combine)
	m.dy, m.dx = floatsOf(op, a.DY, n*a.C), floatsOf(op, a.DX, a.X.Len)
	m.dweights = optionalF32s(op, a.DWeights, a.Index.Len)
	run(d, kernelCombineGrad, line(a.Index.Len, 256), &m)
}
