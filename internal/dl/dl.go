// Package dl opens shared libraries at run time and calls their functions without cgo.
//
// On Linux the package makes a program need the system's C library. The build tag nodl leaves it out: the program is then
// static, and Open always fails.
package dl

import (
	"fmt"
	"unsafe"
)

// Library is an open shared library. It is never closed: drivers keep threads and handlers of their own.
type Library struct {
	Path   string // by which it was found
	handle uintptr
}

// Open opens the first of paths that can be. A path without a slash is looked up where the system keeps its libraries.
// The error is that of the last one that exists, or else says what was looked for.
func Open(paths ...string) (*Library, error) {
	var last error
	for _, path := range paths {
		handle, err := open(path)
		if err == nil {
			return &Library{Path: path, handle: handle}, nil
		}
		if last == nil || !absent(err) {
			last = err
		}
	}
	if last == nil {
		last = fmt.Errorf("no path to a library was given")
	}
	return nil, last
}

// Absent says of an error of Open whether no library was found at all, rather than one that is unfit.
func Absent(err error) bool { return absent(err) }

// Function is the address of a function that the library must have.
func (l *Library) Function(name string) (uintptr, error) {
	if p := find(l.handle, name); p != 0 {
		return p, nil
	}
	return 0, fmt.Errorf("%s has no function %s: it is another library, or too old", l.Path, name)
}

// Functions looks up all that the map names.
func (l *Library) Functions(into map[string]*uintptr) error {
	for name, to := range into {
		p, err := l.Function(name)
		if err != nil {
			return err
		}
		*to = p
	}
	return nil
}

// Pointer is an address that a C function gave, as a pointer to memory that Go does not manage.
func Pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// String copies a C string, "" for a null pointer.
func String(address uintptr) string {
	if address == 0 {
		return ""
	}
	p, n := (*byte)(Pointer(address)), 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
