package cli

import (
	"os"
	"testing"
)

// TestReaderGone: that nobody reads a pipe any more is told from other failures.
func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := w.Write([]byte("x")); !ReaderGone(err) {
		t.Errorf("%v", err)
	}
	w.Close()
	if _, err := w.Write([]byte("x")); err == nil || ReaderGone(err) {
		t.Errorf("a closed file: %v", err)
	}
}
