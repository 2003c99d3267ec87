package cuda

import "hone/device"

// flash are the sizes of kernels/flash.cuh for heads of up to so many channels.
type flash struct {
	d                int // channels in shared memory; those behind a head's are 0
	own, seen        int // rows of queries that a block has, rows of keys that it sees at a time
	dqOwn, dqSeen    int
	dkvOwn, dkvSeen  int // keys, queries
	dkvThreads       int
	chunk            int // keys of a part; see attention.go
	forward, dq, dkv kernel
	decode           kernel
}

// flashes are in rising order; the sizes are those that FLASH is given.
var flashes = [4]flash{
	flashOf(flash{d: 64, own: 128, seen: 64, dqOwn: 128, dqSeen: 64, dkvOwn: 128, dkvSeen: 32, dkvThreads: 128, chunk: 128}, "64"),
	flashOf(flash{d: 96, own: 128, seen: 64, dqOwn: 128, dqSeen: 32, dkvOwn: 64, dkvSeen: 64, dkvThreads: 128, chunk: 128}, "96"),
	flashOf(flash{d: 128, own: 128, seen: 32, dqOwn: 128, dqSeen: 32, dkvOwn: 64, dkvSeen: 32, dkvThreads: 128, chunk: 128}, "128"),
	flashOf(flash{d: 256, own: 64, seen: 32, dqOwn: 64, dqSeen: 16, dkvOwn: 64, dkvSeen: 16, dkvThreads: 256, chunk: 64}, "256"),
}

func flashOf(f flash, width string) flash {
	file := "flash" + width
	f.forward, f.dq, f.dkv = kernel{file, "flash_forward_" + width}, kernel{file, "flash_dq_" + width}, kernel{file, "flash_dkv_" + width}
	f.decode = kernel{file, "decode_" + width}
	return f
}

// Bytes of dynamic shared memory: what a block owns, and two tiles of each operand that it sees.
func (f *flash) forwardShared() int { return 2 * f.d * (f.own + 4*f.seen) }
func (f *flash) dqShared() int      { return 2 * f.d * (2*f.dqOwn + 4*f.dqSeen) }
func (f *flash) dkvShared() int     { return 2 * f.d * (2*f.dkvOwn + 4*f.dkvSeen) }

// reservedShared is what a block's fixed arrays and the card itself take of shared memory beside the dynamic one, at most.
const reservedShared = 3 << 10

// flashFor are the kernels on tensor cores for a's heads, nil where the operands are not bf16 that can be copied 16
// bytes at a time.
func (d *Device) flashFor(a *attentionArgs, operands ...floats) *flash {
	if a.d%8 != 0 || a.ldq%8 != 0 || a.ldkv%8 != 0 {
		return nil
	}
	for _, x := range operands {
		if x.half == 0 || x.p%16 != 0 {
			return nil
		}
	}
	for i := range flashes {
		f := &flashes[i]
		if int(a.d) <= f.d {
			if max(f.forwardShared(), f.dqShared(), f.dkvShared())+reservedShared > d.card.shared {
				return nil
			}
			return f
		}
	}
	return nil
}

// flashForward queues the kernel of Attention; the tiles are locked.
func (d *Device) flashForward(f *flash, a device.Attention, args *attentionArgs) {
	l := d.tiles.of(d, a, division{what: queries, own: f.own})
	args.tiles = l.at()
	run(d, f.forward, shape{x: a.Heads, y: l.n, threads: 128, shared: f.forwardShared()}, args)
}

// flashGrad queues those of AttentionGrad; the first leaves delta for the second.
func (d *Device) flashGrad(f *flash, a device.Attention, args *attentionArgs) {
	l := d.tiles.of(d, a, division{what: queries, own: f.dqOwn})
	args.tiles = l.at()
	run(d, f.dq, shape{x: a.Heads, y: l.n, threads: 128, shared: f.dqShared()}, args)
	l = d.tiles.of(d, a, division{what: keys, own: f.dkvOwn})
	args.tiles = l.at()
	run(d, f.dkv, shape{x: a.KVHeads, y: l.n, threads: f.dkvThreads, shared: f.dkvShared()}, args)
}

// hopper are the kernels of kernels/hopper.cuh for heads of so many channels, in place of those of flash on the cards that have
// products of warpgroups.
type hopper struct {
	d                int
	forward, dq, dkv warpgroups
}

// warpgroups is a kernel of so many warpgroups, each of which owns 64 rows, and one more that copies tiles of so many rows for them.
type warpgroups struct {
	kernel
	groups, seen int
	owned, tiles int // in shared memory: matrices of its own rows, and tiles that it sees, of two matrices each
}

// hoppers have the sizes that hopper64.cu and hopper128.cu give.
var hoppers = [2]hopper{
	hopperOf("64", hopper{d: 64,
		forward: warpgroups{groups: 4, seen: 64, owned: 1, tiles: 4}, dq: warpgroups{groups: 3, seen: 64, owned: 2, tiles: 4}, dkv: warpgroups{groups: 3, seen: 64, owned: 2, tiles: 5}}),
	hopperOf("128", hopper{d: 128,
		forward: warpgroups{groups: 3, seen: 64, owned: 1, tiles: 4}, dq: warpgroups{groups: 2, seen: 64, owned: 2, tiles: 4}, dkv: warpgroups{groups: 2, seen: 64, owned: 2, tiles: 4}}),
}

func hopperOf(width string, h hopper) hopper {
	file := "hopper" + width
	h.forward.kernel, h.dq.kernel, h.dkv.kernel = kernel{file, "hopper_forward_" + width}, kernel{file, "hopper_dq_" + width}, kernel{file, "hopper_dkv_" + width}
	return h
}

// hopperFor are the kernels for what flashFor has accepted, nil where its own are needed.
func (d *Device) hopperFor(a *attentionArgs) *hopper {
	if !d.card.warpgroups || a.softCap != 0 || !(a.scale > 0) { // they take the largest product for the largest score
		return nil
	}
	for i := range hoppers {
		if hoppers[i].d == int(a.d) {
			return &hoppers[i]
		}
	}
	return nil
}

// runWarpgroups queues a kernel whose tiles, of queries or keys, are of so many heads. Its matrices lie in shared memory from a
// multiple of 1024 bytes on.
func (d *Device) runWarpgroups(w warpgroups, a device.Attention, args *attentionArgs, what divided, heads int) {
	own := 64 * w.groups
	l := d.tiles.of(d, a, division{what: what, own: own})
	args.tiles = l.at()
	run(d, w.kernel, shape{x: heads, y: l.n, threads: 128 * (w.groups + 1), shared: 1024 + 2*a.D*(w.owned*own+2*w.tiles*w.seen)}, args)
}

func (d *Device) hopperForward(h *hopper, a device.Attention, args *attentionArgs) {
	d.runWarpgroups(h.forward, a, args, queries, a.Heads)
}

// hopperGrad queues the kernels of AttentionGrad; the first leaves delta for the second.
func (d *Device) hopperGrad(h *hopper, a device.Attention, args *attentionArgs) {
	d.runWarpgroups(h.dq, a, args, queries, a.Heads)
	d.runWarpgroups(h.dkv, a, args, keys, a.KVHeads)
}
