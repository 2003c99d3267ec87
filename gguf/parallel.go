package gguf

import (
	"runtime"
	"sync"
)

// piece is how many elements a core converts at a time: a multiple of every block.
const piece = 1 << 16

// convert calls f on pieces of n elements, on all cores.
func convert(n int, f func(from, to int)) {
	pieces := (n + piece - 1) / piece
	workers := min(runtime.GOMAXPROCS(0), pieces)
	if workers <= 1 {
		if n > 0 {
			f(0, n)
		}
		return
	}
	next := make(chan int, pieces)
	for p := range pieces {
		next <- p
	}
	close(next)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for p := range next {
				f(p*piece, min((p+1)*piece, n))
			}
		})
	}
	wg.Wait()
}
