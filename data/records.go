package data

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// record passes on a record, which must be a JSON object.
func (k *sink) record(d Document, object []byte) error {
	if len(object) == 0 || object[0] != '{' {
		return k.bad(Malformed, fmt.Errorf("%s: the record is no JSON object", d.Place()))
	}
	d.Text = object
	return k.emit(d)
}

// piece passes on a piece of a text file.
func (k *sink) piece(d Document) error {
	if !k.cfg.Records {
		return k.emit(d)
	}
	k.countInvalid(utf8.Valid(d.Text))
	object, err := json.Marshal(map[string]string{"text": string(d.Text)})
	if err != nil {
		return err
	}
	d.Continued = false
	return k.record(d, object)
}

// countInvalid counts a record some of whose bytes are no UTF-8, of which JSON makes U+FFFD before it is counted as a document.
func (k *sink) countInvalid(valid bool) {
	if !valid {
		k.stats.InvalidUTF8++
	}
}

// budget is a reader that ends with errLong when more than left bytes are read before left is set again.
type budget struct {
	r    io.Reader
	left int
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// readAhead is more than a decoder reads beyond what it returns.
const readAhead = 1 << 20

// withoutMark leaves a byte order mark out, which spreadsheets and editors put in front: it is no part of the first column's name, of JSON, nor of a text.
// n is the bytes left out.
func withoutMark(r io.Reader) (rest io.Reader, n int) {
	b := bufio.NewReader(r)
	if start, _ := b.Peek(len(byteOrderMark)); string(start) == byteOrderMark { // an error comes again with the next read
		n, _ = b.Discard(len(byteOrderMark))
	}
	return b, n
}

// jsonList passes on the elements of the list that a .json file holds. Behind a syntax error nothing can be read, so the file is as one that
// is cut short, and OnBadRecord does not matter.
func (k *sink) jsonList(f sourceFile, r io.Reader) error {
	in := &budget{r, k.cfg.MaxRecord + readAhead}
	unmarked, _ := withoutMark(in)
	dec := json.NewDecoder(unmarked)
	fail := func(n int, err error) error {
		if errors.Is(err, errLong) {
			err = fmt.Errorf("longer than %d bytes", k.cfg.MaxRecord)
		}
		return k.unreadable(f, fmt.Errorf("read %s: record %d: %w", f.path, n, err))
	}
	first, err := dec.Token()
	if err != nil {
		return fail(1, err)
	}
	// A single object could be taken for a list of one, but it is more often a file that holds its records under a key, and would be read as one wrong record.
	if first != json.Delim('[') {
		return k.unreadable(f, fmt.Errorf("read %s: the file is no JSON list of records; give one, or a record per line as .jsonl", f.path))
	}
	for n := 1; dec.More(); n++ {
		in.left = k.cfg.MaxRecord + readAhead
		var object json.RawMessage
		if err := dec.Decode(&object); err != nil {
			return fail(n, err)
		}
		if err := k.record(Document{Source: f.path, Record: n, Offset: -1}, object); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return k.unreadable(f, fmt.Errorf("read %s: the list of records does not end: %w", f.path, err))
	}
	if _, err := dec.Token(); err != io.EOF { // as of two files put together, whose second list would be lost
		return k.unreadable(f, fmt.Errorf("read %s: there is something behind the list of records; give one list, or a record per line as .jsonl", f.path))
	}
	return nil
}

// table passes on the rows of a .csv or .tsv file as objects whose keys are the names in its first line.
func (k *sink) table(f sourceFile, r io.Reader, content string) error {
	unmarked, _ := withoutMark(r)
	next, what := newCommas(unmarked, k.cfg.MaxRecord).row, "record"
	if content == ".tsv" {
		next, what = newTabbed(lineReader{r: bufio.NewReaderSize(unmarked, 1<<18), limit: k.cfg.MaxRecord}).row, "line"
	}
	names, _, err := next()
	if err != nil {
		return k.unreadable(f, fmt.Errorf("read %s: the line of column names: %w", f.path, err))
	}
	seen := make(map[string]bool, len(names))
	for _, name := range names { // of two the first would be lost
		if name != "" && seen[name] { // columns without a name, which commas at the ends of lines make, nobody can ask for
			return k.unreadable(f, fmt.Errorf("read %s: two columns are called %q", f.path, name))
		}
		seen[name] = true
		if strings.Contains(name, "\r") {
			return k.unreadable(f, fmt.Errorf("read %s: its lines end in carriage returns alone, as on old Macs, not in line feeds", f.path))
		}
	}
	for {
		row, line, err := next()
		if err == io.EOF {
			return nil
		}
		d := Document{Source: f.path, Record: line, Offset: -1}
		if err == errLong {
			if err := k.bad(TooLong, fmt.Errorf("%s: the %s is longer than %d bytes", d.Place(), what, k.cfg.MaxRecord)); err != nil {
				return err
			}
			continue
		}
		if wrong := (lineError{}); errors.As(err, &wrong) {
			if err := k.bad(Malformed, fmt.Errorf("%s: %w", d.Place(), err)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return k.unreadable(f, fmt.Errorf("read %s: %w", f.path, err))
		}
		if len(row) != len(names) {
			if err := k.bad(Malformed, fmt.Errorf("%s: %d fields, but %d columns", d.Place(), len(row), len(names))); err != nil {
				return err
			}
			continue
		}
		object := make(map[string]string, len(names))
		for i, name := range names {
			object[name] = row[i]
		}
		k.countInvalid(!slices.ContainsFunc(row, func(field string) bool { return !utf8.ValidString(field) }))
		text, err := json.Marshal(object)
		if err != nil {
			return err
		}
		if err := k.record(d, text); err != nil {
			return err
		}
	}
}

// parquetRecords passes on the rows of a Parquet file.
func (k *sink) parquetRecords(f sourceFile, raw *os.File) error {
	file, err := openParquet(raw)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	schema := plainSchema(file.Schema())
	rows := parquet.NewGenericReader[map[string]any](file, file.Schema())
	defer rows.Close()
	for n := 1; ; n++ {
		d := Document{Source: f.path, Record: n, Offset: -1}
		text, err := parquetObject(rows, schema)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return k.unreadable(f, fmt.Errorf("read %s: %w", d.Place(), err))
		case len(text) > k.cfg.MaxRecord:
			err = k.bad(TooLong, fmt.Errorf("%s: the record is longer than %d bytes", d.Place(), k.cfg.MaxRecord))
		default:
			err = k.record(d, text)
		}
		if err != nil {
			return err
		}
	}
}

// parquetObject is the next row as JSON.
func parquetObject(rows *parquet.GenericReader[map[string]any], schema *parquet.Schema) (text []byte, err error) {
	defer damaged(&err)
	row, object := []parquet.Row{nil}, map[string]any{}
	if n, err := rows.ReadRows(row); n == 0 { // the last row comes together with io.EOF
		return nil, err
	}
	if err := schema.Reconstruct(&object, row[0]); err != nil {
		return nil, err
	}
	value, err := asRecord(schema, object)
	if err != nil {
		return nil, err
	}
	text, err = json.Marshal(value)
	if odd := (*json.UnsupportedValueError)(nil); errors.As(err, &odd) {
		return json.Marshal(withoutNaN(value))
	}
	return text, err
}

// plainSchema is a schema whose maps are the lists of pairs that they are stored as: read as maps, their keys are converted to text as Go converts, which
// makes characters of numbers, and their values come in types of their own, under other names and with bytes for texts.
func plainSchema(s *parquet.Schema) *parquet.Schema {
	return parquet.NewSchema(s.Name(), newPlainNode(s))
}

type plainNode struct {
	parquet.Node
	fields []parquet.Field
}

type plainField struct {
	plainNode
	field parquet.Field
}

func (f plainField) Name() string                           { return f.field.Name() }
func (f plainField) Value(base reflect.Value) reflect.Value { return f.field.Value(base) }

// single is an element of a column that is repeated.
type single struct{ plainField }

func (single) Repeated() bool { return false }

func newPlainNode(n parquet.Node) plainNode {
	p := plainNode{Node: n}
	if !n.Leaf() {
		for _, f := range n.Fields() {
			p.fields = append(p.fields, plainField{newPlainNode(f), f})
		}
	}
	return p
}

func (n plainNode) Fields() []parquet.Field { return n.fields }

func (n plainNode) Type() parquet.Type {
	if n.isMap() {
		return parquet.Group{}.Type()
	}
	return n.Node.Type()
}

func (n plainNode) isMap() bool {
	if n.Leaf() {
		return false
	}
	t := n.Node.Type().LogicalType()
	if t == nil {
		return false
	}
	_, ok := t.Value.(*format.MapType)
	return ok
}

// asRecord is a value of a column as a record has it: numbers of 64 bits without a sign are such, to which the reader gives a sign, and pairs of a map are one object.
func asRecord(n parquet.Node, v any) (_ any, err error) {
	switch v := v.(type) {
	case int64:
		if unsignedBits(n) == 64 {
			return uint64(v), nil
		}
	case []any:
		for i := range v {
			if v[i], err = asRecord(element(n), v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for _, f := range n.Fields() {
			if x, ok := v[f.Name()]; ok {
				if v[f.Name()], err = asRecord(f, x); err != nil {
					return nil, err
				}
			}
		}
		if f, ok := n.(interface {
			parquet.Field
			isMap() bool
		}); ok && f.isMap() && len(f.Fields()) == 1 {
			return asObject(f.Name(), v[f.Fields()[0].Name()])
		}
	}
	return v, nil
}

// asObject is the object of a map's pairs, each with a key that is written as text.
func asObject(column string, pairs any) (any, error) {
	list, ok := pairs.([]any)
	if !ok && pairs != nil {
		return nil, fmt.Errorf("the column %q is a map without pairs", column)
	}
	object := make(map[string]any, len(list))
	for _, pair := range list {
		fields, _ := pair.(map[string]any)
		switch key := fields["key"].(type) {
		case []byte:
			object[string(key)] = fields["value"]
		case string:
			object[key] = fields["value"]
		case bool, int32, int64, uint32, uint64, float32, float64:
			object[fmt.Sprint(key)] = fields["value"]
		default:
			return nil, fmt.Errorf("the column %q is a map whose keys are neither texts nor numbers; write it as a list", column)
		}
	}
	return object, nil
}

// element is the column of a list's elements: a list is a column that is repeated, or a group around such a one.
func element(n parquet.Node) parquet.Node {
	if f, ok := n.(plainField); ok && n.Repeated() {
		return single{f}
	}
	for range 2 {
		if !n.Leaf() && len(n.Fields()) == 1 {
			n = n.Fields()[0]
		}
	}
	return n
}

// withoutNaN is a value of a row in which null stands for what JSON has no number for: NaN, with which some programs write that there is none, and infinities.
func withoutNaN(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = withoutNaN(v[key])
		}
	case []any:
		for i := range v {
			v[i] = withoutNaN(v[i])
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case float32:
		if withoutNaN(float64(v)) == nil {
			return nil
		}
	}
	return v
}
