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

// Sorting by keys brings what is equal together without a table of all that was seen: memory is bounded, whatever the corpus. Runs are sorted in memory,
// written, and merged by a heap (Knuth, "The Art of Computer Programming", volume 3, section 5.4).

// entry says that something stands in a document: its key is the hash of what is compared.
type entry struct {
	key   uint64
	doc   uint64 // the document's number in the order of the corpus
	at    uint32 // byte at which it begins
	bytes uint32 // its length
}

// entryBytes is an entry in a file: key, doc, at and bytes, little endian.
const entryBytes = 24

// compareEntries is the order of entries: by key, and for one key as things stand in the corpus, so that the first is the first there.
func compareEntries(a, b entry) int {
	if a.key != b.key { // nearly always, and cmp.Or would compare all
		return cmp.Compare(a.key, b.key)
	}
	return cmp.Or(cmp.Compare(a.doc, b.doc), cmp.Compare(a.at, b.at))
}

// sorter sorts more entries than memory holds: full buffers are sorted and written as runs, which are merged at the end. The order
// does not depend on which sorter took an entry.
type sorter struct {
	dir    string
	name   string // of its files, in front of a number
	limit  int    // entries in memory
	sync   bool   // runs are still there after a power cut
	buffer []entry
	runs   []string // paths
}

// add takes an entry.
func (s *sorter) add(e entry) error {
	s.buffer = append(s.buffer, e)
	if len(s.buffer) < s.limit {
		return nil
	}
	return s.spill()
}

// spill writes what is in memory.
func (s *sorter) spill() error {
	if len(s.buffer) == 0 {
		return nil
	}
	// Not stable, which needs no memory beside the buffer: no two entries are equal in key, document and place.
	slices.SortFunc(s.buffer, compareEntries)
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%d", s.name, len(s.runs)))
	s.runs = append(s.runs, path)
	err := writeRun(path, s.sync, func(yield func(entry, error) bool) {
		for _, e := range s.buffer {
			if !yield(e, nil) {
				return
			}
		}
	})
	s.buffer = s.buffer[:0]
	return err
}

// writeRun writes sorted entries; with sync it is done when they are on the disk.
func writeRun(path string, sync bool, entries iter.Seq2[entry, error]) (err error) {
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
		binary.LittleEndian.PutUint64(b[0:], e.key)
		binary.LittleEndian.PutUint64(b[8:], e.doc)
		binary.LittleEndian.PutUint32(b[16:], e.at)
		binary.LittleEndian.PutUint32(b[20:], e.bytes)
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil || !sync {
		return err
	}
	return f.Sync()
}

// member is an entry among those of its key.
type member struct {
	entry
	first entry // the first of its key
	n     int64 // how many of its key stood so far, this one too
}

// members yields sorted entries with the first of their key.
func members(sorted iter.Seq2[entry, error]) iter.Seq2[member, error] {
	return func(yield func(member, error) bool) {
		m := member{}
		for e, err := range sorted {
			if err != nil {
				yield(m, err)
				return
			}
			if m.n > 0 && m.key == e.key {
				m.entry, m.n = e, m.n+1
			} else {
				m = member{e, e, 1}
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// sorted yields the entries in their order.
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
		for e, err := range mergeRuns(s.runs) {
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (s *sorter) remove() {
	for _, path := range s.runs {
		_ = os.Remove(path) // the folder goes at the end of the run anyway
	}
	s.runs, s.buffer = nil, nil
}

// fanIn is how many runs are merged at a time, each with a buffer and an open file.
const fanIn = 128

// mergeRuns yields the entries of sorted runs in their order. Many runs are merged in several steps, through files beside the first.
func mergeRuns(paths []string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
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
			if err := writeRun(path, false, mergeFew(paths[:fanIn])); err != nil {
				yield(entry{}, err)
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

// sortedRun is a file being read.
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

// mergeFew merges up to fanIn runs.
func mergeFew(paths []string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		h, err := openRuns(paths)
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
			if err = top.read(); err == io.EOF {
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

// openRuns opens runs and reads the first entry of each; with an error, those that it opened come along to be closed.
func openRuns(paths []string) (h runHeap, err error) {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return h, err
		}
		r := &sortedRun{r: bufio.NewReaderSize(f, 1<<18), f: f}
		h = append(h, r)
		if err := r.read(); err == io.EOF {
			h = h[:len(h)-1]
			f.Close()
		} else if err != nil {
			return h, err
		}
	}
	heap.Init(&h)
	return h, nil
}

// read takes the next entry of the run, or returns io.EOF.
func (r *sortedRun) read() error {
	b, err := r.r.Peek(entryBytes)
	if err != nil {
		if len(b) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	r.next = entry{binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:])}
	_, err = r.r.Discard(entryBytes)
	return err
}
