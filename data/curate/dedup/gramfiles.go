package dedup

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"

	"hone/data/curate/extsort"
	"hone/internal/atomicfile"
)

// endsName is the file with the place where each document's n-grams end, which is written last and so says that both are whole.
func endsName(grams string) string { return grams + "-ends" }

// GramsWritten reports whether the n-grams of a path were written as a whole.
func GramsWritten(path string) bool {
	_, err := os.Stat(endsName(path))
	return err == nil
}

// GramWriter writes the n-grams of a shard's documents one after the other, and beside them where each ends.
type GramWriter struct {
	files   [2]*atomicfile.File // n-grams, ends
	buffers [2]*bufio.Writer
	end     uint64 // n-grams so far
}

// CreateGrams begins the file of a path, and one beside it; both appear when they are whole.
func CreateGrams(path string) (*GramWriter, error) {
	w := &GramWriter{}
	for i, p := range []string{path, endsName(path)} {
		f, err := atomicfile.Create(p)
		if err != nil {
			w.Abort()
			return nil, fmt.Errorf("curate: %w", err)
		}
		w.files[i], w.buffers[i] = f, bufio.NewWriterSize(f, 1<<18)
	}
	return w, nil
}

// Write takes the n-grams of the next document, in ascending order; none for one that is not compared.
func (w *GramWriter) Write(grams []uint64) error {
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

// Commit lets the files appear.
func (w *GramWriter) Commit() error {
	for i, f := range w.files { // the ends last: where they are, the shard is done
		if err := errors.Join(w.buffers[i].Flush(), f.Commit()); err != nil {
			w.Abort()
			return fmt.Errorf("curate: %w", err)
		}
	}
	return nil
}

// Abort takes away what was written.
func (w *GramWriter) Abort() {
	for _, f := range w.files {
		if f != nil {
			f.Abort()
		}
	}
}

// GramSets reads the n-grams of any documents. It is for one goroutine.
type GramSets struct {
	grams, ends []*os.File
	sizes       []uint64 // n-grams in each file
	first       []uint64 // number of each shard's first document
	threshold   float64
	sides       [2]lastRead[[]uint64]
}

// OpenGrams opens what GramWriters wrote to paths; first are the numbers of the first documents in them.
func OpenGrams(paths []string, first []uint64, threshold float64) (*GramSets, error) {
	s := &GramSets{first: first, threshold: threshold}
	for i, path := range paths {
		for p, files := range map[string]*[]*os.File{path: &s.grams, endsName(path): &s.ends} {
			f, err := os.Open(p)
			if err != nil {
				s.Close()
				return nil, fmt.Errorf("curate: %w", err)
			}
			*files = append(*files, f)
		}
		info, err := s.grams[i].Stat()
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("curate: %w", err)
		}
		s.sizes = append(s.sizes, uint64(info.Size())/8)
	}
	return s, nil
}

// Close closes the files.
func (s *GramSets) Close() {
	for _, files := range [][]*os.File{s.grams, s.ends} {
		for _, f := range files {
			f.Close()
		}
	}
}

// errDamaged is of n-grams that are not where they should be; what to do is as with a damaged document.
var errDamaged = errors.New("curate: a document of a shard is damaged; remove the folder and start again")

// read returns the n-grams of a document in ascending order.
func (s *GramSets) read(doc uint64) ([]uint64, error) {
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
		return nil, fmt.Errorf("curate: read %s: %w", s.ends[i].Name(), errDamaged)
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

// Alike reports whether the similarity of two documents reaches the threshold.
func (s *GramSets) Alike(a, b extsort.Entry) (bool, error) {
	x, err := s.sides[0].of(a.Doc, s.read)
	if err != nil {
		return false, err
	}
	y, err := s.sides[1].of(b.Doc, s.read)
	return err == nil && ExactSimilarity(x, y) >= s.threshold, err
}
