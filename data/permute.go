package data

import (
	"math/bits"

	"hone/internal/splitmix"
)

// key folds its parts, in order, into one number; each part changes all of it.
func key(parts ...uint64) uint64 {
	k := uint64(0)
	for _, p := range parts {
		k = splitmix.At(k ^ splitmix.At(p))
	}
	return k
}

// feistelRounds is above the four rounds with which random functions make a permutation that looks random (Luby & Rackoff, 1988), because splitmix.At is
// weaker than a random function.
const feistelRounds = 8

// permute returns where i goes in a pseudo-random permutation of 0..n-1 chosen by k, in constant time and memory: a
// balanced Feistel network over the next even number of bits, repeated until the value falls below n (cycle walking), which
// keeps it a bijection. At most 4 values per n are walked on average.
func permute(k uint64, n, i int64) int64 {
	half := uint((bits.Len64(uint64(n-1)) + 1) / 2)
	if half == 0 {
		return 0
	}
	mask := uint64(1)<<half - 1
	x := uint64(i)
	for {
		l, r := x>>half, x&mask
		for round := range uint64(feistelRounds) {
			l, r = r, l^(splitmix.At(k+round*0xd1b54a32d192ed03^splitmix.At(r))&mask)
		}
		x = l<<half | r
		if x < uint64(n) {
			return int64(x)
		}
	}
}
