package device

import "slices"

// DynamicBlock is the number of elements that share a scale in 8-bit optimizer states.
const DynamicBlock = 256

// DynamicMap is the code of block-wise dynamic quantisation (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", 2021,
// as bitsandbytes' create_dynamic_map builds it): 256 ascending numbers in (-1, 1], or in [0, 1] without signs. A block is its
// largest magnitude, the scale, and for each element the number of the nearest code, the lower one of two as near.
func DynamicMap(signed bool) [256]float32 {
	var codes [256]float32
	list := codes[:0]
	for decade := range 7 {
		power := [7]float32{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1}[decade]
		n := 1 << decade // numbers in a decade of exponents: one bit goes from the fraction to the exponent with each
		if !signed {
			n *= 2
		}
		for i := range n {
			mean := (spaced(i, n+1) + spaced(i+1, n+1)) / 2
			list = append(list, power*mean)
			if signed {
				list = append(list, -(power * mean))
			}
		}
	}
	list = append(list, 0, 1)
	slices.Sort(list)
	return codes
}

// spaced is the i-th of n numbers from 0.1 to 1 at equal distances, rounded as torch.linspace does: the step first, and then
// once more after a fused multiplication and addition, from the nearer end.
func spaced(i, n int) float32 {
	const first = float32(0.1)
	step := float64((1 - first) / float32(n-1))
	if i < n/2 {
		return float32(float64(first) + step*float64(i))
	}
	return float32(1 - step*float64(n-1-i))
}
