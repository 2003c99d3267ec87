package cuda

import "hone/device"

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
