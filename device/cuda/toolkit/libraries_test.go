package toolkit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	for path, want := range map[string]int{"/a/libnvrtc.so.12": 12, "/a/libcublasLt.so.13": 13, "/usr/lib/libnvrtc.so": 0, "libnvrtc.so.11.2": 11,
		"C:/cuda/nvrtc64_120_0.dll": 12, "cublasLt64_13.dll": 13} {
		if got := versionOf(path); got != want {
			t.Errorf("%s is of CUDA %d, want %d", path, got, want)
		}
	}
}

// TestFind looks for libraries where toolkits and Python's packages put them.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "toolkit/lib64/libnvrtc.so.13", "plain/libnvrtc.so.11.2"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("no library"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folders := []string{filepath.Join(dir, "plain"), filepath.Join(dir, "venv"), filepath.Join(dir, "toolkit")}
	var versions []int
	for _, p := range NVRTC.find(folders) {
		versions = append(versions, versionOf(p))
	}
	if !slices.Equal(versions, []int{13, 12, 11}) {
		t.Errorf("found versions %v, want 13 12 11", versions)
	}
	if _, err := NVRTC.Open(folders[2:], 12); err == nil || !strings.Contains(err.Error(), "newer CUDA") || !strings.Contains(err.Error(), "nvidia-cuda-nvrtc-cu12") {
		t.Errorf("a compiler newer than the driver: %v", err)
	}
	if _, err := NVRTC.Open(folders[:1], 12); err == nil || !strings.Contains(err.Error(), "libnvrtc") {
		t.Errorf("a file that is no library: %v", err)
	}
}
