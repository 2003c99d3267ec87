package data

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"
)

// BadRecord says what happens to a record that cannot be used: malformed JSON, no text in it, or over the size limit.
type BadRecord string

// The choices for bad records.
const (
	FailOnBadRecord BadRecord = "error" // stop and name the place
	SkipBadRecord   BadRecord = "skip"  // leave it out and count it
)

// Sources names the files to read documents from.
//
// By extension: .jsonl and .ndjson hold a JSON object per line, .parquet a row per document, everything else is text; each may
// carry .gz or .zst behind it. A text file is one document, but one over PieceBytes comes in pieces. Files found in folders
// that are binary (a NUL byte near the start) or empty are counted and left out; named by the user they are an error, unless bad files are to be skipped.
type Sources struct {
	Paths       []string  // files, folders (read recursively) and globs (** for any depth)
	Field       string    // JSON key or Parquet column of the text; "" means "text" where the user has no such choice, of which errors say nothing
	URLField    string    // JSON key or Parquet column of where a document was found; "" reads none
	IDField     string    // the same for its name, a string or a number
	OnBadRecord BadRecord // "" is FailOnBadRecord where the user has no such choice, of which the error says nothing
	OnBadFile   BadRecord // the same for files that cannot be read, unpacked or trusted; what came before the damage stays
	MaxRecord   int       // bytes of the largest JSONL line or Parquet text; 0 means 64 MiB
	PieceBytes  int       // text files are cut, at line ends, into pieces up to this size; 0 means 1 MiB, and less for a single file
	MaxRatio    int       // largest ratio of unpacked to packed size; 0 means 1000
	// Records makes each document a whole record as a JSON object, Field aside: a line of .jsonl, an element of the list in a .json
	// file, a row of .parquet or, by the names in the first line, of .csv or .tsv; a text file is {"text": ...}.
	Records bool
}

func (s Sources) withDefaults() (Sources, error) {
	if s.Field == "" {
		s.Field = "text"
	}
	if s.OnBadRecord != "" && s.OnBadRecord != FailOnBadRecord && s.OnBadRecord != SkipBadRecord {
		return s, fmt.Errorf("on_bad_record is %q; it must be %q or %q", s.OnBadRecord, FailOnBadRecord, SkipBadRecord)
	}
	if s.OnBadFile != "" && s.OnBadFile != FailOnBadRecord && s.OnBadFile != SkipBadRecord {
		return s, fmt.Errorf("on_bad_file is %q; it must be %q or %q", s.OnBadFile, FailOnBadRecord, SkipBadRecord)
	}
	if s.MaxRecord <= 0 {
		s.MaxRecord = 64 << 20
	}
	if s.MaxRatio <= 0 {
		s.MaxRatio = 1000
	}
	return s, nil
}

// Files lists the files that Documents reads, in its order.
func (s Sources) Files() ([]string, error) {
	files, err := expand(s.Paths, &Stats{}, s.OnBadFile)
	var out []string
	for _, f := range files {
		out = append(out, f.path)
	}
	return out, err
}

// Size is the bytes of the files, about those of their text. It is not known, and 0, where some are packed.
func (s Sources) Size() (bytes int64, err error) {
	files, err := expand(s.Paths, &Stats{}, s.OnBadFile)
	for _, f := range files {
		if what, packing := kind(f.path); packing != "" || what == ".parquet" {
			return 0, err
		}
		bytes += f.info.Size()
	}
	return bytes, err
}

// Key identifies the files, by path, size and time of change, and the options that decide what is read from them.
func (s Sources) Key() (string, error) { return s.key(s.OnBadRecord, s.OnBadFile) }

// PlaceKey is Key without what happens to what cannot be read: that decides whether reading goes on behind such a place, not what came before it.
func (s Sources) PlaceKey() (string, error) { return s.key("", "") }

func (s Sources) key(onBadRecord, onBadFile BadRecord) (string, error) {
	s, err := s.withDefaults()
	if err != nil {
		return "", err
	}
	files, err := expand(s.Paths, &Stats{}, s.OnBadFile)
	if err != nil {
		return "", err
	}
	h := xxh3.New()
	fmt.Fprintf(h, "%q %q %d %d %v\n", s.Field, cmp.Or(onBadRecord, FailOnBadRecord), s.MaxRecord, s.pieceBytes(files), s.Records)
	if s.URLField != "" || s.IDField != "" || onBadFile == SkipBadRecord {
		fmt.Fprintf(h, "%q %q %q\n", s.URLField, s.IDField, cmp.Or(onBadFile, FailOnBadRecord))
	}
	for _, f := range files {
		path, err := filepath.Abs(f.path)
		if err != nil {
			return "", fmt.Errorf("read data: %w", err)
		}
		fmt.Fprintf(h, "%q %v %d %d\n", path, f.named, f.info.Size(), f.info.ModTime().UnixNano())
	}
	return sumName(h), nil
}

