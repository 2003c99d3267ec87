//go:build nodl || !(linux || darwin || windows) || !(amd64 || arm64)

package dl

import "errors"

// errNone is why nothing can be opened.
var errNone = errors.New("this build of the program cannot open libraries; use one without the tag nodl, for amd64 or arm64")

func open(string) (uintptr, error) { return 0, errNone }

func absent(error) bool { return true }

func find(uintptr, string) uintptr { return 0 }

// Call is never reached: there is no function to call.
func Call(uintptr, ...uintptr) uintptr { panic(errNone) }
