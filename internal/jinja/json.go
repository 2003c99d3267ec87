package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// ParseJSON reads a JSON value, keeping the order of objects. Its strings are copies of the input numbered source.
func ParseJSON(data []byte, source int32) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := readJSON(d, source, 0)
	if err != nil {
		return Value{}, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Value{}, errors.New("read JSON: more than one value")
	}
	return Value{v}, nil
}

// readJSON reads tokens rather than into Go's maps, which have no order: templates print dicts, and the order of their keys is text.
func readJSON(d *json.Decoder, source int32, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case string:
		return NewText(t, source), nil
	case json.Number:
		return readNumber(string(t))
	case json.Delim:
		// half, so that what a template builds around its input can still be printed
		if depth == maxDepth/2 {
			return nil, fmt.Errorf("nested deeper than %d", depth)
		}
		if t == '[' {
			return readArray(d, source, depth)
		}
		return readObject(d, source, depth)
	}
	return t, nil // nil or bool
}

// readArray reads what follows [.
func readArray(d *json.Decoder, source int32, depth int) (any, error) {
	l := &list{}
	for d.More() {
		v, err := readJSON(d, source, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	_, err := d.Token()
	return l, err
}

// readObject reads what follows {. Of a key that stands twice the last value counts, at the first place, as in Python's json. Keys are of the input as
// values are: a user may spell a special token there, too.
func readObject(d *json.Decoder, source int32, depth int) (any, error) {
	o := newDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := readJSON(d, source, depth+1)
		if err != nil {
			return nil, err
		}
		o.set(NewText(key.(string), source), v)
	}
	_, err := d.Token()
	return o, err
}

// readNumber keeps whole numbers whole: 1 and 1.0 print differently.
func readNumber(s string) (any, error) {
	if len(s) > 1000 {
		return nil, errors.New("a number has more than 1000 digits")
	}
	if !strings.ContainsAny(s, ".eE") {
		i, _ := new(big.Int).SetString(s, 10)
		return normInt(i), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, err
	}
	return f, nil
}

// jsonWriter writes a value as Python's json.dumps does.
type jsonWriter struct {
	st        *state
	b         builder
	ascii     bool
	indent    *string // nil: on one line
	item, key string  // separators
	sorted    bool
}

// tojson is transformers' filter, not jinja2's: json.dumps with ensure_ascii=False by default, and no escapes for HTML.
func tojson(st *state, args []any, kw kwargs) any {
	p := st.params("tojson", args, kw, "value", "ensure_ascii", "indent", "separators", "sort_keys")
	w := &jsonWriter{st: st, ascii: flag(p[1]), item: ", ", key: ": ", sorted: flag(p[4])}
	if given(p[2]) && p[2] != nil {
		indent := ""
		if t, ok := p[2].(Text); ok {
			indent = t.s
		} else {
			indent = st.spaces(st.integer("tojson", p[2], 0))
		}
		// json.dumps leaves the space after a comma out when it breaks lines
		w.indent, w.item = &indent, ","
	}
	if given(p[3]) && p[3] != nil {
		s := st.iterate(p[3])
		if len(s) != 2 {
			st.fail("tojson needs two separators")
		}
		w.item, w.key = st.text("tojson", s[0]).s, st.text("tojson", s[1]).s
	}
	st.need("tojson", p[0])
	w.value(p[0], 0)
	st.grow(len(w.b.buf))
	return w.b.text()
}

// value charges each part, for a value may hold one list on every level twice, so that its JSON grows as 2 to the depth.
func (w *jsonWriter) value(v any, depth int) {
	w.st.deeper(depth)
	w.st.step(1)
	w.st.limit(len(w.b.buf))
	switch v := v.(type) {
	case nil:
		w.b.str("null")
	case bool:
		w.b.str(strconv.FormatBool(v))
	case int64, *big.Int:
		w.b.str(fmt.Sprint(v))
	case float64:
		w.b.str(jsonFloat(v))
	case Text:
		w.string(v)
	case *list:
		if v.kind > kindTuple {
			w.st.fail("%s is not JSON serializable", typeName(v))
		}
		w.sequence("[", "]", len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *dict:
		w.object(v, depth)
	default:
		w.st.fail("%s is not JSON serializable", typeName(v))
	}
}

// jsonFloat writes what JSON has no word for as Python's json does.
func jsonFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case math.IsNaN(f):
		return "NaN"
	}
	return floatRepr(f)
}

// sequence writes n items with what is around them; an empty one stays on its line.
func (w *jsonWriter) sequence(open, end string, n, depth int, item func(i int)) {
	w.b.str(open)
	for i := range n {
		if i > 0 {
			w.b.str(w.item)
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.str(end)
}

// newline is charged before it is made: an indent of 1000 on 100 levels is 100 kB of spaces for each item.
func (w *jsonWriter) newline(depth int) {
	if w.indent == nil {
		return
	}
	w.st.grow(len(*w.indent) * depth)
	w.b.str("\n" + strings.Repeat(*w.indent, depth))
}

// object writes a dict in its order, or sorted by keys, which must then be of types that have an order.
func (w *jsonWriter) object(d *dict, depth int) {
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	if w.sorted {
		slices.SortStableFunc(order, func(a, b int) int { return w.st.compare(d.keys[a], d.keys[b], 0) })
	}
	w.sequence("{", "}", len(order), depth, func(i int) {
		w.keyOf(d.keys[order[i]])
		w.b.str(w.key)
		w.value(d.values[order[i]], depth+1)
	})
}

// keyOf makes a string of a key as json.dumps does.
func (w *jsonWriter) keyOf(k any) {
	switch k := k.(type) {
	case Text:
		w.string(k)
	case nil:
		w.b.str(`"null"`)
	case bool:
		w.b.str(`"` + strconv.FormatBool(k) + `"`)
	case int64:
		w.b.str(`"` + strconv.FormatInt(k, 10) + `"`)
	case float64:
		w.b.str(`"` + jsonFloat(k) + `"`)
	default:
		w.st.fail("%s cannot be a key in JSON", typeName(k))
	}
}

// string quotes a text; escapes belong to the input that the character is from.
func (w *jsonWriter) string(t Text) {
	w.st.grow(len(t.s))
	w.b.str(`"`)
	t.Runs(func(i, j int, o Origin) {
		from := i
		for k, r := range t.s[i:j] {
			e := w.escape(r)
			if e == "" {
				continue
			}
			w.b.add(t.s[from:i+k], o)
			w.b.add(e, o)
			from = i + k + len(string(r))
		}
		w.b.add(t.s[min(from, j):j], o)
	})
	w.b.str(`"`)
}

// escape returns how r is written, "" for as it is.
func (w *jsonWriter) escape(r rune) string {
	switch r {
	case '"':
		return `\"`
	case '\\':
		return `\\`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	case '\f':
		return `\f`
	case '\b':
		return `\b`
	}
	switch {
	case r < 0x20, w.ascii && r > 0x7e && r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	case w.ascii && r >= 0x10000:
		a, b := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, a, b)
	}
	return ""
}
