//go:build unix

package data

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestGlobsOfOddNames: folders whose names have the signs of patterns are searched as they are called.
func TestGlobsOfOddNames(t *testing.T) {
	dir := tree(t, map[string]string{"a[1]*/x/1.go": "1", "a[1]*/.git/2.go": "2", "b?/3.go": "3", "another": "a file", "at": "-> a[1]*"})
	t.Chdir(dir)
	for pattern, want := range map[string]string{"**/*.go": "a[1]*/x/1.go b?/3.go", "a*/**/*.go": "a[1]*/x/1.go at/x/1.go", "at/**/*.go": "at/x/1.go", "none*/**/*.go": "", filepath.ToSlash(dir) + "/b*/**/3.go": filepath.ToSlash(dir) + "/b?/3.go", "./**/3.go": "b?/3.go"} {
		got, err := glob(pattern)
		for i := range got {
			got[i] = filepath.ToSlash(got[i])
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%s: %q, %v; want %s", pattern, got, err, want)
		}
	}
	if _, err := glob("**/x/**/*.go"); err == nil || !strings.Contains(err.Error(), "** may occur once") {
		t.Errorf("two of them: %v", err)
	}
	if _, err := (Sources{Paths: []string{"[", "x"}}).Files(); err == nil {
		t.Error("a pattern that is none was taken")
	}
}
