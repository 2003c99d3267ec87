package dedup

import (
	"iter"
	"maps"

	"hone/data/curate/extsort"
)

// Clusters are sets of documents that are duplicates of each other, directly or through others: a forest in which each points to a longer one (union-find;
// Tarjan, "Efficiency of a Good But Not Linear Set Union Algorithm", 1975, with the length in place of the rank). Only documents that have
// duplicates take memory.
type Clusters struct {
	parent map[uint64]uint64
	bytes  map[uint64]uint32
}

// NewClusters has no document.
func NewClusters() *Clusters {
	return &Clusters{map[uint64]uint64{}, map[uint64]uint32{}}
}

// Has reports whether a document is a duplicate of another or has one.
func (c *Clusters) Has(doc uint64) bool {
	_, ok := c.parent[doc]
	return ok
}

// Docs are the documents that are duplicates or have them, in no order.
func (c *Clusters) Docs() iter.Seq[uint64] { return maps.Keys(c.parent) }

// Root is the document that is kept of those that are copies of doc, which is itself where it has none.
//
// It is for one goroutine at a time, as it shortens the way for the next call; after Settle all may call it. The way is as long as the cluster is large
// where each document is longer than the one before, which is why nothing recurs here.
func (c *Clusters) Root(doc uint64) uint64 {
	root := doc
	for p, ok := c.parent[root]; ok && p != root; p, ok = c.parent[root] {
		root = p
	}
	for doc != root {
		p := c.parent[doc]
		if p != root {
			c.parent[doc] = root
		}
		doc = p
	}
	return root
}

// Settle makes every way to a root one step long, so that Root only reads from then on.
func (c *Clusters) Settle() {
	for doc := range c.parent {
		c.Root(doc)
	}
}

// Join makes a and b duplicates. The root of a cluster is the copy to keep: the longest, and the first of equally long ones.
func (c *Clusters) Join(a, b extsort.Entry) {
	for _, e := range []extsort.Entry{a, b} {
		if _, ok := c.parent[e.Doc]; !ok {
			c.parent[e.Doc], c.bytes[e.Doc] = e.Doc, e.Bytes
		}
	}
	x, y := c.Root(a.Doc), c.Root(b.Doc)
	if x == y {
		return
	}
	if c.bytes[y] > c.bytes[x] || c.bytes[y] == c.bytes[x] && y < x {
		x, y = y, x
	}
	c.parent[y] = x
}

// KeptInstead is the document that is kept in place of doc, and whether that is another one.
func (c *Clusters) KeptInstead(doc uint64) (kept uint64, other bool) {
	kept = c.Root(doc)
	return kept, kept != doc
}

// Joining returns what takes members in the order of their keys, and joins each with those of at most so many earlier documents of its key that are alike.
func (c *Clusters) Joining(most int, alike func(a, b extsort.Entry) (bool, error)) func(extsort.Member) error {
	var earlier []extsort.Entry // of the same key
	return func(m extsort.Member) error {
		if m.N == 1 {
			earlier = earlier[:0]
		}
		for _, e := range earlier {
			if c.Root(e.Doc) == c.Root(m.Doc) { // through others, which spares a comparison
				continue
			}
			same, err := alike(e, m.Entry)
			if err != nil {
				return err
			}
			if same {
				c.Join(e, m.Entry)
			}
		}
		earlier = c.hold(earlier, m.Entry, most)
		return nil
	}
}

// ComparedWith is how many documents of a key every further one is compared with. It bounds the work on keys that very many documents share, such as
// that of a common form: without a bound it would grow with the square of their number.
const ComparedWith = 32

// hold adds a document that was compared with all earlier ones to them. Where there are most of them it takes the place of a copy, for only roots are kept:
// so long as no more of a key than that are copies of nothing, all of those are compared with each other, and a second run joins nothing. The root of a
// finished cluster was one from the start, being longer than each it was joined with, and has never lost its place.
func (c *Clusters) hold(earlier []extsort.Entry, e extsort.Entry, most int) []extsort.Entry {
	if len(earlier) < most {
		return append(earlier, e)
	}
	if c.Root(e.Doc) != e.Doc {
		return earlier
	}
	for i := range earlier {
		if c.Root(earlier[i].Doc) != earlier[i].Doc {
			earlier[i] = e
			break
		}
	}
	return earlier
}
