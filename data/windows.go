package data

import "fmt"

// Windows cuts a token store into windows of L tokens (and the token after, which is a target only).
type Windows struct {
	store  *Store
	length int
}

// NewWindows cuts store into windows of length tokens, at least 2.
func NewWindows(store *Store, length int) (*Windows, error) {
	if length < 2 {
		return nil, fmt.Errorf("sequence_length is %d; it must be at least 2", length)
	}
	return &Windows{store, length}, nil
}

// Count returns how many windows cover the store: each token but the last of the store is a row of exactly one, and the
// last window may be shorter.
func (w *Windows) Count() int64 {
	return (w.store.Tokens() - 1 + int64(w.length) - 1) / int64(w.length)
}

func (w *Windows) rows(i int64) (from, to int64) {
	from = i * int64(w.length)
	return from, min(from+int64(w.length), w.store.Tokens())
}

func (w *Windows) supervised(i int64) int { return w.store.supervised(w.rows(i)) }
func (w *Windows) maxRows() int           { return w.length }
func (w *Windows) appendTo(b *Batch, i int64) {
	from, to := w.rows(i)
	b.appendWindow(w.store, from, to)
}
