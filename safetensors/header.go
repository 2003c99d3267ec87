package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHeader is the largest header in bytes, as in the reference implementation.
const maxHeader = 100_000_000

// maxRank bounds the dimensions of a tensor; nothing real comes near.
const maxRank = 64

const metadataKey = "__metadata__"

// Info describes a tensor.
type Info struct {
	Name  string
	DType DType
	Shape []int // row-major; empty for a scalar
}

// Elements returns the product of the shape.
func (i Info) Elements() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// Bytes returns the size of the data.
func (i Info) Bytes() int { return i.Elements() * i.DType.Size() }

// String gives, for example, "lm_head.weight BF16 [32000 2048]".
func (i Info) String() string { return fmt.Sprintf("%s %v %v", i.Name, i.DType, i.Shape) }

// check refuses shapes whose size overflows.
func (i Info) check() error {
	if len(i.Shape) > maxRank {
		return fmt.Errorf("tensor %q has %d dimensions", i.Name, len(i.Shape))
	}
	n := uint64(i.DType.Size())
	for _, d := range i.Shape {
		if d < 0 {
			return fmt.Errorf("tensor %q has the shape %v", i.Name, i.Shape)
		}
		if d > 0 && n > math.MaxInt/uint64(d) {
			return fmt.Errorf("tensor %q: shape %v overflows", i.Name, i.Shape)
		}
		n *= uint64(d)
	}
	return nil
}

// entry is a tensor and where it lies, counted from the end of the header.
type entry struct {
	Info
	begin, end int
}

// header is a parsed header, its tensors in the order of their data.
type header struct {
	entries  []entry
	metadata map[string]string
	size     int // bytes in front of the data
}

// parseHeader reads and checks the header of a whole file: tensors must cover the data without holes or overlap.
func parseHeader(file []byte) (*header, error) {
	if len(file) < 8 {
		return nil, fmt.Errorf("%d bytes are too few for a safetensors file; it is cut short", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader {
		return nil, fmt.Errorf("the header claims %d bytes, more than the format allows; this is no safetensors file", n)
	}
	if n > uint64(len(file)-8) {
		return nil, fmt.Errorf("the header claims %d bytes, but the file has only %d; it is cut short", n, len(file))
	}
	text := file[8 : 8+n]
	if !utf8.Valid(text) || !bytes.HasPrefix(text, []byte("{")) {
		return nil, errors.New("the header is not JSON")
	}
	h := &header{size: 8 + int(n)}
	if err := h.decode(text); err != nil {
		return nil, err
	}
	return h, h.checkLayout(len(file) - h.size)
}

// decode reads the JSON object token by token: encoding/json into a map would hide keys that occur twice, of which two programs may
// take different ones.
func (h *header) decode(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err := object(dec, func(key string) error {
		if key == metadataKey {
			return h.decodeMetadata(dec)
		}
		return h.decodeTensor(dec, key)
	})
	if err != nil {
		return fmt.Errorf("the header is damaged: %w", err)
	}
	if rest := bytes.TrimLeft(text[dec.InputOffset():], " \n\r\t"); len(rest) > 0 {
		return errors.New("the header is damaged: there is something behind the JSON object")
	}
	return nil
}

func (h *header) decodeMetadata(dec *json.Decoder) error {
	h.metadata = map[string]string{}
	return object(dec, func(key string) error {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		s, ok := t.(string)
		if !ok {
			return fmt.Errorf("metadata %q is not text", key)
		}
		h.metadata[key] = s
		return nil
	})
}

func (h *header) decodeTensor(dec *json.Decoder, name string) error {
	e := entry{Info: Info{Name: name, Shape: []int{}}}
	var offsets []int
	seen := 0
	err := object(dec, func(key string) (err error) {
		seen++
		switch key {
		case "dtype":
			var t json.Token
			if t, err = dec.Token(); err != nil {
				return err
			}
			s, _ := t.(string)
			e.DType, err = parseDType(s)
		case "shape":
			e.Shape, err = integers(dec, maxRank)
		case "data_offsets":
			offsets, err = integers(dec, 2)
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	if seen != 3 || len(offsets) != 2 {
		return fmt.Errorf("tensor %q: dtype, shape and two data_offsets are needed", name)
	}
	e.begin, e.end = offsets[0], offsets[1]
	if err := e.check(); err != nil {
		return err
	}
	if e.end < e.begin || e.end-e.begin != e.Info.Bytes() {
		return fmt.Errorf("tensor %q: %v %v needs %d bytes, its offsets are %d to %d", name, e.DType, e.Shape, e.Info.Bytes(), e.begin, e.end)
	}
	h.entries = append(h.entries, e)
	return nil
}

// checkLayout sorts the tensors by place and checks that they fill the data exactly.
func (h *header) checkLayout(size int) error {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := 0
	for _, e := range h.entries {
		switch {
		case e.begin < at:
			return fmt.Errorf("tensor %q overlaps another: it starts at byte %d, the one before ends at %d", e.Name, e.begin, at)
		case e.begin > at:
			return fmt.Errorf("there is a hole of %d bytes before tensor %q", e.begin-at, e.Name)
		}
		at = e.end
	}
	if at > size {
		return fmt.Errorf("the tensors need %d bytes, but the file holds %d; it is cut short", at, size)
	}
	if at < size {
		return fmt.Errorf("there are %d bytes behind the last tensor", size-at)
	}
	return nil
}

// object walks over a JSON object; value must consume the value of each key. Repeated keys are refused.
func object(dec *json.Decoder, value func(key string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string) // the decoder lets nothing else stand here
		if seen[key] {
			return fmt.Errorf("%q occurs twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

// integers reads a JSON array of up to most non-negative whole numbers.
func integers(dec *json.Decoder, most int) ([]int, error) {
	if err := delim(dec, '['); err != nil {
		return nil, err
	}
	out := []int{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		n, ok := t.(json.Number)
		if !ok {
			return nil, fmt.Errorf("expected a number, found %v", t)
		}
		v, err := strconv.ParseUint(n.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("%s is not a usable size", n)
		}
		if len(out) == most {
			return nil, fmt.Errorf("more than %d numbers", most)
		}
		out = append(out, int(v))
	}
	return out, delim(dec, ']')
}

func delim(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("expected %v, found %v", want, t)
	}
	return nil
}

// encode returns the header of a file with these tensors, padded with spaces so that the data starts at a multiple of 8.
func (h *header) encode() ([]byte, error) {
	var b strings.Builder
	b.WriteString("{")
	sep := ""
	if len(h.metadata) > 0 {
		meta, err := json.Marshal(h.metadata) // sorts the keys
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", metadataKey, meta)
		sep = ","
	}
	for _, e := range h.entries {
		name, err := json.Marshal(e.Name)
		if err != nil {
			return nil, err
		}
		shape, err := json.Marshal(append([]int{}, e.Shape...))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, `%s%s:{"dtype":"%v","shape":%s,"data_offsets":[%d,%d]}`, sep, name, e.DType, shape, e.begin, e.end)
		sep = ","
	}
	b.WriteString("}")
	text := b.String()
	text += strings.Repeat(" ", -len(text)&7) // as many as are missing to a multiple of 8
	if len(text) > maxHeader {
		return nil, fmt.Errorf("the header of %d bytes is larger than the format allows; use more shards", len(text))
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}
