// Package cuda computes the kernels of package device on an NVIDIA GPU. The driver and the libraries are opened at run time,
// the kernels (kernels/*.cu) are compiled for the card at hand and kept on disk; nothing of CUDA is needed to build.
//
// Kernels are queued and run while the program goes on; Read and Sync wait. Every result depends on the operands alone: sums
// have a fixed order, and no kernel adds to floats atomically.
package cuda

import (
	"errors"
	"fmt"
	"sync"

	"hone/device"
	"hone/device/cuda/toolkit"
	"hone/internal/arena"
	"hone/internal/half"
)

// Options are the settings of a Device. The zero value takes the first card.
type Options struct {
	// Index is the number of the card, as the driver counts them.
	Index int
	// MemoryLimit is the most bytes the device may take of the card; 0 means all there is.
	MemoryLimit int64
	// Libraries are folders to look for libcublasLt and libnvrtc in, before the usual ones.
	Libraries []string
	// Cache is the folder for compiled kernels; without one they are compiled anew each time.
	Cache string
	// TF32 lets products of F32 matrices use tensor cores, with inputs rounded to 10 bits after the point.
	TF32 bool
	// Timing measures how long the card takes for each kernel; see Device.Times. It makes queueing slower.
	Timing bool
}

// Device is an NVIDIA GPU as a device.Device. Make it with Open, release it with Close. It may be used by several goroutines
// as long as no two calls touch the same buffer, one of them writing.
type Device struct {
	driver  driver
	card    card
	arena   *arena.Arena
	most    int64        // bytes that the arena may have
	host    *arena.Arena // of pinned memory
	staging *staging
	letters letters
	failure *int32      // in pinned memory: what a kernel found wrong
	tables  *arena.Span // code books

	mu        sync.Mutex
	marks     []mark // that can be made anew
	functions map[kernel]function
	blocks    map[*block]struct{} // allocated ones
	err       error               // the first of the driver
	tiles     tileCache
	paging    paging
	held      held
	bundle    bundle
}

var _ device.Device = (*Device)(nil)

// Open opens a card. The error says what is missing and what to do about it.
func Open(o Options) (*Device, error) {
	d, err := openNvidia(o)
	if err != nil {
		return nil, err
	}
	sizes := sizesFor(d.card(), o.MemoryLimit)
	if o.Timing {
		return newDevice(newStopwatch(d), sizes)
	}
	return newDevice(d, sizes)
}

// Sizes of the allocator: addresses of a buffer fit every vector load; a large one begins on a page of 4096 bytes, which
// copies like. Address space is reserved for the whole card at once and gets memory as it is needed.
const (
	smallAlign = 256
	largeAlign = 4096
	largeSize  = 1 << 20
)

func sizesFor(c card, limit int64) arena.Sizes {
	return arena.Sizes{SmallAlign: smallAlign, LargeAlign: largeAlign, Large: largeSize, SmallSegment: 64 << 20, LargeSegment: c.memory, Limit: limit}
}

func newDevice(dr driver, z arena.Sizes) (*Device, error) {
	d := &Device{card: dr.card(), functions: map[kernel]function{}, blocks: map[*block]struct{}{}}
	d.driver = orderly{dr, d}
	if d.most = d.card.memory; z.Limit > 0 {
		d.most = min(d.most, z.Limit)
	}
	d.arena, d.paging = arena.New(dr, z), paging{d: d, part: pagedPart, round: 1}
	d.host = arena.New(&hostMemory{d}, hostSizes)
	var err error
	if d.staging, err = newStaging(d); err != nil {
		return nil, err
	}
	word, err := dr.pin(4)
	if err != nil {
		return nil, fmt.Errorf("pin memory for the card to report to: %w", err)
	}
	d.failure = (*int32)(word)
	d.writeTables()
	return d, nil
}

// Close gives all memory back. No buffer of the device may be used after it.
func (d *Device) Close() error {
	err := d.Sync()
	err = errors.Join(err, d.dropGraphs())
	return errors.Join(err, d.driver.close())
}

// Name is the card's, e.g. "cuda (NVIDIA H200, sm_90, 141 GB)".
func (d *Device) Name() string {
	return fmt.Sprintf("cuda (%s, sm_%d, %d GB)", d.card.name, d.card.arch, d.card.memory/1e9)
}

// fail keeps the driver's first error for all Syncs to come.
func (d *Device) fail(err error) {
	if err == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
}

// failures are what kernels report, by code.
var failures = [...]string{"", "Rope: a position outside of the tables", "CrossEntropy: a target that is no column",
	"Embedding: an id outside of the table", "Combine: an index that is no row", "PutRows: a place that is no row"}

