package vec

// Piece is the most elements that a sum adds up in one go. Longer sums add
// the sums of such pieces in pairs, so that their error grows with the logarithm of the length.
const Piece = 4096

// Sum is the sum of x.
func (path Path) Sum(x []float32) float32 {
	if len(x) <= Piece {
		return path.sumPiece(x)
	}
	return pairwise(len(x), func(lo, hi int) float32 { return path.sumPiece(x[lo:hi]) })
}

// The ...Piece functions add up at most Piece elements. Rows are seldom longer, and short ones cost more to divide than to add.

func (path Path) sumPiece(x []float32) (s float32) {
	if len(x) > 0 && !path.doorSum(&x[0], len(x), &s) {
		s = genericSum(x)
	}
	return s
}

func (path Path) sumSquaresPiece(x []float32, sub float32) (s float32) {
	if len(x) > 0 && !path.doorSumSquares(&x[0], len(x), sub, &s) {
		s = genericSumSquares(x, sub)
	}
	return s
}

func (path Path) dotPiece(a, b []float32) (s float32) {
	if len(a) > 0 && !path.doorDot(&a[0], &b[0], len(a), &s) {
		s = genericDot(a, b)
	}
	return s
}

// SumSquares is the sum of (x-sub)².
func (path Path) SumSquares(x []float32, sub float32) float32 {
	if len(x) <= Piece {
		return path.sumSquaresPiece(x, sub)
	}
	return pairwise(len(x), func(lo, hi int) float32 { return path.sumSquaresPiece(x[lo:hi], sub) })
}

// Dot is the sum of a·b.
func (path Path) Dot(a, b []float32) float32 {
	b = b[:len(a)]
	if len(a) <= Piece {
		return path.dotPiece(a, b)
	}
	return pairwise(len(a), func(lo, hi int) float32 { return path.dotPiece(a[lo:hi], b[lo:hi]) })
}

// pairwise adds f over pieces of Piece elements of [0, n) in a binary tree.
func pairwise(n int, f func(lo, hi int) float32) float32 {
	var t SumTree
	for lo := 0; lo < n; lo += Piece {
		t.Add(f(lo, min(lo+Piece, n)))
	}
	return t.Total()
}

// SumTree adds numbers in pairs, then pairs of pairs, and so on: level l holds
// the sum of 2^l numbers when bit l of count is set.
type SumTree struct {
	count uint64
	level [48]float32
}

// Add adds v.
func (t *SumTree) Add(v float32) {
	l := 0
	for ; t.count>>l&1 != 0; l++ {
		v = t.level[l] + v
	}
	t.level[l] = v
	t.count++
}

// Total is the sum.
func (t *SumTree) Total() float32 {
	var s float32
	for l := 0; t.count>>l != 0; l++ {
		if t.count>>l&1 != 0 {
			s = t.level[l] + s
		}
	}
	return s
}

// Max is the largest x, NaN if any is NaN, -Inf for no elements.
func (path Path) Max(x []float32) float32 {
	var m float32
	if len(x) == 0 || !path.doorMax(&x[0], len(x), &m) {
		m = genericMax(x)
	}
	return m
}

// MaxAbs is the largest |x|, NaN if any is NaN, 0 for no elements.
func (path Path) MaxAbs(x []float32) float32 {
	var m float32
	if len(x) == 0 || !path.doorMaxAbs(&x[0], len(x), &m) {
		m = genericMaxAbs(x)
	}
	return m
}

// NonFinite counts the NaN and Inf elements of x.
func (path Path) NonFinite(x []float32) int {
	count := 0
	const piece = 1 << 22 // a lane counts in float32, exact far beyond this
	for ; len(x) > piece; x = x[piece:] {
		count += path.nonFinitePiece(x[:piece])
	}
	return count + path.nonFinitePiece(x)
}

func (path Path) nonFinitePiece(x []float32) int {
	var c float32
	if len(x) > 0 && path.doorNonFinite(&x[0], len(x), &c) {
		return int(c)
	}
	return genericNonFinite(x)
}
