// Package peak measures what the processor can do at most, and matrix products against it.
package peak

import (
	"runtime"
	"time"
	"unsafe"

	"hone/device"
	"hone/internal/clock"
	"hone/internal/cpuid"
	"hone/internal/pages"
	"hone/internal/parallel"
)

// Peak is what the machine can do at most with a number of threads, measured.
// A figure that could not be measured here is 0.
type Peak struct {
	Threads   int
	F32       float64 // GFLOP/s of f32 multiply-add; an addition and a multiplication are 2
	BF16      float64 // GFLOP/s of products of bf16 where they have arithmetic of their own: Dots, or 0 where f32's serves them
	Dots      float64 // GFLOP/s of the bf16 dot product with f32 sums, 0 without the instruction
	ReadGBs   float64 // GB/s of reading memory, beyond all caches
	CopyGBs   float64 // GB/s of copying, bytes read plus bytes written
	UpdateGBs float64 // GB/s of reading 4 arrays and writing 3 of them, as AdamW does
}

// Measure measures everything in Peak, best of several runs; it takes about
// a second and 256 MiB, or twice the third cache up to 1 GiB. Threads 0 means all cores.
func Measure(threads int) Peak {
	p := parallel.New(threadsOrAll(threads), nil)
	defer p.Close()
	peak := measurePeak(p, cpuid.Host(), 10*time.Millisecond, 5)
	measureMemory(p, cpuid.Host(), &peak, streamBytes(cpuid.Host()), 5)
	return peak
}

// Rough is Measure in a fraction of the time, with arrays of a quarter of the size: what may stay of them in a third cache of
// 64 MiB and more counts as memory.
func Rough(threads int) Peak {
	p := parallel.New(threadsOrAll(threads), nil)
	defer p.Close()
	peak := measurePeak(p, cpuid.Host(), 4*time.Millisecond, 4)
	measureMemory(p, cpuid.Host(), &peak, roughStreamBytes(cpuid.Host()), 2)
	return peak
}

// Quick measures the arithmetic of Peak only, in less than 100 ms, for the
// share of the peak that a training line shows.
func Quick(threads int) Peak {
	p := parallel.New(threadsOrAll(threads), nil)
	defer p.Close()
	return measurePeak(p, cpuid.Host(), 4*time.Millisecond, 4)
}

// threadsOrAll is threads, or one for each core where that is 0.
func threadsOrAll(threads int) int {
	if threads <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return threads
}

// streamBytes is the size of each of the four arrays that the memory loops walk through, a multiple of streamPiece. Reading walks
// through all four, one after the other, since part of a single one may stay in a large third cache from one run to the next: together
// they are twice that cache. (An Emerald Rapids of 260 MiB gave 33 GB/s of 256 MiB by the loop that reads 30 of 1 GiB.)
func streamBytes(f cpuid.Features) int {
	return min(max(64<<20, wholePieces(f.L3/2)), 256<<20)
}

// roughStreamBytes is a quarter of it, in whole pieces.
func roughStreamBytes(f cpuid.Features) int { return wholePieces(streamBytes(f) / 4) }

// streamPiece is what a worker reads of an array at a time.
const streamPiece = 1 << 20

// wholePieces is n rounded up to them.
func wholePieces(n int) int { return (n + streamPiece - 1) / streamPiece * streamPiece }

// measurePeak takes the best of runs, each of which lasts about the given time for arithmetic.
func measurePeak(p *parallel.Pool, f cpuid.Features, d time.Duration, runs int) Peak {
	peak := Peak{Threads: p.Threads()}
	f32, dots := peakLoops(f)
	peak.F32 = bestRate(p, f32, d, runs)
	if dots.run != nil {
		peak.Dots = bestRate(p, dots, d, runs)
	}
	if f.UseBF16Dots() {
		peak.BF16 = peak.Dots
	}
	return peak
}

// peakLoop is a loop of arithmetic in registers: flops in one iteration.
type peakLoop struct {
	run   func(iterations int)
	flops int
}

// bestRate runs the loop on all threads for about d and returns the best rate of all runs in GFLOP/s.
func bestRate(p *parallel.Pool, l peakLoop, d time.Duration, runs int) float64 {
	n := 1 << 12
	elapsed := timeAll(p, func() { l.run(n) })
	n = max(int(float64(n)*float64(d)/float64(max(elapsed, 1))), 1<<12)
	var best float64
	for range runs {
		// Short calls: assembly cannot be preempted.
		t := timeAll(p, func() {
			for left := n; left > 0; left -= 1 << 14 {
				l.run(min(left, 1<<14))
			}
		})
		best = max(best, float64(l.flops)*float64(n)*float64(p.Threads())/float64(t))
	}
	return best
}

// timeAll runs f once on each thread at the same time and returns the time of all.
func timeAll(p *parallel.Pool, f func()) time.Duration {
	start := clock.Now()
	p.Run(p.Threads(), func(int) { f() })
	return clock.Since(start)
}

