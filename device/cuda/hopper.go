package cuda

import "hone/device"

// hopper are the kernels of kernels/hopper.cuh for heads of so many channels, in place of those of flash on the cards that have
// products of warpgroups.
type hopper struct {
	d                int
	forward, dq, dkv warpgroups
}

// warpgroups is a kernel of so many warpgroups, each of which owns 64 rows; it sees so many at a time.
type warpgroups struct {
	kernel
	groups, seen int
}

// hoppers have the sizes that hopper64.cu and hopper128.cu give.
var hoppers = [2]hopper{
	hopperOf("64", hopper{d: 64, forward: warpgroups{groups: 1, seen: 64}, dq: warpgroups{groups: 1, seen: 64}, dkv: warpgroups{groups: 1, seen: 64}}),
	hopperOf("128", hopper{d: 128, forward: warpgroups{groups: 2, seen: 64}, dq: warpgroups{groups: 2, seen: 64}, dkv: warpgroups{groups: 2, seen: 64}}),
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

// runWarpgroups queues a kernel whose tiles, of queries or keys, are of the given number of heads. In shared memory it has owned
// matrices of its own rows and seen ones of a tile that it sees, from a multiple of 1024 bytes on.
func (d *Device) runWarpgroups(w warpgroups, a device.Attention, args *attentionArgs, what divided, heads, owned, seen int) {
	l := d.tiles.of(d, a, division{what: what, own: 64 * w.groups})
	args.tiles = l.at()
	shared := 1024 + 2*a.D*(owned*64*w.groups+seen*w.seen)
	run(d, w.kernel, shape{x: heads, y: l.n, threads: 128 * w.groups, shared: shared}, args)
}

func (d *Device) hopperForward(h *hopper, a device.Attention, args *attentionArgs) {
	d.runWarpgroups(h.forward, a, args, queries, a.Heads, 1, 4)
}

// hopperGrad queues the kernels of AttentionGrad; the first leaves delta for the second.
func (d *Device) hopperGrad(h *hopper, a device.Attention, args *attentionArgs) {
	d.runWarpgroups(h.dq, a, args, queries, a.Heads, 2, 5)
	d.runWarpgroups(h.dkv, a, args, keys, a.KVHeads, 2, 6)
}
