package vec

// Rotate turns the pairs (x[i], x[i+len(cos)]), backwards where inverse; y may be x.
func (path Path) Rotate(y, x, cos, sin []float32, inverse bool) {
	half, sign := len(cos), float32(1)
	if inverse {
		sign = -1
	}
	if half == 0 {
		return
	}
	x1, x2 := x[:half], x[half:2*half]
	y1, y2 := y[:half], y[half:2*half]
	sin = sin[:half]
	if path.doorRotate(&y1[0], &y2[0], &x1[0], &x2[0], &cos[0], &sin[0], half, sign) {
		return
	}
	for i, c := range cos {
		u, v, s := x1[i], x2[i], sin[i]*sign
		// Both are read before either is written, for y may be x; the conversions forbid fused operations, which would round otherwise.
		y1[i], y2[i] = float32(u*c)-float32(v*s), float32(v*c)+float32(u*s)
	}
}