// streamArgs are the arguments of the memory loops. The fields are 8 bytes each:
// the assembly counts on it.
type streamArgs struct {
	Src     unsafe.Pointer
	A, B, C unsafe.Pointer
	Bytes   int // of each array, a multiple of 128
}

// streams are the loops over memory of one instruction set.
type streams struct{ read, copy, update func(s *streamArgs) }

// ReadBandwidth measures how fast memory is read, in GB/s, best of several runs; it takes about a fifth of a second and 256 MiB, or
// twice the third cache up to 1 GiB. Threads 0 means all cores.
func ReadBandwidth(threads int) float64 {
	p := parallel.New(threadsOrAll(threads), nil)
	defer p.Close()
	best := 0.0
	withStreams(streamBytes(cpuid.Host()), func(arrays *[4][]float32) {
		best = bestStream(p, streamLoops(cpuid.Host()).read, arrays, 4, 8)
	})
	return best * 4
}

// measureMemory sets the bandwidths of peak, with arrays of the given size, a multiple of streamPiece.
func measureMemory(p *parallel.Pool, f cpuid.Features, peak *Peak, bytes, runs int) {
	loops := streamLoops(f)
	withStreams(bytes, func(arrays *[4][]float32) {
		peak.ReadGBs = 4 * bestStream(p, loops.read, arrays, 4, runs)
		peak.CopyGBs = 2 * bestStream(p, loops.copy, arrays, 1, runs)
		peak.UpdateGBs = 7 * bestStream(p, loops.update, arrays, 1, runs)
	})
}

// streamGap lies between the arrays, as between large buffers of a cpu.Device, and for the same reason.
const streamGap = 4096 + 64

// withStreams calls f with arrays of the given size, in memory of the kind that buffers of a cpu.Device have: with small
// pages, reading is up to half as fast, by where the system happened to find them.
func withStreams(bytes int, f func(arrays *[4][]float32)) {
	size := int64(4 * (bytes + streamGap))
	memory := pages.Map(size)
	if memory == nil {
		panic(&device.OutOfMemory{Device: "cpu", Asked: size})
	}
	defer pages.Unmap(memory)
	var arrays [4][]float32
	for i := range arrays {
		arrays[i] = floatsAt(unsafe.Pointer(&memory[i*(bytes+streamGap)]), bytes/4)
		clear(arrays[i]) // touch every page
	}
	f(&arrays)
}

// bestStream is the best rate of several runs of a loop, in GB/s of one array.
func bestStream(p *parallel.Pool, loop func(*streamArgs), arrays *[4][]float32, rounds, runs int) float64 {
	best := 0.0
	for range runs {
		best = max(best, float64(4*len(arrays[0]))/float64(stream(p, loop, arrays, rounds)))
	}
	return best
}

// stream runs a loop over the arrays in pieces on all threads and returns the time. With more rounds than one, each begins
// with the next array as the first.
func stream(p *parallel.Pool, loop func(*streamArgs), arrays *[4][]float32, rounds int) time.Duration {
	pieces := len(arrays[0]) * 4 / streamPiece
	args := make([]streamArgs, p.Threads())
	start := clock.Now()
	p.RunWorkers(rounds*pieces, func(worker, task int) {
		round, at := task/pieces, task%pieces*streamPiece/4
		array := func(i int) unsafe.Pointer { return unsafe.Pointer(&arrays[(round+i)%4][at]) }
		s := &args[worker]
		*s = streamArgs{array(0), array(1), array(2), array(3), streamPiece}
		loop(s)
	})
	return clock.Since(start)
}

// genericPeak is a loop of scalar multiply-adds, the most that portable Go does.
func genericPeak(iterations int) {
	var s [8]float32
	x, y := float32(iterations), float32(0.5)
	for range iterations {
		s[0] += float32(x * y)
		s[1] += float32(x * y)
		s[2] += float32(x * y)
		s[3] += float32(x * y)
		s[4] += float32(x * y)
		s[5] += float32(x * y)
		s[6] += float32(x * y)
		s[7] += float32(x * y)
		y = -y
	}
	if s[0] != s[7] {
		panic("peak: equal sums differ")
	}
}

func genericRead(s *streamArgs) {
	var sum uint64
	for _, v := range unsafe.Slice((*uint64)(s.Src), s.Bytes/8) {
		sum |= v
	}
	if sum != 0 {
		panic("peak: zeroed memory is not zero")
	}
}

func genericCopy(s *streamArgs) {
	copy(floatsAt(s.A, s.Bytes/4), floatsAt(s.Src, s.Bytes/4))
}

func genericUpdate(s *streamArgs) {
	n := s.Bytes / 4
	a, b, c := floatsAt(s.A, n), floatsAt(s.B, n), floatsAt(s.C, n)
	for i, v := range floatsAt(s.Src, n) {
		a[i] += v
		b[i] += v
		c[i] += v
	}
}

// floatsAt is the n float32 at p.
func floatsAt(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

func genericStreams() streams { return streams{genericRead, genericCopy, genericUpdate} }
