// Package cpuid says what the processor of this machine can do. It reads the
// processor only: a caller that wants less masks the returned value.
package cpuid

// Features are the instruction sets that both the processor and the operating
// system support, and the sizes of the caches. The zero value is a machine on
// which only portable code may run.
type Features struct {
	AVX2       bool // with AVX
	FMA        bool
	F16C       bool
	AVX512F    bool
	AVX512BW   bool
	AVX512DQ   bool
	AVX512VL   bool
	AVX512BF16 bool
	NEON       bool // arm64's vector unit

	// SlowBF16Dots says that VDPBF16PS takes longer here than widening its operands to f32 and multiplying those. A Zen 4 does one
	// 512-bit VDPBF16PS a cycle, twice the arithmetic of its f32 FMA (measured: 471 and 236 GFLOP/s on two cores). An Emerald Rapids
	// does one in two cycles, half that of its two FMAs a cycle (172 and 350 GFLOP/s on two cores): Intel's cores since Sapphire
	// Rapids leave bf16 to AMX. So it is set on Intel's processors but for Cooper Lake, which has no AMX and was not measured. It
	// is read from the processor's name, never timed: the two ways round differently, and a machine must give the same bits each time.
	SlowBF16Dots bool

	// AskAhead says that a loop over memory should ask for what it reads some KiB later, in whole vectors. The misses that a core of
	// Intel's has on their way are what limits it, and its own foresight ends at a page: an Emerald Rapids reads 24 GB/s on two cores
	// by halves of vectors and 30 asking 4 KiB ahead. A Zen 4 reads more without (docs/performance/generation.md).
	AskAhead bool

	L1D int // bytes of one core's level 1 data cache, 0 if unknown
	L2  int // bytes of one core's level 2 cache, 0 if unknown
	L3  int // bytes of the level 3 cache that cores share, 0 if unknown
}

// HasAVX2 says whether code for AVX2 with fused multiply-add may run.
func (f Features) HasAVX2() bool { return f.AVX2 && f.FMA }

// HasAVX512 says whether code for AVX-512 F, BW, DQ and VL may run. It implies HasAVX2.
func (f Features) HasAVX512() bool {
	return f.HasAVX2() && f.AVX512F && f.AVX512BW && f.AVX512DQ && f.AVX512VL
}

// HasAVX512BF16 says whether code that uses VDPBF16PS may run. It implies HasAVX512.
func (f Features) HasAVX512BF16() bool { return f.HasAVX512() && f.AVX512BF16 }

// UseBF16Dots says whether products of bf16 should use VDPBF16PS: where not, widening them to f32 is faster or all there is.
func (f Features) UseBF16Dots() bool { return f.HasAVX512BF16() && !f.SlowBF16Dots }

// WithoutAVX512 is f on a machine that ends at AVX2.
func (f Features) WithoutAVX512() Features {
	f.AVX512F, f.AVX512BW, f.AVX512DQ, f.AVX512VL, f.AVX512BF16 = false, false, false, false, false
	return f
}

// WithoutAVX512BF16 is f without the bf16 dot product.
func (f Features) WithoutAVX512BF16() Features {
	f.AVX512BF16 = false
	return f
}

// WithoutAssembly is f without any instruction set; the cache sizes stay.
func (f Features) WithoutAssembly() Features {
	return Features{L1D: f.L1D, L2: f.L2, L3: f.L3}
}

// Best names the widest instruction set that hone has code for: "avx512bf16",
// "avx512", "avx2", "neon" or "generic".
func (f Features) Best() string {
	switch {
	case f.HasAVX512BF16():
		return "avx512bf16"
	case f.HasAVX512():
		return "avx512"
	case f.HasAVX2():
		return "avx2"
	case f.NEON:
		return "neon"
	}
	return "generic"
}

// Host returns the features of this machine. With the build tag noasm, and on
// architectures without assembly here, it returns the zero value.
func Host() Features { return host() }
