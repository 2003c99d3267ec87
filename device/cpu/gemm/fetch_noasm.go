//go:build !amd64 || noasm

package gemm

const fetchBytes = 12 * 64

// fetchLines and fetchThirds would ask for memory; no kernel here is fast enough to wait for it.
func fetchLines(uintptr)  {}
func fetchThirds(uintptr) {}
