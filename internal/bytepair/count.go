package bytepair

import (
	"context"
	"iter"
	"sync"
)

const (
	roundBytes   = 32 << 20 // text that is counted before the tables are joined
	pieceBytes   = 256 << 10
	maxTrainWord = 4096 // bytes; a longer word is counted in parts of this length
	defaultWords = 4 << 20
)

// counter counts words in rounds of about roundBytes: workers share the pieces of a round, then their tables are joined and, if need be,
// pruned. Rounds are cut by bytes of text, so the outcome does not depend on the number of workers.
type counter struct {
	cfg    Config
	total  *wordTable
	tables []*wordTable // one per worker
}

// round is copied text, cut into pieces that hold whole words.
type round struct {
	text   []byte
	pieces [][2]int
}

// countWords counts the words of all documents.
func countWords(ctx context.Context, docs iter.Seq2[[]byte, error], cfg Config) (*wordTable, error) {
	if cfg.MaxWords <= 0 {
		cfg.MaxWords = defaultWords
	}
	c := &counter{cfg: cfg, total: newWordTable(1 << 16)}
	for range max(1, cfg.Workers) {
		c.tables = append(c.tables, newWordTable(1<<12))
	}
	// Two rounds: one is filled while the other is counted.
	filled, free := make(chan *round), make(chan *round, 2)
	free <- new(round)
	free <- new(round)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range filled {
			c.count(ctx, r)
			free <- r
		}
	}()
	err := c.fill(ctx, docs, filled, free)
	close(filled)
	<-done
	if err == nil {
		err = ctx.Err() // the last round may be counted in part
	}
	return c.total, err
}

// fill copies documents into rounds.
func (c *counter) fill(ctx context.Context, docs iter.Seq2[[]byte, error], filled chan<- *round, free <-chan *round) error {
	r, seen := (<-free).empty(), int64(0)
	for doc, err := range docs {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		seen += int64(len(doc))
		for at := 0; at < len(doc) && ctx.Err() == nil; { // a document may be a gigabyte
			end := len(doc)
			if end-at > pieceBytes {
				end = c.cfg.Pattern.SafeCut(doc, at+pieceBytes)
			}
			r.add(doc[at:end])
			at = end
			if len(r.text) >= roundBytes {
				filled <- r
				r = (<-free).empty()
				c.cfg.Progress("count", seen, 0)
			}
		}
	}
	filled <- r
	c.cfg.Progress("count", seen, 0)
	return ctx.Err()
}

// empty keeps the memory: two rounds of 32 MiB serve a whole training.
func (r *round) empty() *round {
	r.text, r.pieces = r.text[:0], r.pieces[:0]
	return r
}

// add copies, as documents may share a buffer that the next one overwrites.
func (r *round) add(piece []byte) {
	r.pieces = append(r.pieces, [2]int{len(r.text), len(r.text) + len(piece)})
	r.text = append(r.text, piece...)
}

// count adds a round to the total, or a part of it where nobody waits any more.
func (c *counter) count(ctx context.Context, r *round) {
	next := make(chan [2]int)
	var wg sync.WaitGroup
	for _, table := range c.tables {
		wg.Go(func() {
			for p := range next {
				c.countPiece(table, r.text[p[0]:p[1]])
			}
		})
	}
	for _, p := range r.pieces {
		if ctx.Err() != nil {
			break
		}
		next <- p
	}
	close(next)
	wg.Wait()
	for _, table := range c.tables {
		c.total.addAll(table)
		table.reset()
	}
	// Zipf's law is what makes this sound: most distinct words are seen once or twice and never become merges
	if len(c.total.entries) > c.cfg.MaxWords || len(c.total.arena) > 32*c.cfg.MaxWords {
		c.total = c.total.prune(c.cfg.MaxWords/2, 16*c.cfg.MaxWords)
	}
}

// countPiece counts the words of one piece.
func (c *counter) countPiece(table *wordTable, text []byte) {
	c.cfg.Pattern.Words(text, func(start, end int) {
		// a word without an end, such as base64, would make pairs of its own all through the training
		for ; end-start > maxTrainWord; start += maxTrainWord {
			table.add(text[start:start+maxTrainWord], 1)
		}
		table.add(text[start:end], 1)
	})
}
