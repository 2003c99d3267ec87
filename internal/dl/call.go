//go:build !nodl && (linux || darwin || windows) && (amd64 || arm64)

package dl

import "github.com/ebitengine/purego"

// Call calls a C function of integers and pointers and returns its result, of which a C int is the lower half. What
// uintptr(unsafe.Pointer(&x)) in the list of arguments points to lives and stays where it is until the call returns.
//
//go:uintptrescapes
func Call(function uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(function, args...)
	return r
}
