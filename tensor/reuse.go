//go:build !race

package tensor

// reuses says that tensors of a scope that is over become those of the next operations.
const reuses = true
