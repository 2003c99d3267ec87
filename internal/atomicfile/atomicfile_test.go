package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func check(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.json")
	for _, content := range []string{"first", "", "the second is longer"} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		check(t, path, content)
	}
	if got := names(t, dir); got != "x.json" {
		t.Errorf("the folder holds %s", got)
	}
	t.Chdir(dir)
	if err := WriteFile("plain", []byte("x")); err != nil {
		t.Fatal(err)
	}
	check(t, "plain", "x")
}

func TestNothingBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("tail"), 4); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "head"); err != nil {
		t.Fatal(err)
	}
	check(t, path, "old")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	check(t, path, "headtail")
	if err := f.Commit(); err == nil {
		t.Error("committed twice")
	}

	f, err = Create(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "new")
	f.Abort()
	check(t, path, "headtail")
	if err := f.Commit(); err == nil {
		t.Error("committed after Abort")
	}
	if got := names(t, dir); got != "x" {
		t.Errorf("the folder holds %s", got)
	}
}

func TestFailingWriterKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no more data")
	err := WriteTo(path, func(w io.Writer) error {
		io.WriteString(w, "half")
		return cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	check(t, path, "old")
	if got := names(t, dir); got != "x" {
		t.Errorf("the folder holds %s", got)
	}
}

func TestUnwritablePlaces(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing", "x"), filepath.Join(dir, "folder")} {
		err := WriteFile(path, []byte("x"))
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), tempMark) {
			t.Errorf("got %v, want an error that names %s and no temporary file", err, path)
		}
	}
	if got := names(t, dir); got != "folder" {
		t.Errorf("the folder holds %s", got)
	}
}

// TestOnlyOverFiles: a rename would put a file in the place of a device, and fails at a folder when all work is done.
func TestOnlyOverFiles(t *testing.T) {
	for _, path := range []string{t.TempDir(), os.DevNull} {
		if f, err := Create(path); err == nil {
			f.Abort()
			t.Errorf("%s was taken for a file", path)
		}
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	keep := []string{"x", ".hidden", "x.tmp-1", "model.safetensors"}
	for _, name := range append(keep, ".x.tmp-1", ".model.safetensors.tmp-4711") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Create(filepath.Join(dir, "crashed")) // never committed
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if n, err := Clean(dir); n != 3 || err != nil {
		t.Errorf("removed %d, %v; want 3", n, err)
	}
	if got := names(t, dir); got != ".hidden model.safetensors x x.tmp-1" {
		t.Errorf("the folder holds %s", got)
	}
	if n, err := Clean(filepath.Join(dir, "missing")); n != 0 || err != nil {
		t.Errorf("a missing folder gave %d, %v", n, err)
	}
}

func TestMark(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "step-1")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "x"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Mark(dir, "complete.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	check(t, filepath.Join(dir, "complete.json"), "{}")
	if err := Mark(filepath.Join(dir, "missing"), "m", nil); err == nil {
		t.Error("marked a folder that does not exist")
	}
}

// TestTempFilesLieBeside: a rename works within a file system only, so the temporary file is in the folder of the final one, also of a bare name.
func TestTempFilesLieBeside(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for path, want := range map[string]string{"plain": ".", filepath.Join(dir, "full"): dir, filepath.Join(".", "x"): "."} {
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.Dir(f.file.Name()); got != want {
			t.Errorf("the temporary file of %s lies in %s", path, got)
		}
		f.Abort()
	}
}

// TestFirstFailureSticks: after a write that failed nothing more is written, and Commit says why, however often it is asked.
func TestFirstFailureSticks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.err = errors.New("the disk is gone")
	for _, write := range []func() (int, error){func() (int, error) { return f.Write([]byte("x")) }, func() (int, error) { return f.WriteAt([]byte("x"), 9) }} {
		if n, err := write(); n != 0 || err != f.err {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
	}
	if info, err := f.file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if err := f.Commit(); err != f.err {
		t.Errorf("commit: %v", err)
	}
	if err := f.Commit(); err == nil || !strings.Contains(err.Error(), "already committed or aborted") {
		t.Errorf("commit again: %v", err)
	}
	check(t, path, "old")
	if got := names(t, dir); got != "x" {
		t.Errorf("the folder holds %s", got)
	}
}

// TestErrorsAreForPeople: they name the file that was asked for, what is wrong and what to do, and no temporary file.
func TestErrorsAreForPeople(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil { // somebody made a folder of that name meanwhile
		t.Fatal(err)
	}
	err = f.Commit()
	if err == nil || !strings.Contains(err.Error(), "write "+path+": ") || strings.Contains(err.Error(), tempMark) || strings.Contains(err.Error(), "rename") {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); got != "x" {
		t.Errorf("the folder holds %s", got)
	}
	if err := WriteFile(path, nil); err == nil || !strings.HasSuffix(err.Error(), "it is a folder; name a file in it") {
		t.Errorf("got %v", err)
	}
	for _, c := range []struct {
		err    error
		advice string
	}{
		{&os.PathError{Op: "open", Path: ".x" + tempMark + "1", Err: syscall.ENOSPC}, "free some space"}, {&os.PathError{Err: syscall.ENOTDIR}, "name a file in a folder"},
		{&os.LinkError{Op: "rename", Old: ".x" + tempMark + "1", Err: syscall.EROFS}, "can be written to"}, {syscall.ENOENT, "name a file in a folder"},
	} {
		if got := plain(c.err).Error(); !strings.Contains(got, c.advice) || strings.Contains(got, tempMark) {
			t.Errorf("%v is worded %q", c.err, got)
		}
	}
	if got := plain(&os.PathError{Op: "write", Path: "x", Err: syscall.EIO}); got != syscall.EIO {
		t.Errorf("an error without advice is worded %q", got)
	}
}

// TestCleanLeavesFolders that are called as a leftover is.
func TestCleanLeavesFolders(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".x"+tempMark+"1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if n, err := Clean(dir); n != 0 || err != nil || names(t, dir) != ".x"+tempMark+"1" {
		t.Errorf("removed %d, %v; left %s", n, err, names(t, dir))
	}
	if _, err := Clean(filepath.Join(dir, "x", "y")); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}
