//go:build !amd64 || noasm

package parallel

import "runtime"

// spinPause gives other goroutines a chance; there is no instruction for waiting here.
func spinPause(int) { runtime.Gosched() }
