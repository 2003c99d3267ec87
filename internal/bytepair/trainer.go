package bytepair

import (
	"context"
	"errors"
	"iter"
	"slices"
)

// Config says what Learn makes. MinFrequency, Workers and MaxWords may be left zero.
type Config struct {
	Pattern       *Pattern // cuts text into words
	VocabSize     int      // tokens in all: special tokens, 256 bytes, merges; fewer come out of a text that has no more pairs
	SpecialTokens []string // get the ids 0, 1, ...
	MinFrequency  int64    // pairs seen less often are not merged; 0 and 1: no limit
	Workers       int      // goroutines that count words; 0 and 1: one
	MaxWords      int      // distinct words that are counted, see counter; 0: 4 Mi
	// Progress is called now and then: "count" with bytes of text, of which nobody knows how many there are, and "merge" with tokens.
	Progress func(stage string, done, total int64)
}

// Learned is a vocabulary with its merges.
type Learned struct {
	Names  []string         // spelling of each token, by id: special tokens, the 256 bytes in the order of their spelling, merges
	IDs    map[string]int32 // the same the other way
	Merges []Pair           // in order of rank
}

var errNoWords = errors.New("the documents hold no text to learn merges from; check the data path")

// Learn counts the words of documents and merges the pair seen most often until the vocabulary is full. Documents may share a buffer.
func Learn(ctx context.Context, docs iter.Seq2[[]byte, error], cfg Config) (Learned, error) {
	words, err := countWords(ctx, docs, cfg)
	if err != nil {
		return Learned{}, err
	}
	if len(words.entries) == 0 {
		return Learned{}, errNoWords
	}
	tr := newTrainer(cfg)
	tr.load(words)
	err = tr.run(ctx)
	return Learned{tr.names, tr.ids, tr.finalMerges()}, err
}

// trainer finds merges. It follows the reference's trainer (tokenizers' models/bpe/trainer.rs) to the letter, so that both learn the same
// merges from the same text: a heap holds pairs by count; a merge rewrites the words that hold its pair and pushes the pairs that this
// makes.
//
// Two of the reference's habits matter when one token is made by two merges ("a"+"bc" after "ab"+"c"): a merged pair's own count stays
// as it was, and a pair may be in the heap more than once, each time with the words that were new then. A merge may thus be
// found twice; finalMerges keeps the last, as a map from pairs would.
type trainer struct {
	cfg    Config
	names  []string         // token -> spelling
	ids    map[string]int32 // spelling -> token
	text   []int32          // all words' symbols, one after the other
	words  []trainWord
	pairs  []pairCount
	index  map[Pair]int32 // -> pairs
	heap   []candidate
	merged []Pair
}

type trainWord struct {
	at    int // in text
	n     int32
	count int64
}

// pairCount is a pair's count, with the words that gained it since the last push.
type pairCount struct {
	pair  Pair
	count int64
	fresh []int32
}

// candidate is a heap entry: a pair with its count when pushed, and words to look in.
type candidate struct {
	count int64
	pair  Pair
	words []int32
}

// before breaks ties by the smaller pair, that is by the smaller left id, then the smaller right one, as the reference's Ord for its Merge does. Without that
// rule what is learned would depend on the order of a map.
func (c *candidate) before(d *candidate) bool {
	return c.count > d.count || c.count == d.count && c.pair < d.pair
}

// newTrainer lays out the first tokens: special tokens, then bytes in the order of their spelling.
func newTrainer(cfg Config) *trainer {
	tr := &trainer{cfg: cfg, ids: make(map[string]int32, cfg.VocabSize), index: make(map[Pair]int32, 1<<16)}
	for _, s := range cfg.SpecialTokens {
		tr.token(s)
	}
	runes := ByteAlphabet().Spelling
	slices.Sort(runes[:])
	for _, r := range runes {
		tr.token(string(r))
	}
	return tr
}

// token returns the id of a spelling, a new one if need be.
func (tr *trainer) token(name string) int32 {
	if id, ok := tr.ids[name]; ok {
		return id
	}
	id := int32(len(tr.names))
	tr.names = append(tr.names, name)
	tr.ids[name] = id
	return id
}

// load turns counted words into symbols and counts their pairs.
func (tr *trainer) load(words *wordTable) {
	var byteID [256]int32
	for b, r := range ByteAlphabet().Spelling {
		byteID[b] = tr.ids[string(r)]
	}
	tr.text = make([]int32, 0, len(words.arena))
	// in an order that does not depend on the workers, since the order of equal counts matters below
	for _, w := range words.sorted() {
		if w.length < 2 {
			continue
		}
		tr.words = append(tr.words, trainWord{at: len(tr.text), n: int32(w.length), count: w.count})
		for _, b := range words.word(&w) {
			tr.text = append(tr.text, byteID[b])
		}
	}
	for i, w := range tr.words {
		s := tr.text[w.at : w.at+int(w.n)]
		for j := range len(s) - 1 {
			tr.gain(MakePair(s[j], s[j+1]), w.count, int32(i), nil)
		}
	}
	for i := range tr.pairs {
		tr.push(int32(i))
	}
}

