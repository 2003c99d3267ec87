package extsort

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSorterSpills: entries come in their order, with the first of their key, however many runs there are.
func TestSorterSpills(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []int{1 << 20, 100, 7, 3} { // 3 makes more runs than are merged at a time
		s := &Sorter{Dir: t.TempDir(), Name: "s", Limit: limit}
		want := map[uint64][]uint64{}
		for i := range 1000 {
			key := r.Uint64N(400)
			want[key] = append(want[key], uint64(i))
			if err := s.Add(Entry{Key: key, Doc: uint64(i), Bytes: 1}); err != nil {
				t.Fatal(err)
			}
		}
		got, last := map[uint64][]uint64{}, uint64(0)
		for m, err := range Members(s.Sorted()) {
			if err != nil {
				t.Fatal(err)
			}
			got[m.Key] = append(got[m.Key], m.Doc)
			if m.Key < last || m.First.Doc != want[m.Key][0] || int(m.N) != len(got[m.Key]) {
				t.Fatalf("limit %d: %+v after key %d", limit, m, last)
			}
			last = m.Key
		}
		if !cmp.Equal(got, want) {
			t.Errorf("limit %d: other entries come out than went in", limit)
		}
		s.Remove()
		if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
			t.Errorf("limit %d: files are left: %v, %v", limit, left, err)
		}
	}
}

// TestMemoryIsBounded: of what a run sorts no more than the limit is in memory.
func TestMemoryIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := &Sorter{Dir: t.TempDir(), Name: "s", Limit: 100}
	for i := range 5000 {
		if err := s.Add(Entry{Key: r.Uint64(), Doc: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		if len(s.Buffer) > s.Limit || cap(s.Buffer) > 2*s.Limit {
			t.Fatalf("%d entries in memory, room for %d", len(s.Buffer), cap(s.Buffer))
		}
	}
	if len(s.Runs) != 50 {
		t.Errorf("%d runs", len(s.Runs))
	}
	s.Remove()
}

// TestDamagedRuns: sorted entries that end within one, or are gone, are an error and no end.
func TestDamagedRuns(t *testing.T) {
	s := &Sorter{Dir: t.TempDir(), Name: "s", Limit: 2}
	for i := range 6 {
		if err := s.Add(Entry{Key: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (n int, last error) {
		for _, err := range Members(s.Sorted()) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := read(); n != 6 || err != nil {
		t.Fatalf("%d entries, %v", n, err)
	}
	if err := os.Truncate(s.Runs[1], 2*entryBytes-1); err != nil {
		t.Fatal(err)
	}
	if n, err := read(); n > 4 || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "sort: ") {
		t.Errorf("of a run that is cut %d entries come, %v", n, err)
	}
	if err := os.Truncate(s.Runs[1], entryBytes-1); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a run that is cut in its first entry: %v", err)
	}
	if err := os.Truncate(s.Runs[1], 0); err != nil {
		t.Fatal(err)
	}
	if n, err := read(); n != 4 || err != nil {
		t.Errorf("beside an empty run %d entries come, %v", n, err)
	}
	if err := os.Remove(s.Runs[2]); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a run that is gone: %v", err)
	}
	if s.Remove(); len(s.Runs) != 0 || len(s.Buffer) != 0 {
		t.Errorf("after all %v and %v are held", s.Runs, s.Buffer)
	}
}
