package cuda

import "hone/device"

// decodeArgs is struct DecodeArgs of kernels/decode.cuh.
type decodeArgs struct {
	attention   attentionArgs
	parts       pointer
	sums, stats pointer
	ended       pointer
	rows        int32
	_           int32
	rotate      rotateArgs
}

// fewQueries is the most queries of a sequence for which its keys are cut into parts.
const fewQueries = 8

// decodeRows are those of a block: the 16 that the tensor cores multiply at once.
const decodeRows = 16

// decodeShared are the bytes of shared memory of kernels/decode.cuh.
func (f *flash) decodeShared() int { return 2 * f.d * (decodeRows + 2*f.chunk) }

// isDecode says whether a call has few queries for each sequence.
func isDecode(sequences []device.Sequence) bool {
	for _, s := range sequences {
		if s.QLen > fewQueries {
			return false
		}
	}
	return true
}

// decode queues Attention of few queries; the tiles are locked.
func (d *Device) decode(f *flash, a device.Attention, args attentionArgs) {
	l := d.tiles.of(d, a, division{what: parts, own: f.chunk, window: a.Window})
	x := decodeArgs{attention: args, parts: l.at(), rows: int32(over(a.Heads/a.KVHeads*l.queries, decodeRows) * decodeRows)}
	writes := []use{useOf(args.o, 1, 0, int64(a.O.Len), true), useOf(floats{p: args.lse}, 1, 0, int64(a.LSE.Len), true)}
	if l.cut {
		rows := l.n * a.KVHeads * int(x.rows)
		sums, releaseSums := d.scratch(rows * a.D)
		defer releaseSums()
		stats, releaseStats := d.scratch(2 * rows)
		defer releaseStats()
		x.sums, x.stats, x.ended = sums, stats, d.tiles.counters(d, rows/decodeRows)
		writes = append(writes, useOf(floats{p: sums}, 1, 0, int64(rows*a.D), true), useOf(floats{p: stats}, 1, 0, int64(2*rows), true))
	}
	d.turnHeld(&x, l, writes...)
	s := shape{x: l.n, y: a.KVHeads, z: int(x.rows) / decodeRows, threads: 128, shared: f.decodeShared()}
	run(d, f.decode, s, &x)
}
