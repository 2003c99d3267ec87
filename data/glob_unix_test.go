//go:build unix

package data

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestGlobsOfOddNames: folders whose names have the signs of patterns are searched as they are called.
func TestGlobsOfOddNames(t *testing.T) {
	dir := tree(t, map[string]string{"a[1]*/x/1.go": "1", "a[1]*/.git/2.go": "2", "b?/3.go": "3", "another": "a file", "at": "-> a[1]*"})
	t.Chdir(dir)
	for pattern, want := range map[string]string{"**/*.go": "a[1]*/x/1.go b?/3.go", "a*/**/*.go": "a[1]*/x/1.go at/x/1.go", "at/**/*.go": "at/x/1.go", "none*/**/*.go": "", filepath.ToSlash(dir) + "/b*/**/3.go": filepath.ToSlash(dir) + "/b?/3.go", "./**/3.go": "b?/3.go"} {
		got, _, err := glob(pattern, itself)
		for i := range got {
			got[i] = filepath.ToSlash(got[i])
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%s: %q, %v; want %s", pattern, got, err, want)
		}
	}
	if _, _, err := glob("**/x/**/*.go", itself); err == nil || !strings.Contains(err.Error(), "** may occur once") {
		t.Errorf("two of them: %v", err)
	}
	if _, err := (Sources{Paths: []string{"[", "x"}}).Files(); err == nil {
		t.Error("a pattern that is none was taken")
	}
}

// itself has what cannot be read be an error.
func itself(err error) error { return err }

// TestPatternsOverUnreadableFolders: a folder whose path is longer than the system takes stands for one without permission.
func TestPatternsOverUnreadableFolders(t *testing.T) {
	t.Chdir(tree(t, map[string]string{"a/1.txt": "1", "z/2.txt": "2"}))
	root, err := os.OpenRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.MkdirAll("m"+strings.Repeat("/"+strings.Repeat("m", 200), 25), 0o755); err != nil {
		t.Fatal(err)
	}
	s := Sources{Paths: []string{"**/*.txt"}, OnBadFile: SkipBadRecord}
	docs, stats, err := read(s, ".")
	if err != nil || len(docs) != 2 || stats.Skipped[Unreadable] != 1 || len(stats.Unreadable) != 1 || !strings.Contains(stats.Unreadable[0], "read data: open m/mmm") {
		t.Errorf("%d documents, %v, %v", len(docs), stats.Skipped, err)
	}
	s.OnBadFile = FailOnBadRecord
	if _, _, err := read(s, "."); err == nil || !strings.Contains(err.Error(), "read data: pattern **/*.txt: open m/mmm") ||
		!strings.HasSuffix(err.Error(), "; repair it, leave it out of the data, or set on_bad_file=skip") {
		t.Errorf("without skip: %v", err)
	}
	s = Sources{Paths: []string{"m"}} // where the user has no such choice
	if _, _, err := read(s, "."); err == nil || !strings.HasSuffix(err.Error(), "; repair it or leave it out of the data") {
		t.Errorf("without a choice: %v", err)
	}
}

// TestPatternsLeaveOutTheHidden: as in a shell, a sign of a pattern does not stand for the point of a hidden name; such names are counted.
func TestPatternsLeaveOutTheHidden(t *testing.T) {
	t.Chdir(tree(t, map[string]string{".git/HEAD": "1", ".env": "2", "a/.cache/x": "3", "a/y": "4", "b.txt": "5", ".git/.x": "6"}))
	for pattern, want := range map[string]struct {
		paths  string
		hidden int
	}{
		"*": {"a b.txt", 2}, "./*": {"a b.txt", 2}, ".*": {".env .git", 0}, `\.*`: {".env .git", 0}, "[.]*": {"", 2}, "?git/HEAD": {"", 1}, ".git/*": {".git/HEAD", 1},
		"a/*": {"a/y", 1}, "*/*": {"a/y", 3}, "**/*": {"a a/y b.txt", 3}, "**/.*": {".env .git a/.cache", 2}, "**/y": {"a/y", 2}, ".git/**/.*": {".git/.x", 0}, "a/../.git/H*": {".git/HEAD", 0},
		"./a/**/y": {"a/y", 1}, "././/a//**/y": {"a/y", 1}, "./.git/**/H*": {".git/HEAD", 0}, "./**/y": {"a/y", 2},
	} {
		paths, hidden, err := glob(pattern, itself)
		if strings.Join(paths, " ") != want.paths || len(hidden) != want.hidden || err != nil {
			t.Errorf("%s: %q and %q hidden, %v; want %+v", pattern, paths, hidden, err, want)
		}
	}
}

// TestPatternsThatMatchNoText: only hidden files; a link to nowhere beside a file, which a folder passes over, too; a pipe.
func TestPatternsThatMatchNoText(t *testing.T) {
	t.Chdir(tree(t, map[string]string{".env": "1", "lost": "-> nowhere", "s/.x": "2", "t/a": "3", "t/lost": "-> nowhere"}))
	for pattern, want := range map[string]string{"s/*": "only hidden files match s/*", "l*": "no files to read in l*", "u*": "no file matches u*", "a,b": "several are a list, as in [a.txt, b.txt]"} {
		if _, err := (Sources{Paths: []string{pattern}}).Files(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", pattern, err, want)
		}
	}
	if files, err := (Sources{Paths: []string{"t/*"}}).Files(); err != nil || strings.Join(files, " ") != "t/a" {
		t.Errorf("a link to nowhere: %q, %v", files, err)
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Sources{Paths: []string{"pipe"}}).Files(); err == nil || err.Error() != "read data: pipe is not a regular file; copy what it gives into one" {
		t.Errorf("a pipe: %v", err)
	}
}
