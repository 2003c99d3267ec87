package cuda

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"hone/device"
	"hone/internal/arena"
)

// What the host writes goes through pinned memory and a landing place on the card: it crosses the bus while kernels run, and the
// compute queue only moves it, within the card, to where it belongs. So a buffer may be written whatever is queued for the memory
// that it has, and the next batch is on the card before the step is over.
const (
	smallPiece, smallPieces = 64 << 10, 64 // a step writes many small things, and is not to wait for the card over them
	largePiece, largePieces = 2 << 20, 8
)

// staging lends pieces, each of which is free again when the card has passed its mark.
type staging struct {
	driver       driver
	small, large chan *piece
	landing      *arena.Span
	reading      sync.Mutex
}

// piece is a stretch of pinned memory, and as much on the card.
type piece struct {
	memory  unsafe.Pointer
	landing pointer
	size    int64
	busy    bool
	arrived mark // on the card
	moved   mark // to where it belongs
}

func newStaging(d *Device) (*staging, error) {
	s := &staging{driver: d.driver, small: make(chan *piece, smallPieces), large: make(chan *piece, largePieces)}
	const bytes = smallPiece*smallPieces + largePiece*largePieces
	memory, err := d.driver.pin(bytes)
	if err != nil {
		return nil, fmt.Errorf("pin %d MiB of the host's memory for copies: %w", bytes>>20, err)
	}
	s.landing = d.room(bytes)
	at := 0
	for _, k := range []struct {
		to          chan *piece
		size, count int
	}{{s.small, smallPiece, smallPieces}, {s.large, largePiece, largePieces}} {
		for range k.count {
			k.to <- &piece{memory: unsafe.Add(memory, at), landing: pointer(s.landing.Base()) + pointer(at), size: int64(k.size)}
			at += k.size
		}
	}
	return s, nil
}

// get returns a piece for up to n bytes, or a part of them, that the card is done with.
func (s *staging) get(n int64) *piece {
	p := s.take(n)
	if p.busy {
		p.busy = false
		_ = s.driver.wait(p.moved) // what failed, failed in the queue, and Sync reports it
	}
	return p
}

func (s *staging) take(n int64) *piece {
	if n > smallPiece {
		return <-s.large
	}
	return <-s.small
}

func (s *staging) give(p *piece) {
	if p.size == smallPiece {
		s.small <- p
		return
	}
	s.large <- p
}

// send queues the first n bytes of p for the card, and gives p back.
func (s *staging) send(p *piece, to pointer, n int64) (err error) {
	defer func() { s.give(p) }()
	if err := s.driver.copy(inward, p.landing, at(p.memory), n); err != nil {
		return err
	}
	if p.arrived, err = s.driver.mark(inward, p.arrived); err != nil {
		return err
	}
	if err := s.driver.await(compute, p.arrived); err != nil {
		return err
	}
	if err := s.driver.copy(compute, to, p.landing, n); err != nil {
		return err
	}
	if p.moved, err = s.driver.mark(compute, p.moved); err == nil {
		p.busy = true
	}
	return err
}

// at is the address of pinned memory, which the card sees at the same one.
func at(p unsafe.Pointer) pointer { return pointer(uintptr(p)) }

// kernels/write.cu
var kernelWrite = kernel{"write", "write_bytes"}

// writeArgs is struct WriteArgs.
type writeArgs struct {
	to           [4]pointer
	begins, ends [4]int32
	count, _     int32
	bytes        [2048]byte
}

// writeLittle has a kernel write src, which goes to the card with it: sooner than a copy that other queues must wait for. It is held, and what is
// written next goes along.
func writeLittle[S, T any](d *Device, to pointer, src []S, convert func(S) T) {
	size := unsafe.Sizeof(*new(T))
	n := int32(len(src) * int(size))
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	bytes := d.holdWrite(use{to, to + pointer(n), true}, n)
	for i, v := range src {
		*(*T)(unsafe.Pointer(&bytes[uintptr(i)*size])) = convert(v)
	}
}

// write copies src to the card, converted, a piece at a time.
func write[S, T any](d *Device, to pointer, src []S, convert func(S) T) {
	size := int64(unsafe.Sizeof(*new(T)))
	if n := len(src); n > 0 && int64(n)*size <= int64(len(writeArgs{}.bytes)) {
		writeLittle(d, to, src, convert)
		return
	}
	_, plain := any(src).([]T)
	for len(src) > 0 {
		p := d.staging.get(int64(len(src)) * size)
		n := min(len(src), int(p.size/size))
		inBands(n, func(lo, hi int) {
			if plain {
				copy(unsafe.Slice((*S)(p.memory), n)[lo:hi], src[lo:hi])
				return
			}
			to := unsafe.Slice((*T)(p.memory), n)[lo:hi]
			for i, v := range src[lo:hi] {
				to[i] = convert(v)
			}
		})
		d.fail(d.staging.send(p, to, int64(n)*size))
		src, to = src[n:], to+pointer(int64(n)*size)
	}
}

