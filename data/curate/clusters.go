package curate

// clusters are sets of documents that are duplicates of each other, directly or through others. Only documents that have
// duplicates take memory.
type clusters struct {
	parent map[uint64]uint64
	bytes  map[uint64]uint32
}

func newClusters() *clusters {
	return &clusters{map[uint64]uint64{}, map[uint64]uint32{}}
}

// root is for one goroutine at a time, as it shortens the way for the next call; after settle all may call it. The way is as long as the cluster is large
// where each document is longer than the one before, which is why nothing recurs here.
func (c *clusters) root(doc uint64) uint64 {
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

// settle makes every way to a root one step long, so that root only reads from then on.
func (c *clusters) settle() {
	for doc := range c.parent {
		c.root(doc)
	}
}

// keptRules say which copy is kept, by the kind of the copies: equal texts have equal lengths.
var keptRules = map[string]string{"exact": "the first of equal texts", "near": "the longest text, and the first of equally long ones"}

// join makes a and b duplicates. The root of a cluster is the copy to keep: the longest, and the first of equally long ones.
func (c *clusters) join(a, b entry) {
	for _, e := range []entry{a, b} {
		if _, ok := c.parent[e.doc]; !ok {
			c.parent[e.doc], c.bytes[e.doc] = e.doc, e.bytes
		}
	}
	x, y := c.root(a.doc), c.root(b.doc)
	if x == y {
		return
	}
	if c.bytes[y] > c.bytes[x] || c.bytes[y] == c.bytes[x] && y < x {
		x, y = y, x
	}
	c.parent[y] = x
}

// keptInstead is the document that is kept in place of doc, and whether that is another one.
func (c *clusters) keptInstead(doc uint64) (kept uint64, other bool) {
	kept = c.root(doc)
	return kept, kept != doc
}

// comparedWith is how many documents of a key every further one is compared with. It bounds the work on keys that very many documents share, such as
// that of a common form: without a bound it would grow with the square of their number.
const comparedWith = 32

// hold adds a document that was compared with all earlier ones to them. Where there are most of them it takes the place of a copy, for only roots are kept:
// so long as no more of a key than that are copies of nothing, all of those are compared with each other, and a second run joins nothing. The root of a
// finished cluster was one from the start, being longer than each it was joined with, and has never lost its place.
func (c *clusters) hold(earlier []entry, e entry, most int) []entry {
	if len(earlier) < most {
		return append(earlier, e)
	}
	if c.root(e.doc) != e.doc {
		return earlier
	}
	for i := range earlier {
		if c.root(earlier[i].doc) != earlier[i].doc {
			earlier[i] = e
			break
		}
	}
	return earlier
}
