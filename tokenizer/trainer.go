package tokenizer

import (
	"context"
	"slices"
)

// trainer finds merges. It follows the reference's trainer to the letter, so that both learn the same merges from the same text: a heap
// holds pairs by count; a merge rewrites the words that hold its pair and pushes the pairs that this makes.
//
// Two of the reference's habits matter when one token is made by two merges ("a"+"bc" after "ab"+"c"): a merged pair's own count stays
// as it was, and a pair may be in the heap more than once, each time with the words that were new then. A merge may thus be
// found twice; finalMerges keeps the last, as a map from pairs would.
type trainer struct {
	cfg    TrainConfig
	names  []string         // token -> spelling
	ids    map[string]int32 // spelling -> token
	text   []int32          // all words' symbols, one after the other
	words  []trainWord
	pairs  []pairCount
	index  map[pair]int32 // -> pairs
	heap   []candidate
	merged []pair
}

type trainWord struct {
	at    int // in text
	n     int32
	count int64
}

// pairCount is a pair's count, with the words that gained it since the last push.
type pairCount struct {
	pair  pair
	count int64
	fresh []int32
}

// candidate is a heap entry: a pair with its count when pushed, and words to look in.
type candidate struct {
	count int64
	pair  pair
	words []int32
}

func (c *candidate) before(d *candidate) bool {
	return c.count > d.count || c.count == d.count && c.pair < d.pair
}

// newTrainer lays out the first tokens: special tokens, then bytes in the order of their spelling.
func newTrainer(cfg TrainConfig) *trainer {
	tr := &trainer{cfg: cfg, ids: make(map[string]int32, cfg.VocabSize), index: make(map[pair]int32, 1<<16)}
	for _, s := range cfg.SpecialTokens {
		tr.token(s)
	}
	runes := byteAlphabet().toRune
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
	for b, r := range byteAlphabet().toRune {
		byteID[b] = tr.ids[string(r)]
	}
	tr.text = make([]int32, 0, len(words.arena))
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
			tr.gain(makePair(s[j], s[j+1]), w.count, int32(i), nil)
		}
	}
	for i := range tr.pairs {
		tr.push(int32(i))
	}
}

// at returns the index of a pair in tr.pairs.
func (tr *trainer) at(p pair) int32 {
	i, ok := tr.index[p]
	if !ok {
		i = int32(len(tr.pairs))
		tr.pairs = append(tr.pairs, pairCount{pair: p})
		tr.index[p] = i
	}
	return i
}

// gain counts a pair that has come to be in a word; touched collects the pairs to push.
func (tr *trainer) gain(p pair, count int64, word int32, touched []int32) []int32 {
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

func (tr *trainer) run(ctx context.Context) error {
	total := int64(tr.cfg.VocabSize)
	for len(tr.names) < tr.cfg.VocabSize && len(tr.heap) > 0 {
		top := tr.pop()
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
			tr.cfg.Progress(TrainProgress{Stage: "merge", Done: int64(len(tr.names)), Total: total})
		}
	}
	tr.cfg.Progress(TrainProgress{Stage: "merge", Done: int64(len(tr.names)), Total: int64(len(tr.names))})
	return nil
}

// apply merges a pair in the words that hold it.
func (tr *trainer) apply(c candidate) {
	id := tr.token(tr.names[c.pair.left()] + tr.names[c.pair.right()])
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
func (tr *trainer) mergeWord(word int32, p pair, id int32, touched []int32) []int32 {
	w := &tr.words[word]
	s := tr.text[w.at : w.at+int(w.n)]
	out := 0
	for i := 0; i < len(s); i++ {
		if i+1 == len(s) || s[i] != p.left() || s[i+1] != p.right() {
			s[out] = s[i]
			out++
			continue
		}
		if out > 0 {
			tr.pairs[tr.at(makePair(s[out-1], p.left()))].count -= w.count
			touched = tr.gain(makePair(s[out-1], id), w.count, word, touched)
		}
		i++
		if i+1 < len(s) {
			tr.pairs[tr.at(makePair(p.right(), s[i+1]))].count -= w.count
			touched = tr.gain(makePair(id, s[i+1]), w.count, word, touched)
		}
		s[out] = id
		out++
	}
	w.n = int32(out)
	return touched
}

// finalMerges returns the merges in order, a repeated one at its last place.
func (tr *trainer) finalMerges() []pair {
	last := make(map[pair]int, len(tr.merged))
	for i, p := range tr.merged {
		last[p] = i
	}
	out := make([]pair, 0, len(last))
	for i, p := range tr.merged {
		if last[p] == i {
			out = append(out, p)
		}
	}
	return out
}

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
