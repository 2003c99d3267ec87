//go:build darwin && !race

package cpu

// adviseHuge does nothing: this system has no such wish.
func adviseHuge([]byte) {}
