package mapped

import (
	"bytes"
	"os"
	"sync"
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

// TestEvictLetsNeighboursBe: what is evicted, from and to any byte, comes back as it was, and so does all beside it that is written meanwhile.
func TestEvictLetsNeighboursBe(t *testing.T) {
	page := os.Getpagesize()
	size := 3*page + 100
	s, err := NewScratch(t.TempDir(), int64(size))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := make([]byte, size)
	edges := []int{0, 1, page - 1, page, page + 1, 2 * page, 3 * page, size - 1, size}
	for i, lo := range edges {
		for _, hi := range edges[i:] {
			for at := range want {
				want[at] = byte(at*7 + lo + hi)
			}
			copy(s.Bytes(), want)
			s.Evict(int64(lo), int64(hi))
			if !bytes.Equal(s.Bytes(), want) {
				t.Fatalf("bytes are others after %d to %d were evicted", lo, hi)
			}
		}
	}
}

// TestScratchesAreApart: each has memory of its own, also where they are made and closed side by side.
func TestScratchesAreApart(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for round := range 5 {
				s, err := NewScratch(dir, 5000)
				if err != nil {
					t.Error(err)
					return
				}
				if s.Bytes()[4999] != 0 {
					t.Error("fresh memory is not zeros")
				}
				copy(s.Bytes(), bytes.Repeat([]byte{byte(i*5 + round + 1)}, 5000))
				if b := s.Bytes(); b[0] != byte(i*5+round+1) || b[4999] != b[0] {
					t.Error("another wrote here")
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if s.Bytes() != nil {
					t.Error("closed memory is still there")
				}
			}
		})
	}
	wg.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
