package vec

import "unsafe"

// RowsArgs are rows that lie apart, for functions that handle several in one call: a head's rows are so short that a call for each
// takes longer than they do. Strides are in bytes. The caller vouches for the memory: nothing here knows where it ends.
// The fields are 8 bytes each: the assembly counts on it.
type RowsArgs struct {
	Y, A, B                   unsafe.Pointer
	StrideY, StrideA, StrideB int
	Rows, N                   int // N elements a row
}
