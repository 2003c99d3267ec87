package nn

import (
	"fmt"
	"slices"

	"hone/device"
	"hone/tensor"
)

// Cache holds the keys and values of tokens already seen, so that generating the next one costs one token's
// work. It has slots, each for a sequence of up to Capacity tokens. The rows of slot s in a layer's tensor
// are s·(virtual+Capacity) and on: first those of virtual tokens, then the text's.
//
//	in, err := cache.Feed(tape, []int{0, 1}, [][]int32{prompt0, prompt1})   // then one token each, again and again
//	logits := nn.Logits(m, m.Hidden(in), lastRows)
type Cache struct {
	Capacity int
	dev      device.Device
	width    int              // K*D
	virtual  int              // rows at the beginning of a slot for virtual tokens, beside Capacity
	keys     []*tensor.Tensor // per layer [slots*(virtual+Capacity), K*D]
	values   []*tensor.Tensor // the same
	lengths  []int            // tokens held, per slot
	reach    []int            // the length that the tokens of a slot were last rotated for
}

// NewCache makes a cache for a model of the given shape; dtype is that of the activations.
func NewCache(dev device.Device, dtype device.DType, s Shape, slots, capacity int) *Cache {
	c := &Cache{Capacity: capacity, dev: dev, width: s.KVHeads * s.HeadDim, virtual: s.Virtual,
		lengths: make([]int, slots), reach: make([]int, slots)}
	for range s.Layers {
		for _, list := range []*[]*tensor.Tensor{&c.keys, &c.values} {
			x := tensor.NewParam(slots*(capacity+c.virtual), c.width)
			x.Freeze()
			x.Alloc(dev, dtype)
			*list = append(*list, x)
		}
	}
	return c
}

// Grow makes room for longer sequences in each slot, at least as long as before, keeping what is held. It
// goes layer by layer, so that beside the new cache it takes but one layer of the old one. It panics, as any
// allocation does, when the device is full.
func (c *Cache) Grow(capacity int) {
	slots := len(c.lengths)
	for _, list := range [][]*tensor.Tensor{c.keys, c.values} {
		for i, old := range list {
			x := tensor.NewParam(slots*(capacity+c.virtual), c.width)
			x.Freeze()
			x.Alloc(c.dev, old.Buffer().DType)
			for s, n := range c.lengths {
				if n == 0 {
					continue
				}
				n += c.virtual
				from, to := s*(c.Capacity+c.virtual)*c.width, s*(capacity+c.virtual)*c.width
				c.dev.Copy2D(device.Copy2D{Dst: x.Buffer().Slice(to, to+n*c.width), DstStride: c.width,
					Src: old.Buffer().Slice(from, from+n*c.width), SrcStride: c.width, Rows: n, Cols: c.width})
			}
			old.Free()
			list[i] = x
		}
	}
	c.Capacity = capacity
}

// Free gives the cache's memory back.
func (c *Cache) Free() {
	for i := range c.keys {
		c.keys[i].Free()
		c.values[i].Free()
	}
}

// Copy puts the first n tokens of slot from, which holds as many, into slot to, in place of what it held.
// Their keys are rotated for the length that from reaches, so to reaches as far.
func (c *Cache) Copy(to, from, n int) {
	room, rows := c.Capacity+c.virtual, c.virtual+n
	for _, list := range [][]*tensor.Tensor{c.keys, c.values} {
		for _, x := range list {
			at, src := to*room*c.width, from*room*c.width
			c.dev.Copy2D(device.Copy2D{Dst: x.Buffer().Slice(at, at+rows*c.width), DstStride: c.width,
				Src: x.Buffer().Slice(src, src+rows*c.width), SrcStride: c.width, Rows: rows, Cols: c.width})
		}
	}
	c.lengths[to], c.reach[to] = n, c.reach[from]
}

// Len is the number of tokens held in a slot.
func (c *Cache) Len(slot int) int { return c.lengths[slot] }

