package curate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"hone/data"
	"hone/data/curate/document"
	"hone/internal/atomicfile"
)

// line is a document in the result with where it comes from.
type line struct {
	Text   string         `json:"text"`
	Source string         `json:"source"`
	Record int            `json:"record"`
	Offset *int64         `json:"offset,omitempty"` // nil for rows
	URL    string         `json:"url,omitempty"`
	ID     string         `json:"id,omitempty"`
	Tokens int64          `json:"tokens,omitempty"` // where they are counted
	Scores map[string]any `json:"scores,omitempty"` // STEP.NAME: a number or a word that a step judged by
}

// newLine is a document as the result has it; tokens are 0 where they are not counted.
func newLine(d *document.Doc, tokens int64) line {
	l := line{Text: d.Text, Source: d.Source, Record: d.Record, URL: d.URL, ID: d.ID, Tokens: tokens, Scores: d.Scores()}
	if d.Offset >= 0 {
		l.Offset = &d.Offset
	}
	return l
}

// encode is the line with its end.
func (l line) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // < and > are as good as other characters, and shorter
	if err := e.Encode(l); err != nil {
		return nil, fmt.Errorf("curate: %w", err)
	}
	return b.Bytes(), nil
}

func (l *line) size() Count { return Count{1, int64(len(l.Text)), l.Tokens} }

func (l *line) place() string { return data.Document{Source: l.Source, Record: l.Record}.Place() }

// lineWriter writes documents into a file that appears when it is whole.
type lineWriter interface {
	write(l line, encoded []byte) error
	commit() error
	abort()
}

// partName is the file of part i; package data reads the parts of a curated folder by their beginning.
func partName(i int, asParquet bool) string {
	if asParquet {
		return fmt.Sprintf("part-%05d.parquet", i)
	}
	return fmt.Sprintf("part-%05d.jsonl.zst", i)
}

// packedFile is a file that is packed as it is written.
type packedFile struct {
	*zstd.Encoder
	file *atomicfile.File
}

// createPacked makes a file packed with zstd. One goroutine packs it: others are busy with other files.
func createPacked(path string, level zstd.EncoderLevel) (*packedFile, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("curate: %w", err)
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level))
	if err != nil {
		f.Abort()
		return nil, fmt.Errorf("curate: %w", err)
	}
	return &packedFile{z, f}, nil
}

func (w *packedFile) commit() error { return commitClosed(w.Encoder, w.file) }

func (w *packedFile) abort() {
	w.Close() //nolint:errcheck // the file goes away
	w.file.Abort()
}

// jsonlWriter writes lines of JSON.
type jsonlWriter struct{ *packedFile }

func (w jsonlWriter) write(_ line, encoded []byte) error {
	_, err := w.Write(encoded)
	return err
}

// parquetWriter writes rows: text, source, record, offset, url, id, tokens, and what steps judged by in a group of optional columns.
type parquetWriter struct {
	file   *atomicfile.File
	rows   *parquet.GenericWriter[map[string]any]
	scores []string
	bytes  int // of text in the row group
}

// rowGroupBytes is the text that is held in memory before it is written as a row group.
const rowGroupBytes = 16 << 20

// createParquet makes a file whose rows may have the given scores and labels.
func createParquet(path string, scores, labels []string) (*parquetWriter, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("curate: %w", err)
	}
	columns := parquet.Group{"text": parquet.String(), "source": parquet.String(), "record": parquet.Int(64), "offset": parquet.Optional(parquet.Int(64)), "url": parquet.Optional(parquet.String()),
		"id": parquet.Optional(parquet.String()), "tokens": parquet.Optional(parquet.Int(64))}
	group := parquet.Group{}
	for _, name := range scores {
		group[name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
	}
	for _, name := range labels {
		group[name] = parquet.Optional(parquet.String())
	}
	if len(group) > 0 {
		columns["scores"] = group
	}
	rows := parquet.NewGenericWriter[map[string]any](f, parquet.NewSchema("document", columns), parquet.Compression(&parquet.Zstd))
	return &parquetWriter{file: f, rows: rows, scores: slices.Concat(scores, labels)}, nil
}

func (w *parquetWriter) write(l line, _ []byte) error {
	row := map[string]any{"text": l.Text, "source": l.Source, "record": int64(l.Record), "offset": nil, "url": nil, "id": nil, "tokens": nil}
	for name, value := range map[string]string{"url": l.URL, "id": l.ID} {
		if value != "" {
			row[name] = value
		}
	}
	if l.Offset != nil {
		row["offset"] = l.Offset // 0, too
	}
	if l.Tokens > 0 {
		row["tokens"] = l.Tokens
	}
	if len(w.scores) > 0 {
		group := make(map[string]any, len(w.scores))
		for _, name := range w.scores {
			switch v := l.Scores[name].(type) {
			case float64:
				group[name] = &v // a plain 0 would be no value
			default:
				group[name] = v // nil where there is none
			}
		}
		row["scores"] = group
	}
	if _, err := w.rows.Write([]map[string]any{row}); err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	// By bytes and not by rows, which may be of any length: a group is what writer and reader hold in memory.
	if w.bytes += len(l.Text); w.bytes < rowGroupBytes {
		return nil
	}
	w.bytes = 0
	return w.rows.Flush()
}

func (w *parquetWriter) commit() error { return commitClosed(w.rows, w.file) }

// commitClosed ends what is written to a file and lets the file appear; where the end cannot be written it does not, as it would not be whole.
func commitClosed(content io.Closer, file *atomicfile.File) error {
	err := content.Close()
	if err == nil {
		err = file.Commit()
	}
	if err != nil {
		file.Abort()
		return fmt.Errorf("curate: %w", err)
	}
	return nil
}

func (w *parquetWriter) abort() { w.file.Abort() }

// createPart makes the file of a part whose documents may have the given scores and labels.
func createPart(path string, asParquet bool, scores, labels []string) (lineWriter, error) {
	if asParquet {
		return createParquet(path, scores, labels)
	}
	f, err := createPacked(path, zstd.SpeedDefault)
	if err != nil {
		return nil, err
	}
	return jsonlWriter{f}, nil
}

// createPart makes the file of a part of the result.
func (r *runner) createPart(i int) (lineWriter, error) {
	f := r.state.Funnel
	// Columns of all parts alike, and sorted: readers take the parts together, and the schema must not depend on the order of a map.
	scores := slices.DeleteFunc(slices.Sorted(maps.Keys(f.Scores)), func(name string) bool { return name == documentBytes })
	for i := range r.cfg.Passes {
		scores = append(scores, cutScore(&r.cfg.Passes[i]))
	}
	slices.Sort(scores)
	scores = slices.Compact(scores)
	return createPart(r.path(partName(i, r.cfg.Parquet)), r.cfg.Parquet, scores, slices.Sorted(maps.Keys(f.Labels)))
}
