package cuda

import "hone/device"

// flash are the sizes of kernels/flash.cuh for heads of up to so many channels.
type flash struct {
	d                int // channels in shared memory; those behind a head's are 0
	own, seen        int // rows of queries that a block has, rows of keys that it sees at a time
	dqOwn, dqSeen    int
	dkvOwn, dkvSeen  int // keys, queries
	dkvThreads       int
	chunk            int // keys of a part; see decode.go
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
