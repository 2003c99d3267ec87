package data

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/zeebo/xxh3"
)

// Mark is a token id with the bit that says whether the token is supervised: what a store of examples holds. Its vocabulary is
// twice the tokenizer's.
func Mark(id int32, supervised bool) int32 {
	if supervised {
		return id<<1 | 1
	}
	return id << 1
}

// Unmark is the inverse of Mark.
func Unmark(mark int32) (id int32, supervised bool) { return mark >> 1, mark&1 == 1 }

// HashMarks is a hash of lists of tokens, marked or not.
func HashMarks(marks ...[]int32) uint64 {
	h := xxh3.New()
	var b [4]byte
	for _, list := range marks {
		for _, m := range append([]int32{int32(len(list))}, list...) {
			b = [4]byte{byte(m), byte(m >> 8), byte(m >> 16), byte(m >> 24)}
			h.Write(b[:])
		}
	}
	return h.Sum64()
}

// Packs are the examples of a store of marked tokens, each whole in one pack of at most L tokens. Within a pack the examples
// are sequences of their own, which cannot see each other, and nothing is padded.
type Packs struct {
	store     *Store
	length    int
	documents []int32 // of all packs, one pack after the other
	ends      []int32 // of each pack in documents
	left      []int32 // documents that are in none
	tokens    int64
}

// NewPacks puts the examples of store together. With packing it is by best-fit decreasing: from the longest down, each goes to
// the pack that it fills best (Johnson, 1973; at most 11/9 of the fewest packs possible). Without, each example is its own pack.
// Examples that leave names are in none; it may be nil.
func NewPacks(store *Store, length int, packing bool, leave func(example int64) bool) (*Packs, error) {
	p := &Packs{store: store, length: length}
	if store.Documents() > 1<<31-1 {
		return nil, fmt.Errorf("%d examples are too many to pack", store.Documents())
	}
	order := make([]int32, 0, store.Documents())
	sizes := make([]int32, store.Documents())
	for d := range sizes {
		from, to := store.Document(int64(d))
		if to-from > int64(length) {
			return nil, fmt.Errorf("example %d has %d tokens, more than sequence_length %d", d+1, to-from, length)
		}
		if leave != nil && leave(int64(d)) {
			p.left = append(p.left, int32(d))
			continue
		}
		order, sizes[d] = append(order, int32(d)), int32(to-from)
		p.tokens += to - from
	}
	if !packing {
		p.documents = order
		for d := range order {
			p.ends = append(p.ends, int32(d+1))
		}
		return p, nil
	}
	// Longest first is what the bound of 11/9 needs; in any order best-fit may take 17/10 of the fewest.
	slices.SortStableFunc(order, func(a, b int32) int { return int(sizes[b]) - int(sizes[a]) }) // stable, so that the order of equal lengths is fixed
	p.lay(bestFit(order, sizes, length))
	return p, nil
}

func (p *Packs) lay(packs [][]int32) {
	for _, pack := range packs {
		p.documents = append(p.documents, pack...)
		p.ends = append(p.ends, int32(len(p.documents)))
	}
}

// bestFit fills packs of length with documents in order.
func bestFit(order, sizes []int32, length int) (packs [][]int32) {
	room := newRooms(length)
	for _, d := range order {
		n := int(sizes[d])
		k, space := room.take(n)
		if k < 0 {
			k, space = len(packs), length
			packs = append(packs, nil)
		}
		packs[k] = append(packs[k], d)
		room.put(k, space-n)
	}
	return packs
}

// rooms finds the open pack with the least space that is enough: packs by their space, and a bit for each space that occurs.
type rooms struct {
	packs [][]int32
	words []uint64
}

func newRooms(length int) *rooms {
	return &rooms{packs: make([][]int32, length+1), words: make([]uint64, length/64+1)}
}

func (r *rooms) put(pack, space int) {
	if space < minDocument {
		return // full
	}
	r.packs[space] = append(r.packs[space], int32(pack))
	r.words[space/64] |= 1 << (space % 64)
}

// take removes and returns the pack with the least space of n or more, -1 when there is none.
func (r *rooms) take(n int) (pack, space int) {
	w := n / 64
	word := r.words[w] &^ (1<<(n%64) - 1)
	for word == 0 {
		if w++; w == len(r.words) {
			return -1, 0
		}
		word = r.words[w]
	}
	space = w*64 + bits.TrailingZeros64(word)
	// The last that came: any of equal space is as good, and taking from the end moves nothing.
	list := r.packs[space]
	pack = int(list[len(list)-1])
	if r.packs[space] = list[:len(list)-1]; len(list) == 1 {
		r.words[w] &^= 1 << (space % 64)
	}
	return pack, space
}

// Examples returns the number of examples in the packs.
func (p *Packs) Examples() int64 { return int64(len(p.documents)) }

// Tokens returns the number of tokens in the packs.
func (p *Packs) Tokens() int64 { return p.tokens }

// Fingerprint tells packs apart by the examples that they are made of.
func (p *Packs) Fingerprint() string {
	if len(p.left) == 0 {
		return p.store.Fingerprint()
	}
	return fmt.Sprintf("%s, without %d of them, hash %016x", p.store.Fingerprint(), len(p.left), HashMarks(p.left))
}

// Count returns the number of packs.
func (p *Packs) Count() int64 { return int64(len(p.ends)) }

func (p *Packs) maxRows() int { return p.length }

func (p *Packs) pack(i int64) []int32 {
	from := int32(0)
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.documents[from:p.ends[i]]
}

func (p *Packs) supervised(i int64) int {
	n := 0
	for _, d := range p.pack(i) {
		from, to := p.store.Document(int64(d))
		for _, mark := range p.store.appendTokens(nil, from+1, to) {
			n += int(mark & 1)
		}
	}
	return n
}

func (p *Packs) appendTo(b *Batch, i int64) {
	for _, d := range p.pack(i) {
		from, to := p.store.Document(int64(d))
		b.AppendMarked(p.store.appendTokens(nil, from, to))
	}
}
