package curate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"hone/data/curate/document"
	"hone/data/curate/extsort"
	"hone/data/curate/spans"
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
		for r.state.Passes[i].Scans < len(r.cfg.Passes[i].Scans) {
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
	keys := &extsort.Sorter{}
	for _, name := range state.Runs {
		keys.Runs = append(keys.Runs, r.path(workName, name))
	}
	if err := r.mark(ctx, pass, keys); err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	*state = passState{Scans: state.Scans + 1}
	if err := r.save(); err != nil {
		return err
	}
	keys.Remove() // not before the state says that nobody will read them again
	return nil
}

// scanShard sorts the keys of the next shard's documents. Workers have a sorter each; merging makes one order of theirs.
func (r *runner) scanShard(ctx context.Context, pass int, same copies) error {
	state := &r.state.Passes[pass]
	keys := r.cfg.Passes[pass].Scans[state.Scans].Keys
	sorters := make([]*extsort.Sorter, r.cfg.Workers)
	r.spare = slices.Grow(r.spare, r.cfg.Workers)[:r.cfg.Workers]
	for w := range sorters {
		name := fmt.Sprintf("keys-%d-%d-%05d-%d", pass, state.Scans, state.Shards, w)
		sorters[w] = &extsort.Sorter{Dir: r.path(workName), Name: name, Limit: max(1, r.cfg.SortEntries/r.cfg.Workers), Sync: true, Buffer: r.spare[w]}
	}
	work := func(w int, it *item) error {
		// as the passes before leave the document; what they reject is compared with nothing
		if stays, err := r.view(it, pass, nil); !stays || err != nil {
			return err
		}
		var marks []spans.Mark
		if state.Scans > 0 {
			marks = it.marks[pass]
		}
		var failed error
		keys(it.line.Text, marks, func(key uint64, at, n int) {
			if failed == nil {
				failed = sorters[w].Add(extsort.Entry{Key: key, Doc: it.doc, At: uint32(at), Bytes: uint32(n)})
			}
		})
		return failed
	}
	in := shardReader{state.Shards, r.sets(pass, state.Scans), same}
	if err := r.eachItem(ctx, in, work, func(*item) error { return nil }); err != nil {
		return err
	}
	for w, s := range sorters {
		if err := s.Spill(); err != nil {
			return fmt.Errorf("curate: %w", err)
		}
		r.spare[w] = s.Buffer[:0]
		for i := range s.Runs {
			state.Runs = append(state.Runs, fmt.Sprintf("%s-%d", s.Name, i))
		}
	}
	state.Shards++
	r.progress(r.cfg.Passes[pass].Name, r.before(state.Shards))
	return r.save()
}

// sets are what documents come with in a scan: the marks of the passes before, and of the scan before.
func (r *runner) sets(pass, scan int) (sets []markSet) {
	for i := range pass {
		sets = append(sets, markSet{i, len(r.cfg.Passes[i].Scans) - 1})
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
		cut, count, stays := it.line.cut(p, it.marks[i], tokens)
		it.counts.Cuts = append(it.counts.Cuts, count)
		for _, text := range cut[:min(len(cut), examplesEach)] {
			it.cut = append(it.cut, Example{p.Name, "repeated", it.line.place(), beginning(text, exampleBytes)})
		}
		if !stays {
			return false, nil
		}
		if count.Changed > 0 {
			it.scores = append(it.scores, document.Note{Name: cutScore(p), Value: float64(count.Bytes)})
		}
	}
	return true, nil
}

// mark picks from the keys in their order and writes the marks of each shard, in the order of documents and places.
func (r *runner) mark(ctx context.Context, pass int, keys *extsort.Sorter) error {
	scan := r.state.Passes[pass].Scans
	found := &extsort.Sorter{Dir: r.path(workName), Name: fmt.Sprintf("found-%d-%d", pass, scan), Limit: r.cfg.SortEntries}
	defer found.Remove()
	var failed error
	take := func(e extsort.Entry) {
		if failed == nil { // by document now: that is how the marks are read, beside the documents
			failed = found.Add(extsort.Entry{Key: e.Doc, At: e.At, Bytes: e.Bytes})
		}
	}
	pick := r.cfg.Passes[pass].Scans[scan].Pick
	for m, err := range extsort.Members(keys.Sorted()) {
		if err == nil && m.N&0xffff == 1 { // at the first of each key, and now and then of one that very many have
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if pick(m, take); failed != nil {
			return failed
		}
	}
	next, stop := iter.Pull2(spans.JoinedEntries(found.Sorted()))
	defer stop()
	e, err, more := next()
	// A file for each shard, for that is how documents are read: beside each document its marks, without a search.
	for shard := range r.state.Shards {
		end := uint64(r.before(shard + 1))
		written := extsort.WriteRun(r.path(workName, marksName(markSet{pass, scan}, shard)), true, func(yield func(extsort.Entry, error) bool) {
			for more && err == nil && e.Key < end && yield(e, nil) {
				e, err, more = next()
			}
		})
		if err := errors.Join(err, written); err != nil {
			return err
		}
	}
	return nil
}
