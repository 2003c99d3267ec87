package filters

import (
	"strings"

	"github.com/zeebo/xxh3"

	"hone/data/curate/document"
	"hone/data/curate/words"
)

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

// phrases counts the n-grams of a document's words by their hashes. A phrase of n words has more characters of scripts without spaces, each of which counts for a
// part of a word: 5 characters come again in every Japanese or Thai text, as 5 words do not in English.
type phrases struct {
	table
	words   []uint64 // hashes
	lengths []int    // bytes
	weights []int    // how much of a word each is, in parts of wholeWord; nil: all are whole
}

// What a word counts for: words have nearly two characters in Chinese and Japanese, about as many syllables in Tibetan, and three to four characters in
// Thai, Lao, Khmer and Burmese.
const (
	wholeWord = 6
	ideograph = wholeWord / 2
	cluster   = wholeWord / 3
)

func newPhrases(d *document.Doc) *phrases {
	list := d.Words()
	p := &phrases{newTable(len(list)), make([]uint64, len(list)), make([]int, len(list)), nil}
	for i, w := range list {
		p.words[i], p.lengths[i] = xxh3.HashString(w), len(w)
	}
	if !words.HasUnspaced(d.Text) {
		return p
	}
	p.weights = make([]int, len(list))
	for i, w := range list {
		switch {
		case !words.HasUnspaced(w):
			p.weights[i] = wholeWord
		case strings.ContainsFunc(w, words.Ideograph), strings.ContainsFunc(w, words.Tibetan):
			p.weights[i] = ideograph
		default:
			p.weights[i] = cluster
		}
	}
	return p
}

// end is where the phrase of n words from i on ends, beyond all words where the text ends before it does.
func (p *phrases) end(i, n int) int {
	if p.weights == nil {
		return i + n
	}
	left := n * wholeWord
	for ; left > 0 && i < len(p.weights); i++ {
		left -= p.weights[i]
	}
	if left > 0 {
		return len(p.words) + 1
	}
	return i
}

// count adds one to the phrase of n words from i to end and returns how often it has stood now.
func (p *phrases) count(i, end, n int) uint32 {
	g := uint64(n)
	for _, w := range p.words[i:end] {
		g = (g ^ w) * 0x9fb21c651e98df25
		g ^= g >> 32
	}
	return p.add(g)
}

// bytes is the length of the words from i to end, with single spaces where their script has them.
func (p *phrases) bytes(i, end int) int {
	sum := end - i - 1
	for j := i; j < end; j++ {
		if sum += p.lengths[j]; j > i && p.weights != nil && p.weights[j-1] < wholeWord {
			sum--
		}
	}
	return sum
}

// top is the bytes in all places of the most frequent phrase of n words that stands at least twice.
func (p *phrases) top(n int) int {
	p.reset()
	best, at := uint32(1), -1
	for i, end := 0, p.end(0, n); end <= len(p.words); i, end = i+1, p.end(i+1, n) {
		if c := p.count(i, end, n); c > best {
			best, at = c, i
		}
	}
	if at < 0 {
		return 0
	}
	return int(best) * p.bytes(at, p.end(at, n))
}

// again is the bytes in phrases of n words that stood before, no word counted twice.
func (p *phrases) again(n int) int {
	p.reset()
	sum := 0
	for i, end := 0, p.end(0, n); end <= len(p.words); end = p.end(i, n) {
		if p.count(i, end, n) == 1 {
			i++
			continue
		}
		sum += p.bytes(i, end)
		i = end
	}
	return sum
}
