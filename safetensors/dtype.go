// Package safetensors reads and writes model weights in the safetensors format: an 8-byte header length, a JSON header of
// names, element types, shapes and offsets, and the bytes. It knows no tensor type; files are mapped into memory, not read.
//
//	a, err := safetensors.Open(dir)            // one file, an index of shards, or a folder with either
//	defer a.Close()
//	t, ok := a.Tensor("lm_head.weight")        // t.Data is a part of the file: pages come when they are touched
//	values, err := t.Float32()
//
// A file is not trusted: a header may lie about sizes, offsets may overlap, names may repeat, an index may point out of its folder. All of
// that is an error before any tensor is seen.
//
// Format: https://github.com/huggingface/safetensors#format.
package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"hone/internal/half"
)

// DType is an element type.
type DType uint8

// The element types that files may hold.
const (
	F64 DType = iota + 1
	F32
	F16
	BF16
	I64
	I32
	I16
	I8
	U64
	U32
	U16
	U8
	Bool
	F8E4M3
	F8E5M2
	F8E8M0
	C64
)

var dtypes = [...]struct {
	name string
	size int
}{
	F64: {"F64", 8}, F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2},
	I64: {"I64", 8}, I32: {"I32", 4}, I16: {"I16", 2}, I8: {"I8", 1},
	U64: {"U64", 8}, U32: {"U32", 4}, U16: {"U16", 2}, U8: {"U8", 1}, Bool: {"BOOL", 1},
	F8E4M3: {"F8_E4M3", 1}, F8E5M2: {"F8_E5M2", 1}, F8E8M0: {"F8_E8M0", 1}, C64: {"C64", 8},
}

// Size returns the bytes per element.
func (d DType) Size() int { return dtypes[d].size }

// String returns the name in files, such as "BF16".
func (d DType) String() string {
	if d == 0 || int(d) >= len(dtypes) {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Float reports whether elements are floating-point numbers that ToFloat32 converts: those of 8 bits mean nothing without the scales beside them.
func (d DType) Float() bool { return d == F64 || d == F32 || d == F16 || d == BF16 }

// errType ends what is said of a type that is none of the above; the file is sound.
var errType = errors.New("is not supported; take the model in another, such as BF16")

func parseDType(name string) (DType, error) {
	for d := F64; int(d) < len(dtypes); d++ {
		if dtypes[d].name == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("element type %q %w", name, errType)
}

// ToFloat32 converts len(dst) elements of the floating-point type d from their bytes: exactly, but for F64, which is rounded.
// It panics if the sizes do not agree or d is no floating-point type.
func ToFloat32(dst []float32, src []byte, d DType) {
	checkSizes("ToFloat32", len(dst), src, d)
	le := binary.LittleEndian
	switch d {
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F16: // the hot loop of opening a model in f16: the slice spares a check of bounds for each element
		src = src[:2*len(dst)]
		for i := range dst {
			dst[i] = half.ToFloat32(uint16(src[2*i]) | uint16(src[2*i+1])<<8)
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		}
	}
}

// ToBFloat16 converts len(dst) elements of the floating-point type d to bfloat16 bit patterns, rounding to nearest, ties to
// even. It panics if the sizes do not agree or d is no floating-point type.
func ToBFloat16(dst []uint16, src []byte, d DType) {
	checkSizes("ToBFloat16", len(dst), src, d)
	if d == BF16 {
		for i := range dst {
			dst[i] = binary.LittleEndian.Uint16(src[2*i:])
		}
		return
	}
	if d == F64 { // in one step: going through float32 would round twice
		for i := range dst {
			dst[i] = half.BFromFloat64(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
		return
	}
	var part [1024]float32
	size := d.Size()
	for len(dst) > 0 {
		n := min(len(dst), len(part))
		ToFloat32(part[:n], src[:n*size], d)
		for i, f := range part[:n] {
			dst[i] = half.BFromFloat32(f)
		}
		dst, src = dst[n:], src[n*size:]
	}
}

// FromFloat32 converts src to the floating-point type d, rounding to nearest even; dst has len(src)*d.Size() bytes. It panics
// if the sizes do not agree or d is no floating-point type.
func FromFloat32(dst []byte, src []float32, d DType) {
	checkSizes("FromFloat32", len(src), dst, d)
	le := binary.LittleEndian
	switch d {
	case F64:
		for i, f := range src {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(f)))
		}
	case F32:
		for i, f := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(f))
		}
	case F16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], half.FromFloat32(f))
		}
	case BF16:
		for i, f := range src {
			le.PutUint16(dst[2*i:], half.BFromFloat32(f))
		}
	}
}

func checkSizes(op string, elements int, b []byte, d DType) {
	if !d.Float() {
		panic(fmt.Sprintf("safetensors: %s: %v is not a floating-point type", op, d))
	}
	if elements*d.Size() != len(b) {
		panic(fmt.Sprintf("safetensors: %s: %d elements of %v do not fit %d bytes", op, elements, d, len(b)))
	}
}
