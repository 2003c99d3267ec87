//go:build !noasm

package cpuid

import (
	"os"
	"regexp"
	"testing"
)

func TestSlowBF16Dots(t *testing.T) {
	for _, c := range []struct {
		name, vendor string
		signature    uint32
		want         bool
	}{
		{"Emerald Rapids", "GenuineIntel", 0xc06f2, true},
		{"Sapphire Rapids", "GenuineIntel", 0x806f8, true},
		{"Cooper Lake", "GenuineIntel", 0x5065b, false},
		{"Zen 4", "AuthenticAMD", 0xa10f11, false},
		{"Zen 5", "AuthenticAMD", 0xb00f21, false},
		{"a hypervisor's name", "KVMKVMKVM\x00\x00\x00", 0xc06f2, false},
	} {
		if got := slowBF16Dots(c.vendor, c.signature); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestVendorAgainstKernel compares the way of bf16 products with the maker that Linux names.
func TestVendorAgainstKernel(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip("no /proc/cpuinfo")
	}
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
