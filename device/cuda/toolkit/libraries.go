// Package toolkit finds and opens what comes apart from NVIDIA's driver: the libraries of CUDA, as a toolkit or Python's packages install them, and of
// them the compiler.
package toolkit

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"hone/internal/dl"
)

// Library is a library of CUDA that comes apart from the driver, with what it is called where.
type Library struct {
	name  string // on Linux: libNAME.so.MAJOR
	dll   string // on Windows: a pattern
	wheel string // on PyPI, without the version
}

// The libraries that the device needs.
var (
	NVRTC    = Library{name: "nvrtc", dll: "nvrtc64_*_0.dll", wheel: "nvidia-cuda-nvrtc"}
	CublasLt = Library{name: "cublasLt", dll: "cublasLt64_*.dll", wheel: "nvidia-cublas"}
)

// DriverPaths are where the driver's library is.
func DriverPaths() []string {
	if runtime.GOOS == "windows" {
		return []string{"nvcuda.dll"}
	}
	return []string{"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/lib64/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
		"/usr/lib/aarch64-linux-gnu/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"} // the last one in containers
}

// below are the places of libraries below a folder: a folder of libraries, a toolkit, an environment of Python, its site-packages.
var below = []string{"", "lib64", "lib", "bin", "nvidia/*/lib", "nvidia/*/bin", "lib/python3*/site-packages/nvidia/*/lib", "Lib/site-packages/nvidia/*/bin",
	"targets/*/lib"}

// usual are folders where toolkits and Python's packages are.
var usual = []string{"/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr",
	"/usr/lib/python3/dist-packages", "/usr/local/lib/python3*/dist-packages", "/usr/local/lib/python3*/site-packages"}

// ErrNotFound is of a library that is nowhere.
var ErrNotFound = errors.New("was not found")

// Open opens the newest version of l for drivers of CUDA up to major (0: of any) in folders or the usual ones.
func (l Library) Open(folders []string, major int) (*dl.Library, error) {
	found := l.find(slices.Concat(folders, usual))
	var fit []string
	for _, path := range found {
		if v := versionOf(path); major == 0 || v <= major {
			fit = append(fit, path)
		}
	}
	if len(found) == 0 || len(fit) > 0 {
		if lib, err := dl.Open(append(fit, l.bare(major)...)...); err == nil {
			return lib, nil
		} else if len(fit) > 0 || !dl.Absent(err) {
			return nil, fmt.Errorf("open lib%s: %w", l.name, err)
		}
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("%s is of a newer CUDA than the driver's %d; %s", found[0], major, l.remedy(major))
	}
	return nil, fmt.Errorf("lib%s %w; %s", l.name, ErrNotFound, l.remedy(major))
}

// remedy says how to get the library.
func (l Library) remedy(major int) string {
	wheel := l.wheel
	if major > 0 && major < 13 { // since 13 the names have no version
		wheel += "-cu" + strconv.Itoa(major)
	}
	return fmt.Sprintf("pip install %s, or install the CUDA toolkit (its folder may be given in CUDA_HOME)", wheel)
}

// find are the paths of all versions, the newest first, of those the ones in earlier folders.
func (l Library) find(folders []string) []string {
	pattern := "lib" + l.name + ".so*"
	if runtime.GOOS == "windows" {
		pattern = l.dll
	}
	var found []string
	for _, folder := range folders {
		for _, sub := range below {
			paths, _ := filepath.Glob(filepath.Join(folder, sub, pattern)) // a bad pattern is no folder
			for _, p := range paths {
				if !slices.Contains(found, p) && !strings.Contains(filepath.Base(p), ".alt.") {
					found = append(found, p)
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(versionOf(b), versionOf(a)) })
	return found
}

// bare are names for the system to look up.
func (l Library) bare(major int) []string {
	if runtime.GOOS == "windows" {
		return nil
	}
	var names []string
	for v := 13; v >= 11; v-- {
		if major == 0 || v <= major {
			names = append(names, fmt.Sprintf("lib%s.so.%d", l.name, v))
		}
	}
	return append(names, "lib"+l.name+".so")
}

// versionOf is the major version of CUDA in a library's name, 0 when it has none.
func versionOf(path string) int {
	name := filepath.Base(path)
	if _, after, ok := strings.Cut(name, ".so."); ok {
		name = after
	} else if _, after, ok := strings.Cut(name, "64_"); ok {
		if len(after) > 2 && after[2] >= '0' && after[2] <= '9' { // nvrtc64_120_0.dll
			after = after[:2]
		}
		name = after
	} else {
		return 0
	}
	digits := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]
	v, _ := strconv.Atoi(digits)
	return v
}
