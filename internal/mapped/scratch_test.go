package mapped

import (
	"bytes"
	"os"
	"testing"
)

func TestScratch(t *testing.T) {
	dir := t.TempDir()
	page := os.Getpagesize()
	for _, size := range []int{0, 1, page, 3*page + 5} {
		s, err := NewScratch(dir, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Bytes(), make([]byte, size)) {
			t.Fatalf("%d fresh bytes are not zeros", size)
		}
		want := bytes.Repeat([]byte{7}, size)
		copy(s.Bytes(), want)
		s.Evict(0, int64(size))
		s.Evict(int64(size)/2, int64(size)/2)
		if !bytes.Equal(s.Bytes(), want) {
			t.Errorf("%d bytes are others after they were evicted", size)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the folder, %v", left, err)
	}
	if _, err := NewScratch(dir+"/missing", 1); err == nil {
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
