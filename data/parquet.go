package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquet passes on the text column of each row.
func (k *sink) parquet(f sourceFile, raw *os.File, packing string) error {
	if packing != "" { // the format is read from its end, so it must lie unpacked somewhere
		file, err := unpackToDisk(raw, packing, k.cfg.MaxRatio)
		if err != nil {
			return k.unreadable(f, fmt.Errorf("read %s: %w", f.path, err))
		}
		defer file.Close()
		raw = file
	}
	if _, err := openParquet(raw); err != nil {
		return k.unreadable(f, fmt.Errorf("read %s: %w", f.path, err))
	}
	if k.cfg.Records {
		return k.parquetRecords(f, raw)
	}
	column, err := openColumn(raw, k.cfg.Field, k.chosen)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	defer column.close()
	url, id := openWords(raw, k.cfg.URLField), openWords(raw, k.cfg.IDField)
	defer url.close()
	defer id.close()
	// The text and the two words are read column by column, each at its own pace: whole rows would unpack every other column, too, and trust its type.
	values := make([]parquet.Value, 256)
	for row := 1; ; {
		n, err := column.read(values)
		for _, v := range values[:n] {
			d := Document{Source: f.path, Record: row, Offset: -1}
			var broken error
			if d.URL, broken = url.next(); broken == nil {
				d.ID, broken = id.next()
			}
			if broken != nil {
				return k.unreadable(f, fmt.Errorf("read %s: %w", d.Place(), broken))
			}
			if err := k.parquetRow(d, v); err != nil {
				return err
			}
			row++
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return k.unreadable(f, fmt.Errorf("read %s:%d: %w", f.path, row, err))
		}
	}
}

func (k *sink) parquetRow(d Document, v parquet.Value) error {
	if v.IsNull() {
		return k.bad(NoText, fmt.Errorf("%s: no text in the column %q", d.Place(), k.cfg.Field))
	}
	text := v.ByteArray()
	if len(text) > k.cfg.MaxRecord {
		return k.bad(TooLong, fmt.Errorf("%s: the text is longer than %d bytes", d.Place(), k.cfg.MaxRecord))
	}
	d.Text = bytes.Clone(text) // text lies in a page, which the next read may give back
	return k.emit(d)
}

// unpackToDisk writes the unpacked file to a temporary one that is gone when closed.
func unpackToDisk(raw *os.File, packing string, maxRatio int) (*os.File, error) {
	r, done, err := unpack(raw, packing, maxRatio)
	if err != nil {
		return nil, err
	}
	defer done()
	file, err := os.CreateTemp("", "hone-*.parquet")
	if err != nil {
		return nil, err
	}
	os.Remove(file.Name()) // where open files cannot be removed it stays for the system to clear
	if _, err := io.Copy(file, r); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// textColumn reads the values of a column, one per row.
type textColumn struct {
	groups []parquet.RowGroup
	index  int
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
}

func openParquet(f *os.File) (file *parquet.File, err error) {
	defer damaged(&err)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// Indexes and filters are for looking things up; reading in order needs neither, and a damaged one is no reason to refuse a file.
	if file, err = parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true)); err != nil {
		return nil, fmt.Errorf("not a Parquet file, or damaged: %w", err)
	}
	// The reader takes what a page's memory held before for its values, and says nothing: https://github.com/parquet-go/parquet-go/issues/608.
	for _, group := range file.Metadata().RowGroups {
		if slices.ContainsFunc(group.Columns, func(c format.ColumnChunk) bool { return c.MetaData.Codec == format.Lz4Raw }) {
			return nil, errors.New("it is packed by LZ4, of which pages are read wrongly; write it again with zstd or snappy")
		}
	}
	return file, nil
}

// words reads a column of short values beside the text.
type words struct {
	column *textColumn // nil: there is no such column
	bits   int         // of numbers without a sign, 0 for other values
	buffer []parquet.Value
	left   []parquet.Value
}

// openWords opens a column of flat values of any kind. A file that has none gives empty words: addresses and names are worth having and not needed, and
// whether the file can be read at all was told where its text was opened.
func openWords(f *os.File, name string) *words {
	if name == "" {
		return &words{}
	}
	file, err := openParquet(f)
	if err != nil {
		return &words{}
	}
	leaf, ok := file.Schema().Lookup(name)
	if !ok || leaf.MaxRepetitionLevel > 0 {
		return &words{}
	}
	column := &textColumn{groups: file.RowGroups(), index: leaf.ColumnIndex}
	return &words{column: column, bits: unsignedBits(leaf.Node), buffer: make([]parquet.Value, 256)}
}

