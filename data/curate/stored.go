package curate

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// Between the stages documents lie in shards of the work folder, as binary fields behind their length: they are read several times, and JSON
// takes longer than most of what is done with them.

// workFormat names the layout of the work folder and what steps do; a folder of another one is not gone on with.
const workFormat = 10

// store appends the document. As in JSON, bytes that are no UTF-8 become U+FFFD.
func (l *line) store(b []byte) ([]byte, error) {
	var scores []byte
	if len(l.Scores) > 0 {
		var err error
		if scores, err = json.Marshal(l.Scores); err != nil {
			return nil, fmt.Errorf("curate: %w", err)
		}
	}
	offset := uint64(0) // none
	if l.Offset != nil {
		offset = uint64(*l.Offset) + 1
	}
	for _, n := range []uint64{uint64(l.Record), offset, uint64(l.Tokens)} {
		b = binary.AppendUvarint(b, n)
	}
	for _, s := range []string{string(scores), l.Source, l.URL, l.ID, l.Text} {
		if !utf8.ValidString(s) {
			s = string([]rune(s))
		}
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b, nil
}

var errStored = errors.New("curate: a document of a shard is damaged; remove the folder and start again")

// load reads what store wrote.
func (l *line) load(stored []byte) error {
	rest, damaged := string(stored), false
	number := func() (n uint64) {
		n, size := binary.Uvarint(stored[len(stored)-len(rest):])
		if damaged = damaged || size <= 0; damaged {
			return 0
		}
		rest = rest[size:]
		return n
	}
	text := func() (s string) {
		n := number()
		if n > uint64(len(rest)) {
			damaged = true
			return ""
		}
		s, rest = rest[:n], rest[n:]
		return s
	}
	l.Record = int(number())
	if offset := int64(number()); offset > 0 {
		offset--
		l.Offset = &offset
	}
	l.Tokens = int64(number())
	scores := text()
	l.Source, l.URL, l.ID, l.Text = text(), text(), text(), text()
	if damaged || rest != "" {
		return errStored
	}
	if scores == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(scores), &l.Scores); err != nil {
		return fmt.Errorf("%w: %w", errStored, err)
	}
	return nil
}

// createShard makes a file of stored documents, packed fast.
func createShard(path string) (*packedFile, error) { return createPacked(path, zstd.SpeedFastest) }

// writeStored writes a stored document behind its length.
func (w *packedFile) writeStored(stored []byte) error {
	var b [binary.MaxVarintLen64]byte
	if _, err := w.Write(binary.AppendUvarint(b[:0], uint64(len(stored)))); err != nil {
		return err
	}
	_, err := w.Write(stored)
	return err
}

// readStored yields the documents of a shard as they are stored.
func readStored(path string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, fmt.Errorf("curate: %w", err))
			return
		}
		defer f.Close()
		z, err := zstd.NewReader(bufio.NewReaderSize(f, 1<<18), zstd.WithDecoderConcurrency(1))
		if err != nil {
			yield(nil, fmt.Errorf("curate: %w", err))
			return
		}
		defer z.Close()
		in := bufio.NewReaderSize(z, 1<<18)
		for {
			n, err := binary.ReadUvarint(in)
			if err == io.EOF {
				return
			}
			var stored []byte
			if err == nil && n > 1<<32 {
				err = errStored
			}
			if err == nil {
				stored = make([]byte, n)
				_, err = io.ReadFull(in, stored)
			}
			if err != nil {
				yield(nil, fmt.Errorf("curate: read %s: %w", f.Name(), err))
				return
			}
			if !yield(stored, nil) {
				return
			}
		}
	}
}
