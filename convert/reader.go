package convert

import (
	"fmt"
	"math"
	"strconv"

	"hone/gguf"
)

// reader gets values out of metadata by the types that are meant. The first error sticks.
type reader struct {
	gguf.Metadata
	err error
}

// fail keeps the first value that is not what was wanted. The file's own text is quoted and cut, as nobody knows what it holds.
func (r *reader) fail(key string, v any, want string) {
	if r.err != nil {
		return
	}
	shown := fmt.Sprint(v)
	if text, is := v.(string); is {
		shown = fmt.Sprintf("%.100q", text) // on one line
	}
	r.err = fmt.Errorf("the metadata says %s is %.200s, which is not %s", key, shown, want)
}

// has reports whether there is a key, whatever its type.
func (r *reader) has(key string) bool {
	_, ok := r.Get(key)
	return ok
}

// text is a string, "" where there is none.
func (r *reader) text(key string) string {
	v, ok := r.Get(key)
	s, is := v.(string)
	if ok && !is {
		r.fail(key, v, "text")
	}
	return s
}

// number is any number as float64.
func (r *reader) number(key string, absent float64) float64 {
	v, ok := r.Get(key)
	if !ok {
		return absent
	}
	switch n := v.(type) {
	case uint8:
		return float64(n)
	case int8:
		return float64(n)
	case uint16:
		return float64(n)
	case int16:
		return float64(n)
	case uint32:
		return float64(n)
	case int32:
		return float64(n)
	case uint64:
		return float64(n)
	case int64:
		return float64(n)
	case float32:
		return shortest(n)
	case float64:
		return n
	}
	r.fail(key, v, "a number")
	return absent
}

// shortest is the float64 with the fewest digits that is f as a float32: 1e-05, not 9.999999747378752e-06.
func shortest(f float32) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64) // it reads all that FormatFloat writes
	return v
}

// whole is a number from 0 to 2^31.
func (r *reader) whole(key string, absent int) int {
	v := r.number(key, float64(absent))
	if v < 0 || v > math.MaxInt32 || v != math.Trunc(v) || v != v { // NaN, too
		r.fail(key, v, "a whole number of a size that can be")
		return absent
	}
	return int(v)
}

// flag is a truth value.
func (r *reader) flag(key string, absent bool) bool {
	v, ok := r.Get(key)
	if !ok {
		return absent
	}
	b, is := v.(bool)
	if !is {
		r.fail(key, v, "a truth value")
	}
	return b
}

// list is an array of T, nil where there is none.
func list[T any](r *reader, key string) []T {
	v, ok := r.Get(key)
	if !ok {
		return nil
	}
	l, is := v.([]T)
	if !is {
		r.fail(key, fmt.Sprintf("%T", v), fmt.Sprintf("%T", l))
	}
	return l
}
