package spans

import (
	"fmt"
	"io"
	"iter"
	"unicode"
	"unicode/utf8"

	"hone/data/curate/extsort"
	"hone/data/curate/words"
)

// JoinedEntries makes overlapping and adjoining spans of a document one, so that nothing is cut or counted twice. The spans come in the order of
// documents and places.
func JoinedEntries(spans iter.Seq2[extsort.Entry, error]) iter.Seq2[extsort.Entry, error] {
	return func(yield func(extsort.Entry, error) bool) {
		var last extsort.Entry
		some := false
		for e, err := range spans {
			switch {
			case err != nil:
				yield(e, err)
				return
			case some && e.Key == last.Key && e.At <= last.At+last.Bytes:
				last.Bytes = max(last.Bytes, e.At+e.Bytes-last.At)
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

// MarkReader reads a shard's marks beside its documents.
type MarkReader struct {
	run  *extsort.Run
	more bool
}

// OpenMarks opens a shard's marks, at the first.
func OpenMarks(path string) (*MarkReader, error) {
	run, err := extsort.OpenRun(path, 1<<16)
	if err != nil {
		return nil, fmt.Errorf("curate: %w", err)
	}
	m := &MarkReader{run: run}
	return m, m.read()
}

// Close closes the file; a reader that was never opened has none.
func (m *MarkReader) Close() {
	if m != nil {
		m.run.Close()
	}
}

func (m *MarkReader) read() error {
	err := m.run.Read()
	m.more = err == nil
	if err == io.EOF {
		return nil
	}
	return err
}

// Of returns a document's marks.
func (m *MarkReader) Of(doc uint64) (marks []Mark, err error) {
	for m.more && m.run.Next.Key <= doc && err == nil {
		if m.run.Next.Key == doc {
			marks = append(marks, Mark{int(m.run.Next.At), int(m.run.Next.Bytes)})
		}
		err = m.read()
	}
	return marks, err
}

// within makes a span shorter until it begins and ends between characters, words or lines.
func within(whole string) func(text string, m Mark) Mark {
	between := func(text string, i int) bool { return i == len(text) || utf8.RuneStart(text[i]) }
	switch whole {
	case "words":
		between = func(text string, i int) bool {
			return i == 0 || i == len(text) || unicode.IsSpace(rune(text[i-1])) && text[i-1] < 0x80 || words.Begins(text, i)
		}
	case "lines":
		between = func(text string, i int) bool { return i == 0 || i == len(text) || text[i-1] == '\n' }
	}
	return func(text string, m Mark) Mark {
		from, to := m.At, m.At+m.N
		for from < to && !between(text, from) {
			from++
		}
		for from < to && !between(text, to) {
			to--
		}
		return Mark{from, to - from}
	}
}
