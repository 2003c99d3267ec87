//go:build !noasm

package parallel

// spinPause tells the core n times that it is in a waiting loop.
//
//go:noescape
func spinPause(n int)
