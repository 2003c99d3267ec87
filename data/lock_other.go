//go:build !unix

package data

import "os"

// lockDir makes dir. Without flock, builds in one folder at the same time are the user's to avoid.
func lockDir(dir string) (unlock func(), err error) {
	return func() {}, os.MkdirAll(dir, 0o755)
}
