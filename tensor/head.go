package tensor

import "hone/device"

// Head is the output layer of a language model: logits = x·Weightᵀ + Bias, and with a soft cap
// cap·tanh(logits/cap) (Gemma 2, 2024, section 2).
type Head struct {
	Weight  *Tensor // [V, C]
	Bias    *Tensor // [V] or nil
	SoftCap float32 // 0 means off
}

// Logits are the scores of the rows of x [N, C]: [N, V], in x's dtype.
func (h Head) Logits(x *Tensor) *Tensor {
	y := Linear(x, h.Weight, h.Bias)
	if h.SoftCap > 0 {
		y = Scale(Unary(device.Tanh, Scale(y, 1/h.SoftCap)), h.SoftCap)
	}
	return y
}

// Compute writes the scores of the rows of x [N, C] to logits [N, V] in F32, outside of any tape.
func (h Head) Compute(dev device.Device, logits, x device.Buffer) {
	h.project(dev, logits, x, h.Weight.Shape[0])
	h.cap(dev, logits, logits)
}

// project computes the logits before the cap, rows ld elements apart.
func (h Head) project(dev device.Device, logits, x device.Buffer, ld int) {
	v, c := h.Weight.Shape[0], h.Weight.Cols()
	m := device.MatMul{M: x.Len / c, N: v, K: c, A: x, TransB: true, C: logits, LDC: ld}
	if h.Bias != nil {
		m.Bias = h.Bias.Buffer()
	}
	matMul(dev, m, h.Weight)
}

// cap writes cap·tanh(logits/cap) to capped. logits become logits/cap, from which the gradient computes the
// slope of tanh, unless capped is the same memory.
func (h Head) cap(dev device.Device, capped, logits device.Buffer) {
	if h.SoftCap > 0 {
		dev.Scale(logits, 1/h.SoftCap)
		dev.Unary(device.Tanh, capped, logits)
		dev.Scale(capped, h.SoftCap)
	}
}