// at returns the index of a pair in tr.pairs.
func (tr *trainer) at(p Pair) int32 {
	i, ok := tr.index[p]
	if !ok {
		i = int32(len(tr.pairs))
		tr.pairs = append(tr.pairs, pairCount{pair: p})
		tr.index[p] = i
	}
	return i
}

// gain counts a pair that has come to be in a word; touched collects the pairs to push.
func (tr *trainer) gain(p Pair, count int64, word int32, touched []int32) []int32 {
	i := tr.at(p)
	pc := &tr.pairs[i]
	pc.count += count
	if len(pc.fresh) == 0 {
		touched = append(touched, i)
	}
	if n := len(pc.fresh); n == 0 || pc.fresh[n-1] != word {
		pc.fresh = append(pc.fresh, word)
	}
	return touched
}

// push offers pair i with the words that it gained.
func (tr *trainer) push(i int32) {
	pc := &tr.pairs[i]
	words := pc.fresh
	pc.fresh = nil
	if pc.count > 0 {
		tr.pushCandidate(candidate{pc.count, pc.pair, words})
	}
}

// run takes the best pair and merges it until the vocabulary is full or pairs are too rare.
func (tr *trainer) run(ctx context.Context) error {
	total := int64(tr.cfg.VocabSize)
	for len(tr.names) < tr.cfg.VocabSize && len(tr.heap) > 0 {
		top := tr.pop()
		// merges since then took some of its places: it goes back with what is left (lazy deletion)
		if now := tr.pairs[tr.index[top.pair]].count; now != top.count {
			top.count = now
			tr.pushCandidate(top)
			continue
		}
		if top.count < max(1, tr.cfg.MinFrequency) {
			break
		}
		tr.apply(top)
		if len(tr.merged)%256 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			tr.cfg.Progress("merge", int64(len(tr.names)), total)
		}
	}
	tr.cfg.Progress("merge", int64(len(tr.names)), int64(len(tr.names)))
	return nil
}

// apply merges a pair in the words that hold it.
func (tr *trainer) apply(c candidate) {
	id := tr.token(tr.names[c.pair.Left()] + tr.names[c.pair.Right()])
	tr.merged = append(tr.merged, c.pair)
	var touched []int32
	for _, w := range c.words {
		touched = tr.mergeWord(w, c.pair, id, touched)
	}
	for _, i := range touched {
		tr.push(i)
	}
}

// mergeWord merges from left to right, in place. The neighbours' counts follow the word as it is at each step.
func (tr *trainer) mergeWord(word int32, p Pair, id int32, touched []int32) []int32 {
	w := &tr.words[word]
	s := tr.text[w.at : w.at+int(w.n)]
	out := 0
	for i := 0; i < len(s); i++ {
		if i+1 == len(s) || s[i] != p.Left() || s[i+1] != p.Right() {
			s[out] = s[i]
			out++
			continue
		}
		if out > 0 {
			tr.pairs[tr.at(MakePair(s[out-1], p.Left()))].count -= w.count
			touched = tr.gain(MakePair(s[out-1], id), w.count, word, touched)
		}
		i++
		if i+1 < len(s) {
			tr.pairs[tr.at(MakePair(p.Right(), s[i+1]))].count -= w.count
			touched = tr.gain(MakePair(id, s[i+1]), w.count, word, touched)
		}
		s[out] = id
		out++
	}
	w.n = int32(out)
	return touched
}

// finalMerges returns the merges in order, a repeated one at its last place.
func (tr *trainer) finalMerges() []Pair {
	last := make(map[Pair]int, len(tr.merged))
	for i, p := range tr.merged {
		last[p] = i
	}
	out := make([]Pair, 0, len(last))
	for i, p := range tr.merged {
		if last[p] == i {
			out = append(out, p)
		}
	}
	return out
}

// pushCandidate and pop are a binary heap by count, then by pair.
func (tr *trainer) pushCandidate(c candidate) {
	tr.heap = append(tr.heap, c)
	i := len(tr.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !tr.heap[i].before(&tr.heap[up]) {
			return
		}
		tr.heap[i], tr.heap[up] = tr.heap[up], tr.heap[i]
		i = up
	}
}

// pop clears the place it frees, for the list of words there would stay in memory otherwise.
func (tr *trainer) pop() candidate {
	top, n := tr.heap[0], len(tr.heap)-1
	tr.heap[0] = tr.heap[n]
	tr.heap[n] = candidate{}
	tr.heap = tr.heap[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			return top
		}
		if child+1 < n && tr.heap[child+1].before(&tr.heap[child]) {
			child++
		}
		if !tr.heap[child].before(&tr.heap[i]) {
			return top
		}
		tr.heap[i], tr.heap[child] = tr.heap[child], tr.heap[i]
		i = child
	}
}
