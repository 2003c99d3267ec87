//go:build unix

package mapped

import (
	"os"
	"testing"
)

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
