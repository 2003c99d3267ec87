package dedup

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDamagedGrams: places of n-grams that cannot be are an error, before memory for as many is asked for.
func TestDamagedGrams(t *testing.T) {
	for name, c := range map[string]struct {
		ends []uint64
		want bool
	}{"as written": {[]uint64{2, 3}, true}, "beyond the file": {[]uint64{2, 1 << 60}, false}, "one more": {[]uint64{2, 4}, false}, "backwards": {[]uint64{3, 2}, false}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "kept-00000.grams")
		w, err := CreateGrams(path)
		if err != nil {
			t.Fatal(err)
		}
		other, err := CreateGrams(filepath.Join(dir, "kept-00001.grams"))
		if err != nil {
			t.Fatal(err)
		}
		other.Abort()
		if err := errors.Join(w.Write([]uint64{5, 6}), w.Write([]uint64{7}), w.Commit()); err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, end := range c.ends {
			b = binary.LittleEndian.AppendUint64(b, end)
		}
		if err := os.WriteFile(endsName(path), b, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := OpenGrams([]string{path}, []uint64{0}, 0.8)
		if err != nil {
			t.Fatal(err)
		}
		if set, err := s.read(1); (err == nil) != c.want || c.want && !slices.Equal(set, []uint64{7}) || !c.want && !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v, %v", name, set, err)
		}
		s.Close()
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("files %v, %v", left, err)
		}
	}
}
