package peak

import (
	"testing"
	"time"

	"hone/device"
	"hone/device/cpu"
	"hone/internal/cpuid"
	"hone/internal/parallel"
)

// BenchmarkAdamW streams 32 Mi parameters; 28 bytes move for each. In f32, in turns with it, a loop that does nothing
// but read four arrays of its own and write three of them says what memory allows.
func BenchmarkAdamW(b *testing.B) {
	const n = 32 << 20
	for _, threads := range []int{1, 2} {
		for _, half := range []bool{false, true} {
			name := map[bool]string{false: "f32", true: "halves"}[half]
			b.Run(map[int]string{1: "1thread/", 2: "2threads/"}[threads]+name, func(b *testing.B) {
				d := cpu.New(cpu.Options{Threads: threads})
				defer d.Close()
				k := device.AdamW{
					Param: d.Alloc(n, device.F32), Grad: d.Alloc(n, device.F32), M: d.Alloc(n, device.F32), V: d.Alloc(n, device.F32),
					LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 1, Step: 10,
				}
				if half {
					d.Free(k.Param)
					k.Param, k.Rest = d.Alloc(n, device.BF16), d.Alloc(2*n, device.U8)
					d.Fill(k.Rest, 0)
				}
				for _, s := range []device.Buffer{k.Param, k.Grad, k.M, k.V} {
					d.Fill(s, 0.5)
				}
				d.AdamW(k)
				p := parallel.New(threads, nil)
				defer p.Close()
				var inLoop time.Duration
				withStreams(4*n, func(arrays *[4][]float32) {
					for b.Loop() {
						d.AdamW(k)
						if !half {
							inLoop += stream(p, streamLoops(cpuid.Host()).update, arrays, 1)
						}
					}
				})
				s := (b.Elapsed() - inLoop).Seconds() / float64(b.N)
				if !half {
					b.ReportMetric(28*n*float64(b.N)/inLoop.Seconds()/1e9, "loop-GB/s")
				}
				b.ReportMetric(s*1e9/n, "ns/element")
				b.ReportMetric(28*n/s/1e9, "GB/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
