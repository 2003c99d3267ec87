//go:build !nodl && (amd64 || arm64)

package dl

import (
	"errors"
	"syscall"
)

// modNotFound is ERROR_MOD_NOT_FOUND of winerror.h.
const modNotFound = syscall.Errno(126)

func open(path string) (uintptr, error) {
	h, err := syscall.LoadLibrary(path)
	return uintptr(h), err
}

func absent(err error) bool { return errors.Is(err, modNotFound) }

func find(handle uintptr, name string) uintptr {
	p, err := syscall.GetProcAddress(syscall.Handle(handle), name)
	if err != nil {
		return 0
	}
	return p
}
