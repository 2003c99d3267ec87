package peak

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/parallel"
)

func TestPeak(t *testing.T) {
	slow, fast := cpuid.Host(), cpuid.Host()
	slow.SlowBF16Dots, fast.SlowBF16Dots = true, false
	other := cpuid.Host()
	other.AskAhead = !other.AskAhead
	features := []cpuid.Features{slow, fast, other, cpuid.Host().WithoutAVX512(), cpuid.Host().WithoutAssembly()}
	if cpuid.Host().Best() == "generic" {
		features = features[:1] // portable loops are the same for all
	}
	for _, f := range features {
		p := parallel.New(2, nil)
		peak := measurePeak(p, f, 100*time.Microsecond, 1)
		measureMemory(p, f, &peak, 2<<20, 1)
		p.Close()
		t.Logf("%s: %+v", f.Best(), peak)
		for _, v := range []float64{peak.F32, peak.ReadGBs, peak.CopyGBs, peak.UpdateGBs} {
			if v <= 0 {
				t.Errorf("%s: a figure of %+v is %v", f.Best(), peak, v)
			}
		}
		if (peak.Dots > 0) != f.HasAVX512BF16() || (peak.BF16 > 0) != f.UseBF16Dots() {
			t.Errorf("%s: bf16 peak %v, of dot products %v", f.Best(), peak.BF16, peak.Dots)
		}
	}
}

// TestStreamArguments: the assembly counts on fields of 8 bytes.
func TestStreamArguments(t *testing.T) {
	if s := unsafe.Sizeof(streamArgs{}); s != 5*8 {
		t.Errorf("streamArgs has %d bytes", s)
	}
}

// TestStreamBytes: the arrays are together twice a third cache but at most 1 GiB, and whole pieces, of which alone the loops read.
func TestStreamBytes(t *testing.T) {
	for l3, want := range map[int]int{0: 64 << 20, 32 << 20: 64 << 20, 260 << 20: 130 << 20, 105<<20 + 4096: 64 << 20, 333<<20 + 64: 167 << 20, 4 << 30: 256 << 20} {
		if got := streamBytes(cpuid.Features{L3: l3}); got != want || got%streamPiece != 0 {
			t.Errorf("with a third cache of %d: %d, want %d", l3, got, want)
		}
		if got := roughStreamBytes(cpuid.Features{L3: l3}); got < want/4 || got >= want/4+streamPiece || got%streamPiece != 0 {
			t.Errorf("with a third cache of %d: %d roughly, want %d in whole pieces", l3, got, want/4)
		}
	}
}

// TestShortest: all calls are made, and the shortest counts, but of a slow one there is one.
func TestShortest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose time passes in no time
		for _, c := range []struct {
			first time.Duration // each call takes half a millisecond less than the one before
			calls int
			want  time.Duration
		}{
			{260 * time.Millisecond, 12, 254500 * time.Microsecond},
			{slowCall - time.Nanosecond, 12, slowCall - 5500*time.Microsecond - time.Nanosecond},
			{slowCall, 1, slowCall},
			{5 * slowCall, 1, 5 * slowCall},
		} {
			n, best := 0, time.Duration(0)
			for range 4 {
				best = shortest(best, 3, func() {
					time.Sleep(c.first - time.Duration(n)*500*time.Microsecond)
					n++
				})
			}
			if n != c.calls || best != c.want {
				t.Errorf("first %v: %d calls, of which the shortest took %v; want %d and %v", c.first, n, best, c.calls, c.want)
			}
		}
	})
}

func TestBenchGEMM(t *testing.T) {
	rows := BenchGEMM(2, []GEMMShape{{"NT", false, 64, 48, 32, 0}, {"TN", true, 64, 48, 32, 2}}, 1)
	peaks := map[bool]float64{}
	for _, r := range rows {
		peak := r.GFLOPS / r.ShareOfPeak // the best of the run, whatever else the machine did
		if first, ok := peaks[r.BF16]; !(r.GFLOPS > 0 && peak > 0) || ok && math.Abs(peak/first-1) > 1e-9 {
			t.Errorf("%+v is a share of %v, before of %v", r, peak, first)
		}
		peaks[r.BF16] = peak
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown form did not panic")
		}
	}()
	BenchGEMM(1, []GEMMShape{{"XX", false, 1, 1, 1, 1}}, 1)
}
