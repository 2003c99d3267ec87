//go:build !noasm

package cpuid

import "testing"

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
