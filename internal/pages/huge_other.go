//go:build !linux || race

package pages

// adviseHuge does nothing: the system has no such wish, or the race detector watches the memory.
func adviseHuge([]byte) {}
