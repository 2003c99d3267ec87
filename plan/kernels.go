package plan

import "hone/device"

// The kernels compute nothing; see package device for what they are. Those of products are counted in flops.go.

// Fill does nothing.
func (d *Device) Fill(device.Buffer, float32) {}

// Unary does nothing.
func (d *Device) Unary(device.UnaryOp, device.Buffer, device.Buffer) {}

// UnaryGrad does nothing.
func (d *Device) UnaryGrad(device.UnaryOp, device.Buffer, device.Buffer, device.Buffer, bool) {}

// Binary does nothing.
func (d *Device) Binary(device.BinaryOp, device.Buffer, device.Buffer, device.Buffer) {}

// AddScaled does nothing.
func (d *Device) AddScaled(device.Buffer, float32, device.Buffer) {}

// Scale does nothing.
func (d *Device) Scale(device.Buffer, float32) {}

// Gated does nothing.
func (d *Device) Gated(device.UnaryOp, device.Buffer, device.Buffer, device.Buffer) {}

// GatedGrad does nothing.
func (d *Device) GatedGrad(device.UnaryOp, device.Buffer, device.Buffer, device.Buffer, device.Buffer, device.Buffer) {
}

// Copy2D does nothing.
func (d *Device) Copy2D(device.Copy2D) {}

// Dropout does nothing.
func (d *Device) Dropout(device.Buffer, device.Buffer, float32, uint64) {}

// Norm does nothing.
func (d *Device) Norm(device.Norm) {}

// NormGrad does nothing.
func (d *Device) NormGrad(device.NormGrad) {}

// Rope does nothing.
func (d *Device) Rope(device.Rope) {}

// Embedding does nothing.
func (d *Device) Embedding(device.Buffer, device.Buffer, device.Buffer) {}

// EmbeddingGrad does nothing.
func (d *Device) EmbeddingGrad(device.Buffer, device.Buffer, device.Buffer) {}

// Route does nothing.
func (d *Device) Route(device.Route) {}

// RouteGrad does nothing.
func (d *Device) RouteGrad(device.RouteGrad) {}

// Combine does nothing.
func (d *Device) Combine(device.Combine) {}

// CombineGrad does nothing.
func (d *Device) CombineGrad(device.CombineGrad) {}

// ColumnSum does nothing.
func (d *Device) ColumnSum(device.Buffer, device.Buffer, bool) {}

// Reduce does nothing.
func (d *Device) Reduce(device.ReduceOp, device.Buffer, device.Buffer) {}

// AdamW does nothing.
func (d *Device) AdamW(device.AdamW) {}

// Pack does nothing.
func (d *Device) Pack(device.Packed, device.Buffer) {}

// Unpack does nothing.
func (d *Device) Unpack(device.Buffer, device.Packed) {}