// next is the value of the next row, "" for none.
func (w *words) next() (string, error) {
	if w.column == nil {
		return "", nil
	}
	if len(w.left) == 0 {
		n, err := w.column.read(w.buffer)
		if n == 0 {
			if err == io.EOF { // there is a row of text left: columns of one file have as many values
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		w.left = w.buffer[:n]
	}
	v := w.left[0]
	w.left = w.left[1:]
	switch {
	case v.IsNull():
		return "", nil
	case w.bits == 64:
		return strconv.FormatUint(v.Uint64(), 10), nil
	case w.bits > 0:
		return strconv.FormatUint(uint64(v.Uint32()), 10), nil
	}
	return v.String(), nil
}

// unsignedBits is the size of the numbers without a sign that a column holds, and 0 for other columns.
func unsignedBits(n parquet.Node) int {
	if !n.Leaf() || n.Type().LogicalType() == nil {
		return 0
	}
	if t, ok := n.Type().LogicalType().Value.(*format.IntType); ok && !t.IsSigned {
		return int(t.BitWidth)
	}
	return 0
}

func (w *words) close() {
	if w.column != nil {
		w.column.close()
	}
}

// openColumn opens the column of the text. Chosen says whether the user may name another.
func openColumn(f *os.File, name string, chosen bool) (c *textColumn, err error) {
	defer damaged(&err)
	file, err := openParquet(f)
	if err != nil {
		return nil, err
	}
	leaf, ok := file.Schema().Lookup(name)
	names := columnNames(file.Schema())
	remedy := "; there are: "
	if chosen {
		remedy = "; set text_field to one of: "
	}
	remedy += strings.Join(names, ", ")
	if !ok && slices.Contains(names, name) { // the values lie in a column below it
		return nil, fmt.Errorf("the column %q holds lists or groups, not text%s", name, remedy)
	} else if !ok {
		return nil, fmt.Errorf("no column %q%s", name, remedy)
	}
	kind := leaf.Node.Type().Kind()
	if leaf.MaxRepetitionLevel > 0 || (kind != parquet.ByteArray && kind != parquet.FixedLenByteArray) {
		return nil, fmt.Errorf("the column %q holds %s, not text%s", name, leaf.Node.Type(), remedy)
	}
	return &textColumn{groups: file.RowGroups(), index: leaf.ColumnIndex}, nil
}

func columnNames(s *parquet.Schema) []string {
	var names []string
	for _, f := range s.Fields() {
		names = append(names, f.Name())
	}
	return names
}

// read fills values with those of the next rows and returns io.EOF behind the last. They are valid until the next call.
func (c *textColumn) read(values []parquet.Value) (n int, err error) {
	defer damaged(&err)
	for {
		if c.values != nil {
			n, err = c.values.ReadValues(values)
			if err == nil || err != io.EOF {
				return n, err
			}
			c.values = nil // the page is at its end, which may come with its last values
			if n > 0 {
				return n, nil
			}
		}
		if err := c.nextPage(); err != nil {
			return 0, err
		}
	}
}

// nextPage opens the next page, of this row group or the next one that has any. One page at a time is held, whatever the size of the file.
func (c *textColumn) nextPage() error {
	if c.page != nil {
		parquet.Release(c.page)
		c.page = nil
	}
	for {
		if c.pages == nil {
			if len(c.groups) == 0 {
				return io.EOF
			}
			c.pages = c.groups[0].ColumnChunks()[c.index].Pages()
			c.groups = c.groups[1:]
		}
		page, err := c.pages.ReadPage()
		if err == nil {
			c.page, c.values = page, page.Values()
			return nil
		}
		if err != io.EOF {
			return err
		}
		if err := c.pages.Close(); err != nil {
			return err
		}
		c.pages = nil
	}
}

func (c *textColumn) close() {
	defer damaged(new(error))
	if c.page != nil {
		parquet.Release(c.page)
	}
	if c.pages != nil {
		c.pages.Close()
	}
}

// damaged turns a panic of the Parquet reader, which trusts offsets in the file, into an error.
func damaged(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the Parquet file is damaged: %v", p)
	}
}
