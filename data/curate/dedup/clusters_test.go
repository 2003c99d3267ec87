package dedup

import (
	"runtime/debug"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hone/data/curate/extsort"
)

// TestHold: places go to documents until there are most of them, and then from copies to what is a copy of nothing.
func TestHold(t *testing.T) {
	e := func(doc uint64) extsort.Entry { return extsort.Entry{Doc: doc, Bytes: uint32(doc)} } // a later one is longer, and so the root
	c := NewClusters()
	held := c.hold(c.hold(nil, e(1), 2), e(2), 2)
	if held = c.hold(held, e(3), 2); !slices.Equal(held, []extsort.Entry{e(1), e(2)}) {
		t.Errorf("%v are held, want the first two, which are copies of nothing", held)
	}
	c.Join(e(2), e(4))
	c.Join(e(5), e(9))
	if held = c.hold(held, e(5), 2); !slices.Equal(held, []extsort.Entry{e(1), e(2)}) {
		t.Errorf("%v are held: a copy took a place", held)
	}
	if held = c.hold(held, e(4), 2); !slices.Equal(held, []extsort.Entry{e(1), e(4)}) {
		t.Errorf("%v are held, want 4 for its copy", held)
	}
}

// TestLongChains: documents of which each is a longer copy of the one before are a chain, whose end is found in a bounded stack.
func TestLongChains(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 18)) // more would end the program
	c, n := NewClusters(), uint64(50_000)
	for doc := range n {
		c.Join(extsort.Entry{Doc: doc, Bytes: uint32(doc)}, extsort.Entry{Doc: doc + 1, Bytes: uint32(doc + 1)})
	}
	for _, doc := range []uint64{0, n / 2, n - 1} {
		if kept, other := c.KeptInstead(doc); kept != n || !other {
			t.Errorf("%d is kept for %d", kept, doc)
		}
	}
	if c.parent[1] != n {
		t.Errorf("the way from 1 still leads by %d", c.parent[1])
	}
}

func TestClustersKeepTheLongest(t *testing.T) {
	c := NewClusters()
	e := func(doc uint64, bytes uint32) extsort.Entry { return extsort.Entry{Doc: doc, Bytes: bytes} }
	c.Join(e(1, 10), e(2, 10))
	c.Join(e(5, 30), e(4, 20))
	c.Join(e(2, 10), e(4, 20))
	for _, doc := range []uint64{1, 2, 4} {
		if kept, other := c.KeptInstead(doc); kept != 5 || !other {
			t.Errorf("%d is kept for %d", kept, doc)
		}
	}
	if _, other := c.KeptInstead(5); other {
		t.Error("the longest is not kept")
	}
	if kept, other := c.KeptInstead(9); kept != 9 || other {
		t.Error("a document without duplicates is not kept")
	}
}

// TestClustersInAnyOrder: sets that are joined are the same, and keep the same documents, in whatever order they are joined.
func TestClustersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [2]uint64 {
			return [2]uint64{rapid.Uint64Range(0, 9).Draw(t, "a"), rapid.Uint64Range(0, 9).Draw(t, "b")}
		}), 0, 12).Draw(t, "pairs")
		sizes := rapid.SliceOfN(rapid.Uint32Range(1, 4), 10, 10).Draw(t, "sizes")
		kept := func(pairs [][2]uint64) (all []uint64) {
			c := NewClusters()
			for _, p := range pairs {
				c.Join(extsort.Entry{Doc: p[0], Bytes: sizes[p[0]]}, extsort.Entry{Doc: p[1], Bytes: sizes[p[1]]})
			}
			c.Settle()
			for doc := range uint64(10) {
				k, _ := c.KeptInstead(doc)
				all = append(all, k)
			}
			return all
		}
		want := kept(pairs)
		for doc, k := range want {
			if sizes[k] < sizes[doc] || sizes[k] == sizes[doc] && k > uint64(doc) || want[k] != k {
				t.Fatalf("document %d of %d bytes goes for %d of %d", doc, sizes[doc], k, sizes[k])
			}
		}
		if got := kept(rapid.Permutation(pairs).Draw(t, "order")); !slices.Equal(got, want) {
			t.Fatalf("%v keeps %v in one order and %v in another", pairs, want, got)
		}
	})
}
