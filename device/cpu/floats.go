package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

// chunk is a buffer for what is converted and computed at a time.
type chunk [vec.Chunk]float32

// floats views b, which kernel op needs to have n elements.
func (d *Device) floats(op string, b device.Buffer, n int) vec.Floats {
	if b.Len != n {
		panic(fmt.Sprintf("cpu: %s with operands of %d and %d elements", op, n, b.Len))
	}
	if b.DType == device.BF16 {
		return vec.Floats{H: bf16s(b), Path: d.path}
	}
	return vec.Floats{F: f32s(b), Path: d.path}
}

// f32sOf views the F32 buffer b of n elements.
func f32sOf(op string, b device.Buffer, n int) []float32 {
	if b.Len != n {
		panic(fmt.Sprintf("cpu: %s with operands of %d and %d elements", op, n, b.Len))
	}
	return f32s(b)
}

// optionalF32s is f32sOf, or nil when b is absent.
func optionalF32s(op string, b device.Buffer, n int) []float32 {
	if b.IsZero() {
		return nil
	}
	return f32sOf(op, b, n)
}

// badOp says which operation a kernel does not have.
func badOp(kind string, op uint8) string {
	return fmt.Sprintf("cpu: no %s operation %d", kind, op)
}

// Work is split where a part is worth waking a worker for, and never into
// more parts than keep the workers evenly busy. The split depends on the size
// alone.
const (
	serialBelow = 16384 // elements: some microseconds of work
	maxTasks    = 64
)

// each runs f over parts of [0, n) whose bounds are multiples of vec.Chunk.
func (d *Device) each(n int, f func(lo, hi int)) {
	if n < serialBelow {
		if n > 0 {
			f(0, n)
		}
		return
	}
	part := max(serialBelow/2, roundUp((n+maxTasks-1)/maxTasks, vec.Chunk))
	d.pool.Run((n+part-1)/part, func(task int) {
		f(task*part, min((task+1)*part, n))
	})
}

// rowParts is the split of n rows of c elements: count parts of size rows.
func rowParts(n, c int) (count, size int) {
	if n == 0 {
		return 0, 1
	}
	size = max(1, (serialBelow/2+c-1)/max(c, 1), (n+maxTasks-1)/maxTasks)
	return (n + size - 1) / size, size
}

// eachRows runs f over parts of n rows of c elements.
func (d *Device) eachRows(n, c int, f func(part, lo, hi int)) {
	count, size := rowParts(n, c)
	if n*c < serialBelow {
		for part := range count {
			f(part, part*size, min((part+1)*size, n))
		}
		return
	}
	d.pool.Run(count, func(part int) {
		f(part, part*size, min((part+1)*size, n))
	})
}

// small says that n rows of c elements are so little work that the caller does it at once. An operation that asks first, and hands a copy of
// itself to the workers only else, leaves nothing on the heap for a token: what is captured for others always lies there.
func small(n, c int) bool { return n*c < serialBelow }

// rowsOf is the number of rows of c elements in b.
func rowsOf(op string, b device.Buffer, c int) int {
	if c <= 0 || b.Len%c != 0 {
		panic(fmt.Sprintf("cpu: %s of %d elements in rows of %d", op, b.Len, c))
	}
	return b.Len / c
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, multiple int) int { return ceilDiv(a, multiple) * multiple }
