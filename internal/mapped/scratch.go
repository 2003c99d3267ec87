package mapped

import (
	"fmt"
	"math"
	"os"
)

// Scratch is memory that a file without a name stands behind: it can be written, the system may move what is not in use to the
// disk, and it is gone with the process.
type Scratch struct {
	data  []byte
	unmap func([]byte) error
}

// NewScratch makes size bytes of zeros with a file in dir, or in Windows' page file. The room on the disk is taken at once, so that a full disk is an
// error here and not a crash later.
func NewScratch(dir string, size int64) (*Scratch, error) {
	if size == 0 {
		return &Scratch{unmap: func([]byte) error { return nil }}, nil
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("%d bytes are too many for this machine's address space", size)
	}
	data, unmap, err := mapScratch(dir, int(size))
	if err != nil {
		return nil, err
	}
	return &Scratch{data, unmap}, nil
}

// Bytes is the memory.
func (s *Scratch) Bytes() []byte { return s.data }

// Evict lets go of the whole pages among bytes lo to hi; they come back from the file when touched.
func (s *Scratch) Evict(lo, hi int64) {
	page := int64(os.Getpagesize())
	lo = (lo + page - 1) / page * page
	if hi < int64(len(s.data)) { // the last page is nobody else's
		hi = hi / page * page
	}
	if lo < hi {
		evict(s.data[lo:hi])
	}
}

// Close gives memory and disk back; a second Close does nothing.
func (s *Scratch) Close() error {
	if s.data == nil {
		return nil
	}
	data := s.data
	s.data = nil
	return s.unmap(data)
}
