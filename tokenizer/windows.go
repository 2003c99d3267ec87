package tokenizer

import "math"

// A heap takes some 40 bytes for each of a word, so that one of 1 GiB, as a file without white space is, would take 40 GB. Such words are merged in windows,
// with the same ids. Where two parts of a word meet, merging the whole word is merging each of them as long as no merge joins the last symbol of the one and
// the first symbol of the other: then the merges of the word are those of both parts, each in its order, of two that are next the one of the lower rank
// first, and the left one of equal ranks. The merges of both parts tell which two symbols stand at the cut at any time, and of which ranks the next merges
// are; so whether the cut is one can be looked up without merging across it.

const (
	hugeWord    = 1 << 20 // bytes: longer words are merged in windows
	windowBytes = 1 << 18
	cutTail     = 64 // tokens at the end of a window that depend on what comes behind it more often than others
	cutTries    = 16 // of a window
	cutMisses   = 64 // of a word, as each costs a window
)

// window is a part of a word, merged as if it stood alone.
type window struct {
	first []int32 // symbols before merging
	ids   []int32 // and after it; -1 where one was merged into its left neighbour
	start []int32 // bytes in front of each
	log   []logged
}

func (w *window) merge(h *wordHeap, s *symbols, b *bpe, text []byte) {
	b.load(s, text)
	h.merge(nil, b, s)
	w.first, w.start = append(w.first[:0], s.ids...), append(w.start[:0], s.start...)
	w.ids, w.log = append(w.ids[:0], h.ids...), append(w.log[:0], h.log...)
}

// cut is the symbol in front of which so many tokens before the last end, 0 where there are fewer.
func (w *window) cut(tokens int) int {
	for i := len(w.ids) - 1; i > 0; i-- {
		if w.ids[i] >= 0 {
			if tokens--; tokens == 0 {
				return i
			}
		}
	}
	return 0
}

// apart reports whether no merge joins the first c symbols of a window with the first d of the next one, which begins there.
func (b *bpe) apart(left *window, c int, right *window, d int) bool {
	x, y := left.first[c-1], right.first[0]
	joined := b.merges.get(x, y)
	for i, j := 0, 0; ; {
		for i < len(left.log) && int(left.log[i].at) >= c {
			i++
		}
		for j < len(right.log) && int(right.log[j].at) >= d {
			j++
		}
		a, z := uint64(math.MaxUint64), uint64(math.MaxUint64) // ranks of the next merges
		if i < len(left.log) {
			a = uint64(left.log[i].rank)
		}
		if j < len(right.log) {
			z = uint64(right.log[j].rank)
		}
		switch {
		case joined != noMerge && uint64(joined.rank()) < a && uint64(joined.rank()) <= z:
			return false
		case i == len(left.log) && j == len(right.log):
			return true
		case a <= z:
			if int(left.log[i].next) == c {
				x = left.log[i].id
				joined = b.merges.get(x, y)
			}
			i++
		default:
			if right.log[j].at == 0 {
				y = right.log[j].id
				joined = b.merges.get(x, y)
			}
			j++
		}
	}
}

// inWindows appends the ids of a word that is much longer than a window of so many bytes; ok is false, and dst as it was, where no cut was found. Cuts are tried
// from so many tokens in front of a window's end on.
func (b *bpe) inWindows(dst []int32, word []byte, size, tail int) (ids []int32, ok bool) {
	h, s := wordHeap{logs: true}, symbols{}
	var before, w, next *window = nil, &window{}, &window{} // before ends at cut
	at, out := 0, dst                                       // the byte at which w begins
	cut, misses := 0, 0
	w.merge(&h, &s, b, word[:min(size, len(word))])
	for len(word)-at > size {
		found := false
		for try := 1; try <= cutTries && !found; try++ {
			c := w.cut(tail*try + try - 1) // not always a multiple, as runs may be cut at some
			if c == 0 {
				return dst, false
			}
			if before != nil && !b.apart(before, cut, w, c) {
				continue
			}
			to := at + int(w.start[c])
			next.merge(&h, &s, b, word[to:min(to+size, len(word))])
			d := len(next.ids)
			if len(word)-to > size {
				d = next.cut(tail)
			}
			if found = d > 0 && b.apart(w, c, next, d); found {
				out, at, cut = appendTokens(out, w.ids[:c]), to, c
			} else if misses++; misses > cutMisses {
				return dst, false
			}
		}
		if !found {
			return dst, false
		}
		if before == nil {
			before = &window{}
		}
		before, w, next = w, next, before
	}
	return appendTokens(out, w.ids), true
}

func appendTokens(dst, ids []int32) []int32 {
	for _, id := range ids {
		if id >= 0 {
			dst = append(dst, id)
		}
	}
	return dst
}
