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
	d.work.Calls++
	a, n := d.arithmetic(k.A.DType), 2*int64(k.M)*int64(k.N)*int64(k.K)*int64(max(1, k.Batch))
	switch {
	case k.M <= fewMost && k.TransB && !k.TransA: // x·Wᵀ of few rows: decoding
		a.Few += n
		a.Weights += int64(k.N) * int64(k.K) * int64(k.B.DType.Size()) * int64(max(1, k.Batch))
	case min(k.M, k.N, k.K) <= narrowMost:
		a.Narrow += n
	default:
		a.Wide += n
	}
}

// MatMulPacked counts a product that unpacks weights on the way, which device/cuda does under these conditions; no other device does.
func (d *Device) MatMulPacked(k device.MatMul, p device.Packed) bool {
	if !d.OnCard || p.Packing != device.NF4 || k.A.DType != device.BF16 || k.TransA || k.Batch > 1 || k.K%8 != 0 || k.LDA%8 != 0 || p.Cols%device.NF4Block != 0 {
		return false
	}
	if (k.M > cardUnpackedRows || k.N < cardUnpackedColumns) && (k.M > cardFewUnpackedRows || !k.TransB) {
		return false
	}
	k.B = p.Codes
	d.MatMul(k)
	return true
}

// Attention counts the two products of the forward pass.
func (d *Device) Attention(k device.Attention) {
	d.scratch(partial(k))
	a := d.arithmetic(k.Q.DType)
	all, short := attention(k)
	a.Attention, a.Short = a.Attention+all, a.Short+short
	d.work.Calls++
	for _, s := range k.Sequences {
		if s.QLen <= fewMost {
			d.work.Read += 2 * int64(s.KLen) * int64(k.KVHeads) * int64(k.D) * int64(k.K.DType.Size())
		}
	}
}

// AttentionGrad counts four products.
func (d *Device) AttentionGrad(k device.AttentionGrad) {
	d.work.Calls++
	d.scratch(k.LSE.Len)
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

// Sizes of device/cuda for attention of few queries; see its attention.go.
const (
	cardFewQueries = 8
	cardPart       = 128 // keys; heads wider than 128 channels have half
	cardRows       = 16  // of a block: queries, and heads that share keys
)

// partial is how many numbers a card takes where it cuts the keys of few queries into parts: a row of each part for each query, and two numbers of it.
func partial(k device.Attention) int {
	own, parts, queries, cut := cardPart, 0, 0, false
	if k.D > 128 {
		own /= 2
	}
	for _, s := range k.Sequences {
		if s.QLen > cardFewQueries {
			return 0
		}
		lo := 0
		if k.Window > 0 {
			lo = max(0, s.KLen-s.QLen-k.Window+1) / own * own
		}
		n := (s.KLen - lo + own - 1) / own
		parts, queries, cut = parts+n, max(queries, s.QLen), cut || n > 1
	}
	if !cut || k.Q.DType != device.BF16 {
		return 0
	}
	rows := (k.Heads/k.KVHeads*queries + cardRows - 1) / cardRows * cardRows
	return parts * k.KVHeads * rows * (k.D + 2)
}