// Documents reads all documents in a stable order and counts what it sees in stats. It stops at the first error.
func (s Sources) Documents(stats *Stats) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		r, err := s.withDefaults()
		if err != nil {
			yield(Document{}, err)
			return
		}
		files, err := expand(s.Paths, stats, r.OnBadFile)
		if err != nil {
			yield(Document{}, err)
			return
		}
		r.PieceBytes = s.pieceBytes(files)
		out := &sink{chosen: s.Field != "", cfg: r, stats: stats, yield: yield}
		for _, f := range files {
			if err := out.file(f); err != nil {
				if err != errStop {
					yield(Document{}, err)
				}
				return
			}
		}
	}
}

// pieceBytes returns the size of the pieces of text files. If all the data is one text file, it comes in about 64 pieces so
// that there is something to hold out.
func (s Sources) pieceBytes(files []sourceFile) int {
	const most, least = 1 << 20, 4 << 10
	if s.PieceBytes > 0 {
		return s.PieceBytes
	}
	if len(files) > 1 {
		return most
	}
	size := files[0].info.Size()
	if _, packing := kind(files[0].path); packing != "" {
		size *= 4 // about what text unpacks to
	}
	return int(min(max(size/64, least), most))
}

// kind splits a file name into what it holds (".jsonl", ".parquet", ".json", ".csv", ".tsv" or "" for text) and how it is packed (".gz", ".zst" or "").
func kind(path string) (content, packing string) {
	ext := strings.ToLower(filepath.Ext(path))
	if ext == ".gz" || ext == ".zst" {
		packing = ext
		ext = strings.ToLower(filepath.Ext(path[:len(path)-len(ext)]))
	}
	switch ext {
	case ".ndjson":
		return ".jsonl", packing
	case ".jsonl", ".parquet", ".json", ".csv", ".tsv":
		return ext, packing
	}
	return "", packing
}

// errStop says that the consumer wants no more documents.
var errStop = errors.New("stop")

// sink passes documents on and keeps the counts.
type sink struct {
	chosen   bool    // the user may name another field
	cfg      Sources // defaults filled in
	stats    *Stats
	yield    func(Document, error) bool
	lastFile string
}

func (k *sink) emit(d Document) error {
	if d.Source != k.lastFile {
		k.stats.Files, k.lastFile = k.stats.Files+1, d.Source
	}
	if len(d.Text) == 0 {
		k.stats.skip(Empty, 1)
		return nil
	}
	k.stats.count(d)
	if !k.yield(d, nil) {
		return errStop
	}
	return nil
}

// bad deals with a record that cannot be used.
func (k *sink) bad(r Reason, err error) error { return k.cfg.bad(k.stats, r, err) }

// bad counts and names a record that cannot be used, or returns err with what may be done about it.
func (s Sources) bad(stats *Stats, r Reason, err error) error {
	if s.OnBadRecord == SkipBadRecord {
		stats.skip(r, 1)
		name(&stats.BadRecords, err.Error())
		return nil
	}
	if s.OnBadRecord == "" {
		return fmt.Errorf("%w; repair it or take it out", err)
	}
	return fmt.Errorf("%w; repair it or set on_bad_record=skip", err)
}

func (k *sink) file(f sourceFile) error {
	if f.info.Size() == 0 {
		return k.useless(f, Empty, "is empty")
	}
	raw, err := os.Open(f.path)
	if err != nil {
		return k.unreadable(f, fmt.Errorf("read data: %w", err))
	}
	defer raw.Close()
	content, packing := kind(f.path)
	if content == ".parquet" {
		return k.parquet(f, raw, packing)
	}
	r, closeReader, err := unpack(raw, packing, k.cfg.MaxRatio)
	if err != nil {
		return k.unreadable(f, fmt.Errorf("read %s: %w", f.path, err))
	}
	defer closeReader()
	if content == ".jsonl" || k.cfg.Records && (content == ".json" || content == ".csv" || content == ".tsv") {
		b := bufio.NewReaderSize(r, sniffBytes)
		if begin, _ := b.Peek(sniffBytes); isUTF16(begin) { // an error comes again with the next read
			return k.useless(f, Binary, utf16Remedy)
		}
		r = b
	}
	switch {
	case content == ".jsonl":
		return k.jsonl(f, r)
	case content == ".json" && k.cfg.Records:
		return k.jsonList(f, r)
	case (content == ".csv" || content == ".tsv") && k.cfg.Records:
		return k.table(f, r, content)
	}
	return k.text(f, r)
}

