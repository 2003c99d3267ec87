// Package gguf reads and writes model weights in the GGUF format, versions 2 and 3: typed metadata, tensors in plain or quantised
// types, and their bytes. It knows no tensor type; files are mapped into memory, not read.
//
// A quantised type stores blocks of 32 or 256 numbers of a row, each with scales of its own (and offsets, in the _1 and K types): decode.go has
// each layout as a formula. What the tensors are called and what the metadata means is package convert's business.
//
//	f, err := gguf.Open(path)
//	defer f.Close()
//	t, ok := f.Tensor("blk.0.attn_q.weight")
//	values, err := t.Float32()                  // dequantised by all cores
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Blocks of the quantised types: ggml-common.h there.
package gguf

import (
	"fmt"
)

// Type is an element type by its number in files.
type Type uint32

// The element types that can be read. Integers have no conversion to float32.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q2_K Type = 10
	Q3_K Type = 11
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	I8   Type = 24
	I16  Type = 25
	I32  Type = 26
	I64  Type = 27
	F64  Type = 28
	BF16 Type = 30
)

// layout is how a type lies in a file: blocks of elements, each of bytes.
type layout struct {
	name     string
	elements int // of a block
	bytes    int // of a block
	// decode fills dst, a whole number of blocks; nil for integers.
	decode func(dst []float32, src []byte)
	// encode is the opposite; nil where hone does not write the type.
	encode func(dst []byte, src []float32)
	// halves are the places in a block of numbers that are stored as float16, which end at 65504.
	halves []int
}

// layouts has an entry for every type that can be read.
var layouts = map[Type]layout{
	F32:  {"F32", 1, 4, decodeF32, encodeF32, nil},
	F16:  {"F16", 1, 2, decodeF16, encodeF16, []int{0}},
	BF16: {"BF16", 1, 2, decodeBF16, encodeBF16, nil},
	F64:  {"F64", 1, 8, decodeF64, nil, nil},
	Q4_0: {"Q4_0", 32, 18, decodeQ4_0, encodeQ4_0, []int{0}},
	Q4_1: {"Q4_1", 32, 20, decodeQ4_1, encodeQ4_1, []int{0, 2}},
	Q5_0: {"Q5_0", 32, 22, decodeQ5_0, encodeQ5_0, []int{0}},
	Q5_1: {"Q5_1", 32, 24, decodeQ5_1, encodeQ5_1, []int{0, 2}},
	Q8_0: {"Q8_0", 32, 34, decodeQ8_0, encodeQ8_0, []int{0}},
	Q2_K: {"Q2_K", 256, 84, decodeQ2_K, nil, nil},
	Q3_K: {"Q3_K", 256, 110, decodeQ3_K, nil, nil},
	Q4_K: {"Q4_K", 256, 144, decodeQ4_K, encodeQ4_K, []int{0, 2}},
	Q5_K: {"Q5_K", 256, 176, decodeQ5_K, encodeQ5_K, []int{0, 2}},
	Q6_K: {"Q6_K", 256, 210, decodeQ6_K, encodeQ6_K, []int{208}},
	I8:   {"I8", 1, 1, nil, nil, nil}, I16: {"I16", 1, 2, nil, nil, nil}, I32: {"I32", 1, 4, nil, nil, nil}, I64: {"I64", 1, 8, nil, nil, nil},
}

// unread names types that exist and cannot be read, for errors.
var unread = map[Type]string{9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
	22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}

// String returns the name, such as "Q4_K".
func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	if name, ok := unread[t]; ok {
		return name
	}
	return fmt.Sprintf("Type(%d)", uint32(t))
}

// Block returns how many elements a block of the type has and how many bytes.
func (t Type) Block() (elements, bytes int) {
	l := layouts[t]
	return l.elements, l.bytes
}

// Float reports whether elements are numbers that Float32 gives: all but integers.
func (t Type) Float() bool { return layouts[t].decode != nil }

// Info describes a tensor.
type Info struct {
	Name  string
	Type  Type
	Shape []int // row-major, the last dimension contiguous: the reverse of the file's
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
func (i Info) Bytes() int {
	l := layouts[i.Type]
	return i.Elements() / l.elements * l.bytes
}

// String gives, for example, "blk.0.ffn_up.weight Q4_K [1536 576]".
func (i Info) String() string { return fmt.Sprintf("%s %v %v", i.Name, i.Type, i.Shape) }

// check refuses what cannot be stored or does not fit an int.
func (i Info) check() error {
	l, ok := layouts[i.Type]
	if !ok {
		return fmt.Errorf("tensor %q has the element type %v, which is not supported; quantise the model to another type", i.Name, i.Type)
	}
	if len(i.Shape) == 0 || len(i.Shape) > maxRank {
		return fmt.Errorf("tensor %q has %d dimensions; 1 to %d are possible", i.Name, len(i.Shape), maxRank)
	}
	n := 1
	for _, d := range i.Shape {
		if d < 1 || n > maxElements/d {
			return fmt.Errorf("tensor %q has the shape %v, which is empty or too large", i.Name, i.Shape)
		}
		n *= d
	}
	if row := i.Shape[len(i.Shape)-1]; row%l.elements != 0 {
		return fmt.Errorf("tensor %q: rows of %d do not fill blocks of %d, as %v asks for", i.Name, row, l.elements, i.Type)
	}
	return nil
}
