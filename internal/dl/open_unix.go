//go:build !nodl && (linux || darwin) && (amd64 || arm64)

package dl

import (
	"runtime"
	"strings"

	"github.com/ebitengine/purego"
)

// open stays on a thread, since dlerror knows only of those that failed on its own.
func open(path string) (uintptr, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
}

// absent knows dlopen's message, which is all that it gives: "No such file or directory" on Linux, "(no such file)" on macOS.
func absent(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "no such file")
}

func find(handle uintptr, name string) uintptr {
	p, err := purego.Dlsym(handle, name)
	if err != nil {
		return 0
	}
	return p
}
