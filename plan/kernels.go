package plan

import "hone/device"

// The kernels compute nothing; see package device for what they are. These count the bytes that they read and write; products are
// in flops.go.

// Arrange counts a copy of a weight; a card leaves weights as they are.
func (d *Device) Arrange(b device.Buffer, k, n int, transB bool) (device.Arranged, bool) {
	if d.OnCard {
		return device.Arranged{}, false
	}
	elements := k * n
	if d.Arranged != nil {
		if elements = d.Arranged(k, n, b.DType); elements == 0 {
			return device.Arranged{}, false
		}
	}
	a := device.Arranged{K: k, N: n, TransB: transB, Buf: d.Alloc(elements, b.DType)}
	d.move(b, b) // what is read and written; the padding of the copy is neither
	return a, true
}

// Draws is that of the device that is planned for: a processor leaves to the host what first chooses some of the tokens.
func (d *Device) Draws(s device.Sample) bool {
	return d.OnCard || s.Temperature == 0 || s.TopK == 0 && s.TopP >= 1 && s.MinP == 0
}

// Sample reads logits.
func (d *Device) Sample(s device.Sample) { d.move(s.Logits, s.Random, s.IDs) }

// Rearrange reads and writes.
func (d *Device) Rearrange(y device.Buffer, a device.Arranged) { d.move(y, a.Buf) }

// ArrangedRows reads the rows that it writes.
func (d *Device) ArrangedRows(y device.Buffer, _ device.Arranged, _ device.Buffer) { d.move(y, y) }

// Fill writes.
func (d *Device) Fill(y device.Buffer, _ float32) { d.move(y) }

// Unary reads and writes.
func (d *Device) Unary(_ device.UnaryOp, y, x device.Buffer) { d.move(y, x) }

// UnaryGrad reads two and writes one.
func (d *Device) UnaryGrad(_ device.UnaryOp, dx, x, dy device.Buffer, _ bool) { d.move(dx, x, dy) }

// UnaryBoth reads two and writes two.
func (d *Device) UnaryBoth(_ device.UnaryOp, y, dy, x device.Buffer) { d.move(y, dy, dy, x) }

// Binary reads two and writes one.
func (d *Device) Binary(_ device.BinaryOp, y, a, b device.Buffer) { d.move(y, a, b) }

// AddScaled reads two and writes one.
func (d *Device) AddScaled(y device.Buffer, _ float32, x device.Buffer) { d.move(y, y, x) }

// Scale reads and writes.
func (d *Device) Scale(y device.Buffer, _ float32) { d.move(y, y) }

// Gated reads two and writes one.
func (d *Device) Gated(_ device.UnaryOp, y, gate, up device.Buffer) { d.move(y, gate, up) }

// GatedGrad reads three and writes two.
func (d *Device) GatedGrad(_ device.UnaryOp, dgate, dup, gate, up, dy device.Buffer) {
	d.move(dgate, dup, gate, up, dy)
}

// GatedBoth reads three and writes three.
func (d *Device) GatedBoth(_ device.UnaryOp, y, dgate, dy, gate, up device.Buffer) {
	d.move(y, dgate, dy, dy, gate, up)
}

// Copy2D reads and writes the part that is copied.
func (d *Device) Copy2D(c device.Copy2D) {
	d.work.Calls++
	d.work.Moved += int64(c.Rows) * int64(c.Cols) * int64(c.Src.DType.Size()+c.Dst.DType.Size())
}

// Dropout reads and writes.
func (d *Device) Dropout(y, x device.Buffer, _ float32, _ uint64) { d.move(y, x) }

// Norm reads and writes rows.
func (d *Device) Norm(k device.Norm) { d.move(k.Y, k.X) }

// NormGrad reads rows twice and writes one.
func (d *Device) NormGrad(k device.NormGrad) { d.move(k.DX, k.DY, k.X) }

// Rope reads and writes.
func (d *Device) Rope(k device.Rope) { d.move(k.Y, k.X) }

// Embedding reads the rows that it writes.
func (d *Device) Embedding(y, _, _ device.Buffer) { d.move(y, y) }

// PutRows reads the rows that it writes.
func (d *Device) PutRows(_, x, _ device.Buffer) { d.move(x, x) }

// EmbeddingGrad reads a row and adds to another.
func (d *Device) EmbeddingGrad(_, dy, _ device.Buffer) { d.move(dy, dy, dy) }

// Route reads logits; they are few.
func (d *Device) Route(device.Route) {}

// RouteGrad reads logits; they are few.
func (d *Device) RouteGrad(device.RouteGrad) {}

// Combine reads K rows for each that it writes.
func (d *Device) Combine(k device.Combine) {
	d.move(k.Y)
	d.work.Moved += size(k.Y) * int64(k.K)
}

// CombineGrad reads both sides and writes one.
func (d *Device) CombineGrad(k device.CombineGrad) { d.move(k.DY, k.X, k.DX) }

// CrossEntropy reads the logits twice and writes their gradient, and notes how large they are that are held for it.
func (d *Device) CrossEntropy(k device.CrossEntropy) {
	n := size(k.Logits)
	if !k.DLogits.IsZero() && k.DLogits.Mem != k.Logits.Mem {
		n += size(k.DLogits)
	}
	d.logits = max(d.logits, n)
	d.move(k.Logits, k.Logits, k.DLogits)
}

// ColumnSum reads.
func (d *Device) ColumnSum(_, x device.Buffer, _ bool) { d.move(x) }

// Reduce reads.
func (d *Device) Reduce(_ device.ReduceOp, _, x device.Buffer) { d.move(x) }

// Split reads numbers and writes their halves.
func (d *Device) Split(high, rest, x device.Buffer) { d.move(high, rest, x) }

// Join reads halves and writes numbers.
func (d *Device) Join(x, high, rest device.Buffer) { d.move(x, high, rest) }

// AdamW reads the gradient, and reads and writes parameters and moments.
func (d *Device) AdamW(k device.AdamW) {
	d.work.Calls++
	d.work.Updated += size(k.Param, k.Param, k.Rest, k.Rest, k.Grad, k.M, k.M, k.V, k.V)
}

// Pack reads numbers and writes codes.
func (d *Device) Pack(p device.Packed, x device.Buffer) { d.move(p.Codes, x) }

// Unpack reads codes and writes numbers.
func (d *Device) Unpack(y device.Buffer, p device.Packed) {
	d.work.Calls++
	if p.Packing == device.Int8 {
		d.work.Int8 += size(y, p.Codes)
	} else {
		d.work.NF4 += size(y, p.Codes)
	}
}
