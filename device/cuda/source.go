package cuda

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed kernels
var kernels embed.FS

// hopperArch is the architecture that files of kernels whose name begins with hopper are for: what they use is in no other, before or after.
const hopperArch = 90

func isHopper(file string) bool { return strings.HasPrefix(file, "hopper") }

// target is what a file of kernels is compiled for on sm_arch.
func target(file string, arch int) string {
	if isHopper(file) {
		return fmt.Sprintf("sm_%da", arch)
	}
	return fmt.Sprintf("sm_%d", arch)
}

// filesFor are the files that sm_arch can have.
func filesFor(arch int) []string {
	return slices.DeleteFunc(files(), func(file string) bool { return isHopper(file) && arch != hopperArch })
}

// files names the files of kernels.
func files() []string {
	entries, err := kernels.ReadDir("kernels")
	if err != nil {
		panic(err) // they are embedded
	}
	var list []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".cu"); ok {
			list = append(list, name)
		}
	}
	return list
}

// source is a file of kernels with what all have in common before it, and what it includes in place.
func source(file string) string {
	var s strings.Builder
	include(&s, "common.cuh")
	include(&s, file+".cu")
	return s.String()
}

func include(s *strings.Builder, name string) {
	text, err := kernels.ReadFile(path.Join("kernels", name))
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(s, "#line 1 %q\n", name)
	for i, line := range strings.Split(string(text), "\n") {
		if included, ok := strings.CutPrefix(line, `#include "`); ok {
			include(s, strings.TrimSuffix(included, `"`))
			fmt.Fprintf(s, "#line %d %q\n", i+2, name)
			continue
		}
		s.WriteString(line + "\n")
	}
}

// cacheName is that of a compiled file in the cache: it changes with whatever the code depends on.
func cacheName(file, text string, arch int, compiler string) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(arch, "\x00", compiler, "\x00", text)))
	return fmt.Sprintf("%s-sm%d-%x.cubin", file, arch, sum[:8])
}
