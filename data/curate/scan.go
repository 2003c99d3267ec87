package curate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
)

// passState is how far a pass is: the scans that are done, and the shards that the one at hand has seen.
type passState struct {
	Scans  int      `json:"scans"`
	Shards int      `json:"shards"`
	Runs   []string `json:"runs,omitempty"` // sorted entries of these shards, names in the work folder
}

func marksName(set markSet, shard int) string {
	return fmt.Sprintf("marks-%d-%d-%05d", set.pass, set.scan, shard)
}

// before is how many documents are in the first shards.
func (r *runner) before(shards int) int64 {
	n := int64(0)
	for _, c := range r.state.Shards[:shards] {
		n += c.Documents
	}
	return n
}

// passes finds what to cut, pass by pass; each sees the documents as the ones before leave them.
func (r *runner) passes(ctx context.Context, same copies) error {
	for len(r.state.Passes) < len(r.cfg.Passes) {
		r.state.Passes = append(r.state.Passes, passState{})
	}
	// In their order, for a pass sees what the ones before leave: the menu that goes with a paragraph is no line that stands twice.
	for i := range r.cfg.Passes {
		for r.state.Passes[i].Scans < len(r.cfg.Passes[i].scans) {
			if err := r.scan(ctx, i, same); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan makes the next scan of a pass: the keys of all documents, shard by shard; their order; marks.
func (r *runner) scan(ctx context.Context, pass int, same copies) error {
	state := &r.state.Passes[pass]
	for state.Shards < len(r.state.Shards) {
		if err := r.scanShard(ctx, pass, same); err != nil {
			return err
		}
	}
	// a sorter of runs that earlier calls wrote, which is all that merging needs
	keys := &sorter{}
	for _, name := range state.Runs {
		keys.runs = append(keys.runs, r.path(workName, name))
	}
	if err := r.mark(ctx, pass, keys); err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	*state = passState{Scans: state.Scans + 1}
	if err := r.save(); err != nil {
		return err
	}
	keys.remove() // not before the state says that nobody will read them again
	return nil
}

// scanShard sorts the keys of the next shard's documents. Workers have a sorter each; merging makes one order of theirs.
func (r *runner) scanShard(ctx context.Context, pass int, same copies) error {
	state := &r.state.Passes[pass]
	keys := r.cfg.Passes[pass].scans[state.Scans].keys
	sorters := make([]*sorter, r.cfg.Workers)
	r.spare = slices.Grow(r.spare, r.cfg.Workers)[:r.cfg.Workers]
	for w := range sorters {
		name := fmt.Sprintf("keys-%d-%d-%05d-%d", pass, state.Scans, state.Shards, w)
		sorters[w] = &sorter{dir: r.path(workName), name: name, limit: max(1, r.cfg.SortEntries/r.cfg.Workers), sync: true, buffer: r.spare[w]}
	}
	work := func(w int, it *item) error {
		// as the passes before leave the document; what they reject is compared with nothing
		if stays, err := r.view(it, pass, nil); !stays || err != nil {
			return err
		}
		var marks []mark
		if state.Scans > 0 {
			marks = it.marks[pass]
		}
		var failed error
		keys(it.line.Text, marks, func(key uint64, at, n int) {
			if failed == nil {
				failed = sorters[w].add(entry{key, it.doc, uint32(at), uint32(n)})
			}
		})
		return failed
	}
	in := shardReader{state.Shards, r.sets(pass, state.Scans), same}
	if err := r.eachItem(ctx, in, work, func(*item) error { return nil }); err != nil {
		return err
	}
	for w, s := range sorters {
		if err := s.spill(); err != nil {
			return fmt.Errorf("curate: %w", err)
		}
		r.spare[w] = s.buffer[:0]
		for i := range s.runs {
			state.Runs = append(state.Runs, fmt.Sprintf("%s-%d", s.name, i))
		}
	}
	state.Shards++
	r.progress(r.cfg.Passes[pass].Name, r.before(state.Shards))
	return r.save()
}

// sets are what documents come with in a scan: the marks of the passes before, and of the scan before.
func (r *runner) sets(pass, scan int) (sets []markSet) {
	for i := range pass {
		sets = append(sets, markSet{i, len(r.cfg.Passes[i].scans) - 1})
	}
	if scan > 0 {
		sets = append(sets, markSet{pass, scan - 1})
	}
	return sets
}

// view makes of an item what the first passes leave of it, and reports whether they leave it.
func (r *runner) view(it *item, passes int, tokens func(string) int) (stays bool, err error) {
	if err := it.line.load(it.stored); err != nil {
		return false, err
	}
	for i := range passes {
		p := &r.cfg.Passes[i]
		cut, count, stays := p.apply(&it.line, it.marks[i], tokens)
		it.counts.Cuts = append(it.counts.Cuts, count)
		for _, text := range cut[:min(len(cut), examplesEach)] {
			it.cut = append(it.cut, Example{p.Name, "repeated", it.line.place(), beginning(text, exampleBytes)})
		}
		if !stays {
			return false, nil
		}
		if count.Changed > 0 {
			it.scores = append(it.scores, note{p.cutScore(), float64(count.Bytes)})
		}
	}
	return true, nil
}

// mark picks from the keys in their order and writes the marks of each shard, in the order of documents and places.
func (r *runner) mark(ctx context.Context, pass int, keys *sorter) error {
	scan := r.state.Passes[pass].Scans
	found := &sorter{dir: r.path(workName), name: fmt.Sprintf("found-%d-%d", pass, scan), limit: r.cfg.SortEntries}
	defer found.remove()
	var failed error
	take := func(e entry) {
		if failed == nil { // by document now: that is how the marks are read, beside the documents
			failed = found.add(entry{key: e.doc, at: e.at, bytes: e.bytes})
		}
	}
	pick := r.cfg.Passes[pass].scans[scan].pick
	for m, err := range members(keys.sorted()) {
		if err == nil && m.n&0xffff == 1 { // at the first of each key, and now and then of one that very many have
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if pick(m, take); failed != nil {
			return failed
		}
	}
	next, stop := iter.Pull2(joinedEntries(found.sorted()))
	defer stop()
	e, err, more := next()
	// A file for each shard, for that is how documents are read: beside each document its marks, without a search.
	for shard := range r.state.Shards {
		end := uint64(r.before(shard + 1))
		written := writeRun(r.path(workName, marksName(markSet{pass, scan}, shard)), true, func(yield func(entry, error) bool) {
			for more && err == nil && e.key < end && yield(e, nil) {
				e, err, more = next()
			}
		})
		if err := errors.Join(err, written); err != nil {
			return err
		}
	}
	return nil
}

// joinedEntries makes overlapping and adjoining spans of a document one, so that nothing is cut or counted twice. The spans come in the order of
// documents and places.
func joinedEntries(spans iter.Seq2[entry, error]) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		var last entry
		some := false
		for e, err := range spans {
			switch {
			case err != nil:
				yield(e, err)
				return
			case some && e.key == last.key && e.at <= last.at+last.bytes:
				last.bytes = max(last.bytes, e.at+e.bytes-last.at)
				continue
			case some && !yield(last, nil):
				return
			}
			last, some = e, true
		}
		if some {
			yield(last, nil)
		}
	}
}

// markReader reads a shard's marks beside its documents.
type markReader struct {
	run  *sortedRun
	more bool
}

// openMarks opens a shard's marks, at the first.
func openMarks(path string) (*markReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("curate: %w", err)
	}
	m := &markReader{run: &sortedRun{r: bufio.NewReaderSize(f, 1<<16), f: f}}
	return m, m.read()
}

func (m *markReader) close() {
	if m != nil {
		m.run.f.Close()
	}
}

func (m *markReader) read() error {
	err := m.run.read()
	m.more = err == nil
	if err == io.EOF {
		return nil
	}
	return err
}

// of returns a document's marks.
func (m *markReader) of(doc uint64) (marks []mark, err error) {
	for m.more && m.run.next.key <= doc && err == nil {
		if m.run.next.key == doc {
			marks = append(marks, mark{int(m.run.next.at), int(m.run.next.bytes)})
		}
		err = m.read()
	}
	return marks, err
}
