package data

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"

	"hone/internal/atomicfile"
	"hone/internal/mapped"
)

// A shard file, little endian throughout:
//
//	 0  magic "HONETOK\x00"
//	 8  u32 version, u32 bytes per token (2 or 4)
//	16  u64 tokens, u64 documents, u64 bytes of text behind them
//	40  u32 vocabulary size, u32 bytes of notes: a JSON object of the numbers of documents left out or changed, by reason
//	48  u64 checksum (XXH3) of all that follows the header
//	56  u64 checksum (XXH3) of the 56 bytes before
//	64  u64 end of each document, counted in tokens of this shard
//	    the tokens
//	    the notes
const (
	shardMagic   = "HONETOK\x00"
	shardVersion = 2
	shardHeader  = 64
	shardSuffix  = ".tokens"
)

// minDocument is the shortest document a shard keeps, in tokens: fewer hold nothing to predict. With this, every window of two
// rows or more has a supervised token.
const minDocument = 2

// shard is an open shard file.
type shard struct {
	file      *mapped.File
	width     int
	vocab     int
	tokens    int64
	documents int64
	textBytes int64
	notes     map[Reason]int
	ends      []byte // u64 each
	ids       []byte // width bytes each
}

// tokenWidth returns the bytes per token for a vocabulary.
func tokenWidth(vocab int) int {
	if vocab <= 1<<16 {
		return 2
	}
	return 4
}

// openShard maps the shard at path and checks its header; verify checks the rest.
func openShard(path string) (*shard, error) {
	file, err := mapped.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open token shard: %w", err)
	}
	s := &shard{file: file}
	if err := s.parse(file.Bytes()); err != nil {
		file.Close()
		return nil, fmt.Errorf("token shard %s: %w; delete it and it is built again from the text", path, err)
	}
	return s, nil
}

func (s *shard) parse(b []byte) error {
	if len(b) < shardHeader || string(b[:8]) != shardMagic {
		return errors.New("not a token shard, or cut short")
	}
	le := binary.LittleEndian
	if xxh3.Hash(b[:56]) != le.Uint64(b[56:]) {
		return errors.New("the header is damaged")
	}
	if v := le.Uint32(b[8:]); v != shardVersion {
		return fmt.Errorf("format version %d, this program reads version %d", v, shardVersion)
	}
	s.width = int(le.Uint32(b[12:]))
	tokens, documents := le.Uint64(b[16:]), le.Uint64(b[24:])
	s.textBytes = int64(le.Uint64(b[32:]))
	s.vocab = int(le.Uint32(b[40:]))
	notes, rest := uint64(le.Uint32(b[44:])), uint64(len(b)-shardHeader)
	if s.width != tokenWidth(s.vocab) || s.textBytes < 0 {
		return errors.New("the header contradicts itself")
	}
	// The first two terms keep the products from overflowing.
	if tokens > rest || documents > rest || documents*8+tokens*uint64(s.width)+notes != rest {
		return fmt.Errorf("%d bytes long, but the header promises %d documents and %d tokens", len(b), documents, tokens)
	}
	s.tokens, s.documents = int64(tokens), int64(documents)
	s.ends = b[shardHeader : shardHeader+8*documents]
	s.ids = b[shardHeader+8*documents : uint64(len(b))-notes]
	if notes > 0 && json.Unmarshal(b[uint64(len(b))-notes:], &s.notes) != nil {
		return errors.New("its notes are damaged")
	}
	return nil
}

// verify reads the whole shard and checks what reading relies on: the checksum, document ends and token ids.
func (s *shard) verify() error {
	b := s.file.Bytes()
	if xxh3.Hash(b[shardHeader:]) != binary.LittleEndian.Uint64(b[48:]) {
		return errors.New("the content is damaged: its checksum differs")
	}
	last := int64(0)
	for d := range s.documents {
		end := s.end(d)
		switch { // in this order nothing overflows: last is at most tokens
		case end < last+minDocument:
			return fmt.Errorf("document %d ends before it starts", d)
		case end > s.tokens:
			return fmt.Errorf("document %d ends behind the last token", d)
		}
		last = end
	}
	if last != s.tokens {
		return errors.New("the documents do not cover the tokens")
	}
	for i := range s.tokens {
		if int(s.token(i)) >= s.vocab {
			return fmt.Errorf("token %d is outside the vocabulary of %d", i, s.vocab)
		}
	}
	return nil
}

