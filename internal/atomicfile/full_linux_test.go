package atomicfile

import (
	"os/signal"
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
