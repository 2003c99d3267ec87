package main

import "fmt"

var peakFunctions = []string{
	"peakAVX2(iterations int)", "peakAVX512(iterations int)", "peakAVX512BF16(iterations int)",
	"streamReadAVX2(s *streamArgs)", "streamReadAVX512(s *streamArgs)", "streamCopyAVX2(s *streamArgs)", "streamMixAVX2(s *streamArgs)",
}

// peakDeclarations writes the Go side of the loops.
func peakDeclarations(functions ...string) string {
	var a asm
	for _, f := range functions {
		fmt.Fprintf(&a, "//go:noescape\nfunc %s\n\n", f)
	}
	return a.String()
}

// peaks writes the loops that measure what the machine can do at most.
func peaks() string {
	var a asm
	peak(&a, avx2)
	peak(&a, avx512)
	peak(&a, avx512bf16)
	stream(&a, "streamReadAVX2", func(off int) {
		a.op("VORPS %d(SI), Y0, Y0", off)
	})
	stream(&a, "streamReadAVX512", func(off int) {
		if off%64 == 0 {
			a.op("VPORQ %d(SI), Z0, Z0", off)
			a.op("PREFETCHT1 %d(SI)", off+rowAhead)
			a.op("PREFETCHT0 %d(SI)", off+rowAhead/2)
		}
	})
	stream(&a, "streamCopyAVX2", func(off int) {
		a.op("VMOVUPS %d(SI), Y0", off)
		a.op("VMOVUPS Y0, %d(R8)", off)
	})
	stream(&a, "streamMixAVX2", func(off int) {
		a.op("VMOVUPS %d(SI), Y0", off)
		a.op("VADDPS %d(R8), Y0, Y1", off)
		a.op("VADDPS %d(R9), Y0, Y2", off)
		a.op("VADDPS %d(R10), Y0, Y3", off)
		a.op("VMOVUPS Y1, %d(R8)", off)
		a.op("VMOVUPS Y2, %d(R9)", off)
		a.op("VMOVUPS Y3, %d(R10)", off)
	})
	return a.String()
}

// peakChains is the number of independent sums, more than latency times
// throughput of the multipliers of any processor.
const peakChains = 12

// peak writes a loop of multiply-adds in registers, peakChains in each iteration.
func peak(a *asm, s isa) {
	a.text("peak"+s.name, "iterations int", 0)
	a.op("MOVQ iterations+0(FP), CX")
	for i := range peakChains + 2 {
		a.op("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", i)
	}
	a.label("again")
	x, y := fmt.Sprintf("%s%d", s.reg, peakChains), fmt.Sprintf("%s%d", s.reg, peakChains+1)
	for i := range peakChains {
		acc := fmt.Sprintf("%s%d", s.reg, i)
		if s.bf16 {
			(tile{asm: a}).dotBF16(x, y, acc)
		} else {
			a.op("VFMADD231PS %s, %s, %s", x, y, acc)
		}
	}
	a.op("DECQ CX")
	a.op("JNZ again")
	a.op("VZEROUPPER")
	a.op("RET")
}

// stream writes a loop over memory: SI is read, R8 to R10 are up to three
// further arrays, all 128 bytes at a time.
func stream(a *asm, name string, body func(off int)) {
	a.text(name, "s *streamArgs", 0)
	a.op("MOVQ s+0(FP), DI")
	for i, reg := range []string{"SI", "R8", "R9", "R10", "CX"} {
		a.op("MOVQ %s, %s", field(i), reg)
	}
	a.op("VXORPS Y0, Y0, Y0")
	a.label("again")
	for off := 0; off < 128; off += 32 {
		body(off)
	}
	for _, reg := range []string{"SI", "R8", "R9", "R10"} {
		a.op("ADDQ $128, %s", reg)
	}
	a.op("SUBQ $128, CX")
	a.op("JNZ again")
	a.op("VZEROUPPER")
	a.op("RET")
}
