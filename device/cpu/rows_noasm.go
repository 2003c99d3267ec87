//go:build !amd64 || noasm

package cpu

func scaleRoundRowsDoor(*rowsArgs) bool { return false }
func dotRowsDoor(*rowsArgs) bool        { return false }
