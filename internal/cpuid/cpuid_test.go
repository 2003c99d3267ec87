package cpuid

import "testing"

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
