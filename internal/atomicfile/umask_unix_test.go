//go:build unix

package atomicfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestUmask: who may read a file is said by the umask, as of any other program's files, also where it takes the place of another.
func TestUmask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	defer syscall.Umask(syscall.Umask(0))
	for mask, want := range map[int]os.FileMode{0o022: 0o644, 0o077: 0o600, 0o002: 0o664} {
		syscall.Umask(mask)
		if err := WriteFile(path, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("umask %o: mode %v, %v", mask, info.Mode(), err)
		}
	}
}