// unreadable deals with a file that cannot be opened, unpacked or read to its end; what was read before stays.
func (k *sink) unreadable(f sourceFile, err error) error {
	if k.cfg.OnBadFile != SkipBadRecord {
		return fmt.Errorf("%w%s", err, unreadableRemedy(k.cfg.OnBadFile))
	}
	k.stats.skip(Unreadable, 1)
	name(&k.stats.Unreadable, err.Error())
	return nil
}

// unreadableRemedy is what may be done about a file or folder that cannot be read.
func unreadableRemedy(onBadFile BadRecord) string {
	if onBadFile == "" {
		return "; repair it or leave it out of the data"
	}
	return "; repair it, leave it out of the data, or set on_bad_file=skip"
}

// useless counts a file without text that was found in a folder, or that may be skipped, and refuses another one that was named.
func (k *sink) useless(f sourceFile, r Reason, what string) error {
	switch {
	case f.named && k.cfg.OnBadFile == "":
		return fmt.Errorf("read %s: the file %s; remove it from the data", f.path, what)
	case f.named && k.cfg.OnBadFile == FailOnBadRecord:
		return fmt.Errorf("read %s: the file %s; remove it from the data, or set on_bad_file=skip", f.path, what)
	}
	k.stats.skip(r, 1)
	return nil
}

// sniffBytes is how much of a file decides whether it is text, as git does it.
const sniffBytes = 8000

// isUTF16 reports whether a file begins as Windows' shell writes text, and its spreadsheets "Unicode text".
func isUTF16(begin []byte) bool {
	marked := bytes.HasPrefix(begin, []byte("\xff\xfe")) || bytes.HasPrefix(begin, []byte("\xfe\xff"))
	return marked && bytes.IndexByte(begin[:min(len(begin), sniffBytes)], 0) >= 0
}

const utf16Remedy = "is UTF-16, which has to be made UTF-8 to be read"

// text passes a text file on, in pieces if it is large.
func (k *sink) text(f sourceFile, r io.Reader) error {
	buf := make([]byte, 0, min(int64(k.cfg.PieceBytes), f.info.Size())+1)
	r, mark := withoutMark(r)
	record, offset := 1, int64(mark)
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return k.unreadable(f, fmt.Errorf("read %s: %w", f.path, err))
		}
		if record == 1 && bytes.IndexByte(buf[:min(len(buf), sniffBytes)], 0) >= 0 {
			if isUTF16(buf) {
				return k.useless(f, Binary, utf16Remedy)
			}
			return k.useless(f, Binary, "is binary, not text")
		}
		switch {
		case last && record == 1 && len(buf) == 0:
			return k.useless(f, Empty, "is empty")
		case last && len(buf) <= k.cfg.PieceBytes:
			return k.piece(Document{Text: buf, Source: f.path, Record: record, Offset: offset})
		case !last && cap(buf) <= k.cfg.PieceBytes: // more came out of a compressed file than its size promised
			buf = slices.Grow(buf, min(len(buf), k.cfg.PieceBytes+1-len(buf)))
			continue
		}
		cut := pieceEnd(buf[:k.cfg.PieceBytes])
		rest := append(make([]byte, 0, k.cfg.PieceBytes+1), buf[cut:]...)
		if err := k.piece(Document{Text: buf[:cut:cut], Source: f.path, Record: record, Offset: offset, Continued: true}); err != nil {
			return err
		}
		buf, offset = rest, offset+int64(cut)
		record++
	}
}

// pieceEnd returns where to cut: behind the last empty line of the second half, else behind its last line, else in front of
// its last UTF-8 sequence, else at the end.
func pieceEnd(b []byte) int {
	half := b[len(b)/2:]
	if i := bytes.LastIndex(half, []byte("\n\n")); i >= 0 {
		return len(b)/2 + i + 2
	}
	if i := bytes.LastIndexByte(half, '\n'); i >= 0 {
		return len(b)/2 + i + 1
	}
	for i := len(b) - 1; i > 0 && i >= len(b)-4; i-- {
		if b[i] < 0x80 {
			return i + 1
		}
		if b[i] >= 0xc0 {
			return i
		}
	}
	return len(b)
}
