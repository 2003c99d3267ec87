package plan

import "hone/device"

// FLOPs are floating-point operations, an addition or a multiplication each. Only products of matrices and attention are
// counted, as is usual: all else is a per mille.
type FLOPs struct {
	MatMul    int64 `json:"matmul"`
	Attention int64 `json:"attention"`
}

// Total is the sum.
func (f FLOPs) Total() int64 { return f.MatMul + f.Attention }

// MatMul counts two operations for each of M·N·K.
func (d *Device) MatMul(k device.MatMul) {
	d.flops.MatMul += 2 * int64(k.M) * int64(k.N) * int64(k.K) * int64(max(1, k.Batch))
}

// Attention counts the two products of the forward pass.
func (d *Device) Attention(k device.Attention) { d.flops.Attention += attention(k) }

// AttentionGrad counts four products. A kernel that computes the scores again has a fifth; it is the kernel's affair and
// no work of the model.
func (d *Device) AttentionGrad(k device.AttentionGrad) {
	d.flops.Attention += 2 * attention(k.Attention)
}

// attention is 4·D for each head and each pair of a query and a key that it may see.
func attention(k device.Attention) int64 {
	var pairs int64
	for _, s := range k.Sequences {
		before := s.KLen - s.QLen
		for q := range s.QLen {
			n := before + q + 1
			if k.Window > 0 {
				n = min(n, k.Window)
			}
			pairs += int64(n)
		}
	}
	return 4 * int64(k.D) * int64(k.Heads) * pairs
}
