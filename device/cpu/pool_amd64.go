//go:build !noasm

package cpu

// spinPause tells the core n times that it is in a waiting loop.
//
//go:noescape
func spinPause(n int)
