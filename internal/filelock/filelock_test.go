package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestOneHolder: of a file and of a folder one opening has the lock, until it is closed. A system without locks says so.
func TestOneHolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lock")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir} {
		first, second := open(t, path), open(t, path)
		if err := Wait(first); errors.Is(err, errors.ErrUnsupported) {
			if err := Try(second); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: the one way to lock is there, the other not: %v", path, err)
			}
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if err := Try(second); !errors.Is(err, ErrHeld) {
			t.Errorf("%s: beside another: %v", path, err)
		}
		first.Close()
		if err := Try(second); err != nil {
			t.Errorf("%s: after the other: %v", path, err)
		}
	}
}

// TestIsAt: a file that was replaced at its path is another one.
func TestIsAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if !IsAt(f, path) {
		t.Error("the file just opened is not found")
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if IsAt(f, path) {
		t.Error("a file that is gone is found")
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if IsAt(f, path) {
		t.Error("another file is taken for it")
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
