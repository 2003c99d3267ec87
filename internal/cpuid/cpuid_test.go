package cpuid

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestHostAgainstKernel compares with what Linux says, which reads the same
// registers by its own code.
func TestHostAgainstKernel(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || runtime.GOARCH != "amd64" {
		t.Skip("no /proc/cpuinfo of an amd64 machine")
	}
	if Host() == (Features{}) {
		t.Skip("built with noasm")
	}
	f := Host()
	for _, c := range []struct {
		flag string
		got  bool
	}{
		{"avx2", f.AVX2}, {"fma", f.FMA}, {"f16c", f.F16C}, {"avx512f", f.AVX512F}, {"avx512bw", f.AVX512BW},
		{"avx512dq", f.AVX512DQ}, {"avx512vl", f.AVX512VL}, {"avx512_bf16", f.AVX512BF16},
	} {
		want := regexp.MustCompile(`(?m)^flags\s*:.*\b` + c.flag + `\b`).Match(info)
		if c.got != want {
			t.Errorf("%s: got %v, the kernel says %v", c.flag, c.got, want)
		}
	}
	if f.L1D != 0 && (f.L1D < 16<<10 || f.L2 < f.L1D) {
		t.Errorf("cache sizes %d, %d, %d", f.L1D, f.L2, f.L3)
	}
}

// TestCachesAgainstKernel compares the sizes of the caches with those that Linux found in the same leaves.
func TestCachesAgainstKernel(t *testing.T) {
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*")
	if len(dirs) == 0 || runtime.GOARCH != "amd64" {
		t.Skip("no caches of an amd64 machine in /sys")
	}
	f := Host()
	if f == (Features{}) {
		t.Skip("built with noasm")
	}
	read := func(dir, name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skip(err)
		}
		return strings.TrimSpace(string(b))
	}
	for _, dir := range dirs {
		level, kind, size := read(dir, "level"), read(dir, "type"), read(dir, "size")
		if got := map[string]int{"1": f.L1D, "2": f.L2, "3": f.L3}[level]; kind != "Instruction" && fmt.Sprintf("%dK", got>>10) != size {
			t.Errorf("level %s: got %d bytes, the kernel says %s", level, got, size)
		}
	}
}

func TestMasks(t *testing.T) {
	all := Features{AVX2: true, FMA: true, F16C: true, AVX512F: true, AVX512BW: true, AVX512DQ: true, AVX512VL: true, AVX512BF16: true}
	for _, c := range []struct {
		f    Features
		want string
	}{
		{all, "avx512bf16"},
		{all.WithoutAVX512BF16(), "avx512"},
		{all.WithoutAVX512(), "avx2"},
		{all.WithoutAssembly(), "generic"},
		{Features{AVX2: true}, "generic"},
		{Features{AVX512F: true, AVX512BW: true, AVX512DQ: true, AVX512VL: true}, "generic"},
		{Features{NEON: true}, "neon"},
	} {
		if got := c.f.Best(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.f, got, c.want)
		}
	}
}
