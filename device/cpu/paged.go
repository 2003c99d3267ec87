package cpu

import (
	"fmt"
	"unsafe"

	"hone/device"
	"hone/internal/mapped"
)

var _ device.Pager = (*Device)(nil)

// AllocPaged returns n elements of zero in a nameless file in dir. Memory does not count them: the system
// keeps of them what it has room for.
func (d *Device) AllocPaged(dir string, n int, t device.DType) (device.Buffer, error) {
	size := int64(n) * int64(t.Size())
	file, err := mapped.NewScratch(dir, size)
	if err != nil {
		return device.Buffer{}, fmt.Errorf("page %d MiB to disk: %w", size>>20, err)
	}
	k := &block{start: unsafe.Pointer(unsafe.SliceData(file.Bytes())), bytes: size, mapping: file}
	return device.Buffer{Mem: k, Len: n, DType: t}, nil
}

// Evict takes whole pages of a paged buffer out of the process's memory.
func (d *Device) Evict(b device.Buffer) {
	k := blockOf(b)
	if k.mapping == nil {
		panic("cpu: Evict of a buffer that is not paged")
	}
	size := int64(b.DType.Size())
	k.mapping.Evict(int64(b.Off)*size, int64(b.Off+b.Len)*size)
}

// unmap gives a paged block's memory and file back.
func (k *block) unmap() {
	if k.freed {
		panic("cpu: buffer freed twice")
	}
	k.freed = true
	k.mapping.Close()
}
