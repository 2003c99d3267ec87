//go:build !noasm

package gemm

// fetchBytes is what fetchLines asks for.
const fetchBytes = 12 * 64

// fetchLines asks for fetchBytes bytes from at on, to the second cache, and waits about as long as they take: what is
// asked for while too much is on its way is forgotten.
//
//go:noescape
func fetchLines(at uintptr)

// fetchThirds asks for as many lines from at on, of which it leaves out two behind each, and does not wait: an Intel core presumably forgets none, and
// takes 140 cycles for a PAUSE.
//
//go:noescape
func fetchThirds(at uintptr)
