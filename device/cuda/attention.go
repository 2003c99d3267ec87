package cuda

import (
	"fmt"
	"slices"
	"sync"

	"hone/device"
	"hone/internal/arena"
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

type attentionArgs struct {
	o, q, k, v        floats
	gradO, dq, dk, dv floats
	lse, delta        pointer
	tiles             pointer
	heads, kvHeads, d int32
	window            int32
	scale, softCap    float32
}

// tileCache holds the tiles of the last sequences on the card: all layers of a model are called with the same.
type tileCache struct {
	mu        sync.Mutex // held while a call of Attention is queued
	sequences []device.Sequence
	lists     []tileList
}

// tileList are tiles of own queries, or keys, each.
type tileList struct {
	keys   bool
	own, n int
	memory *arena.Span
}

// tile is struct Tile of kernels/attention.cuh.
type tile struct {
	s     device.Sequence
	first int
}

// of puts the tiles of a call's sequences on the card unless they are there, and says how many there are. Windows and heads do not matter.
func (t *tileCache) of(d *Device, a device.Attention, keys bool, own int) (pointer, int) {
	if !slices.Equal(t.sequences, a.Sequences) {
		for _, l := range t.lists {
			d.arena.Free(l.memory)
		}
		t.lists, t.sequences = t.lists[:0], slices.Clone(a.Sequences)
	}
	i := slices.IndexFunc(t.lists, func(l tileList) bool { return l.keys == keys && l.own == own })
	if i < 0 {
		i = len(t.lists)
		t.lists = append(t.lists, newTiles(d, a.Sequences, keys, own))
	}
	return pointer(t.lists[i].memory.Base()), t.lists[i].n
}

// newTiles orders tiles by the work in them, most first, so that no long one begins when all others are done.
func newTiles(d *Device, sequences []device.Sequence, keys bool, own int) tileList {
	var tiles []tile
	for _, s := range sequences {
		n := s.QLen
		if keys {
			n = s.KLen
		}
		for first := 0; first < n; first += own {
			tiles = append(tiles, tile{s, first})
		}
	}
	work := func(t tile) int {
		if keys {
			return t.s.KLen - t.first
		}
		return t.s.KLen - t.s.QLen + t.first
	}
	slices.SortStableFunc(tiles, func(x, y tile) int { return work(y) - work(x) })
	list := make([]int32, 0, 5*len(tiles))
	for _, t := range tiles {
		list = append(list, int32(t.s.Q), int32(t.s.QLen), int32(t.s.K), int32(t.s.KLen), int32(t.first))
	}
	memory := d.room(int64(len(list)) * 4)
	write(d, pointer(memory.Base()), list, keep)
	return tileList{keys, own, len(tiles), memory}
}

// attentionOf checks the operands. variant is the index of the kernels for heads so wide.
func attentionOf(op string, a device.Attention) (args attentionArgs, variant int) {
	if a.Heads <= 0 || a.KVHeads <= 0 || a.Heads%a.KVHeads != 0 || a.D <= 0 || a.D > widestHead || a.Window < 0 {
		panic(fmt.Sprintf("cuda: %s of %d heads on %d, each of %d channels (%d at most), in a window of %d", op, a.Heads, a.KVHeads, a.D, widestHead, a.Window))
	}
	rows, keys := rowsOf(op, a.Q, a.Heads*a.D), rowsOf(op, a.K, a.KVHeads*a.D)
	for _, s := range a.Sequences {
		if s.Q < 0 || s.QLen < 0 || s.K < 0 || s.KLen < s.QLen || s.Q+s.QLen > rows || s.K+s.KLen > keys {
			panic(fmt.Sprintf("cuda: %s of %+v with %d rows of queries and %d of keys", op, s, rows, keys))
		}
	}
	for a.D > 64<<variant {
		variant++
	}
	return attentionArgs{o: floatsOf(op, a.O, a.Q.Len), q: viewOf(a.Q), k: viewOf(a.K), v: floatsOf(op, a.V, a.K.Len),
		lse: optionalF32s(op, a.LSE, rows*a.Heads), heads: int32(a.Heads), kvHeads: int32(a.KVHeads), d: int32(a.D), window: int32(a.Window),
		scale: a.Scale, softCap: a.SoftCap}, variant
}

// attentionShared are the bytes of shared memory for so many rows of d channels without and with padding.
func attentionShared(d, plain, padded int) int { return 4 * (plain*d + padded*(d+1)) }

// Attention computes softmax(Scale·Q·Kᵀ + mask)·V.
func (d *Device) Attention(a device.Attention) {
	args, variant := attentionOf("Attention", a)
	d.tiles.mu.Lock()
	defer d.tiles.mu.Unlock()
	if f := d.flashFor(a.D, args.o, args.q, args.k, args.v); f != nil {
		d.flashForward(f, a, &args)
		return
	}
	tiles, n := d.tiles.of(d, a, false, attentionOwn)
	args.tiles = tiles
	run(d, kernelsAttention[variant], shape{x: n, y: a.Heads, threads: 128, shared: attentionShared(a.D, attentionOwn+attentionSeen, attentionSeen)}, &args)
}

// AttentionGrad is the gradient of Attention.
func (d *Device) AttentionGrad(a device.AttentionGrad) {
	const op = "AttentionGrad"
	args, variant := attentionOf(op, a.Attention)
	if args.lse == 0 {
		panic("cuda: AttentionGrad without LSE")
	}
	args.gradO, args.dq = floatsOf(op, a.DO, a.Q.Len), floatsOf(op, a.DQ, a.Q.Len)
	args.dk, args.dv = floatsOf(op, a.DK, a.K.Len), floatsOf(op, a.DV, a.K.Len)
	delta, release := d.scratch(a.LSE.Len)
	defer release()
	args.delta = delta
	d.tiles.mu.Lock()
	defer d.tiles.mu.Unlock()
	if f := d.flashFor(a.D, args.o, args.q, args.k, args.v, args.gradO, args.dq, args.dk, args.dv); f != nil {
		d.flashGrad(f, a.Attention, &args)
		return
	}
	tiles, n := d.tiles.of(d, a.Attention, false, attentionOwn)
	args.tiles = tiles
	s := shape{x: n, y: a.Heads, threads: 128}
	run(d, kernelDelta, s, &args)
	s.shared = attentionShared(a.D, 2*attentionOwn, 2*attentionSeen)
	run(d, kernelsAttentionDQ[variant], s, &args)
	args.tiles, s.x = d.tiles.of(d, a.Attention, true, attentionOwn)
	s.y = a.KVHeads
	run(d, kernelsAttentionDK[variant], s, &args)
}
