//go:build !noasm

package cpu

// joinDoor runs the assembly if the machine has it, and reports whether it did.
func joinDoor(a *halvesArgs) bool {
	if vecUse == pathGeneric {
		return false
	}
	joinAVX2(a)
	return true
}

// splitDoor runs the assembly if the machine has it, and reports whether it did.
func splitDoor(a *halvesArgs) bool {
	if vecUse == pathGeneric {
		return false
	}
	splitAVX2(a)
	return true
}

//go:noescape
func joinAVX2(a *halvesArgs)

//go:noescape
func splitAVX2(a *halvesArgs)
