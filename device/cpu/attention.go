package cpu

import (
	"hone/device"
	"hone/device/cpu/attention"
)

// Attention computes softmax(Scale·Q·Kᵀ + mask)·V for each head and sequence.
func (d *Device) Attention(c device.Attention) {
	d.attention.Forward(c, d.attentionOperands("Attention", &c))
}

// AttentionGrad computes the gradients of Attention.
func (d *Device) AttentionGrad(c device.AttentionGrad) {
	const op = "AttentionGrad"
	o := d.attentionOperands(op, &c.Attention)
	o.DO, o.DQ = d.floats(op, c.DO, c.DO.Len), d.floats(op, c.DQ, c.DQ.Len)
	o.DK, o.DV = d.floats(op, c.DK, c.DK.Len), d.floats(op, c.DV, c.DV.Len)
	d.attention.Backward(c, o)
}

// attentionOperands views the operands of a forward pass. Whether they fit each other is for the engine to say.
func (d *Device) attentionOperands(op string, c *device.Attention) attention.Operands {
	return attention.Operands{
		Q: d.floats(op, c.Q, c.Q.Len), K: d.floats(op, c.K, c.K.Len), V: d.floats(op, c.V, c.V.Len), O: d.floats(op, c.O, c.O.Len),
		LSE: optionalF32s(op, c.LSE, c.LSE.Len),
	}
}
