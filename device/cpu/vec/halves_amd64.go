//go:build !noasm

package vec

// doorJoin runs the assembly if the path has it, and reports whether it did.
func (path Path) doorJoin(a *halvesArgs) bool {
	if path == Generic {
		return false
	}
	joinAVX2(a)
	return true
}

// doorSplit runs the assembly if the path has it, and reports whether it did.
func (path Path) doorSplit(a *halvesArgs) bool {
	if path == Generic {
		return false
	}
	splitAVX2(a)
	return true
}

//go:noescape
func joinAVX2(a *halvesArgs)

//go:noescape
func splitAVX2(a *halvesArgs)
