//go:build unix && !aix

package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/internal/filelock"
)

// TestLockedDownload: two programs do not write one file; the second says why it ends.
func TestLockedDownload(t *testing.T) {
	s := newServer(t, small())
	part := filepath.Join(s.client.Cache, "models--org--model", "blobs", s.etag("config.json")+".incomplete")
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(part)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := filelock.Try(f); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), "config.json: another program is downloading it") {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pull(); err != nil {
		t.Errorf("when the other has ended: %v", err)
	}
}
