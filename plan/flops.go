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
	a, n := d.arithmetic(k.A.DType), 2*int64(k.M)*int64(k.N)*int64(k.K)*int64(max(1, k.Batch))
	switch {
	case k.M <= fewMost && k.TransB && !k.TransA:
		a.Few += n
		a.Weights += int64(k.N) * int64(k.K) * int64(k.B.DType.Size()) * int64(max(1, k.Batch))
		d.work.Calls++
	case min(k.M, k.N, k.K) <= narrowMost:
		a.Narrow += n
	default:
		a.Wide += n
	}
}

// Attention counts the two products of the forward pass.
func (d *Device) Attention(k device.Attention) {
	a := d.arithmetic(k.Q.DType)
	all, short := attention(k)
	a.Attention, a.Short = a.Attention+all, a.Short+short
	if len(k.Sequences) > 0 && k.Sequences[0].QLen <= fewMost {
		d.work.Calls++
	}
	for _, s := range k.Sequences {
		if s.QLen <= fewMost {
			d.work.Read += 2 * int64(s.KLen) * int64(k.KVHeads) * int64(k.D) * int64(k.K.DType.Size())
		}
	}
}

// AttentionGrad counts four products.
func (d *Device) AttentionGrad(k device.AttentionGrad) {
	a := d.arithmetic(k.Q.DType)
	all, short := attention(k.Attention)
	a.AttentionGrad, a.ShortGrad = a.AttentionGrad+2*all, a.ShortGrad+2*short
}

// attention is 4·D for each head and each pair of a query and a key that it may see, and of that what is lost on short sequences.
func attention(k device.Attention) (all, short int64) {
	for _, s := range k.Sequences {
		before, pairs := s.KLen-s.QLen, int64(0)
		for q := range s.QLen {
			n := before + q + 1
			if k.Window > 0 {
				n = min(n, k.Window)
			}
			pairs += int64(n)
		}
		n := 4 * int64(k.D) * int64(k.Heads) * pairs
		all, short = all+n, short+n*halfLength/int64(max(1, s.KLen))
	}
	return all, short
}
