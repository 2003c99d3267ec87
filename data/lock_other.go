//go:build !unix

package data

// Without flock, builds in one folder at the same time are the user's to avoid.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }
