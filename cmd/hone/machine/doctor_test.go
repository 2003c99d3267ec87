package machine

import (
	"bytes"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/clitest"
	"hone/device/cuda"
	"hone/plan"
)

// TestDiagnosisInWords: what the processor does with bf16, the caches that are known, and what there is for a card and what is missing.
func TestDiagnosisInWords(t *testing.T) {
	d := diagnosis{System: "linux/amd64", Cores: 2, Device: "cpu", Kernels: "avx2", Instructions: []string{"avx2", "fma"}, Memory: 16 << 30, Caches: map[string]int{"l2": 2 << 20}, F32: 100, BF16: 200, ReadGBs: 1, CopyGBs: 2, UpdateGBs: 3,
		FewF32: plan.FewRows{GBs: 4, GFLOPS: 5}, FewBF16: plan.FewRows{GBs: 6, GFLOPS: 7}, CallUS: 1.5, NF4GBs: 8, CUDA: cuda.Report{Missing: []string{"a driver"}}}
	text := func() string {
		var out bytes.Buffer
		d.text(&out)
		return out.String()
	}
	head := []string{"system linux/amd64, 2 cores", "device cpu", "kernels avx2; the processor has avx2 fma", "memory 16 GiB with swap", "l2 cache 2048 KiB", "f32 matrix products at 100 GFLOP/s"}
	rates := []string{"bandwidth read 1 GB/s, copy 2 GB/s, update 3 GB/s", "writing text f32 weights are read at 4 GB/s, each further text computes at 5 GFLOP/s", "writing text bf16 weights are read at 6 GB/s, each further text computes at 7 GFLOP/s", "a kernel's call 1.5 µs beside its work",
		"4-bit weights unpacked (NF4) at 8.0 GB/s"}
	want := append(append(append([]string{}, head...), "bf16 matrix products at 200 GFLOP/s"), rates...)
	clitest.Lines(t, text(), append(want, "quickstart no source of Go here to train on; give it data=PATH", "cuda missing: a driver")...)
	d.BF16, d.Dots, d.Corpus, d.CUDA = 0, 50, "/go/src", cuda.Report{Driver: "13.0", Compiler: "libnvrtc.so", Cards: []string{"H100"}}
	want = append(append(append([]string{}, head...), "bf16 widened to f32, since this processor's own instruction (VDPBF16PS) is slower: 50 GFLOP/s"), rates...)
	clitest.Lines(t, text(), append(want, "quickstart trains on /go/src", "cuda driver 13.0", "cuda nvrtc libnvrtc.so", "cuda H100")...)
	if d.Dots = 0; !strings.Contains(text(), "widened to f32, since this processor has no instruction for it") {
		t.Error("a processor without the instruction is not told of")
	}
	if d.Instructions, d.Kernels = nil, "generic"; !strings.Contains(text(), "generic: plain Go, which is slow; this build has no assembly for the processor") {
		t.Error("a processor without assembly is not told of")
	}
	for n, want := range map[int64]string{0: "0 KiB", 10<<20 - 1: "10239 KiB", 10 << 20: "10 MiB", 10<<30 - 1: "10239 MiB", 10 << 30: "10 GiB"} {
		if got := cli.BytesText(n); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
	}
}

func TestKeysOfResults(t *testing.T) {
	clitest.Keys(t, "doctor", diagnosis{}, "system cores device kernels instructions caches memory_bytes f32_gflops bf16_gflops bf16_dots_gflops read_gb_per_s copy_gb_per_s update_gb_per_s few_rows_f32 few_rows_bf16 call_us nf4_gb_per_s corpus cuda")
}
