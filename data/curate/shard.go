package curate

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"hone/data/curate/dedup"
	"hone/data/curate/extsort"
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
	_, err := w.Write(dedup.AppendSignature(b, d.signature))
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
func (r *runner) eachKey(shard int, base uint64, kind keyKind, f func(extsort.Entry) error) error {
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
		e := extsort.Entry{Key: binary.LittleEndian.Uint64(record), Doc: doc, Bytes: uint32(binary.LittleEndian.Uint64(record[8:]))}
		switch kind {
		case exactKeys:
			err = f(e)
		case idKeys:
			e.Key, e.Bytes = binary.LittleEndian.Uint64(record[16:]), 0 // whatever its length, the first stays
			if e.Key != 0 {
				err = f(e)
			}
		case bandKeys:
			for _, key := range r.cfg.Near.BandKeys(dedup.SignatureOf(record[keyBytes:])) {
				e.Key = key
				err = errors.Join(err, f(e))
			}
		}
		if err != nil {
			return fmt.Errorf("curate: %w", err)
		}
	}
}

// openSignatures opens the signatures in the keys of all shards.
func (r *runner) openSignatures() (*dedup.Signatures, error) {
	paths, first := r.shardFiles(keysName)
	return dedup.OpenSignatures(paths, first, keyBytes, r.hashes())
}

// shardFiles are the paths of a kind of file of all shards, and the numbers of the shards' first documents.
func (r *runner) shardFiles(name func(shard int) string) (paths []string, first []uint64) {
	for i := range r.state.Shards {
		paths, first = append(paths, r.path(workName, name(i))), append(first, uint64(r.before(i)))
	}
	return paths, first
}
