package cpu

// vecPath is one of the ways to compute the row kernels.
type vecPath uint8

const (
	pathGeneric vecPath = iota
	pathAVX2
	pathAVX512
	pathNEON
)

// vecUse is the path taken: the best that the machine has. Only tests change it.
var vecUse = vecBest()
