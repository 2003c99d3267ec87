package gemm

import (
	"math"
	"sync/atomic"
	"testing"

	"hone/internal/fenced"
	"hone/internal/parallel"
)

// thieving is k with tiles which, one time in some, have other workers of e take rows first, up to two at a time: one from the worker at work and
// one from it. It counts what they took.
func thieving(k *Kernels, e *Engine, taken *int) *Kernels {
	calls, worker := 0, 0
	wrap := func(tiles [][]TileFunc) (wrapped [][]TileFunc) {
		for _, row := range tiles {
			var fs []TileFunc
			for _, f := range row {
				fs = append(fs, func(t *TileArgs) {
					if calls++; calls%5 == 0 && worker+1 < e.threads {
						worker++
						if e.Help(worker) {
							*taken++
						}
						worker--
					}
					f(t)
				})
			}
			wrapped = append(wrapped, fs)
		}
		return wrapped
	}
	w := *k
	w.F32 = wrap(k.F32)
	if k.BF16 != nil {
		w.BF16 = wrap(k.BF16)
	}
	return &w
}

// thievingEngine is an engine of three workers whose kernels are thieving; they wait for nothing.
func thievingEngine(k *Kernels, taken *int) *Engine {
	e := idleEngine(3, k, plainRows)
	e.Pool = parallel.New(1, nil)
	e.Kernels = thieving(k, e, taken)
	for _, s := range e.scratch {
		s.k = e.Kernels
	}
	return e
}

// TestGemmSteal: rows that other workers take from a block at any moment get the bits that its own worker gives them.
func TestGemmSteal(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		taken := 0
		e := thievingEngine(k, &taken)
		plain := newScratch(k, plainRows)
		for n, s := range [][3]int{{250, 50, 264}, {230, 97, 100}} {
			for i := range 16 {
				if (testing.Short() || k.Name != HostKernels().Name) && (i+n)%8 != 4 { // the slow ones in part
					continue
				}
				c := newCase(&guard, s[0], s[1], s[2], i+(n+i)%8*16)
				c.Batch = 1
				if !c.TransB {
					c.Sums = make([]float32, c.N)
				}
				want, got := c.Args, c.Args
				want.C, got.C = c.C.copied(), c.C.copied()
				gemmSerial(&want, plain)
				gemmSerial(&got, e.scratch[0])
				for at := range got.C.n {
					if x, y := got.C.value(at), want.C.value(at); math.Float32bits(x) != math.Float32bits(y) {
						t.Fatalf("%s %s: element %d is %v where rows were taken, else %v", k.Name, c, at, x, y)
					}
				}
			}
		}
		if taken < 2 || e.pieces.Load() != 0 {
			t.Errorf("%s: %d times rows were taken, %d of them are not through", k.Name, taken, e.pieces.Load())
		}
	}
}

// TestGemmStealsNoRowsBesideTasks: who has tasks to take takes no rows, whose sums may lie in what their worker needs for its next task.
func TestGemmStealsNoRowsBesideTasks(t *testing.T) {
	taken := 0
	e := thievingEngine(HostKernels(), &taken)
	const m, n, k = 250, 50, 264
	g := Args{M: m, N: n, K: k, A: F32(randomFloats(m * k)), B: F32(randomFloats(k * n)), C: F32(make([]float32, m*n))}
	e.Pool = parallel.New(2, nil)
	defer e.Pool.Close()
	for _, tasks := range []int{1, 3} {
		taken = 0
		var begun atomic.Bool
		through := make(chan struct{})
		e.Pool.Run(tasks, func(int) {
			if begun.Swap(true) { // of three one is left while the first computes, whatever the other worker does
				<-through
				return
			}
			gemmSerial(&g, e.scratch[0])
			close(through)
		})
		if (taken == 0) != (tasks > 1) {
			t.Errorf("%d tasks: %d times rows were taken", tasks, taken)
		}
	}
}

// TestGemmStealRounds: products whose workers take rows from each other, one after the other, end whole.
func TestGemmStealRounds(t *testing.T) {
	const m, n, k = 420, 96, 300
	g := Args{M: m, N: n, K: k, A: F32(randomFloats(m * k)), B: F32(randomFloats(k * n))}
	want := g
	want.C = F32(make([]float32, m*n))
	gemmSerial(&want, newScratch(HostKernels(), plainRows))
	e := New(3, HostKernels(), plainRows)
	defer e.Pool.Close()
	for round := range 20 {
		c := make([]float32, m*n)
		g.C = F32(c)
		e.Multiply(&g)
		if !equalBits(c, floatsAt(want.C.p, m*n)) {
			t.Fatalf("round %d has other bits than one worker", round)
		}
	}
}
