//go:build !unix

package data

// isLoop reports whether a path has links that lead in a circle.
func isLoop(error) bool { return false }
