package device

import "fmt"

// Packing is a way to store the numbers of a frozen matrix in few bits.
type Packing uint8

// The packings, both as bitsandbytes stores them.
const (
	Unpacked Packing = iota
	// NF4 is the 4-bit code NF4Codes in blocks of NF4Block with double quantisation (Dettmers et al., "QLoRA", 2023): 4.13 bits a number.
	NF4
	// Int8 is the nearest of 255 multiples of a row's largest magnitude over 127 (Dettmers et al., "LLM.int8()", 2022): 8 bits
	// a number and 32 a row.
	Int8
)

// PackingOf is the packing in so many bits: 4 for NF4, 8 for Int8, 0 for none.
func PackingOf(bits int) (Packing, error) {
	switch bits {
	case 0:
		return Unpacked, nil
	case 4:
		return NF4, nil
	case 8:
		return Int8, nil
	}
	return Unpacked, fmt.Errorf("bits is %d; use 4 (NF4) or 8 (int8)", bits)
}

// Sizes of NF4's blocks.
const (
	NF4Block   = 64  // numbers that share a largest magnitude
	NF4Nesting = 256 // largest magnitudes that share one in turn
)

// NF4Codes are the 16 numbers of NF4: quantiles of the normal distribution, scaled to [-1, 1].
var NF4Codes = [16]float32{-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
	-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
	0.5626170039176941, 0.7229568362236023, 1}

// Packed is a matrix of Rows×Cols numbers in few bits.
//
// NF4: Codes (U8, two numbers a byte, the first in the upper half, 0 behind an odd last one) tells the nearest of NF4Codes for each number over the
// largest magnitude of its block of NF4Block. The magnitude of block b is DynamicMap(true)[Scales[b]]·Nested[b/NF4Nesting] +
// Offset[0]: Offset is the mean of all, Scales (U8) and Nested (F32) are the rest by dynamic quantisation.
//
// Int8: Codes (U8) are signed numbers in two's complement, Nested (F32) is the largest magnitude of each row, and a number is
// Nested/127·code. Scales and Offset are absent.
type Packed struct {
	Packing    Packing
	Rows, Cols int
	Codes      Buffer // NF4 [(Rows*Cols+1)/2], Int8 [Rows*Cols]
	Scales     Buffer // NF4 [blocks]
	Nested     Buffer // NF4 [blocks/NF4Nesting, rounded up], Int8 [Rows]
	Offset     Buffer // NF4 [1]
}

// Sizes are the lengths of the buffers of n = Rows·Cols packed numbers.
func (p *Packed) Sizes() (codes, scales, nested, offset int) {
	n := p.Rows * p.Cols
	if p.Packing == Int8 {
		return n, 0, p.Rows, 0
	}
	blocks := (n + NF4Block - 1) / NF4Block
	return (n + 1) / 2, blocks, (blocks + NF4Nesting - 1) / NF4Nesting, 1
}

// NewPacked allocates the buffers.
func NewPacked(d Device, packing Packing, rows, cols int) Packed {
	p := Packed{Packing: packing, Rows: rows, Cols: cols}
	codes, scales, nested, offset := p.Sizes()
	p.Codes, p.Nested = d.Alloc(codes, U8), d.Alloc(nested, F32)
	if offset > 0 {
		p.Scales, p.Offset = d.Alloc(scales, U8), d.Alloc(offset, F32)
	}
	return p
}

// Free gives the buffers back.
func (p *Packed) Free(d Device) {
	for _, b := range []Buffer{p.Codes, p.Scales, p.Nested, p.Offset} {
		if !b.IsZero() {
			d.Free(b)
		}
	}
	*p = Packed{}
}

// PackedMultiplier is a device that multiplies by matrices in few bits without writing their numbers to memory. It is optional:
// see MatMulPacked.
type PackedMultiplier interface {
	// MatMulPacked is MatMul with the numbers of p, rounded to A's type, for B. It does nothing and reports false where it is
	// not able to, or where unpacking is faster.
	MatMulPacked(m MatMul, p Packed) bool
}

// MatMulPacked computes m with the numbers of p for B, which is absent in m. They have A's type.
func MatMulPacked(d Device, m MatMul, p Packed) {
	if x, ok := d.(PackedMultiplier); ok && x.MatMulPacked(m, p) {
		return
	}
	m.B = d.Alloc(p.Rows*p.Cols, m.A.DType)
	defer d.Free(m.B)
	d.Unpack(m.B, p)
	d.MatMul(m)
}
