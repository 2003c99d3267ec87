package cpu

import (
	"math"

	"hone/device"
	"hone/device/cpu/vec"
)

// reducePart is the number of elements that one task reduces; partial results are
// combined in order, so the value depends on the length alone.
const reducePart = 1 << 16

// Reduce computes one number from x into y[0].
func (d *Device) Reduce(op device.ReduceOp, y, x device.Buffer) {
	if op > device.NonFinite {
		panic(badOp("reduce", uint8(op)))
	}
	out, in := f32sOf("Reduce", y, 1), d.floats("Reduce", x, x.Len)
	n := x.Len
	count := (n + reducePart - 1) / reducePart
	s := d.vectors.get(count)
	defer d.vectors.put(s)
	parts := s.f[:count]
	task := func(i int) {
		parts[i] = reduceFloats(op, in, i*reducePart, min((i+1)*reducePart, n))
	}
	if count <= 1 {
		for i := range parts {
			task(i)
		}
	} else {
		d.pool.Run(count, task)
	}
	out[0] = combine(op, parts)
}

// reduceFloats reduces elements lo to hi.
func reduceFloats(op device.ReduceOp, x vec.Floats, lo, hi int) float32 {
	var tree vec.SumTree
	var most float32
	var buf [vec.Piece]float32
	for ; lo < hi; lo += vec.Piece {
		v := x.Load(lo, min(lo+vec.Piece, hi), buf[:])
		switch op {
		case device.Sum:
			tree.Add(x.Path.Sum(v))
		case device.SumSquares:
			tree.Add(x.Path.SumSquares(v, 0))
		case device.MaxAbs:
			most = max(most, x.Path.MaxAbs(v))
		case device.NonFinite:
			most += float32(x.Path.NonFinite(v))
		}
	}
	if op == device.Sum || op == device.SumSquares {
		return tree.Total()
	}
	return most
}

// combine reduces the results of the parts, of which there may be thousands: their sum is in float64.
func combine(op device.ReduceOp, parts []float32) float32 {
	var sum float64
	var most float32
	for _, v := range parts {
		sum += float64(v)
		most = max(most, v)
	}
	if op == device.MaxAbs {
		return most
	}
	if math.Abs(sum) > math.MaxFloat32 { // the language leaves open what the conversion of such a number gives
		return float32(math.Copysign(math.Inf(1), sum))
	}
	return float32(sum)
}

// ColumnSum computes y[c] (+)= the sum of column c of x. Each part of the rows
// sums by itself; the parts are then added in order.
func (d *Device) ColumnSum(y, x device.Buffer, acc bool) {
	c := y.Len
	n := rowsOf("ColumnSum", x, c)
	out, in := f32sOf("ColumnSum", y, c), d.floats("ColumnSum", x, n*c)
	count, _ := rowParts(n, c)
	s := d.vectors.get(count * c)
	defer d.vectors.put(s)
	parts := s.f[:count*c]
	d.eachRows(n, c, func(part, lo, hi int) {
		sum := parts[part*c : (part+1)*c]
		clear(sum)
		columnSum(sum, in, lo*c, hi*c)
	})
	d.addParts(out, parts, c, acc)
}

// columnSum adds the rows in elements lo to hi of x to sum, in pieces that may be converted.
func columnSum(sum []float32, x vec.Floats, lo, hi int) {
	var buf chunk
	for c := len(sum); lo < hi; lo += c {
		for i := 0; i < c; i += vec.Chunk {
			end := min(i+vec.Chunk, c)
			x.Path.Add(sum[i:end], sum[i:end], x.Load(lo+i, lo+end, buf[:]))
		}
	}
}
