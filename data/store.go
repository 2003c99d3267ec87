package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sort"

	"github.com/zeebo/xxh3"

	"hone/internal/splitmix"
)

// Store is a read-only stream of T tokens in memory-mapped shards, made of whole documents. It is safe for concurrent use.
type Store struct {
	shards     []*shard
	tokenStart []int64 // [len(shards)+1] tokens before each shard, then T
	docStart   []int64 // [len(shards)+1] documents before each shard, then their number
	textBytes  int64
	vocab      int
	ids, ends  *xxh3.Hasher // of all tokens, and of the places where documents end
}

// OpenStore opens the named shards of dir as one store, after checking each of them in full.
func OpenStore(dir string, names []string) (*Store, error) {
	s := &Store{tokenStart: []int64{0}, docStart: []int64{0}, ids: xxh3.New(), ends: xxh3.New()}
	for _, name := range names {
		path := filepath.Join(dir, name+shardSuffix)
		sh, err := openShard(path)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.add(sh)
		if err := sh.verify(); err != nil {
			s.Close()
			return nil, fmt.Errorf("token shard %s: %w; delete it and it is built again from the text", path, err)
		}
		if sh.vocab != s.vocab {
			s.Close()
			return nil, fmt.Errorf("token shard %s was made with a vocabulary of %d, others with %d; delete the folder", path, sh.vocab, s.vocab)
		}
		s.hash(sh)
	}
	return s, nil
}

// hash goes on with the hashes of the store by those of its last shard, which was read just now. How documents are dealt out to shards does not show in them.
func (s *Store) hash(sh *shard) {
	s.ids.Write(sh.ids)
	begin := s.tokenStart[len(s.shards)-1]
	var place [8]byte
	for d := range sh.documents {
		binary.LittleEndian.PutUint64(place[:], uint64(begin+sh.end(d)))
		s.ends.Write(place[:])
	}
}

// Fingerprint tells stores apart by all that is in them, tokens and ends of documents, for people and for comparison.
func (s *Store) Fingerprint() string {
	return fmt.Sprintf("%d tokens in %d documents, hash %016x", s.Tokens(), s.Documents(), s.ids.Sum64()^splitmix.At(s.ends.Sum64()))
}

func (s *Store) add(sh *shard) {
	n := len(s.shards)
	if n == 0 {
		s.vocab = sh.vocab
	}
	s.shards = append(s.shards, sh)
	s.tokenStart = append(s.tokenStart, s.tokenStart[n]+sh.tokens)
	s.docStart = append(s.docStart, s.docStart[n]+sh.documents)
	s.textBytes += sh.textBytes
}

// Close gives the mapped memory back; the store may not be used afterwards.
func (s *Store) Close() error {
	var errs []error
	for _, sh := range s.shards {
		errs = append(errs, sh.file.Close())
	}
	return errors.Join(errs...)
}

// Tokens returns T, the marks before and after documents included.
func (s *Store) Tokens() int64 { return s.tokenStart[len(s.shards)] }

// Documents returns the number of documents.
func (s *Store) Documents() int64 { return s.docStart[len(s.shards)] }

// Supervised returns the number of tokens that are predicted in one pass: all but the first of each document.
func (s *Store) Supervised() int64 { return s.Tokens() - s.Documents() }

// Bytes returns the size of the text behind the tokens.
func (s *Store) Bytes() int64 { return s.textBytes }

// Vocab returns the vocabulary size: every token id is below it.
func (s *Store) Vocab() int { return s.vocab }

// BytesPerToken returns the bytes of text per token, 0 for an empty store.
func (s *Store) BytesPerToken() float64 {
	if s.Tokens() == 0 {
		return 0
	}
	return float64(s.textBytes) / float64(s.Tokens())
}

// BitsPerByte converts a mean loss over the store's supervised tokens (nats per token) to bits per byte of its text, the
// measure that does not depend on the tokenizer: nats/ln 2 * predicted tokens / bytes.
func (s *Store) BitsPerByte(natsPerToken float64) float64 {
	if s.textBytes == 0 {
		return 0
	}
	return natsPerToken / math.Ln2 * float64(s.Supervised()) / float64(s.textBytes)
}

// Document returns the token range [from, to) of document d, 0 <= d < Documents().
func (s *Store) Document(d int64) (from, to int64) {
	if d < 0 || d >= s.Documents() {
		panic(fmt.Sprintf("data: document %d of a store with %d", d, s.Documents()))
	}
	k := sort.Search(len(s.shards), func(i int) bool { return s.docStart[i+1] > d })
	local := d - s.docStart[k]
	from = s.tokenStart[k]
	if local > 0 {
		from += s.shards[k].end(local - 1)
	}
	return from, s.tokenStart[k] + s.shards[k].end(local)
}

// Read fills dst with the tokens from position at on; at+len(dst) must not exceed Tokens().
func (s *Store) Read(dst []int32, at int64) {
	if at < 0 || at+int64(len(dst)) > s.Tokens() {
		panic(fmt.Sprintf("data: read of %d tokens at %d in a store of %d", len(dst), at, s.Tokens()))
	}
	s.appendTokens(dst[:0], at, at+int64(len(dst)))
}

// appendTokens appends tokens [from, to), which may span shards.
func (s *Store) appendTokens(dst []int32, from, to int64) []int32 {
	for k := s.shardAt(from); from < to; k++ {
		base := s.tokenStart[k]
		stop := min(to, s.tokenStart[k+1])
		dst = s.shards[k].appendTokens(dst, from-base, stop-base)
		from = stop
	}
	return dst
}

// shardAt returns the shard that holds token at.
func (s *Store) shardAt(at int64) int {
	return sort.Search(len(s.shards), func(i int) bool { return s.tokenStart[i+1] > at })
}

// endsBefore returns how many documents end at or before token position at.
func (s *Store) endsBefore(at int64) int64 {
	k := s.shardAt(at)
	if k == len(s.shards) {
		return s.Documents()
	}
	sh, local := s.shards[k], at-s.tokenStart[k]
	return s.docStart[k] + int64(sort.Search(int(sh.documents), func(d int) bool { return sh.end(int64(d)) > local }))
}

// supervised returns how many of the rows [from, to) have a target: all but the last tokens of documents.
func (s *Store) supervised(from, to int64) int {
	return int(to - from - (s.endsBefore(to) - s.endsBefore(from)))
}

// cursor is a document by shard and number in it, for walking documents in order.
type cursor struct {
	shard    int
	document int64
}

// cursorAt returns the document that holds token at.
func (s *Store) cursorAt(at int64) cursor {
	k := s.shardAt(at)
	return cursor{k, s.endsBefore(at) - s.docStart[k]}
}

// next returns the following document, skipping shards without any.
func (s *Store) next(c cursor) cursor {
	c.document++
	for c.shard < len(s.shards) && c.document >= s.shards[c.shard].documents {
		c = cursor{c.shard + 1, 0}
	}
	return c
}

func (s *Store) documentEnd(c cursor) int64 {
	return s.tokenStart[c.shard] + s.shards[c.shard].end(c.document)
}
