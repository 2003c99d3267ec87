package curate

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"sort"

	"hone/internal/atomicfile"
)

// Exact similarities need the sets of n-grams themselves. They are far larger than signatures, so only those of documents that agree in a band with
// another are written, once, and read again for each pair: work on the disk in place of memory.

func gramsName(shard int) string { return fmt.Sprintf("kept-%05d.grams", shard) }

// endsName is the file with the place where each document's n-grams end, which is written last and so says that both are whole.
func endsName(grams string) string { return grams + "-ends" }

// documentSet is a set of documents by their number: a bit for each of the corpus.
type documentSet []uint64

func newDocumentSet(documents int64) documentSet { return make(documentSet, documents/64+1) }

func (s documentSet) add(doc uint64)      { s[doc/64] |= 1 << (doc % 64) }
func (s documentSet) has(doc uint64) bool { return s[doc/64]>>(doc%64)&1 == 1 }

// writeGrams writes the n-grams of the documents that agree in a band with another, which are few, shard by shard. Those of a shard that an earlier call
// wrote are the same.
func (r *runner) writeGrams(ctx context.Context, bands iter.Seq2[entry, error]) error {
	compared := newDocumentSet(r.before(len(r.state.Shards)))
	for m, err := range members(bands) {
		if err != nil {
			return err
		}
		// The first of a key is only known to have company when the second comes.
		if m.n > 1 {
			compared.add(m.first.doc)
			compared.add(m.doc)
		}
	}
	for shard := range r.state.Shards {
		if _, err := os.Stat(r.path(workName, endsName(gramsName(shard)))); err == nil {
			continue
		}
		if err := r.writeShardGrams(ctx, shard, compared); err != nil {
			return err
		}
		r.progress("near duplicates", r.before(shard+1))
	}
	return nil
}

func (r *runner) writeShardGrams(ctx context.Context, shard int, compared documentSet) error {
	out, err := createGrams(r.path(workName, gramsName(shard)))
	if err != nil {
		return err
	}
	work := func(_ int, it *item) error {
		if !compared.has(it.doc) {
			return nil
		}
		if err := it.line.load(it.stored); err != nil {
			return err
		}
		// the same text as the signature is of, or the two searches would compare different things
		it.grams = r.cfg.Near.grams((&Doc{Text: it.line.Text}).compared(r.cfg.Records))
		return nil
	}
	// no copies yet: what is a copy is only found out with these n-grams
	everything := copies{newClusters(), newClusters(), newClusters()}
	err = r.eachItem(ctx, shardReader{shard: shard, same: everything}, work, func(it *item) error { return out.write(it.grams) })
	if err != nil {
		out.abort()
		return err
	}
	return out.commit()
}

// gramWriter writes the n-grams of a shard's documents one after the other, and beside them where each ends.
type gramWriter struct {
	files   [2]*atomicfile.File // n-grams, ends
	buffers [2]*bufio.Writer
	end     uint64 // n-grams so far
}

func createGrams(path string) (*gramWriter, error) {
	w := &gramWriter{}
	for i, p := range []string{path, endsName(path)} {
		f, err := atomicfile.Create(p)
		if err != nil {
			w.abort()
			return nil, fmt.Errorf("curate: %w", err)
		}
		w.files[i], w.buffers[i] = f, bufio.NewWriterSize(f, 1<<18)
	}
	return w, nil
}

func (w *gramWriter) write(grams []uint64) error {
	var b [8]byte
	for _, g := range grams {
		if _, err := w.buffers[0].Write(binary.LittleEndian.AppendUint64(b[:0], g)); err != nil {
			return fmt.Errorf("curate: %w", err)
		}
	}
	w.end += uint64(len(grams))
	_, err := w.buffers[1].Write(binary.LittleEndian.AppendUint64(b[:0], w.end))
	return err
}

func (w *gramWriter) commit() error {
	for i, f := range w.files { // the ends last: where they are, the shard is done
		if err := errors.Join(w.buffers[i].Flush(), f.Commit()); err != nil {
			w.abort()
			return fmt.Errorf("curate: %w", err)
		}
	}
	return nil
}

func (w *gramWriter) abort() {
	for _, f := range w.files {
		if f != nil {
			f.Abort()
		}
	}
}

// gramSets reads the n-grams of any documents.
type gramSets struct {
	grams, ends []*os.File
	sizes       []uint64 // n-grams in each file
	first       []uint64 // number of each shard's first document
	threshold   float64
	sides       [2]lastRead[[]uint64]
}

func (r *runner) openGrams() (*gramSets, error) {
	s := &gramSets{threshold: r.cfg.Near.Threshold}
	for i := range r.state.Shards {
		s.first = append(s.first, uint64(r.before(i)))
		path := r.path(workName, gramsName(i))
		for p, files := range map[string]*[]*os.File{path: &s.grams, endsName(path): &s.ends} {
			f, err := os.Open(p)
			if err != nil {
				s.close()
				return nil, fmt.Errorf("curate: %w", err)
			}
			*files = append(*files, f)
		}
		info, err := s.grams[i].Stat()
		if err != nil {
			s.close()
			return nil, fmt.Errorf("curate: %w", err)
		}
		s.sizes = append(s.sizes, uint64(info.Size())/8)
	}
	return s, nil
}

func (s *gramSets) close() {
	for _, files := range [][]*os.File{s.grams, s.ends} {
		for _, f := range files {
			f.Close()
		}
	}
}

// read returns the n-grams of a document in ascending order.
func (s *gramSets) read(doc uint64) ([]uint64, error) {
	i := sort.Search(len(s.first), func(i int) bool { return s.first[i] > doc }) - 1
	at := int64(doc - s.first[i])
	// where a document begins is where the one before it ends; the first of a shard begins at 0, which ends[:8] holds then
	var ends [16]byte // of the document before and of this one
	from := ends[8:]
	if at > 0 {
		from, at = ends[:], at-1
	}
	if _, err := s.ends[i].ReadAt(from, 8*at); err != nil {
		return nil, fmt.Errorf("curate: read %s: %w", s.ends[i].Name(), err)
	}
	begin, end := binary.LittleEndian.Uint64(ends[:]), binary.LittleEndian.Uint64(ends[8:])
	if begin > end || end > s.sizes[i] { // before so much memory is asked for
		return nil, fmt.Errorf("curate: read %s: %w", s.ends[i].Name(), errStored)
	}
	raw := make([]byte, 8*(end-begin))
	if _, err := s.grams[i].ReadAt(raw, 8*int64(begin)); err != nil {
		return nil, fmt.Errorf("curate: read %s: %w", s.grams[i].Name(), err)
	}
	set := make([]uint64, end-begin)
	for i := range set {
		set[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return set, nil
}

// alike reports whether the similarity of two documents reaches the threshold.
func (s *gramSets) alike(a, b entry) (bool, error) {
	x, err := s.sides[0].of(a.doc, s.read)
	if err != nil {
		return false, err
	}
	y, err := s.sides[1].of(b.doc, s.read)
	return err == nil && exactSimilarity(x, y) >= s.threshold, err
}

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
