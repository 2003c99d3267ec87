package gguf

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Metadata is what a file says beside its tensors, in its order.
type Metadata []Pair

// Pair is a key, such as "llama.block_count", and its value: a bool, an integer of 8 to 64 bits with or without sign, a float32, a float64,
// a string, or a slice of one of these.
type Pair struct {
	Key   string
	Value any
}

// Get returns the value of a key.
func (m Metadata) Get(key string) (value any, ok bool) {
	for _, p := range m {
		if p.Key == key {
			return p.Value, true
		}
	}
	return nil, false
}

// kind is the type of a value by its number in files.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

// sizes are the bytes of a value, for strings and arrays the least: an array claims no more elements than the rest of the file could hold, which bounds
// what is allocated for one before it is read.
var sizes = [...]int{kindUint8: 1, kindInt8: 1, kindUint16: 2, kindInt16: 2, kindUint32: 4, kindInt32: 4, kindFloat32: 4, kindBool: 1,
	kindString: 8, kindArray: 12, kindUint64: 8, kindInt64: 8, kindFloat64: 8}

// decoder reads a header. The first error sticks, and what is read after it is zero.
type decoder struct {
	rest []byte
	size int // of what it was given with what stands before
	err  error
}

// at is where the decoder is, in bytes from the start of the file.
func (d *decoder) at() int { return d.size - len(d.rest) }

