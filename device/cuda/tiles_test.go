package cuda

import (
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
)

// packs are sequences of some lengths, with keys before them in a cache or without.
func packs(r *rand.Rand) (all [][]device.Sequence) {
	for range 50 {
		var list []device.Sequence
		q, k := 0, r.IntN(3)
		for range r.IntN(5) {
			n := r.IntN(40)
			s := device.Sequence{Q: q, QLen: n, K: k, KLen: n + r.IntN(30)*r.IntN(2)}
			list = append(list, s)
			q, k = q+s.QLen, k+s.KLen+r.IntN(2)
		}
		all = append(all, list)
	}
	return all
}

// TestTilesCoverOnce: every query, or key, of every sequence is in one tile, none is in two, and tiles with more work come first.
func TestTilesCoverOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, list := range packs(r) {
		for _, how := range []division{{what: queries, own: 16}, {what: keys, own: 16}, {what: queries, own: 7}} {
			l := &tileList{}
			words := l.addTiles(list, how)
			if len(words) != 5*l.n {
				t.Fatalf("%d words of %d tiles", len(words), l.n)
			}
			seen, before := map[[2]int]int{}, 1<<30
			for ; len(words) > 0; words = words[5:] {
				s, first := device.Sequence{Q: int(words[0]), QLen: int(words[1]), K: int(words[2]), KLen: int(words[3])}, int(words[4])
				n, work := s.QLen, s.KLen-s.QLen+first // a causal query sees the keys up to its own
				if how.what == keys {
					n, work = s.KLen, s.KLen-first
				}
				if work > before {
					t.Errorf("%v %v: a tile of work %d follows one of %d", list, how, work, before)
				}
				before = work
				at := slices.Index(list, s)
				for i := first; i < min(first+how.own, n); i++ {
					seen[[2]int{at, i}]++
				}
			}
			want := 0
			for at, s := range list {
				n := s.QLen
				if how.what == keys {
					n = s.KLen
				}
				for i := range n {
					if seen[[2]int{at, i}] == 0 {
						t.Errorf("%v %v: row %d of sequence %d is in no tile", list, how, i, at)
					}
				}
				want += n
			}
			total := 0
			for _, n := range seen {
				total += n
			}
			if total != want {
				t.Errorf("%v %v: tiles have %d rows of %d", list, how, total, want)
			}
		}
	}
}

// TestPartsCoverWhatIsSeen: the parts of a sequence's keys are in order, begin at or before the first key that its first query sees in the window,
// less than a part before, and end with the last key.
func TestPartsCoverWhatIsSeen(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, list := range packs(r) {
		for _, how := range []division{{what: parts, own: 8}, {what: parts, own: 8, window: 5}, {what: parts, own: 8, window: 100}} {
			l := &tileList{}
			words := l.addParts(list, how)
			most, cut, n := 0, false, 0
			for _, s := range list {
				if s.QLen == 0 {
					continue
				}
				first := 0
				if how.window > 0 {
					first = max(0, s.KLen-s.QLen-how.window+1)
				}
				lo := int(words[4])
				if lo > first || first-lo >= how.own || lo%how.own != 0 {
					t.Errorf("%v %v: the first part of %v begins at %d, its first key is %d", list, how, s, lo, first)
				}
				count := int(words[6])
				for i := range count {
					w := words[:7]
					if got := [7]int32(w); got != [7]int32{int32(s.Q), int32(s.QLen), int32(s.K), int32(s.KLen), int32(lo + i*how.own), int32(i), int32(count)} {
						t.Errorf("%v %v: part %d of %v is %v", list, how, i, s, got)
					}
					words, n = words[7:], n+1
				}
				if end := lo + count*how.own; end < s.KLen || end-s.KLen >= how.own {
					t.Errorf("%v %v: the parts of %v end at %d", list, how, s, end)
				}
				most, cut = max(most, s.QLen), cut || count > 1
			}
			if len(words) > 0 || l.n != n || l.queries != most || l.cut != cut {
				t.Errorf("%v %v: %d words are left; %d parts, %d queries, cut %v, want %d, %d, %v", list, how, len(words), l.n, l.queries, l.cut, n, most, cut)
			}
		}
	}
}

// TestOwnKeys: the rows of a sequence's own keys are the last of its keys; where sequences are not one after the other, or one sees another's keys,
// nobody may put them there while others read.
func TestOwnKeys(t *testing.T) {
	for name, c := range map[string]struct {
		list []device.Sequence
		want []int32
	}{
		"without a cache":            {[]device.Sequence{{Q: 0, QLen: 2, K: 0, KLen: 2}, {Q: 2, QLen: 1, K: 2, KLen: 1}}, []int32{0, 1, 2}},
		"slots of a cache":           {[]device.Sequence{{Q: 0, QLen: 1, K: 20, KLen: 5}, {Q: 1, QLen: 2, K: 0, KLen: 7}}, []int32{24, 5, 6}},
		"a gap of queries":           {[]device.Sequence{{Q: 0, QLen: 1, K: 0, KLen: 1}, {Q: 2, QLen: 1, K: 1, KLen: 1}}, nil},
		"keys of another":            {[]device.Sequence{{Q: 0, QLen: 1, K: 0, KLen: 3}, {Q: 1, QLen: 1, K: 2, KLen: 2}}, nil},
		"keys of one before":         {[]device.Sequence{{Q: 0, QLen: 1, K: 5, KLen: 3}, {Q: 1, QLen: 1, K: 3, KLen: 3}}, nil},
		"one sequence":               {[]device.Sequence{{Q: 0, QLen: 3, K: 9, KLen: 4}}, []int32{10, 11, 12}},
		"keys side by side":          {[]device.Sequence{{Q: 0, QLen: 1, K: 3, KLen: 3}, {Q: 1, QLen: 1, K: 0, KLen: 3}}, []int32{5, 2}},
		"a sequence of queries none": {[]device.Sequence{{Q: 0, QLen: 0, K: 0, KLen: 4}, {Q: 0, QLen: 1, K: 4, KLen: 1}}, []int32{4}},
	} {
		if got := ownKeys(c.list); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestSizes: a number of columns has the smallest kernel that it fits.
func TestSizes(t *testing.T) {
	for n, want := range map[int]int{1: 0, 16: 0, 17: 1, 32: 1, 33: 2, 64: 2} {
		if got := sizeOf(n); got != want {
			t.Errorf("%d columns take kernel %d, want %d", n, got, want)
		}
	}
}