// inBands calls f for parts of n elements, side by side where there are many: one core is slower than the bus.
func inBands(n int, f func(lo, hi int)) {
	const band = 64 << 10
	if n <= band || runtime.GOMAXPROCS(0) == 1 {
		f(0, n)
		return
	}
	var all sync.WaitGroup
	for lo := 0; lo < n; lo += band {
		all.Go(func() { f(lo, min(lo+band, n)) })
	}
	all.Wait()
}

// read waits for src and copies it to the host: while the host empties one piece, the card fills others.
func read[T any](d *Device, dst []T, src pointer) error {
	d.staging.reading.Lock() // who reads holds several pieces: two who do might wait for each other's
	defer d.staging.reading.Unlock()
	size := int64(unsafe.Sizeof(*new(T)))
	type part struct {
		*piece
		dst []T
	}
	var parts []part
	finish := func() error {
		p := parts[0]
		parts = parts[1:]
		err := d.driver.wait(p.moved)
		if err == nil {
			copy(p.dst, unsafe.Slice((*T)(p.memory), len(p.dst)))
		}
		p.busy = false
		d.staging.give(p.piece)
		return err
	}
	var err error
	for len(dst) > 0 && err == nil {
		if len(parts) == largePieces/4 {
			err = finish()
		}
		p := d.staging.get(int64(len(dst)) * size)
		n := min(len(dst), int(p.size/size))
		if err == nil {
			err = d.driver.copy(compute, at(p.memory), src, int64(n)*size)
		}
		if err == nil {
			p.moved, err = d.driver.mark(compute, p.moved)
		}
		parts = append(parts, part{p, dst[:n]})
		dst, src = dst[n:], src+pointer(int64(n)*size)
	}
	for len(parts) > 0 {
		if e := finish(); err == nil {
			err = e
		}
	}
	return err
}

// letters are small results on their way to the host, each in pinned memory of its own.
type letters struct {
	mu   sync.Mutex
	free []*letter
}

// letterSize is the most bytes of a result that is read later.
const letterSize = 4 << 10

type letter struct {
	memory unsafe.Pointer
	mark   mark
}

func (l *letters) get(d driver) (*letter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		k := l.free[n-1]
		l.free = l.free[:n-1]
		return k, nil
	}
	const count = 64
	memory, err := d.pin(count * letterSize)
	if err != nil {
		return nil, fmt.Errorf("pin memory for results: %w", err)
	}
	for i := range count {
		l.free = append(l.free, &letter{memory: unsafe.Add(memory, i*letterSize)})
	}
	k := l.free[count-1]
	l.free = l.free[:count-1]
	return k, nil
}

func (l *letters) put(k *letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, k)
}

var _ device.Later = (*Device)(nil)

// ReadLater copies up to 1024 numbers to the host when what is queued now is done; see device.Later.
func (d *Device) ReadLater(dst any, src device.Buffer) func() error {
	size := int64(src.Len) * int64(src.DType.Size())
	checkLen("ReadLater", src, lenOf(dst, src.DType))
	if size > letterSize {
		err := d.Read(dst, src)
		return func() error { return err }
	}
	k, err := d.letters.get(d.driver)
	if err == nil {
		err = d.driver.copy(compute, at(k.memory), address(src), size)
	}
	if err == nil {
		k.mark, err = d.driver.mark(compute, k.mark)
	}
	if err != nil {
		return func() error { return err }
	}
	return func() error {
		defer d.letters.put(k)
		if err := d.driver.wait(k.mark); err != nil {
			return err
		}
		switch t := dst.(type) {
		case []float32:
			copy(t, unsafe.Slice((*float32)(k.memory), len(t)))
		case []int32:
			copy(t, unsafe.Slice((*int32)(k.memory), len(t)))
		}
		return d.trouble()
	}
}

// lenOf is the length of dst, which takes numbers of a type as they are.
func lenOf(dst any, t device.DType) int {
	switch s := dst.(type) {
	case []float32:
		if t == device.F32 {
			return len(s)
		}
	case []int32:
		if t == device.I32 {
			return len(s)
		}
	}
	panic(fmt.Sprintf("cuda: ReadLater of %s into a %T", t, dst))
}
