package device

// Arranged is a weight in the order in which its device reads it fastest: the B of products with op(B) [K, N].
type Arranged struct {
	K, N   int
	TransB bool // B was stored [N, K]
	Buf    Buffer
}

// Arranger is a device that multiplies faster by a weight that it may store in an order of its own. It is optional.
// Products have the same bits as with the weight as it was.
type Arranger interface {
	// Arrange copies b, the B of products. Free gives the copy's Buf back. ok is false where it would gain nothing.
	Arrange(b Buffer, k, n int, transB bool) (a Arranged, ok bool)
	// Rearrange is the opposite: y is as the weight was.
	Rearrange(y Buffer, a Arranged)
	// ArrangedRows is Embedding from a weight that was stored [N, K]: y[i] = row ids[i] of it, in K columns.
	ArrangedRows(y Buffer, a Arranged, ids Buffer)
}
