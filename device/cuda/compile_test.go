package cuda

import (
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"hone/device/cuda/kernels"
	"hone/device/cuda/toolkit"
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
	needLibrary(t, toolkit.NVRTC)
	n, err := toolkit.OpenCompiler(folders(), 0)
	if err != nil {
		t.Fatal(err)
	}
	known, err := n.Supported()
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []int{80, 90, 100} {
		if !slices.Contains(known, arch) {
			t.Logf("NVRTC %s does not know sm_%d", n.Version, arch)
			continue
		}
		if testing.Short() && arch != 90 {
			continue
		}
		for _, file := range kernels.FilesFor(arch) {
			t.Run(fmt.Sprintf("sm_%d/%s", arch, file), func(t *testing.T) {
				t.Parallel()
				checkCompiled(t, n, arch, file)
			})
		}
	}
}

// checkCompiled compiles a file of kernels for sm_arch and looks at what came of it.
func checkCompiled(t *testing.T, n *toolkit.Compiler, arch int, file string) {
	code, log, err := n.Compile(kernels.Target(file, arch), file, kernels.Source(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(code) < 4 || string(code[1:4]) != "ELF" {
		t.Errorf("%s for sm_%d is %d bytes that are no ELF file", file, arch, len(code))
	}
	checkUsage(t, arch, log)
	if m := serialized.FindString(log); m != "" && n.Major < 13 {
		t.Logf("%s for sm_%d has products that wait for each other, which NVRTC 13 leaves alone: %s", file, arch, m)
	} else if m != "" {
		t.Errorf("%s for sm_%d: products of warpgroups wait for each other: %s", file, arch, m)
	}
}

// usage finds in the compiler's log what a kernel takes: name, bytes that do not fit into registers, registers.
var usage = regexp.MustCompile(`entry function '(\w+)' for '\w+'[^']*?(\d+) bytes spill stores[^']*?Used (\d+) registers`)

// serialized finds that the compiler has put waits between products of warpgroups.
var serialized = regexp.MustCompile(`.*wgmma.mma_async instructions are serialized.*`)

// checkUsage logs what kernels take, and refuses one whose variables do not fit into registers but for a few that loops do not need.
func checkUsage(t *testing.T, arch int, log string) {
	t.Helper()
	found := usage.FindAllStringSubmatch(log, -1)
	if len(found) == 0 {
		t.Errorf("the compiler says nothing of registers: %q", log)
	}
	for _, m := range found {
		t.Logf("sm_%d %s: %s registers, %s bytes outside of them", arch, m[1], m[3], m[2])
		if spilled, err := strconv.Atoi(m[2]); err != nil || spilled > 128 {
			t.Errorf("%s for sm_%d keeps %s bytes outside of registers", m[1], arch, m[2])
		}
	}
}
