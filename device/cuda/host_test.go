package cuda

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
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
	for _, p := range libraryNVRTC.find(folders) {
		versions = append(versions, versionOf(p))
	}
	if !slices.Equal(versions, []int{13, 12, 11}) {
		t.Errorf("found versions %v, want 13 12 11", versions)
	}
	if _, err := libraryNVRTC.open(folders[2:], 12); err == nil || !strings.Contains(err.Error(), "newer CUDA") || !strings.Contains(err.Error(), "nvidia-cuda-nvrtc-cu12") {
		t.Errorf("a compiler newer than the driver: %v", err)
	}
	if _, err := libraryNVRTC.open(folders[:1], 12); err == nil || !strings.Contains(err.Error(), "libnvrtc") {
		t.Errorf("a file that is no library: %v", err)
	}
}

func TestSortRows(t *testing.T) {
	order, starts, unique := sortRows([]int32{5, 0, 5, 2, 0, 5}, 6)
	for name, v := range map[string][2][]int32{"order": {order, {1, 4, 3, 0, 2, 5}}, "starts": {starts, {0, 2, 3, 6}}, "unique": {unique, {0, 2, 5}}} {
		if !slices.Equal(v[0], v[1]) {
			t.Errorf("%s is %v, want %v", name, v[0], v[1])
		}
	}
}

func TestCacheNameFollowsWhatCodeDependsOn(t *testing.T) {
	names := map[string]bool{}
	for _, n := range []string{cacheName("norm", "a", 90, "13.2"), cacheName("norm", "b", 90, "13.2"), cacheName("norm", "a", 80, "13.2"), cacheName("norm", "a", 90, "12.4")} {
		names[n] = true
	}
	if len(names) != 4 {
		t.Errorf("four ways to compile have the names %v", names)
	}
}

func TestErrorOfOutOfMemory(t *testing.T) {
	e := &device.OutOfMemory{Device: "cuda", Asked: 3 << 20, For: device.Activations, InUse: 80 << 20, Total: 81 << 20,
		Holders: []device.Holder{{Use: device.OptimizerState, Name: "optim.New", Bytes: 60 << 20}, {Use: device.Activations, Name: "tensor.Linear", Bytes: 10 << 20},
			{Use: device.Activations, Name: "tensor.Add", Bytes: 2 << 20}, {Use: device.Weights, Name: "nn.Alloc", Bytes: 8 << 20}}}
	want := "cuda is out of memory: 3 MiB asked for activations with 80 MiB in use of 81 MiB: the optimizer's state 60 MiB (most by optim.New), " +
		"activations 12 MiB (most by tensor.Linear), weights 8 MiB (most by nn.Alloc); lower batch_size or sequence_length, or set recompute=layers; " +
		"or set optimizer.name=adamw8bit or optimizer.paged=true"
	if e.Error() != want {
		t.Errorf("the error is %q, want %q", e, want)
	}
}
