package curate

import "github.com/zeebo/xxh3"

// table counts hashes of 64 bits, which keep apart what a document has.
type table struct {
	keys   []uint64 // open addressing, a power of two and at least twice as many as there are different hashes; 0 is free
	counts []uint32
}

// newTable has room for n different hashes.
func newTable(n int) table {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return table{make([]uint64, size), make([]uint32, size)}
}

// add adds one to a hash and returns how often it came now.
func (t *table) add(hash uint64) uint32 {
	hash |= 1 // not free
	at := hash >> 8 & uint64(len(t.keys)-1)
	for t.keys[at] != 0 && t.keys[at] != hash {
		at = (at + 1) & uint64(len(t.keys)-1)
	}
	t.keys[at] = hash
	t.counts[at]++
	return t.counts[at]
}

func (t *table) reset() {
	clear(t.keys)
	clear(t.counts)
}

// phrases counts the n-grams of a document's words by their hashes.
type phrases struct {
	table
	words   []uint64 // hashes
	lengths []int    // bytes
}

func newPhrases(words []string) *phrases {
	p := &phrases{newTable(len(words)), make([]uint64, len(words)), make([]int, len(words))}
	for i, w := range words {
		p.words[i], p.lengths[i] = xxh3.HashString(w), len(w)
	}
	return p
}

// count adds one to the phrase of n words at i and returns how often it has stood now.
func (p *phrases) count(i, n int) uint32 {
	g := uint64(n)
	for _, w := range p.words[i : i+n] {
		g = (g ^ w) * 0x9fb21c651e98df25
		g ^= g >> 32
	}
	return p.add(g)
}

// bytes is the length of the phrase of n words at i, with single spaces.
func (p *phrases) bytes(i, n int) int {
	sum := n - 1
	for _, l := range p.lengths[i : i+n] {
		sum += l
	}
	return sum
}

// top is the bytes in all places of the most frequent phrase of n words that stands at least twice.
func (p *phrases) top(n int) int {
	p.reset()
	best, at := uint32(1), -1
	for i := 0; i+n <= len(p.words); i++ {
		if c := p.count(i, n); c > best {
			best, at = c, i
		}
	}
	if at < 0 {
		return 0
	}
	return int(best) * p.bytes(at, n)
}

// again is the bytes in phrases of n words that stood before, no word counted twice.
func (p *phrases) again(n int) int {
	p.reset()
	sum := 0
	for i := 0; i+n <= len(p.words); {
		if p.count(i, n) == 1 {
			i++
			continue
		}
		sum += p.bytes(i, n)
		i += n
	}
	return sum
}
