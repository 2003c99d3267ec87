//go:build unix && !aix

package data

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFoundLinkStays: the link to a folder, too, in which nothing is built.
func TestFoundLinkStays(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	foundFolderStays(t, link)
}

// TestFolderGoneUnderWaiter: one who waits for the lock of a folder that is removed meanwhile makes it again, and locks that one.
func TestFolderGoneUnderWaiter(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "tokens")
		leave, err := prepareDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		const others = 4 // they find one another's folders at any point of making and removing them
		done := make(chan error)
		for range others {
			go func() {
				leave, err := prepareDir(dir)
				if err == nil {
					_, err = os.Stat(filepath.Join(dir, lockName))
					leave()
				}
				done <- err
			}()
		}
		time.Sleep(time.Millisecond) // most often the others wait by now; either order must do
		leave()
		for range others {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
