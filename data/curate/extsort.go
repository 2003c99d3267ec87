package curate

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
)

// entry says that a document has a key: the hash of its text or of a band of its signature.
type entry struct {
	key   uint64
	doc   uint64 // its number in the order of the corpus
	bytes uint64 // length of its text
}

const entryBytes = 24

func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.doc, b.doc))
}

// sorter sorts more entries than memory holds: full buffers are sorted and written, and merged at the end.
type sorter struct {
	dir    string
	limit  int // entries in memory
	buffer []entry
	runs   []string
}

// add takes an entry.
func (s *sorter) add(e entry) error {
	s.buffer = append(s.buffer, e)
	if len(s.buffer) < s.limit {
		return nil
	}
	return s.spill()
}

func (s *sorter) spill() (err error) {
	slices.SortFunc(s.buffer, compareEntries)
	f, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("sort-%d", len(s.runs))))
	if err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s.runs = append(s.runs, f.Name())
	w := bufio.NewWriterSize(f, 1<<20)
	for _, e := range s.buffer {
		if err := writeEntry(w, e); err != nil {
			return fmt.Errorf("sort: %w", err)
		}
	}
	s.buffer = s.buffer[:0]
	return w.Flush()
}

func writeEntry(w io.Writer, e entry) error {
	var b [entryBytes]byte
	binary.LittleEndian.PutUint64(b[0:], e.key)
	binary.LittleEndian.PutUint64(b[8:], e.doc)
	binary.LittleEndian.PutUint64(b[16:], e.bytes)
	_, err := w.Write(b[:])
	return err
}

func readEntry(r io.Reader) (e entry, err error) {
	var b [entryBytes]byte
	if _, err = io.ReadFull(r, b[:]); err != nil {
		return e, err
	}
	return entry{binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
}

// run is a sorted file being read.
type sortedRun struct {
	next entry
	r    *bufio.Reader
	f    *os.File
}

type runHeap []*sortedRun

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return compareEntries(h[i].next, h[j].next) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*sortedRun)) }
func (h *runHeap) Pop() any          { old := *h; x := old[len(old)-1]; *h = old[:len(old)-1]; return x }

// groups yields the entries that share a key with another, key by key. It removes the sorter's files.
func (s *sorter) groups() iter.Seq2[[]entry, error] {
	return func(yield func([]entry, error) bool) {
		defer s.remove()
		var group []entry
		for e, err := range s.sorted() {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(group) > 0 && group[0].key != e.key {
				if len(group) > 1 && !yield(group, nil) {
					return
				}
				group = group[:0]
			}
			group = append(group, e)
		}
		if len(group) > 1 {
			yield(group, nil)
		}
	}
}

func (s *sorter) sorted() iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		if len(s.runs) == 0 {
			slices.SortFunc(s.buffer, compareEntries)
			for _, e := range s.buffer {
				if !yield(e, nil) {
					return
				}
			}
			return
		}
		if err := s.spill(); err != nil {
			yield(entry{}, err)
			return
		}
		h, err := openRuns(s.runs)
		defer func() {
			for _, r := range h {
				r.f.Close()
			}
		}()
		for err == nil && len(h) > 0 {
			top := h[0]
			if !yield(top.next, nil) {
				return
			}
			if top.next, err = readEntry(top.r); err == io.EOF {
				err = top.f.Close()
				heap.Pop(&h)
			} else if err == nil {
				heap.Fix(&h, 0)
			}
		}
		if err != nil {
			yield(entry{}, fmt.Errorf("sort: %w", err))
		}
	}
}

func openRuns(paths []string) (h runHeap, err error) {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return h, err
		}
		r := &sortedRun{r: bufio.NewReaderSize(f, 1<<18), f: f}
		if r.next, err = readEntry(r.r); err == io.EOF {
			f.Close()
			continue
		} else if err != nil {
			f.Close()
			return h, err
		}
		h = append(h, r)
	}
	heap.Init(&h)
	return h, nil
}

func (s *sorter) remove() {
	for _, path := range s.runs {
		_ = os.Remove(path) // the folder goes at the end of the run anyway
	}
	s.runs, s.buffer = nil, nil
}
