package cuda

import (
	"fmt"
	"slices"
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
	d.holdRotation(a, nil)
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
	placed := known(at)
	checkIndices("PutRows", "row", placed, room)
	a := rotateArgs{places: address(need(at, device.I32)), failure: d.failureWord(), rows: int64(n), d: int32(width), room: int32(room)}
	a.parts[0] = rotated{x: viewOf(x), cache: viewOf(dst), heads: 1}
	d.holdRotation(a, placed)
}

// holdRotation joins x to the rotations and rows that are held, or holds it in their place. placed are the places of x, if it has any, as far as the host knows.
func (d *Device) holdRotation(x rotateArgs, placed []int32) {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if x.rows == 0 {
		return
	}
	if !h.joinRotation(x) {
		d.release()
		h.rotate, h.rotations, h.uses = x, 1, append(h.uses[:0], x.uses()...)
	}
	if x.places != 0 {
		h.placed = placed
	}
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

// turnHeld has attention rotate its queries, and put its sequences' own keys and values into their cache, where that is what is held.
func (d *Device) turnHeld(x *decodeArgs, l *tileList, writes ...use) bool {
	h, a := &d.held, &x.attention
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.rotate
	if h.rotations != 3 || r.places == 0 || r.d != a.d || a.ldq != a.heads*a.d || a.ldkv != a.kvHeads*a.d || !r.packed(3) || l.own == nil || !slices.Equal(l.own, h.placed) {
		return false
	}
	turned := *r
	turned.parts = [4]rotated{}
	for _, p := range r.parts[:3] {
		switch {
		case p.y == a.q && p.heads == a.heads && p.cache.p == 0:
			turned.parts[0] = p
		case p.cache == a.k && p.heads == a.kvHeads && p.y.p != 0:
			turned.parts[1] = p
		case p.cache == a.v && p.heads == a.kvHeads && p.y.p == 0:
			turned.parts[2] = p
		}
	}
	rows, table := int32(r.rows), int64(r.limit)*int64(r.half)
	reads := []use{useOf(floats{p: r.cos}, 1, 0, table, false), useOf(floats{p: r.sin}, 1, 0, table, false), useOf(floats{p: r.positions}, 1, 0, r.rows, false)}
	for _, p := range turned.parts[:3] {
		if p.x.p == 0 {
			return false
		}
		width := int64(p.heads * r.d)
		reads = append(reads, useOf(p.x, rows, width, width, false))
		writes = append(writes, useOf(p.y, rows, width, width, true), useOf(p.cache, r.room, width, width, true))
	}
	// Blocks read in any order what others write: two of them must not meet, but at a sequence's own keys and values, which none reads in the cache.
	for i, w := range writes {
		if slices.ContainsFunc(reads, w.clash) || slices.ContainsFunc(writes[:i], w.clash) {
			return false
		}
	}
	x.rotate, h.rotations, h.uses = turned, 0, h.uses[:0]
	return true
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
