package cpu

import (
	"testing"
	"time"

	"hone/internal/cpuid"
)

func TestPeak(t *testing.T) {
	for _, f := range []cpuid.Features{cpuid.Host(), cpuid.Host().WithoutAVX512(), cpuid.Host().WithoutAssembly()} {
		p := newPool(2)
		peak := p.measurePeak(f, 100*time.Microsecond, 1)
		p.measureMemory(f, &peak, 2<<20, 1)
		p.close()
		t.Logf("%s: %+v", f.Best(), peak)
		for _, v := range []float64{peak.F32, peak.ReadGBs, peak.CopyGBs, peak.UpdateGBs} {
			if v <= 0 {
				t.Errorf("%s: a figure of %+v is %v", f.Best(), peak, v)
			}
		}
		if (peak.BF16 > 0) != f.HasAVX512BF16() {
			t.Errorf("%s: bf16 peak %v", f.Best(), peak.BF16)
		}
	}
}

func TestBenchGEMM(t *testing.T) {
	rows := BenchGEMM(2, []GEMMShape{{"NT", false, 64, 48, 32, 0}, {"TN", true, 64, 48, 32, 2}}, 1)
	for _, r := range rows {
		if r.GFLOPS <= 0 || r.ShareOfPeak <= 0 || r.ShareOfPeak > 1.2 {
			t.Errorf("%+v", r)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown form did not panic")
		}
	}()
	BenchGEMM(1, []GEMMShape{{"XX", false, 1, 1, 1, 1}}, 1)
}
