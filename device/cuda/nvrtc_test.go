package cuda

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"
)

// libraries is a folder with NVIDIA's libraries, besides the usual ones: where their wheels were unpacked, for example.
var libraries = flag.String("libraries", "", "folder with libnvrtc and libcublasLt, or with pip's nvidia folders")

func folders() []string {
	if *libraries == "" {
		return nil
	}
	path, err := filepath.Abs(*libraries)
	if err != nil {
		panic(err)
	}
	return []string{path}
}

// TestCompile compiles all kernels for the cards that count, as far as the compiler at hand knows them.
func TestCompile(t *testing.T) {
	needLibrary(t, libraryNVRTC)
	n, err := openNVRTC(folders(), 0)
	if err != nil {
		t.Fatal(err)
	}
	known, err := n.supported()
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []int{80, 90, 100} {
		if !slices.Contains(known, arch) {
			t.Logf("NVRTC %s does not know sm_%d", n.version, arch)
			continue
		}
		if testing.Short() && arch != 90 {
			continue
		}
		for _, file := range files() {
			code, err := n.compileFor(arch, file, source(file))
			if err != nil {
				t.Error(err)
				continue
			}
			if len(code) < 4 || string(code[1:4]) != "ELF" {
				t.Errorf("%s for sm_%d is %d bytes that are no ELF file", file, arch, len(code))
			}
		}
	}
}
