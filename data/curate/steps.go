package curate

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
)

// batch is documents on their way through the steps together.
type batch struct {
	docs  []data.Document
	bytes int
	done  chan outcome // holds one
}

// outcome is what became of a batch.
type outcome struct {
	kept   []keptDoc
	funnel Result
	err    error
}

// keptDoc is a document that every step kept, with what duplicates are found by.
type keptDoc struct {
	size      Count
	stored    []byte // its record in a shard
	hash      uint64
	id        uint64   // the hash of its name, 0 without one
	signature []uint32 // nil without a search for near duplicates
}

// newFunnel counts nothing yet.
func (r *runner) newFunnel() Result {
	f := Result{Scores: map[string]document.Distribution{}, Labels: map[string]map[string]document.Tally{}}
	for _, s := range r.cfg.Steps {
		f.Steps = append(f.Steps, StepCount{Name: s.Name, Rejected: map[string]Count{}})
	}
	return f
}

// filter puts the documents through the steps and writes shards of those that are kept.
func (r *runner) filter(ctx context.Context, docs iter.Seq2[data.Document, error]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	todo, inOrder := make(chan *batch), make(chan *batch, 2*r.cfg.Workers)
	var readErr error
	go func() {
		defer close(inOrder)
		defer close(todo)
		readErr = r.deal(ctx, docs, todo, inOrder)
	}()
	var workers sync.WaitGroup
	for range r.cfg.Workers {
		workers.Go(func() {
			w := r.newWorker()
			for b := range todo {
				b.done <- w.apply(ctx, b)
			}
		})
	}
	defer workers.Wait()
	w := &shardWriter{r: r, input: r.state.Input}
	defer w.abort()
	for b := range inOrder {
		if err := w.take(b, <-b.done); err != nil {
			cancel()
			// a batch that waits to be sent would block the reader, and closing the channels is the reader's
			for range inOrder { // lets the reader end
			}
			return err
		}
	}
	if readErr != nil {
		return readErr
	}
	if err := w.close(); err != nil {
		return err
	}
	r.state.Filtered = true
	return r.save()
}

// deal makes batches of the documents behind those that are done.
func (r *runner) deal(ctx context.Context, docs iter.Seq2[data.Document, error], todo, inOrder chan<- *batch) error {
	skip := r.state.Input // what the shards of an earlier run cover is read and passed over: sources cannot be entered in the middle
	b := &batch{done: make(chan outcome, 1)}
	send := func() bool {
		for _, c := range []chan<- *batch{inOrder, todo} {
			select {
			case c <- b:
			case <-ctx.Done():
				// a batch in order that no worker gets would be waited for
				b.done <- outcome{err: ctx.Err()}
				return false
			}
		}
		b = &batch{done: make(chan outcome, 1)}
		return true
	}
	for d, err := range docs {
		if err != nil {
			return err
		}
		if skip > 0 {
			skip--
			continue
		}
		b.docs = append(b.docs, d)
		if b.bytes += len(d.Text); len(b.docs) == document.BatchDocs || b.bytes >= document.BatchBytes {
			if !send() {
				return ctx.Err()
			}
		}
	}
	if skip > 0 { // the shards have documents that are gone: what is in them and what comes now would be of two corpora
		return fmt.Errorf("curate: the data ends after %d documents and had %d before; start again in another folder", r.state.Input-skip, r.state.Input)
	}
	if len(b.docs) > 0 && !send() {
		return ctx.Err()
	}
	return nil
}

// passing is a document on its way through the steps, with what the funnel counts of it.
type passing struct {
	*document.Doc
	size  Count // of the text as it is
	whole int64 // bytes before any step
}

type worker struct {
	r      *runner
	hasher *dedup.Hasher         // nil without a search for near duplicates
	tokens func(text string) int // nil when they are not counted
}

func (r *runner) newWorker() *worker {
	w := &worker{r: r}
	if r.cfg.Near != nil {
		w.hasher = r.cfg.Near.Hasher()
	}
	if r.cfg.Tokens != nil {
		w.tokens = r.cfg.Tokens()
	}
	return w
}

// size counts one text.
func (w *worker) size(text string) Count {
	c := Count{Documents: 1, Bytes: int64(len(text))}
	if w.tokens != nil {
		c.Tokens = int64(w.tokens(text))
	}
	return c
}

