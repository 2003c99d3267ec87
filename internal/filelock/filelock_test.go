package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestOneHolder: of a file one opening has the lock, until it is closed, and others can read it. A system without locks says so.
func TestOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	first, second := open(t, path), open(t, path)
	if err := Wait(first); errors.Is(err, errors.ErrUnsupported) {
		if err := Try(second); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("the one way to lock is there, the other not: %v", err)
		}
		return
	} else if err != nil {
		t.Fatal(err)
	}
	if err := Try(second); !errors.Is(err, ErrHeld) {
		t.Errorf("beside another: %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "text" || err != nil {
		t.Errorf("beside the lock: %q, %v", text, err)
	}
	first.Close()
	if err := Try(second); err != nil {
		t.Errorf("after the other: %v", err)
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
		if runtime.GOOS == "windows" {
			return // what is open stays where it is
		}
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

// TestFolder: one holder of a folder, by whatever path, until it is released; meanwhile the folder can be used and removed.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	release, err := Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "..", "run")
	if release, err := Folder(other); err == nil {
		release()
		if second := open(t, dir); !errors.Is(Try(second), errors.ErrUnsupported) {
			t.Error("two have the folder")
		}
	} else if !errors.Is(err, ErrHeld) {
		t.Error(err)
	}
	release()
	release, err = Folder(other)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	defer release()
	if err := os.Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := Folder(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is gone: %v", err)
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
