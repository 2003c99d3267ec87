package atomicfile

import (
	"bytes"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFileSizeLimit(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	const room = 1 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: room, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_FSIZE, &old)
	fullDisk(t, t.TempDir(), room)
}

func TestFullDisk(t *testing.T) {
	const room = 1 << 20
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small file system is not allowed here: %v", err)
	}
	defer unix.Unmount(dir, 0)
	fullDisk(t, dir, room)
}

// fullDisk is checked with a limit on file sizes and, where it may be mounted, with a real file system that is full.
func fullDisk(t *testing.T, dir string, room int) {
	path := filepath.Join(dir, "checkpoint")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	err := WriteTo(path, func(w io.Writer) error {
		part := bytes.Repeat([]byte("x"), 1<<16)
		for range 2 * room / len(part) {
			w.Write(part) // the error sticks: a caller who ignores it still cannot commit
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "untouched") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one sentence that names the file", err)
	}
	t.Log(err)
	check(t, path, "old")
	if got := names(t, dir); got != "checkpoint" {
		t.Errorf("the folder holds %s", got)
	}
	if err := WriteFile(path, []byte("smaller")); err != nil {
		t.Errorf("a smaller file does not fit either: %v", err)
	}
}
