//go:build !noasm

package vec

// ScaleRoundRows rounds A·B to bf16 in Y, B being a number for each row, if the path has the assembly; N is a multiple of 16.
func (path Path) ScaleRoundRows(a *RowsArgs) bool {
	if !path.wide() {
		return false
	}
	scaleRoundRowsAVX512(a)
	return true
}

// DotRowsBF16 puts the dot products of rows of bf16, A·B, into Y, likewise, with the bits of Dot; N is less than 128.
func (path Path) DotRowsBF16(a *RowsArgs) bool {
	if !path.wide() {
		return false
	}
	dotRowsBF16AVX512(a)
	return true
}

// wide says whether the path has vectors of 512 bits.
func (path Path) wide() bool { return path == AVX512 || path == AVX512BF16 }

//go:noescape
func scaleRoundRowsAVX512(a *RowsArgs)

//go:noescape
func dotRowsBF16AVX512(a *RowsArgs)
