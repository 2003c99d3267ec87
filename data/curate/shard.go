package curate

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"hone/internal/atomicfile"
)

// shardWriter writes the documents that are kept, a shard at a time. A shard ends between batches, when it has ShardBytes or more: what is in it depends
// on the documents alone, so that a run which goes on makes the same shards.
type shardWriter struct {
	r       *runner
	input   int64  // documents read so far
	funnel  Result // since the last shard
	count   Count
	text    *packedFile
	keys    *atomicfile.File
	buffer  *bufio.Writer
	pending bool // something was read since the last shard
}

// take writes what a batch left over and ends the shard when it is full.
func (w *shardWriter) take(b *batch, o outcome) error {
	if !w.pending {
		w.funnel, w.pending = w.r.newFunnel(), true
	}
	if o.err != nil {
		return o.err // what came before it in this shard is done again by the next run
	}
	w.input += int64(len(b.docs))
	w.funnel.merge(&o.funnel)
	for i := range o.kept {
		if err := w.write(&o.kept[i]); err != nil {
			return err
		}
	}
	w.r.progress("filters", w.input)
	if w.count.Bytes >= w.r.cfg.ShardBytes {
		return w.close()
	}
	return nil
}

func (w *shardWriter) write(d *keptDoc) (err error) {
	if w.text == nil {
		i := len(w.r.state.Shards)
		if w.text, err = createShard(w.r.path(workName, shardName(i))); err != nil {
			return err
		}
		if w.keys, err = atomicfile.Create(w.r.path(workName, keysName(i))); err != nil {
			return fmt.Errorf("curate: %w", err)
		}
		w.buffer = bufio.NewWriterSize(w.keys, 1<<18)
	}
	// Text and keys in step: the number of a document is its place in both files.
	w.count.plus(d.size)
	return cmp.Or(w.text.writeStored(d.stored), writeKeys(w.buffer, d))
}

// keyBytes is what stands before the signature: three numbers of 8 bytes, little endian. Records of one size let any document's be found by its number.
const keyBytes = 24

// writeKeys writes a record of fixed size: hashes of the text and of the name, length and signature.
func writeKeys(w io.Writer, d *keptDoc) error {
	b := make([]byte, 0, keyBytes+4*len(d.signature))
	b = binary.LittleEndian.AppendUint64(b, d.hash)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.size.Bytes))
	b = binary.LittleEndian.AppendUint64(b, d.id)
	for _, s := range d.signature {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	_, err := w.Write(b)
	return err
}

// close ends the shard and records that the documents up to here are done.
func (w *shardWriter) close() error {
	if !w.pending {
		return nil
	}
	s := &w.r.state
	if w.text != nil {
		// both files before the state that names them: after a crash between, they are made again
		if err := w.text.commit(); err != nil {
			return err
		}
		if err := cmp.Or(w.buffer.Flush(), w.keys.Commit()); err != nil {
			return fmt.Errorf("curate: %w", err)
		}
		s.Shards = append(s.Shards, w.count)
	}
	s.Input = w.input
	s.Funnel.merge(&w.funnel)
	w.text, w.keys, w.count, w.pending = nil, nil, Count{}, false
	return w.r.save()
}

func (w *shardWriter) abort() {
	if w.text != nil {
		w.text.abort()
		if w.keys != nil {
			w.keys.Abort()
		}
	}
}

// keyKind is what documents are compared by.
type keyKind int

const (
	exactKeys keyKind = iota // the hash of the whole text
	bandKeys                 // hashes of the bands of the signature
	idKeys                   // the hash of the name
)

// hashes is how many a signature has, 0 without a search for near duplicates.
func (r *runner) hashes() int {
	if r.cfg.Near == nil {
		return 0
	}
	return r.cfg.Near.Bands * r.cfg.Near.Rows
}

// eachKey calls f for the keys of a shard whose first document has the number base.
func (r *runner) eachKey(shard int, base uint64, kind keyKind, f func(entry) error) error {
	file, err := os.Open(r.path(workName, keysName(shard)))
	if err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<18)
	record := make([]byte, keyBytes+4*r.hashes())
	for doc := base; ; doc++ {
		if _, err := io.ReadFull(in, record); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("curate: read %s: %w", file.Name(), err)
		}
		e := entry{key: binary.LittleEndian.Uint64(record), doc: doc, bytes: uint32(binary.LittleEndian.Uint64(record[8:]))}
		switch kind {
		case exactKeys:
			err = f(e)
		case idKeys:
			e.key, e.bytes = binary.LittleEndian.Uint64(record[16:]), 0 // whatever its length, the first stays
			if e.key != 0 {
				err = f(e)
			}
		case bandKeys:
			for _, key := range r.cfg.Near.bands(signatureOf(record)) {
				e.key = key
				err = errors.Join(err, f(e))
			}
		}
		if err != nil {
			return fmt.Errorf("curate: %w", err)
		}
	}
}

// signatureOf is the signature in a record of keys.
func signatureOf(record []byte) []uint32 {
	sig := make([]uint32, (len(record)-keyBytes)/4)
	for i := range sig {
		sig[i] = binary.LittleEndian.Uint32(record[keyBytes+4*i:])
	}
	return sig
}

// signatures reads signatures of any documents, from the disk: 448 bytes each by default, which for a large corpus are more than memory holds.
type signatures struct {
	files []*os.File
	first []uint64 // number of each file's first document
	size  int64
	sides [2]lastRead[[]uint32]
}

func (r *runner) openSignatures() (*signatures, error) {
	s := &signatures{size: int64(keyBytes + 4*r.hashes())}
	base := uint64(0)
	for i, shard := range r.state.Shards {
		f, err := os.Open(r.path(workName, keysName(i)))
		if err != nil {
			s.close()
			return nil, fmt.Errorf("curate: %w", err)
		}
		s.files, s.first = append(s.files, f), append(s.first, base)
		base += uint64(shard.Documents)
	}
	return s, nil
}

func (s *signatures) close() {
	for _, f := range s.files {
		f.Close()
	}
}

func (s *signatures) read(doc uint64) ([]uint32, error) {
	i := sort.Search(len(s.first), func(i int) bool { return s.first[i] > doc }) - 1
	record := make([]byte, s.size)
	if _, err := s.files[i].ReadAt(record, int64(doc-s.first[i])*s.size); err != nil {
		return nil, fmt.Errorf("curate: read %s: %w", s.files[i].Name(), err)
	}
	return signatureOf(record), nil
}

// alike reports whether the signatures of two documents are.
func (s *signatures) alike(a, b entry, threshold float64) (bool, error) {
	x, err := s.sides[0].of(a.doc, s.read)
	if err != nil {
		return false, err
	}
	y, err := s.sides[1].of(b.doc, s.read)
	return err == nil && similarity(x, y) >= threshold, err
}
