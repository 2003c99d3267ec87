package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/attention.cu: one of each for heads of up to 64, 128 and 256 channels
var (
	kernelsAttention   = [3]kernel{{"attention", "attention_forward_2"}, {"attention", "attention_forward_4"}, {"attention", "attention_forward_8"}}
	kernelsAttentionDQ = [3]kernel{{"attention", "attention_dq_2"}, {"attention", "attention_dq_4"}, {"attention", "attention_dq_8"}}
	kernelsAttentionDK = [3]kernel{{"attention", "attention_dkv_2"}, {"attention", "attention_dkv_4"}, {"attention", "attention_dkv_8"}}
	kernelDelta        = kernel{"attention", "attention_delta"}
)

// Sizes of kernels/attention.cu.
const (
	attentionOwn  = 16
	attentionSeen = 32
	widestHead    = 256
)

// attentionArgs is struct AttentionArgs: strides in elements, scale and soft cap as in device.Attention.
type attentionArgs struct {
	o, q, k, v        floats
	gradO, dq, dk, dv floats
	lse, delta        pointer
	tiles             pointer
	heads, kvHeads, d int32
	ldq, ldkv         int32
	window            int32
	scale, softCap    float32
}

// attentionOf checks the operands. variant is the index of the kernels for heads so wide.
func attentionOf(op string, a device.Attention) (args attentionArgs, variant int) {
	rows, _, ok := a.Rows()
	if !ok || a.D > widestHead {
		panic(fmt.Sprintf("cuda: %s of %d heads on %d, each of %d channels (%d at most), in a window of %d: Q %d elements, row stride %d; K %d, V %d, %d; O %d; sequences %v",
			op, a.Heads, a.KVHeads, a.D, widestHead, a.Window, a.Q.Len, a.LDQ, a.K.Len, a.V.Len, a.LDKV, a.O.Len, a.Sequences))
	}
	q, kv := a.Strides()
	for a.D > 64<<variant {
		variant++
	}
	return attentionArgs{o: viewOf(a.O), q: viewOf(a.Q), k: viewOf(a.K), v: viewOf(a.V), ldq: int32(q), ldkv: int32(kv),
		lse: optionalF32s(op, a.LSE, rows*a.Heads), heads: int32(a.Heads), kvHeads: int32(a.KVHeads), d: int32(a.D), window: int32(a.Window),
		scale: a.Scale, softCap: a.SoftCap}, variant
}

// attentionShared are the bytes of shared memory for so many rows of d channels without and with padding.
func attentionShared(d, plain, padded int) int { return 4 * (plain*d + padded*(d+1)) }

// Attention computes softmax(Scale·Q·Kᵀ + mask)·V.
func (d *Device) Attention(a device.Attention) {
	args, variant := attentionOf("Attention", a)
	d.tiles.mu.Lock() // the list of tiles must stay on the card until the kernel that reads it is queued
	defer d.tiles.mu.Unlock()
	if f := d.flashFor(&args, args.o, args.q, args.k, args.v); f != nil {
		if isDecode(a.Sequences) {
			d.decode(f, a, args)
		} else if h := d.hopperFor(&args); h != nil {
			d.hopperForward(h, a, &args)
		} else {
			d.flashForward(f, a, &args)
		}
		return
	}
	tiles := d.tiles.of(d, a, division{what: queries, own: attentionOwn})
	args.tiles = tiles.at()
	run(d, kernelsAttention[variant], shape{x: tiles.n, y: a.Heads, threads: 128, shared: attentionShared(a.D, attentionOwn+attentionSeen, attentionSeen)}, &args)
}

// AttentionGrad is the gradient of Attention.
func (d *Device) AttentionGrad(a device.AttentionGrad) {
	const op = "AttentionGrad"
	args, variant := attentionOf(op, a.Attention)
	if args.lse == 0 {
		panic("cuda: AttentionGrad without LSE")
	}
	args.gradO, args.dq = floatsOf(op, a.DO, a.O.Len), floatsOf(op, a.DQ, a.Q.Len)
	args.dk, args.dv = floatsOf(op, a.DK, a.K.Len), floatsOf(op, a.DV, a.V.Len)
	delta, release := d.scratch(a.LSE.Len)
	defer release()
	args.delta = delta
	d.tiles.mu.Lock()
	defer d.tiles.mu.Unlock()
	if f := d.flashFor(&args, args.o, args.q, args.k, args.v, args.gradO, args.dq, args.dk, args.dv); f != nil {
		if h := d.hopperFor(&args); h != nil {
			d.hopperGrad(h, a.Attention, &args)
		} else {
			d.flashGrad(f, a.Attention, &args)
		}
		return
	}
	tiles := d.tiles.of(d, a.Attention, division{what: queries, own: attentionOwn})
	args.tiles = tiles.at()
	s := shape{x: tiles.n, y: a.Heads, threads: 128}
	run(d, kernelDelta, s, &args)
	s.shared = attentionShared(a.D, 2*attentionOwn, 2*attentionSeen)
	run(d, kernelsAttentionDQ[variant], s, &args)
	tiles = d.tiles.of(d, a.Attention, division{what: keys, own: attentionOwn})
	args.tiles, s.x, s.y = tiles.at(), tiles.n, a.KVHeads
	run(d, kernelsAttentionDK[variant], s, &args)
}

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
