package cpu

import (
	"fmt"

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
	s := &span{segment: &segment{bytes: file.Bytes()}, size: size, asked: size, mapping: file}
	return device.Buffer{Mem: s, Len: n, DType: t}, nil
}

// Evict takes whole pages of a paged buffer out of the process's memory.
func (d *Device) Evict(b device.Buffer) {
	s := spanOf(b)
	if s.mapping == nil {
		panic("cpu: Evict of a buffer that is not paged")
	}
	size := int64(b.DType.Size())
	s.mapping.Evict(int64(b.Off)*size, int64(b.Off+b.Len)*size)
}

// unmap gives a paged span's memory and file back.
func (s *span) unmap() {
	if s.free {
		panic("cpu: buffer freed twice")
	}
	s.mapping.Close()
	*s = span{segment: s.segment, free: true, mapping: s.mapping}
}
