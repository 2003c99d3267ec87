//go:build unix && !aix

package recipe

import (
	"errors"
	"path/filepath"
	"testing"
)

// TestFolderIsHeld: as long as a run is at work in a folder no other one is, whether it begins there or goes on.
func TestFolderIsHeld(t *testing.T) {
	f := Folder{filepath.Join(t.TempDir(), "run")}
	release, err := f.open(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, resume := range []bool{false, true} {
		if _, err := f.open(resume); !errors.Is(err, errHeld) {
			t.Errorf("resume=%v beside a run: %v", resume, err)
		}
	}
	release()
	if release, err = f.open(true); err != nil {
		t.Fatal(err)
	}
	release()
}
