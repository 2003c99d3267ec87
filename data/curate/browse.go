package curate

import (
	"cmp"
	"slices"

	"hone/data"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/internal/splitmix"
)

// Cluster is documents of which one is kept, for a person to judge.
type Cluster struct {
	Kind    string   `json:"kind"`    // exact or near
	Rule    string   `json:"rule"`    // by which one is kept
	Size    int      `json:"size"`    // documents
	Members []Member `json:"members"` // the kept one first, then some of the others in the order of the corpus
}

// Member is a document of a cluster.
type Member struct {
	Place      string  `json:"place"`
	Bytes      int     `json:"bytes"`
	Similarity float64 `json:"similarity"` // to the kept one, estimated; 1 for equal texts
	Text       string  `json:"text"`       // its beginning
}

// What is shown: the largest clusters of each kind and, of the near ones, some drawn by the hash of a number.
const (
	shownLargest = 25
	shownDrawn   = 25
	shownMembers = 6
	shownBytes   = 1500
)

// browser collects the clusters to show while the shards are read.
type browser struct {
	clusters []*Cluster
	of       map[uint64][]*Cluster // by document
	root     map[*Cluster]uint64
	members  map[*Cluster][]uint64
}

// newBrowser picks the clusters.
func newBrowser(same copies) *browser {
	b := &browser{of: map[uint64][]*Cluster{}, root: map[*Cluster]uint64{}, members: map[*Cluster][]uint64{}}
	b.pick(same.near, "near")
	b.pick(same.exact, "exact")
	return b
}

func (b *browser) pick(c *dedup.Clusters, kind string) {
	members := map[uint64][]uint64{}
	for doc := range c.Docs() {
		root := c.Root(doc)
		members[root] = append(members[root], doc)
	}
	var roots []uint64
	for root := range members {
		roots = append(roots, root)
	}
	slices.SortFunc(roots, func(x, y uint64) int {
		return cmp.Or(cmp.Compare(len(members[y]), len(members[x])), cmp.Compare(x, y))
	})
	shown := roots[:min(len(roots), shownLargest)]
	rest := slices.Clone(roots[len(shown):])
	slices.SortFunc(rest, func(x, y uint64) int { return cmp.Compare(scrambled(x), scrambled(y)) })
	for _, root := range slices.Concat(shown, rest[:min(len(rest), shownDrawn)]) {
		docs := slices.DeleteFunc(members[root], func(d uint64) bool { return d == root })
		slices.Sort(docs)
		cl := &Cluster{Kind: kind, Rule: keptRules[kind], Size: len(docs) + 1}
		b.clusters, b.root[cl] = append(b.clusters, cl), root
		b.members[cl] = append([]uint64{root}, docs[:min(len(docs), shownMembers-1)]...)
		cl.Members = make([]Member, len(b.members[cl]))
		for _, doc := range b.members[cl] {
			b.of[doc] = append(b.of[doc], cl)
		}
	}
}

// scrambled orders numbers as if by chance, the same in every run.
func scrambled(x uint64) uint64 { return splitmix.At(x) }

// see takes the document with a number.
func (b *browser) see(doc uint64, l line) {
	for _, c := range b.of[doc] {
		at := slices.Index(b.members[c], doc)
		c.Members[at] = Member{Place: data.Document{Source: l.Source, Record: l.Record}.Place(), Bytes: len(l.Text), Similarity: 1, Text: beginning(l.Text, shownBytes)}
	}
}

// finish estimates how alike the members are and gives the clusters.
func (b *browser) finish(r *runner) ([]Cluster, error) {
	var out []Cluster
	signatures, err := r.openSignatures()
	if err != nil {
		return nil, err
	}
	defer signatures.Close()
	for _, c := range b.clusters {
		if c.Kind == "near" {
			if err := b.compare(c, signatures); err != nil {
				return nil, err
			}
		}
		out = append(out, *c)
	}
	return out, nil
}

func (b *browser) compare(c *Cluster, s *dedup.Signatures) error {
	kept, err := s.Read(b.root[c])
	if err != nil {
		return err
	}
	for i, doc := range b.members[c] {
		other, err := s.Read(doc)
		if err != nil {
			return err
		}
		c.Members[i].Similarity = document.Round(dedup.Similarity(kept, other), document.ScoreDigits)
	}
	return nil
}

// keptRules say which copy is kept, by the kind of the copies: equal texts have equal lengths.
var keptRules = map[string]string{"exact": "the first of equal texts", "near": "the longest text, and the first of equally long ones"}
