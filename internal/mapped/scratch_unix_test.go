//go:build unix

package mapped

import (
	"os"
	"testing"
)

func TestScratchWithoutFolder(t *testing.T) {
	if _, err := NewScratch(t.TempDir()+"/missing", 1); err == nil {
		t.Error("a file was made in a folder that is not there")
	}
}

func TestWriteZeros(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1<<20 + 3
	if err := writeZeros(f, size); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("the file is %v, %v", info.Size(), err)
	}
}
