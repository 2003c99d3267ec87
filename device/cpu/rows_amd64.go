//go:build !noasm

package cpu

// scaleRoundRowsDoor rounds A·B to bf16 in Y, B being a number for each row, if the machine has the assembly; N is a multiple of 16.
func scaleRoundRowsDoor(a *rowsArgs) bool {
	if vecUse != pathAVX512 {
		return false
	}
	scaleRoundRowsAVX512(a)
	return true
}

// dotRowsDoor puts the dot products of rows of bf16, A·B, into Y, likewise; N is less than 128.
func dotRowsDoor(a *rowsArgs) bool {
	if vecUse != pathAVX512 {
		return false
	}
	dotRowsBF16AVX512(a)
	return true
}

//go:noescape
func scaleRoundRowsAVX512(a *rowsArgs)

//go:noescape
func dotRowsBF16AVX512(a *rowsArgs)
