// Package mapped opens files as read-only byte slices without reading them: the system loads pages when they are touched.
package mapped

import (
	"fmt"
	"math"
	"os"
)

// File is a file in memory. Its bytes may not be written to, nor used after Close.
type File struct {
	data  []byte
	close func([]byte) error
}

// Open maps the regular file at path. If the file is cut short by somebody else while it is mapped, touching the lost part
// kills the process, so it suits files that are replaced by rename, never changed in place.
func Open(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // first, since opening a pipe waits for its writer
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a mapping outlives its descriptor
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("open %s: %d bytes are too many for this machine's address space", path, info.Size())
	}
	if info.Size() == 0 {
		return &File{close: func([]byte) error { return nil }}, nil
	}
	data, unmap, err := mapFile(f, int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", path, err)
	}
	return &File{data: data, close: unmap}, nil
}

// Bytes returns the content.
func (f *File) Bytes() []byte { return f.data }

// Close gives the memory back; a second Close does nothing.
func (f *File) Close() error {
	if f.data == nil {
		return nil
	}
	data := f.data
	f.data = nil
	return f.close(data)
}
