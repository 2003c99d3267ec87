package mapped

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapFile maps f. Until it is unmapped the file cannot be removed or replaced.
func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	return view(windows.Handle(f.Fd()), windows.PAGE_READONLY, windows.FILE_MAP_READ, size)
}

// mapScratch takes memory of the page file: a file in dir would be left there when the process is ended. The folder must be there all the same, as
// it must elsewhere.
func mapScratch(dir string, size int) ([]byte, func([]byte) error, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, err
	}
	data, unmap, err := view(windows.InvalidHandle, windows.PAGE_READWRITE, windows.FILE_MAP_WRITE, size)
	if err != nil {
		err = fmt.Errorf("take %d bytes of the page file: %w", size, err)
	}
	return data, unmap, err
}

// view maps size bytes of a file, or of the page file.
func view(file windows.Handle, protect, access uint32, size int) ([]byte, func([]byte) error, error) {
	mapping, err := windows.CreateFileMapping(file, nil, protect, uint32(uint64(size)>>32), uint32(size), nil)
	if err != nil {
		return nil, nil, err
	}
	defer windows.CloseHandle(mapping) // a view outlives it
	addr, err := windows.MapViewOfFile(mapping, access, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, err
	}
	data := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), size)
	unmap := func(data []byte) error { return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(&data[0]))) }
	return data, unmap, nil
}

// evict takes pages out of the working set, which is what unlocking does with pages that are not locked.
func evict(pages []byte) {
	_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(&pages[0])), uintptr(len(pages)))
}
