// Package plan says what a run will need before it starts. It runs the program of a training step - the very tape, model,
// adapter, optimizer and objective - on a device that computes nothing and counts the memory that would be held. So it knows
// every architecture and every option that training knows, without a formula of its own to keep true.
//
//	d := plan.NewDevice()
//	m, err := plan.Measure(d, plan.Step{…})     // what a recipe would run, with d for its device
//	m.Peak, m.Work                              // bytes, and operations by what limits them
//
// Two halves share that. What a run of hone takes on this machine: Memory from Measure, and its time from Work at the rates of the machine
// (work.go). What a model would take on rented GPUs: the same count of operations, and memory by Sharded (sharded.go), which does have formulas, since
// hone itself runs on one card; GPUs, prices and job files are beside it (gpu.go, prices.go, launch.go).
package plan

import (
	"fmt"
	"math"

	"hone/device"
)

// Device counts memory and work and computes nothing: what is read from it is zero, or what the destination held.
type Device struct {
	OnCard bool // plans for device/cuda
	// Arranged is how many elements a processor's copy of a weight has that it arranges, padded as it is, 0 where it arranges none; nil: as many as the
	// weight.
	Arranged func(k, n int, t device.DType) int

	inUse, peak int64
	paged       int64 // bytes of paged buffers that are held
	stash, most int64 // bytes of stashed buffers, and the most that there were
	logits      int64 // the most bytes of logits and their gradient at a time
	work        Work
}

// buffer is the Mem of the device's buffers.
type buffer struct {
	bytes   int64
	paged   bool // counts apart: it is in files or in the host's memory
	stashed bool // likewise
	freed   bool // to notice a second Free, which is a mistake of the step
}

// LogitRows is that of the device that is planned for.
func (d *Device) LogitRows(vocabulary int) int {
	if d.OnCard {
		return device.CardLogitRows(vocabulary)
	}
	return 0
}

// Joins is that of the device that is planned for.
func (d *Device) Joins() bool { return d.OnCard }

// FewRows is that of the device that is planned for: 0 for one whose rows never depend on how many there are.
func (d *Device) FewRows() int {
	if d.OnCard {
		return cardFewRows
	}
	return 0
}

// Own is what the device that is planned for takes beside buffers, where it is a card.
func (d *Device) Own() int64 {
	switch {
	case !d.OnCard:
		return 0
	case d.paged > 0:
		return workspaceBytes + cardPagedBytes
	}
	return workspaceBytes
}

// scratch counts n F32 numbers that a card's kernel takes for the time of a call.
func (d *Device) scratch(n int) {
	if d.OnCard {
		d.peak = max(d.peak, d.inUse+4*int64(n))
	}
}

// The optional interfaces that decide what is held: a step asks for them, so a plan without one would be of another step.
var (
	_ device.Wide     = (*Device)(nil)
	_ device.Joiner   = (*Device)(nil)
	_ device.Device   = (*Device)(nil)
	_ device.Pager    = (*Device)(nil)
	_ device.Apart    = (*Device)(nil)
	_ device.Arranger = (*Device)(nil)
	_ device.Sampler  = (*Device)(nil)
	_ device.Loose    = (*Device)(nil)
	_ device.Placer   = (*Device)(nil)

	_ device.PackedMultiplier = (*Device)(nil)
)

// NewDevice returns a device with nothing in use.
func NewDevice() *Device { return &Device{} }

// Name is "plan".
func (d *Device) Name() string { return "plan" }

// Alloc counts n elements.
func (d *Device) Alloc(n int, t device.DType) device.Buffer {
	b := &buffer{bytes: int64(n) * int64(t.Size())}
	d.inUse += b.bytes
	d.peak = max(d.peak, d.inUse)
	return device.Buffer{Mem: b, Len: n, DType: t}
}

// AllocPaged counts n elements as paged.
func (d *Device) AllocPaged(_ string, n int, t device.DType) (device.Buffer, error) {
	b := &buffer{bytes: int64(n) * int64(t.Size()), paged: true}
	d.paged += b.bytes
	return device.Buffer{Mem: b, Len: n, DType: t}, nil
}

// Evict does nothing.
func (d *Device) Evict(device.Buffer) {}

// Free stops counting a buffer.
func (d *Device) Free(b device.Buffer) {
	m, ok := b.Mem.(*buffer)
	if !ok || m.freed {
		panic(fmt.Sprintf("plan: Free of a %T that is not in use", b.Mem))
	}
	m.freed = true
	switch {
	case m.paged:
		d.paged -= m.bytes
	case m.stashed:
		d.stash -= m.bytes
	default:
		d.inUse -= m.bytes
	}
}

// HostFree is as much as there can be.
func (d *Device) HostFree() int64 { return math.MaxInt64 }

// Stash counts a buffer's bytes as the host's.
func (d *Device) Stash(b device.Buffer) device.Buffer {
	m := &buffer{bytes: size(b), stashed: true}
	d.stash += m.bytes
	d.most = max(d.most, d.stash)
	return device.Buffer{Mem: m, Len: b.Len, DType: b.DType}
}

// Unstash counts a fresh buffer.
func (d *Device) Unstash(stashed device.Buffer) device.Buffer {
	return d.Alloc(stashed.Len, stashed.DType)
}

// Arrived does nothing.
func (d *Device) Arrived(device.Buffer) {}

// Stashed is the most bytes that were stashed at a time.
func (d *Device) Stashed() int64 { return d.most }

// Memory counts the bytes as declared; paged buffers are not among them.
func (d *Device) Memory() device.MemoryStats {
	return device.MemoryStats{InUse: d.inUse, Peak: d.peak, Held: d.peak}
}

// Paged is the bytes of paged buffers that are held.
func (d *Device) Paged() int64 { return d.paged }

// Logits is the most bytes of logits, with their gradient, that were held at a time.
func (d *Device) Logits() int64 { return d.logits }

// ResetPeak sets the peak to what is in use.
func (d *Device) ResetPeak() { d.peak = d.inUse }

// Write does nothing.
func (d *Device) Write(device.Buffer, any) {}

// Read leaves dst as it is.
func (d *Device) Read(any, device.Buffer) error { return nil }

// Sync has nothing to wait for.
func (d *Device) Sync() error { return nil }
