package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// TestProfiles are written where they are asked for, and nothing is where they are not.
func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	cpu, heap := filepath.Join(dir, "cpu"), filepath.Join(dir, "heap")
	stop, err := startCPUProfile(cpu)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := startCPUProfile(filepath.Join(dir, "second")); err == nil {
		t.Error("two profiles at once")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := writeHeapProfile(heap); err != nil {
		t.Error(err)
	}
	for _, path := range []string{cpu, heap} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if _, err := startCPUProfile(filepath.Join(dir, "no", "cpu")); err == nil {
		t.Error("a CPU profile is in a folder that is not there")
	}
	if writeHeapProfile(filepath.Join(dir, "no", "heap")) == nil {
		t.Error("a profile of the heap is in a folder that is not there")
	}
	if stop, err := startCPUProfile(""); err != nil || stop() != nil || writeHeapProfile("") != nil {
		t.Error("what is not asked for fails")
	}
}
