package mapped

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for _, content := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("page"), 5000)} {
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), content) {
			t.Errorf("%d bytes came back as %d", len(content), len(f.Bytes()))
		}
		for range 2 {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing")} {
		if _, err := Open(path); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
}

// TestMappedFilesStayAsOpened: a mapped file keeps its bytes when another is renamed over it, as every atomic write does.
func TestMappedFilesStayAsOpened(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("x", "old")
	old, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	write("y", "newer")
	if err := os.Rename(filepath.Join(dir, "y"), path); err != nil {
		if err := errors.Join(old.Close(), os.Rename(filepath.Join(dir, "y"), path)); runtime.GOOS == "windows" && err == nil {
			return // there a file is replaced when it is closed
		}
		t.Fatal(err)
	}
	fresh, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(old.Bytes()) != "old" || string(fresh.Bytes()) != "newer" {
		t.Errorf("%q and %q", old.Bytes(), fresh.Bytes())
	}
	for _, f := range []*File{old, fresh} {
		if err := f.Close(); err != nil || f.Bytes() != nil {
			t.Errorf("closed: %v, %v", f.Bytes(), err)
		}
	}
}

// TestOpenSaysWhy: errors name the path.
func TestOpenSaysWhy(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{dir: "open " + dir + ": not a regular file", filepath.Join(dir, "no"): filepath.Join(dir, "no")} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}
