//go:build !noasm

package cpuid

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cpuinfo is what Linux says of the processor.
func cpuinfo(t *testing.T) []byte {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestHostAgainstKernel compares with what Linux says, which reads the same
// registers by its own code.
func TestHostAgainstKernel(t *testing.T) {
	info, f := cpuinfo(t), Host()
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

// TestCachesAgainstKernel compares the sizes of the caches with those that Linux found in the same leaves, of any core: where fast and slow ones are in one
// processor, Host has asked whichever it ran on.
func TestCachesAgainstKernel(t *testing.T) {
	const folder = "/sys/devices/system/cpu/cpu*/cache"
	dirs, _ := filepath.Glob(folder + "/index*")
	if len(dirs) == 0 {
		t.Skip("this machine's Linux tells of no caches: there is nothing in " + folder)
	}
	f := Host()
	read := func(dir, name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	sizes := map[string][]string{}
	for _, dir := range dirs {
		if read(dir, "type") != "Instruction" {
			level := read(dir, "level")
			sizes[level] = append(sizes[level], read(dir, "size"))
		}
	}
	for level, got := range map[string]int{"1": f.L1D, "2": f.L2, "3": f.L3} {
		if known := sizes[level]; known != nil && !slices.Contains(known, fmt.Sprintf("%dK", got>>10)) {
			t.Errorf("level %s: got %d bytes, the kernel says %s", level, got, known)
		}
	}
}

// TestVendorAgainstKernel compares the way of bf16 products with the maker that Linux names.
func TestVendorAgainstKernel(t *testing.T) {
	info := cpuinfo(t)
	intel := regexp.MustCompile(`(?m)^vendor_id\s*:\s*GenuineIntel$`).Match(info)
	cooper := regexp.MustCompile(`(?m)^model\s*:\s*85$`).Match(info) // 0x55
	if f := Host(); f.AskAhead != intel || f.SlowBF16Dots != (intel && !cooper && f.AVX512BF16) {
		t.Errorf("%+v on Intel %v, Cooper Lake %v", f, intel, cooper)
	}
	v0, v1, v2 := func() (a, b, c uint32) { _, a, c, b = cpuid(0, 0); return }()
	if want := regexp.MustCompile(`(?m)^vendor_id\s*:\s*` + regexp.QuoteMeta(vendor(v0, v1, v2)) + `$`); !want.Match(info) {
		t.Errorf("vendor %q, the kernel says otherwise", vendor(v0, v1, v2))
	}
}
