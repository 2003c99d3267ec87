package cuda

import (
	"fmt"
	"unsafe"

	"hone/device"
)

var kernelRotate = kernel{"norm", "rotate"} // kernels/norm.cu

// rotated is struct Rotated of kernels/norm.cu.
type rotated struct {
	y, x, cache floats
	heads, _    int32
}

// rotateArgs is struct RotateArgs.
type rotateArgs struct {
	cos, sin, positions, places, failure pointer
	rows                                 int64
	d, half, inverse, limit, room, pairs int32
	parts                                [4]rotated
}

// Rope rotates pairs (i, i+Rotary/2) of each head by the angle of the row's position.
func (d *Device) Rope(r device.Rope) {
	width := r.Heads * r.D
	n, half := rowsOf("Rope", r.X, width), r.Rotary/2
	if r.Rotary < 0 || r.Rotary > r.D || r.Rotary%2 != 0 || r.Positions.Len != n || r.Cos.Len != r.Sin.Len {
		panic(fmt.Sprintf("cuda: Rope of %d channels in heads of %d, %d rows with %d positions, %d cosines and %d sines",
			r.Rotary, r.D, n, r.Positions.Len, r.Cos.Len, r.Sin.Len))
	}
	a := rotateArgs{cos: f32sOf("Rope", r.Cos, r.Cos.Len), sin: f32sOf("Rope", r.Sin, r.Sin.Len), positions: address(r.Positions), failure: d.failureWord(),
		rows: int64(n), d: int32(r.D), half: int32(half), inverse: bit(r.Inverse), limit: int32(r.Cos.Len / max(half, 1))}
	a.parts[0] = rotated{y: floatsOf("Rope", r.Y, r.X.Len), x: viewOf(r.X), heads: int32(r.Heads)}
	if half > 0 {
		checkIndices("Rope", "position", known(r.Positions), int(a.limit))
	}
	d.holdRotation(a)
}

var _ device.Placer = (*Device)(nil)

// PutRows computes dst[at[n]] = x[n].
func (d *Device) PutRows(dst, x, at device.Buffer) {
	n := at.Len
	if n == 0 || x.Len%n != 0 || x.Len == 0 || dst.Len%(x.Len/n) != 0 {
		panic(fmt.Sprintf("cuda: PutRows of %d elements in %d rows into %d elements", x.Len, n, dst.Len))
	}
	width := x.Len / n
	room := dst.Len / width
	checkIndices("PutRows", "row", known(at), room)
	a := rotateArgs{places: address(need(at, device.I32)), failure: d.failureWord(), rows: int64(n), d: int32(width), room: int32(room)}
	a.parts[0] = rotated{x: viewOf(x), cache: viewOf(dst), heads: 1}
	d.holdRotation(a)
}

// holdRotation joins x to the rotations and rows that are held, or holds it in their place.
func (d *Device) holdRotation(x rotateArgs) {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if x.rows == 0 || h.joinRotation(x) {
		return
	}
	d.release()
	h.rotate, h.rotations, h.uses = x, 1, append(h.uses[:0], x.uses()...)
}

// joinRotation makes x a part of the launch that is held.
func (h *held) joinRotation(x rotateArgs) bool {
	r, p := &h.rotate, x.parts[0]
	if h.rotations == 0 || r.rows != x.rows {
		return false
	}
	if x.places == 0 { // heads that are rotated alike
		if h.rotations == len(r.parts) || r.places != 0 || r.cos != x.cos || r.sin != x.sin || r.positions != x.positions ||
			r.d != x.d || r.half != x.half || r.inverse != x.inverse || r.limit != x.limit || !h.free(x.uses()) {
			return false
		}
		r.parts[h.rotations] = p
		h.rotations++
		h.uses = append(h.uses, x.uses()...)
		return true
	}
	if r.places != 0 && (r.places != x.places || r.room != x.room) || x.d%r.d != 0 {
		return false
	}
	for i := range r.parts[:h.rotations] { // what is rotated goes where it is told to as well
		y := &r.parts[i]
		if y.y.p == p.x.p && y.y.half == p.x.half && y.cache.p == 0 && y.heads*r.d == x.d {
			if put := x.uses()[1]; !h.free([]use{put}) {
				return false
			}
			y.cache, r.places, r.room = p.cache, x.places, x.room
			h.uses = append(h.uses, x.uses()...)
			return true
		}
	}
	if h.rotations == len(r.parts) || !h.free(x.uses()) {
		return false
	}
	p.heads = x.d / r.d
	r.parts[h.rotations], r.places, r.room = p, x.places, x.room
	h.rotations++
	h.uses = append(h.uses, x.uses()...)
	return true
}

// uses are those of the first part.
func (a *rotateArgs) uses() []use {
	p, width := &a.parts[0], a.parts[0].heads*a.d
	to := useOf(p.y, int32(a.rows), int64(width), int64(width), true)
	if a.places != 0 {
		to = useOf(p.cache, a.room, int64(width), int64(width), true)
	}
	return []use{useOf(p.x, int32(a.rows), int64(width), int64(width), false), to}
}

// releaseRotation queues the rotations that are held, which are locked.
func (d *Device) releaseRotation() {
	r, widest := &d.held.rotate, int32(0)
	for _, p := range r.parts[:d.held.rotations] {
		widest = max(widest, p.heads)
	}
	if r.pairs = 1; r.packed(d.held.rotations) {
		r.pairs = 8
	}
	s := shape{x: over(int(r.rows)*int(widest*((r.d-r.half)/r.pairs)), 256), y: d.held.rotations, threads: 256}
	if s.x >= 1<<24 { // threads are counted in 32 bits
		panic(fmt.Sprintf("cuda: %d rows of %d heads of %d channels are too many to rotate at a time", r.rows, widest, r.d))
	}
	d.launch(kernelRotate, s, unsafe.Pointer(r), unsafe.Sizeof(*r))
	d.held.rotations = 0
}

// packed says whether eight neighbouring pairs of each of the first n parts can be read at once.
func (a *rotateArgs) packed(n int) bool {
	if a.d%8 != 0 || a.half%8 != 0 || a.cos%16 != 0 || a.sin%16 != 0 {
		return false
	}
	for _, p := range a.parts[:n] {
		for _, f := range []floats{p.y, p.x, p.cache} {
			if f.p != 0 && !f.packed() {
				return false
			}
		}
	}
	return true
}
