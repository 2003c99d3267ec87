package tensor

import (
	"math"

	"hone/internal/splitmix"
)

// Random is a counter-based generator (SplitMix64, Steele et al., 2014): every number is a function of the key and
// a counter, so that resuming a run or changing the number of threads cannot change it.
type Random struct{ key, count uint64 }

// NewRandom derives a generator from numbers such as seed, step and index.
func NewRandom(parts ...uint64) Random {
	var r Random
	for _, p := range parts {
		r.key = splitmix.Finish(r.key ^ splitmix.At(p))
	}
	return r
}

// NewRandomFor derives a generator from a seed and a name, such as a parameter's.
func NewRandomFor(seed uint64, name string) Random {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return NewRandom(seed, h)
}

// Uint64 returns the next number.
func (r *Random) Uint64() uint64 {
	r.count++
	return splitmix.Finish(r.key + r.count*splitmix.Step)
}

// Float64 returns the next number, uniform in [0, 1).
func (r *Random) Float64() float64 { // the 53 bits that a float64 holds exactly
	return float64(r.Uint64()>>11) / (1 << 53)
}

// Normal fills v with normal numbers of mean 0 and the given standard deviation (Box-Muller).
func (r *Random) Normal(v []float32, std float64) {
	for i := 0; i < len(v); i += 2 {
		u, w := 1-r.Float64(), r.Float64() // u in (0, 1]: its logarithm is finite
		m := std * math.Sqrt(-2*math.Log(u))
		sin, cos := math.Sincos(2 * math.Pi * w)
		v[i] = float32(m * cos)
		if i+1 < len(v) {
			v[i+1] = float32(m * sin)
		}
	}
}

// Uniform fills v with numbers uniform in [-bound, bound).
func (r *Random) Uniform(v []float32, bound float64) {
	for i := range v {
		v[i] = float32((2*r.Float64() - 1) * bound)
	}
}
