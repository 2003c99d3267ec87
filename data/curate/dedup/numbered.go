package dedup

// DocumentSet is a set of documents by their number: a bit for each of the corpus.
type DocumentSet []uint64

// NewDocumentSet is empty and has room for the numbers below documents.
func NewDocumentSet(documents int64) DocumentSet { return make(DocumentSet, documents/64+1) }

// Add puts a document into the set.
func (s DocumentSet) Add(doc uint64) { s[doc/64] |= 1 << (doc % 64) }

// Has reports whether a document is in the set.
func (s DocumentSet) Has(doc uint64) bool { return s[doc/64]>>(doc%64)&1 == 1 }

// lastRead keeps what was read last for one side of comparisons, for the documents of a group stay on one side while the other changes.
type lastRead[T any] struct {
	doc   uint64 // plus one; 0: none
	value T
}

func (l *lastRead[T]) of(doc uint64, read func(doc uint64) (T, error)) (T, error) {
	if l.doc == doc+1 {
		return l.value, nil
	}
	v, err := read(doc)
	if err == nil {
		l.doc, l.value = doc+1, v
	}
	return v, err
}
