package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPoolRunsEachTaskOnce with few and many threads, also more than processors.
func TestPoolRunsEachTaskOnce(t *testing.T) {
	for _, procs := range []int{1, 2} {
		old := runtime.GOMAXPROCS(procs)
		for _, threads := range []int{0, 1, 2, 3, 8} {
			p := New(threads, nil)
			for _, tasks := range []int{0, 1, 2, 3, 7, 64, 1000} {
				counts := make([]atomic.Int32, tasks)
				p.Run(tasks, func(i int) { counts[i].Add(1) })
				for i := range counts {
					if n := counts[i].Load(); n != 1 {
						t.Fatalf("%d processors, %d threads: task %d of %d ran %d times", procs, threads, i, tasks, n)
					}
				}
			}
			p.Close()
		}
		runtime.GOMAXPROCS(old)
	}
}

// TestPoolMemoryIsVisible: what tasks write, plainly, the caller reads after Run, and the other way round.
func TestPoolMemoryIsVisible(t *testing.T) {
	p := New(3, nil)
	defer p.Close()
	data := make([]int, 16)
	for round := range 2000 {
		p.Run(len(data), func(i int) { data[i] += i + round })
	}
	for i, v := range data {
		if want := 2000*i + 1999*1000; v != want {
			t.Fatalf("data[%d] = %d, want %d", i, v, want)
		}
	}
}

// TestPoolWorkersAreExclusive: no two tasks run under one worker's number at once.
func TestPoolWorkersAreExclusive(t *testing.T) {
	p := New(4, nil)
	defer p.Close()
	var busy [4]atomic.Bool
	for range 200 {
		p.RunWorkers(50, func(w, _ int) {
			if busy[w].Swap(true) {
				t.Errorf("worker %d runs two tasks", w)
			}
			runtime.Gosched()
			busy[w].Store(false)
		})
	}
}

// TestPoolSleepsAndWakes: idle workers block, and work after that as before.
func TestPoolSleepsAndWakes(t *testing.T) {
	p := New(2, nil)
	defer p.Close()
	for range 5 {
		helped := false
		for deadline := time.Now().Add(10 * time.Second); !helped && time.Now().Before(deadline); {
			// The first task waits for the second: only another worker can take that.
			second := make(chan bool, 1)
			p.RunWorkers(2, func(w, task int) {
				if task == 1 {
					second <- w > 0
					return
				}
				select {
				case v := <-second:
					helped = v
				case <-time.After(time.Second):
				}
			})
		}
		for deadline := time.Now().Add(time.Minute); !p.workers[0].asleep.Load(); {
			if time.Now().After(deadline) {
				t.Fatal("an idle worker does not sleep")
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// TestPoolOfSeveralCallers: callers take turns.
func TestPoolOfSeveralCallers(t *testing.T) {
	p := New(2, nil)
	defer p.Close()
	var sum atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 100 {
				p.Run(10, func(i int) { sum.Add(int64(i)) })
			}
		})
	}
	callers.Wait()
	if got := sum.Load(); got != 8*100*45 {
		t.Errorf("sum %d, want %d", got, 8*100*45)
	}
}

// TestPoolClosed: closing twice is harmless, and a closed pool works on the caller alone.
func TestPoolClosed(t *testing.T) {
	before := runtime.NumGoroutine()
	p := New(4, nil)
	p.Close()
	p.Close()
	// What has said that it ends is counted until it has: for a moment, or for longer where its thread has no processor.
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines remain", runtime.NumGoroutine()-before)
		}
	}
	ran := 0
	p.Run(3, func(int) { ran++ })
	if ran != 3 {
		t.Errorf("a closed pool ran %d of 3 tasks", ran)
	}
}

// parts are what tasks leave to be helped with.
type parts struct {
	left     atomic.Int32
	prepared [3]atomic.Int32 // by each worker
}

func (p *parts) Help(int) bool {
	n := p.left.Load()
	return n > 0 && p.left.CompareAndSwap(n, n-1)
}

func (p *parts) Helping() bool { return p.left.Load() > 0 }

func (p *parts) Prepare(worker int) bool {
	p.prepared[worker].Add(1)
	return false
}

// TestPoolHelps: Run waits for the parts of tasks, too, which the caller helps with, and workers that wait prepare what comes.
func TestPoolHelps(t *testing.T) {
	for _, threads := range []int{1, 3} {
		idle := new(parts)
		p := New(threads, idle)
		for i := 1; i < threads; i++ {
			for deadline := time.Now().Add(time.Minute); idle.prepared[i].Load() == 0; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("worker %d of %d prepares nothing", i, threads)
				}
			}
		}
		for tasks := range 5 {
			p.Run(tasks, func(int) { idle.left.Add(2) })
			if left := idle.left.Load(); left != 0 {
				t.Errorf("%d threads: Run returned before %d parts of %d tasks were through", threads, left, tasks)
			}
		}
		p.Close()
	}
}