// Sync waits for all kernels and reports what failed; see trouble.
func (d *Device) Sync() error {
	d.fail(d.driver.sync())
	return d.trouble()
}

// trouble is the first failure that is known of. What a kernel found wrong with its operands is said once; what the driver
// could not do stays, so that no weights that are half updated are ever saved.
func (d *Device) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if code := *d.failure; code != 0 && d.err == nil {
		*d.failure = 0
		return fmt.Errorf("cuda: %s", failures[min(int(code), len(failures)-1)])
	}
	return d.err
}

// Write copies src into dst; see device.Device.
func (d *Device) Write(dst device.Buffer, src any) {
	switch s := src.(type) {
	case []float32:
		checkLen("Write", dst, len(s))
		if dst.DType == device.BF16 {
			write(d, address(dst), s, half.BFromFloat32)
			return
		}
		write(d, address(need(dst, device.F32)), s, keep)
	case []uint16:
		checkLen("Write", dst, len(s))
		if dst.DType == device.F32 {
			write(d, address(dst), s, widen)
			return
		}
		write(d, address(need(dst, device.BF16)), s, keep)
	case []int32:
		checkLen("Write", dst, len(s))
		write(d, address(need(dst, device.I32)), s, keep)
		blockOf(dst).remember(dst.Off, s)
	case []uint8:
		checkLen("Write", dst, len(s))
		write(d, address(need(dst, device.U8)), s, keep)
	default:
		panic(fmt.Sprintf("cuda: Write of a %T", src))
	}
}

func keep[T any](v T) T { return v }

// Read waits for the device and copies src into dst; see device.Device.
func (d *Device) Read(dst any, src device.Buffer) error {
	var err error
	switch t := dst.(type) {
	case []float32:
		checkLen("Read", src, len(t))
		if src.DType == device.BF16 {
			bits := make([]uint16, len(t))
			err = read(d, bits, address(src))
			for i, b := range bits {
				t[i] = widen(b)
			}
			break
		}
		err = read(d, t, address(need(src, device.F32)))
	case []uint16:
		checkLen("Read", src, len(t))
		err = read(d, t, address(need(src, device.BF16)))
	case []int32:
		checkLen("Read", src, len(t))
		err = read(d, t, address(need(src, device.I32)))
	case []uint8:
		checkLen("Read", src, len(t))
		err = read(d, t, address(need(src, device.U8)))
	default:
		panic(fmt.Sprintf("cuda: Read into a %T", dst))
	}
	return errors.Join(err, d.Sync())
}

func checkLen(op string, b device.Buffer, n int) {
	if b.Len != n {
		panic(fmt.Sprintf("cuda: %s of %d elements with a buffer of %d", op, n, b.Len))
	}
}

// Report is what a machine has of what the device needs.
type Report struct {
	Driver   string   `json:"driver"` // the CUDA that the driver is made for, and where it was found; "" without one
	Cards    []string `json:"cards"`
	Compiler string   `json:"nvrtc"`
	Products string   `json:"cublaslt"`
	Missing  []string `json:"missing"` // what is missing or unfit, each with the remedy
}

// Inspect looks for the driver, its cards and then the libraries, and opens no card.
func Inspect(o Options) Report {
	var r Report
	c, err := findCU()
	if err != nil {
		r.Missing = append(r.Missing, err.Error())
		return r
	}
	major := c.version / 1000
	r.Driver = fmt.Sprintf("CUDA %d.%d (%s)", major, c.version%1000/10, c.library.Path)
	cards, err := c.cards()
	if err != nil || len(cards) == 0 {
		r.Missing = append(r.Missing, fmt.Sprintf("the driver sees no card (%v); CUDA_VISIBLE_DEVICES may hide them", err))
	}
	for _, k := range cards {
		r.Cards = append(r.Cards, fmt.Sprintf("%s, sm_%d, %d GB, %d multiprocessors", k.name, k.arch, k.memory/1e9, k.processors))
	}
	if n, err := toolkit.OpenCompiler(o.Libraries, major); err != nil {
		r.Missing = append(r.Missing, err.Error())
	} else {
		r.Compiler = fmt.Sprintf("%s (%s)", n.Version, n.Path)
	}
	if l, err := openCublasLt(o.Libraries, major); err != nil {
		r.Missing = append(r.Missing, err.Error())
	} else {
		r.Products = fmt.Sprintf("%d (%s)", l.version, l.library.Path)
	}
	return r
}
