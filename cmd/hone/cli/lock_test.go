//go:build unix && !aix

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFolderOfTwo: a call beside another in the same folder is refused. It would take the first one's files for those of a killed call, and the folder
// would be left without weights.
func TestFolderOfTwo(t *testing.T) {
	out := filepath.Join(t.TempDir(), "model")
	err := WriteFolder(out, func(dir string) error {
		err := os.WriteFile(filepath.Join(dir, "model.safetensors"), nil, 0o666)
		second := WriteFolder(out, func(string) error { return errors.New("stopped") })
		if second == nil || second.Error() != "another program writes to "+out+"; wait for its end, or name another folder as out" {
			t.Errorf("the second: %v", second)
		}
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "config.json"), nil, 0o666))
	})
	if got := fileNames(out); err != nil || got != "config.json model.safetensors" {
		t.Errorf("the folder holds %q, %v", got, err)
	}
}