func (s *shard) end(document int64) int64 {
	return int64(binary.LittleEndian.Uint64(s.ends[8*document:]))
}

func (s *shard) token(i int64) uint32 {
	if s.width == 2 {
		return uint32(binary.LittleEndian.Uint16(s.ids[2*i:]))
	}
	return binary.LittleEndian.Uint32(s.ids[4*i:])
}

// appendTokens appends tokens [from, to) to dst.
func (s *shard) appendTokens(dst []int32, from, to int64) []int32 {
	if s.width == 2 {
		for b := s.ids[2*from : 2*to]; len(b) > 0; b = b[2:] {
			dst = append(dst, int32(binary.LittleEndian.Uint16(b)))
		}
		return dst
	}
	for b := s.ids[4*from : 4*to]; len(b) > 0; b = b[4:] {
		dst = append(dst, int32(binary.LittleEndian.Uint32(b)))
	}
	return dst
}

// shardContent is what goes into a shard file.
type shardContent struct {
	vocab     int
	ids       []int32
	ends      []int64 // of each document, in tokens
	textBytes int64
	notes     map[Reason]int
}

func (c *shardContent) note(r Reason) {
	if c.notes == nil {
		c.notes = make(map[Reason]int)
	}
	c.notes[r]++
}

// write stores the shard under dir/name at once or not at all. The header, which holds the checksum, is written last.
func (c *shardContent) write(dir, name string) error {
	f, err := atomicfile.Create(filepath.Join(dir, name+shardSuffix))
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(make([]byte, shardHeader)); err != nil {
		return err
	}
	var notes []byte
	if len(c.notes) > 0 {
		if notes, err = json.Marshal(c.notes); err != nil {
			return err
		}
	}
	sum := xxh3.New()
	if err := c.writeBody(io.MultiWriter(f, sum), notes); err != nil {
		return err
	}
	if _, err := f.WriteAt(c.header(len(notes), sum.Sum64()), 0); err != nil {
		return err
	}
	return f.Commit()
}

func (c *shardContent) header(notes int, bodySum uint64) []byte {
	le := binary.LittleEndian
	h := append(make([]byte, 0, shardHeader), shardMagic...)
	h = le.AppendUint32(h, shardVersion)
	h = le.AppendUint32(h, uint32(tokenWidth(c.vocab)))
	h = le.AppendUint64(h, uint64(len(c.ids)))
	h = le.AppendUint64(h, uint64(len(c.ends)))
	h = le.AppendUint64(h, uint64(c.textBytes))
	h = le.AppendUint32(h, uint32(c.vocab))
	h = le.AppendUint32(h, uint32(notes))
	h = le.AppendUint64(h, bodySum)
	return le.AppendUint64(h, xxh3.Hash(h))
}

// writeBody writes document ends and tokens, a piece at a time, and the notes.
func (c *shardContent) writeBody(w io.Writer, notes []byte) error {
	const piece = 1 << 14
	le := binary.LittleEndian
	var buf []byte
	for part := range slices.Chunk(c.ends, piece) {
		buf = buf[:0]
		for _, e := range part {
			buf = le.AppendUint64(buf, uint64(e))
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	wide := tokenWidth(c.vocab) == 4
	for part := range slices.Chunk(c.ids, piece) {
		buf = buf[:0]
		for _, id := range part {
			if wide {
				buf = le.AppendUint32(buf, uint32(id))
			} else {
				buf = le.AppendUint16(buf, uint16(id))
			}
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	_, err := w.Write(notes)
	return err
}

// goodShard opens dir/name if it is there and intact, and returns nil if not; a damaged file is removed, to be built again.
func goodShard(dir, name string) (*shard, error) {
	path := filepath.Join(dir, name+shardSuffix)
	s, err := openShard(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if err = s.verify(); err == nil {
			return s, nil
		}
		s.file.Close()
	}
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("remove a damaged token shard: %w", err)
	}
	return nil, nil
}
