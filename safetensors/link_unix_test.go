//go:build unix

package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkToItself: weights that are there and cannot be opened are not told as missing.
func TestLinkToItself(t *testing.T) {
	loop := filepath.Join(t.TempDir(), SingleName)
	if err := os.Symlink(SingleName, loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Dir(loop)); err == nil || !strings.Contains(err.Error(), "open weights: ") || strings.Contains(err.Error(), "neither") {
		t.Errorf("a link to itself: %v", err)
	}
}
