package cpu

// vecPath is one of the ways to compute the row kernels.
type vecPath uint8

const (
	pathGeneric vecPath = iota
	pathAVX2
	pathAVX512
)

func (p vecPath) String() string {
	switch p {
	case pathAVX2:
		return "avx2"
	case pathAVX512:
		return "avx512"
	}
	return "generic"
}

// vecUse is the path taken: the best that the machine has. Only tests change it.
var vecUse = vecBest()

// vecPaths are all paths that the machine can take.
func vecPaths() []vecPath {
	var all []vecPath
	for p := pathGeneric; p <= vecBest(); p++ {
		all = append(all, p)
	}
	return all
}