// Truncate forgets the tokens of a slot from the n-th on; 0 makes it free for another sequence.
func (c *Cache) Truncate(slot, n int) {
	c.lengths[slot] = min(n, c.lengths[slot])
	if n == 0 {
		c.reach[slot] = 0
	}
}

// Expect announces that the sequence of a slot will have n tokens when the pieces of a prompt have all been fed. Rotary
// positions whose scaling depends on the length count with it from the first piece on.
func (c *Cache) Expect(slot, n int) { c.reach[slot] = max(n, c.reach[slot]) }

// Reach is the greatest length that Expect announced or the sequence of a slot has had, 0 when it is empty. Where that
// stands on the other side of Shape.LongAfter than the sequence's length, the slot must be emptied and fed again.
func (c *Cache) Reach(slot int) int { return c.reach[slot] }

// Feed makes the input that appends tokens[i] to slots[i]. The model must then run on it
// exactly once. It fails, and changes no slot, when one would overflow.
func (c *Cache) Feed(t *tensor.Tape, slots []int, tokens [][]int32) (Input, error) {
	counts := make([]int, len(slots))
	for i, list := range tokens {
		counts[i] = len(list)
	}
	in, err := c.extended(slots, counts)
	if err != nil {
		return Input{}, err
	}
	in.IDs, in.Positions = t.Ints(slices.Concat(tokens...)), t.Ints(in.positions)
	return in.placed(t), nil
}

// FeedDrawn is Feed of one token for each slot, which the host need not know: ids, I32 [len(slots)].
func (c *Cache) FeedDrawn(t *tensor.Tape, slots []int, ids *tensor.Tensor) (Input, error) {
	in, err := c.extended(slots, slices.Repeat([]int{1}, len(slots)))
	if err != nil {
		return Input{}, err
	}
	in.IDs, in.Positions = ids, t.Ints(in.positions)
	return in.placed(t), nil
}

// extended makes room for counts[i] tokens behind those of slots[i], and the input of these but for what is
// on the device.
func (c *Cache) extended(slots, counts []int) (Input, error) {
	for i, slot := range slots { // before any slot changes
		if n := c.lengths[slot] + counts[i]; n > c.Capacity {
			return Input{}, fmt.Errorf("a sequence of %d tokens does not fit the cache of %d; shorten the prompt or lower max_new_tokens",
				n, c.Capacity)
		}
	}
	in, n := Input{Cache: c}, 0
	for i, slot := range slots {
		have, add := c.lengths[slot], counts[i]
		in.Sequences = append(in.Sequences, device.Sequence{Q: n, QLen: add,
			K: slot * (c.Capacity + c.virtual), KLen: c.virtual + have + add})
		for p := range add {
			in.positions = append(in.positions, int32(have+p))
		}
		n += add
		c.lengths[slot] += add
		c.Expect(slot, c.lengths[slot])
		in.expected = append(in.expected, c.reach[slot])
	}
	return in, nil
}

// placed is in with the rows of its cache that the keys and values of its sequences go to.
func (in Input) placed(t *tensor.Tape) Input {
	in.places = nil
	for _, s := range in.Sequences {
		for p := range s.QLen {
			in.places = append(in.places, int32(s.K+s.KLen-s.QLen+p))
		}
	}
	if _, ok := t.Dev.(device.Placer); ok {
		in.placeIndex = t.Ints(in.places).Buffer()
	}
	return in
}

// put appends the new keys and values of layer i of in and returns all of them.
func (c *Cache) put(i int, k, v *tensor.Tensor, in Input) (keys, values *tensor.Tensor) {
	device.PutRows(c.dev, c.keys[i].Buffer(), k.Buffer(), in.placeIndex, in.places)
	device.PutRows(c.dev, c.values[i].Buffer(), v.Buffer(), in.placeIndex, in.places)
	return c.keys[i], c.values[i]
}
