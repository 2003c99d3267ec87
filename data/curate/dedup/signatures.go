package dedup

import (
	"encoding/binary"
	"fmt"
	"os"
	"sort"

	"hone/data/curate/extsort"
)

// AppendSignature appends a signature as it lies in files, 4 bytes a hash, little endian.
func AppendSignature(b []byte, sig []uint32) []byte {
	for _, s := range sig {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return b
}

// SignatureOf reads what AppendSignature appended.
func SignatureOf(b []byte) []uint32 {
	sig := make([]uint32, len(b)/4)
	for i := range sig {
		sig[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return sig
}

// Signatures reads signatures of any documents, from the disk: 448 bytes each by default, which for a large corpus are more than memory holds.
type Signatures struct {
	files []*os.File
	first []uint64 // number of each file's first document
	head  int      // bytes of a record in front of its signature
	size  int64    // of a record
	sides [2]lastRead[[]uint32]
}

// OpenSignatures opens files of records of one size: head bytes, and a signature of so many hashes. first are the numbers of their first documents.
func OpenSignatures(paths []string, first []uint64, head, hashes int) (*Signatures, error) {
	s := &Signatures{first: first, head: head, size: int64(head + 4*hashes)}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("curate: %w", err)
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// Close closes the files.
func (s *Signatures) Close() {
	for _, f := range s.files {
		f.Close()
	}
}

// Read is the signature of the document with a number.
func (s *Signatures) Read(doc uint64) ([]uint32, error) {
	i := sort.Search(len(s.first), func(i int) bool { return s.first[i] > doc }) - 1
	record := make([]byte, s.size)
	if _, err := s.files[i].ReadAt(record, int64(doc-s.first[i])*s.size); err != nil {
		return nil, fmt.Errorf("curate: read %s: %w", s.files[i].Name(), err)
	}
	return SignatureOf(record[s.head:]), nil
}

// Alike reports whether the signatures of two documents are.
func (s *Signatures) Alike(a, b extsort.Entry, threshold float64) (bool, error) {
	x, err := s.sides[0].of(a.Doc, s.Read)
	if err != nil {
		return false, err
	}
	y, err := s.sides[1].of(b.Doc, s.Read)
	return err == nil && Similarity(x, y) >= threshold, err
}
