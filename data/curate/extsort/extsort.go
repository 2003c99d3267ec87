// Package extsort sorts more entries than memory holds, through files.
//
// Sorting by keys brings what is equal together without a table of all that was seen: memory is bounded, whatever the corpus. Runs are sorted in memory,
// written, and merged by a heap (Knuth, "The Art of Computer Programming", volume 3, section 5.4).
package extsort

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

// Entry says that something stands in a document: its key is the hash of what is compared.
type Entry struct {
	Key   uint64 // what is equal together
	Doc   uint64 // the document's number in the order of the corpus
	At    uint32 // byte at which it begins
	Bytes uint32 // its length
}

// entryBytes is an entry in a file: key, doc, at and bytes, little endian.
const entryBytes = 24

// compareEntries is the order of entries: by key, and for one key as things stand in the corpus, so that the first is the first there.
func compareEntries(a, b Entry) int {
	if a.Key != b.Key { // nearly always, and cmp.Or would compare all
		return cmp.Compare(a.Key, b.Key)
	}
	return cmp.Or(cmp.Compare(a.Doc, b.Doc), cmp.Compare(a.At, b.At))
}

// Sorter sorts more entries than memory holds: full buffers are sorted and written as runs, which are merged at the end. The order
// does not depend on which sorter took an entry.
type Sorter struct {
	Dir    string   // for its files
	Name   string   // of its files, in front of a number
	Limit  int      // entries in memory
	Sync   bool     // runs are still there after a power cut
	Buffer []Entry  // what is in memory; one that was used before may be given, empty
	Runs   []string // paths of what was written; those of other sorters may be added, to merge them
}

// Add takes an entry.
func (s *Sorter) Add(e Entry) error {
	s.Buffer = append(s.Buffer, e)
	if len(s.Buffer) < s.Limit {
		return nil
	}
	return s.Spill()
}

// Spill writes what is in memory.
func (s *Sorter) Spill() error {
	if len(s.Buffer) == 0 {
		return nil
	}
	// Not stable, which needs no memory beside the buffer: no two entries are equal in key, document and place.
	slices.SortFunc(s.Buffer, compareEntries)
	path := filepath.Join(s.Dir, fmt.Sprintf("%s-%d", s.Name, len(s.Runs)))
	s.Runs = append(s.Runs, path)
	err := WriteRun(path, s.Sync, func(yield func(Entry, error) bool) {
		for _, e := range s.Buffer {
			if !yield(e, nil) {
				return
			}
		}
	})
	s.Buffer = s.Buffer[:0]
	return err
}

// WriteRun writes sorted entries; with sync it is done when they are on the disk.
func WriteRun(path string, sync bool, entries iter.Seq2[Entry, error]) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("sort: %w", err)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	for e, err := range entries {
		if err != nil {
			return err
		}
		var b [entryBytes]byte
		binary.LittleEndian.PutUint64(b[0:], e.Key)
		binary.LittleEndian.PutUint64(b[8:], e.Doc)
		binary.LittleEndian.PutUint32(b[16:], e.At)
		binary.LittleEndian.PutUint32(b[20:], e.Bytes)
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil || !sync {
		return err
	}
	return f.Sync()
}

// Member is an entry among those of its key.
type Member struct {
	Entry
	First Entry // the first of its key
	N     int64 // how many of its key stood so far, this one too
}

// Members yields sorted entries with the first of their key.
func Members(sorted iter.Seq2[Entry, error]) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		m := Member{}
		for e, err := range sorted {
			if err != nil {
				yield(m, err)
				return
			}
			if m.N > 0 && m.Key == e.Key {
				m.Entry, m.N = e, m.N+1
			} else {
				m = Member{e, e, 1}
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// Sorted yields the entries in their order.
func (s *Sorter) Sorted() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if len(s.Runs) == 0 {
			slices.SortFunc(s.Buffer, compareEntries)
			for _, e := range s.Buffer {
				if !yield(e, nil) {
					return
				}
			}
			return
		}
		if err := s.Spill(); err != nil {
			yield(Entry{}, err)
			return
		}
		for e, err := range mergeRuns(s.Runs) {
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Remove takes the files and the memory away.
func (s *Sorter) Remove() {
	for _, path := range s.Runs {
		_ = os.Remove(path) // the folder goes at the end of the run anyway
	}
	s.Runs, s.Buffer = nil, nil
}

// fanIn is how many runs are merged at a time, each with a buffer and an open file.
const fanIn = 128

// mergeRuns yields the entries of sorted runs in their order. Many runs are merged in several steps, through files beside the first.
func mergeRuns(paths []string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var made []string
		defer func() {
			for _, path := range made {
				_ = os.Remove(path)
			}
		}()
		// the oldest first, and what is made of them goes to the end: every entry is written again about as often
		for len(paths) > fanIn {
			path := fmt.Sprintf("%s-merged-%d", paths[0], len(made))
			made = append(made, path)
			if err := WriteRun(path, false, mergeFew(paths[:fanIn])); err != nil {
				yield(Entry{}, err)
				return
			}
			paths = append(slices.Clone(paths[fanIn:]), path)
		}
		for e, err := range mergeFew(paths) {
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Run is a file being read.
type Run struct {
	Next Entry // that Read took last
	r    *bufio.Reader
	f    *os.File
}

// OpenRun opens the file of a run, with a buffer of so many bytes, in front of its first entry.
func OpenRun(path string, buffer int) (*Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Run{r: bufio.NewReaderSize(f, buffer), f: f}, nil
}

// Close closes the file.
func (r *Run) Close() error { return r.f.Close() }

// runHeap is a container/heap with the run of the least next entry on top.
type runHeap []*Run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return compareEntries(h[i].Next, h[j].Next) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*Run)) }
func (h *runHeap) Pop() any          { old := *h; x := old[len(old)-1]; *h = old[:len(old)-1]; return x }

// mergeFew merges up to fanIn runs.
func mergeFew(paths []string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		h, err := openRuns(paths)
		defer func() {
			for _, r := range h {
				r.Close()
			}
		}()
		for err == nil && len(h) > 0 {
			top := h[0]
			if !yield(top.Next, nil) {
				return
			}
			if err = top.Read(); err == io.EOF {
				err = top.Close()
				heap.Pop(&h)
			} else if err == nil {
				heap.Fix(&h, 0)
			}
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("sort: %w", err))
		}
	}
}

// openRuns opens runs and reads the first entry of each; with an error, those that it opened come along to be closed.
func openRuns(paths []string) (h runHeap, err error) {
	for _, path := range paths {
		r, err := OpenRun(path, 1<<18)
		if err != nil {
			return h, err
		}
		h = append(h, r)
		if err := r.Read(); err == io.EOF {
			h = h[:len(h)-1]
			r.Close()
		} else if err != nil {
			return h, err
		}
	}
	heap.Init(&h)
	return h, nil
}

// Read takes the next entry of the run, or returns io.EOF.
func (r *Run) Read() error {
	b, err := r.r.Peek(entryBytes)
	if err != nil {
		if len(b) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	r.Next = Entry{binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:])}
	_, err = r.r.Discard(entryBytes)
	return err
}
