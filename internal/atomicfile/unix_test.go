//go:build unix && !aix

package atomicfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestMarkPassesOver links to nowhere, and pipes, which opening would wait at.
func TestMarkPassesOver(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Mark(dir, "complete", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	check(t, filepath.Join(dir, "complete"), "{}")
}
