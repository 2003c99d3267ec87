package eval

import "math"

// Wilson is the 95% interval of the share that right of n are (Wilson, 1927): unlike mean ± 1.96·σ it stays
// within 0 and 1, and has a width where right is 0 or n.
func Wilson(right, n float64) (lo, hi float64) {
	const z = 1.959964
	if n == 0 {
		return 0, 1
	}
	p := right / n
	mid, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (mid-half)/(1+z*z/n)), min(1, (mid+half)/(1+z*z/n))
}
