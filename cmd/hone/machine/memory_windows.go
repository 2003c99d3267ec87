package machine

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// systemMemory is what all programs together can be given, 0 where Windows does not say.
func systemMemory() int64 {
	var status struct { // MEMORYSTATUSEX
		length, load                        uint32
		totalPhys, availPhys                uint64
		totalPageFile, availPageFile        uint64
		totalVirtual, availVirtual, further uint64
	}
	status.length = uint32(unsafe.Sizeof(status))
	ask := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := ask.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0
	}
	return int64(status.totalPageFile)
}
