package cuda

import (
	"fmt"
	"unsafe"
)

// Copies to the card go through pinned memory: the host fills one piece while the card fetches others.
const (
	stagingBytes  = 4 << 20
	stagingPieces = 4
)

// staging lends pieces of pinned memory, each of which is free again when the card has passed its mark.
type staging struct {
	driver driver
	free   chan *piece
}

type piece struct {
	memory unsafe.Pointer
	busy   bool
	mark   mark
}

func newStaging(d driver) (*staging, error) {
	s := &staging{driver: d, free: make(chan *piece, stagingPieces)}
	for range stagingPieces {
		p, err := d.pin(stagingBytes)
		if err != nil {
			return nil, fmt.Errorf("pin %d MiB of the host's memory for copies: %w", stagingBytes>>20, err)
		}
		s.free <- &piece{memory: p}
	}
	return s, nil
}

// get returns a piece that the card is done with.
func (s *staging) get() *piece {
	p := <-s.free
	if p.busy {
		p.busy = false
		_ = s.driver.wait(p.mark) // what failed, failed in the stream, and Sync reports it
	}
	return p
}

// put gives a piece back, whose copies have been queued.
func (s *staging) put(p *piece) (err error) {
	if p.mark, err = s.driver.mark(p.mark); err == nil {
		p.busy = true
	}
	s.free <- p
	return err
}
