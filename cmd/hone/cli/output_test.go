package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOutputFails: every way to write to stdout notes the failure.
func TestOutputFails(t *testing.T) {
	for _, write := range []func(io.Writer) error{
		func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err },
		func(w io.Writer) error { _, err := io.Copy(w, strings.NewReader("x")); return err },
		func(w io.Writer) error { _, err := w.Write([]byte("x")); return err },
	} {
		file, err := os.Create(filepath.Join(t.TempDir(), "closed"))
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		out := &Output{File: file}
		if err := write(out); err == nil || out.Err == nil {
			t.Errorf("writing gave %v and noted %v", err, out.Err)
		}
	}
}
