// Package splitmix is SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014), by which what looks like chance
// in training is a function of counters. Shuffles, dropout, first weights and sampled tokens depend on each of its bits.
package splitmix

// Step is what the generator adds to its state for each number: 2⁶⁴ divided by the golden ratio, odd, so that the state takes every value.
const Step = 0x9e3779b97f4a7c15

// At is the number that follows the state x: a bijection on 64 bits that scatters close inputs.
func At(x uint64) uint64 { return Finish(x + Step) }

// Finish is At without the step, for states that are spread already. It leaves 0 as it is.
func Finish(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Next moves the state on and returns its number.
func Next(state *uint64) uint64 {
	*state += Step
	return Finish(*state)
}