func (d *decoder) take(n uint64) []byte {
	if d.err == nil && n > uint64(len(d.rest)) {
		d.err = fmt.Errorf("%d bytes are claimed at byte %d, more than there are; the file is cut short or damaged, copy it anew", n, d.at())
	}
	if d.err != nil {
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// uint reads a little-endian number of 1 to 8 bytes.
func (d *decoder) uint(bytes int) (v uint64) {
	for i, b := range d.take(uint64(bytes)) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

func (d *decoder) string() string { return string(d.take(d.uint(8))) }

// name reads a short valid text.
func (d *decoder) name(what string) string {
	n := d.uint(8)
	if d.err == nil && n > maxName {
		d.err = fmt.Errorf("the name of a %s has %d bytes", what, n)
	}
	s := string(d.take(n))
	if d.err == nil && (s == "" || !utf8.ValidString(s)) {
		d.err = fmt.Errorf("the name of a %s is %q, which is empty or no UTF-8", what, s)
	}
	return s
}

// value reads a value; arrays cannot be nested.
func (d *decoder) value(k kind, arrays bool) any {
	if d.err == nil && (int(k) >= len(sizes) || k == kindArray && !arrays) {
		d.err = fmt.Errorf("type %d is unknown or an array of arrays", k)
	}
	if d.err != nil {
		return nil
	}
	if k == kindArray {
		return d.array()
	}
	if k == kindString {
		return d.string()
	}
	v := d.uint(sizes[k])
	switch k {
	case kindUint8:
		return uint8(v)
	case kindInt8:
		return int8(v)
	case kindUint16:
		return uint16(v)
	case kindInt16:
		return int16(v)
	case kindUint32:
		return uint32(v)
	case kindInt32:
		return int32(v)
	case kindFloat32:
		return math.Float32frombits(uint32(v))
	case kindBool:
		return d.bool(v)
	case kindUint64:
		return v
	case kindInt64:
		return int64(v)
	}
	return math.Float64frombits(v)
}

// bool takes 0 and 1. Another byte is a sign of damage; behind an error there are zeros only.
func (d *decoder) bool(v uint64) bool {
	if v > 1 {
		d.err = fmt.Errorf("a truth value is %d", v)
	}
	return v == 1
}

func (d *decoder) array() any {
	k, n := kind(d.uint(4)), d.uint(8)
	if d.err == nil && int(k) < len(sizes) && n > uint64(len(d.rest)/sizes[k]) {
		d.err = fmt.Errorf("an array of %d elements is claimed at byte %d, more than there are; the file is cut short or damaged, copy it anew", n, d.at())
	}
	if d.err != nil {
		return nil
	}
	switch k {
	case kindUint8:
		return collect[uint8](d, k, n)
	case kindInt8:
		return collect[int8](d, k, n)
	case kindUint16:
		return collect[uint16](d, k, n)
	case kindInt16:
		return collect[int16](d, k, n)
	case kindUint32:
		return collect[uint32](d, k, n)
	case kindInt32:
		return collect[int32](d, k, n)
	case kindFloat32:
		return collect[float32](d, k, n)
	case kindBool:
		return collect[bool](d, k, n)
	case kindString:
		return collect[string](d, k, n)
	case kindUint64:
		return collect[uint64](d, k, n)
	case kindInt64:
		return collect[int64](d, k, n)
	case kindFloat64:
		return collect[float64](d, k, n)
	}
	d.err = errors.New("an array of arrays or of an unknown type is not supported")
	return nil
}

// collect reads n values. Their number was bounded by the bytes that are there, so the memory asked for is too.
func collect[T any](d *decoder, k kind, n uint64) []T {
	out := make([]T, 0, n)
	for range n {
		v, _ := d.value(k, false).(T)
		if d.err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}

// appendValue appends the kind and the value as they stand in files.
func appendValue(b []byte, v any) ([]byte, error) {
	k, body, err := encodeValue(v)
	if err != nil {
		return nil, err
	}
	return append(le.AppendUint32(b, uint32(k)), body...), nil
}

// encodeValue gives a value's kind and its bytes.
func encodeValue(v any) (kind, []byte, error) {
	switch v := v.(type) {
	case uint8:
		return kindUint8, []byte{v}, nil
	case int8:
		return kindInt8, []byte{byte(v)}, nil
	case uint16:
		return kindUint16, le.AppendUint16(nil, v), nil
	case int16:
		return kindInt16, le.AppendUint16(nil, uint16(v)), nil
	case uint32:
		return kindUint32, le.AppendUint32(nil, v), nil
	case int32:
		return kindInt32, le.AppendUint32(nil, uint32(v)), nil
	case float32:
		return kindFloat32, le.AppendUint32(nil, math.Float32bits(v)), nil
	case bool:
		if v {
			return kindBool, []byte{1}, nil
		}
		return kindBool, []byte{0}, nil
	case string:
		return kindString, appendString(nil, v), nil
	case uint64:
		return kindUint64, le.AppendUint64(nil, v), nil
	case int64:
		return kindInt64, le.AppendUint64(nil, uint64(v)), nil
	case float64:
		return kindFloat64, le.AppendUint64(nil, math.Float64bits(v)), nil
	}
	body, err := encodeArray(v)
	return kindArray, body, err
}

func encodeArray(v any) ([]byte, error) {
	switch v := v.(type) {
	case []uint8:
		return join(kindUint8, v), nil
	case []int8:
		return join(kindInt8, v), nil
	case []uint16:
		return join(kindUint16, v), nil
	case []int16:
		return join(kindInt16, v), nil
	case []uint32:
		return join(kindUint32, v), nil
	case []int32:
		return join(kindInt32, v), nil
	case []float32:
		return join(kindFloat32, v), nil
	case []bool:
		return join(kindBool, v), nil
	case []string:
		return join(kindString, v), nil
	case []uint64:
		return join(kindUint64, v), nil
	case []int64:
		return join(kindInt64, v), nil
	case []float64:
		return join(kindFloat64, v), nil
	}
	return nil, fmt.Errorf("a value of type %T cannot be stored", v)
}

// join is an array in a file: the kind of its elements, their number, and the elements without a kind of their own.
func join[T any](k kind, list []T) []byte {
	b := le.AppendUint64(le.AppendUint32(nil, uint32(k)), uint64(len(list)))
	for _, v := range list {
		_, body, _ := encodeValue(v) // of a kind that can be stored, as encodeArray knows it
		b = append(b, body...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}
