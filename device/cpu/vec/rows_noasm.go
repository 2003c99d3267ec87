//go:build !amd64 || noasm

package vec

// ScaleRoundRows is there on amd64 alone.
func (path Path) ScaleRoundRows(*RowsArgs) bool { return false }

// DotRowsBF16 is there on amd64 alone.
func (path Path) DotRowsBF16(*RowsArgs) bool { return false }
