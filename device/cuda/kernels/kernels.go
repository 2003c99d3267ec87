// Package kernels holds the CUDA sources of package cuda, as files that stand for themselves.
package kernels

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"slices"
	"strings"
)

// FS has all of them, and what they include.
//
//go:embed *.cu *.cuh
var FS embed.FS

// HopperArch is the architecture that files of kernels whose name begins with hopper are for: what they use is in no other, before or after.
const HopperArch = 90

func isHopper(file string) bool { return strings.HasPrefix(file, "hopper") }

// Target is what a file of kernels is compiled for on sm_arch.
func Target(file string, arch int) string {
	if isHopper(file) {
		return fmt.Sprintf("sm_%da", arch)
	}
	return fmt.Sprintf("sm_%d", arch)
}

// FilesFor are the files that sm_arch can have.
func FilesFor(arch int) []string {
	return slices.DeleteFunc(Files(), func(file string) bool { return isHopper(file) && arch != HopperArch })
}

// Files names the files of kernels.
func Files() []string {
	entries, err := FS.ReadDir(".")
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

// Source is a file of kernels with what all have in common before it, and what it includes in place.
func Source(file string) string {
	var s strings.Builder
	include(&s, "common.cuh")
	include(&s, file+".cu")
	return s.String()
}

func include(s *strings.Builder, name string) {
	text, err := FS.ReadFile(name)
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

// CacheName is that of a compiled file in the cache: it changes with whatever the code depends on.
func CacheName(file, text string, arch int, compiler string) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(arch, "\x00", compiler, "\x00", text)))
	return fmt.Sprintf("%s-sm%d-%x.cubin", file, arch, sum[:8])
}