func (w *worker) apply(ctx context.Context, b *batch) outcome {
	o := outcome{funnel: w.r.newFunnel()}
	docs := make([]*passing, 0, len(b.docs))
	for _, d := range b.docs {
		doc := &passing{Doc: document.New(d)}
		doc.size = w.size(doc.Text)
		doc.whole = doc.size.Bytes
		o.funnel.Read.plus(doc.size)
		docs = append(docs, doc)
	}
	for i := range w.r.cfg.Steps {
		if docs, o.err = w.step(ctx, i, docs, &o.funnel); o.err != nil {
			return o
		}
	}
	for _, doc := range docs {
		o.funnel.score(documentBytes, float64(doc.whole), true) // as it was read, so that kept and rejected ones compare
		k := keptDoc{size: doc.size, hash: xxh3.HashString(doc.Text)}
		if doc.ID != "" {
			// 0 stands for no name
			k.id = max(1, xxh3.HashString(doc.ID))
		}
		l := newLine(doc.Doc, doc.size.Tokens)
		if k.stored, o.err = l.store(make([]byte, 0, len(l.Text)+512)); o.err != nil {
			return o
		}
		if w.hasher != nil {
			k.signature = w.hasher.Signature(doc.Compared(w.r.cfg.Records))
		}
		o.kept = append(o.kept, k)
	}
	return o
}

// step puts documents through a step and returns those that it keeps.
func (w *worker) step(ctx context.Context, i int, docs []*passing, funnel *Result) (kept []*passing, err error) {
	s, count := w.r.cfg.Steps[i], &funnel.Steps[i]
	// what the documents were, to tell afterwards which the step changed and what it noted
	before, noted, all := make([]string, len(docs)), make([]int, len(docs)), make([]*document.Doc, len(docs))
	for i, doc := range docs {
		before[i], noted[i], all[i] = doc.Text, len(doc.Notes()), doc.Doc
	}
	reasons, err := reasonsOf(ctx, s, all)
	if err != nil {
		return nil, fmt.Errorf("curate: %s: %w", s.Name, err)
	}
	for i, doc := range docs {
		reason := reasons[i]
		for _, n := range doc.Notes()[noted[i]:] {
			funnel.note(n, reason == "")
		}
		if reason != "" {
			funnel.score(documentBytes, float64(doc.whole), false)
			c := count.Rejected[reason]
			c.plus(doc.size)
			count.Rejected[reason] = c
			if c.Documents <= examplesEach {
				funnel.Examples = append(funnel.Examples, Example{s.Name, reason, doc.Place(), beginning(before[i], exampleBytes)})
			}
			continue
		}
		if doc.Text != before[i] {
			count.Changed++
			doc.size = w.size(doc.Text)
		}
		count.Kept.plus(doc.size)
		kept = append(kept, doc)
	}
	return kept, nil
}

// reasonsOf is why a step rejects each of the documents.
func reasonsOf(ctx context.Context, s document.Step, docs []*document.Doc) ([]string, error) {
	if s.Batch != nil {
		return s.Batch(ctx, docs)
	}
	reasons := make([]string, len(docs))
	for i, doc := range docs {
		reasons[i] = s.Apply(doc)
	}
	return reasons, nil
}

// examplesEach is how many rejected documents are shown for each reason, and exampleBytes how much of them.
const (
	examplesEach = 3
	exampleBytes = 300
)

// beginning is up to most bytes of a text.
func beginning(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.ToValidUTF8(text[:end], "\ufffd") + " …"
}

// merge adds the counts of a batch. Of examples those of the first batches stay, whichever worker was first: batches are merged in their order.
func (r *Result) merge(b *Result) {
	r.Read.plus(b.Read)
	shown := map[[2]string]int{}
	for _, e := range r.Examples {
		shown[[2]string{e.Step, e.Reason}]++
	}
	for _, e := range b.Examples {
		key := [2]string{e.Step, e.Reason}
		if shown[key]++; shown[key] <= examplesEach {
			r.Examples = append(r.Examples, e)
		}
	}
	r.mergeNotes(b)
	for i := range b.Steps {
		to, from := &r.Steps[i], &b.Steps[i]
		to.Kept.plus(from.Kept)
		to.Changed += from.Changed
		for reason, c := range from.Rejected {
			sum := to.Rejected[reason]
			sum.plus(c)
			to.Rejected[reason] = sum
		}
	}
}
