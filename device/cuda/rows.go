package cuda

import (
	"fmt"
	"slices"

	"hone/device"
)

// kernels/crossentropy.cu, kernels/embedding.cu
var (
	kernelsCrossEntropy     = [3]kernel{{"crossentropy", "cross_entropy_32"}, {"crossentropy", "cross_entropy_1024"}, {"crossentropy", "cross_entropy_both_512"}}
	kernelCrossEntropyParts = kernel{"crossentropy", "cross_entropy_parts"}
	kernelEmbedding         = kernel{"embedding", "embedding"}
	kernelEmbeddingGrad     = kernel{"embedding", "embedding_grad"}
)

type crossEntropyArgs struct {
	logits                  floats
	targets                 pointer
	loss, entropy           pointer
	weights, entropyWeights pointer
	dlogits                 floats
	failure                 pointer
	v, ld                   int32
	zLoss, smoothing        float32
}

// crossEntropyPartsArgs is struct CrossEntropyPartsArgs.
type crossEntropyPartsArgs struct {
	rows           crossEntropyArgs
	moments, ended pointer
}

// Losses without gradients of up to mostPartedRows rows of at least leastPartedRow logits, as decoding has them, are computed by rowWarps blocks a
// row: one block a row would leave most of a card's multiprocessors without work.
const mostPartedRows, leastPartedRow, rowWarps = 32, 16 << 10, 32

// CrossEntropy computes loss, entropy and gradient of rows of logits.
func (d *Device) CrossEntropy(k device.CrossEntropy) {
	const op = "CrossEntropy"
	n := k.Targets.Len
	ld := k.Stride()
	if k.V <= 0 || ld < k.V {
		panic(fmt.Sprintf("cuda: CrossEntropy with %d columns, %d from a row to the next", k.V, ld))
	}
	for i, t := range known(k.Targets) {
		if int(t) >= k.V {
			panic(fmt.Sprintf("cuda: CrossEntropy with target %d in row %d of %d columns", t, i, k.V))
		}
	}
	a := crossEntropyArgs{logits: floatsOf(op, need(k.Logits, device.F32), n*ld), targets: address(k.Targets), loss: f32sOf(op, k.Loss, n), entropy: optionalF32s(op, k.Entropy, n),
		weights: optionalF32s(op, k.Weights, n), entropyWeights: optionalF32s(op, k.EntropyWeights, n), dlogits: optionalFloats(op, k.DLogits, n*ld),
		failure: d.failureWord(), v: int32(k.V), ld: int32(ld), zLoss: k.ZLoss, smoothing: k.Smoothing}
	if k.V <= 512 {
		run(d, kernelsCrossEntropy[0], line(n, 32), &a)
		return
	}
	if a.entropy != 0 || a.entropyWeights != 0 {
		run(d, kernelsCrossEntropy[2], line(n, 512), &a)
		return
	}
	if n > 0 && n <= mostPartedRows && k.V >= leastPartedRow && a.dlogits.p == 0 {
		d.crossEntropyParts(a, n)
		return
	}
	run(d, kernelsCrossEntropy[1], line(n, 1024), &a)
}

// crossEntropyParts computes the losses of n rows, with the bits that one block a row gives them.
func (d *Device) crossEntropyParts(rows crossEntropyArgs, n int) {
	moments, release := d.scratch(n * rowWarps * 32 * 4)
	defer release()
	d.tiles.mu.Lock() // the counters are those of attention
	defer d.tiles.mu.Unlock()
	a := crossEntropyPartsArgs{rows: rows, moments: moments, ended: d.tiles.counters(d, n)}
	run(d, kernelCrossEntropyParts, shape{x: rowWarps, y: n, threads: 32}, &a)
}

type embeddingArgs struct {
	y, table    floats
	ids         pointer
	failure     pointer
	n           int64
	c, v, quads int32
}

// Embedding copies rows: y[n] = table[ids[n]].
func (d *Device) Embedding(y, table, ids device.Buffer) {
	c, v := embeddingShape("Embedding", y, table, ids)
	checkIndices("Embedding", "id", known(ids), v)
	a := embeddingArgs{y: viewOf(y), table: viewOf(table), ids: address(ids), failure: d.failureWord(), n: int64(ids.Len), c: int32(c), v: int32(v), quads: int32(over(c, 4))}
	run(d, kernelEmbedding, line(over(ids.Len*over(c, 4), 256), 256), &a)
}

// embeddingShape checks the operands and returns the number of channels and of rows of the table.
func embeddingShape(op string, y, table, ids device.Buffer) (c, v int) {
	if ids.Len == 0 {
		return 1, table.Len
	}
	c = y.Len / ids.Len
	if y.Len%ids.Len != 0 || c == 0 || table.Len%c != 0 {
		panic(fmt.Sprintf("cuda: %s of %d rows with %d elements from a table of %d", op, ids.Len, y.Len, table.Len))
	}
	return c, table.Len / c
}

type embeddingGradArgs struct {
	dtable              pointer
	dy                  floats
	order, starts, uniq pointer
	c                   int32
}

// EmbeddingGrad adds rows: dtable[ids[n]] += dy[n]. The host sorts the ids, so that one block adds all rows of an id, in order.
func (d *Device) EmbeddingGrad(dtable, dy, ids device.Buffer) {
	c, v := embeddingShape("EmbeddingGrad", dy, dtable, ids)
	list := known(ids)
	if ids.Len > 0 && (list == nil || slices.Contains(list, unknown)) {
		list = make([]int32, ids.Len)
		if err := d.Read(list, ids); err != nil {
			d.fail(err)
			return
		}
	}
	checkIndices("EmbeddingGrad", "id", list, v)
	order, starts, unique := sortRows(list, v)
	p, release := d.sendInts(slices.Concat(order, starts, unique))
	defer release()
	a := embeddingGradArgs{dtable: f32sOf("EmbeddingGrad", dtable, dtable.Len), dy: viewOf(dy), order: p, starts: p + pointer(4*len(order)),
		uniq: p + pointer(4*(len(order)+len(starts))), c: int32(c)}
	run(d, kernelEmbeddingGrad, shape{x: len(unique), y: over(c, 128), threads: 128}, &a)
}

// sortRows sorts the rows 0 to len(ids) by their id below v, stably: those of unique[u] are order[starts[u]:starts[u+1]].
func sortRows(ids []int32, v int) (order, starts, unique []int32) {
	next := make([]int32, v+1) // where the next row of an id goes
	for _, id := range ids {
		next[id+1]++
	}
	for id := range v {
		if next[id+1] > 0 {
			unique, starts = append(unique, int32(id)), append(starts, next[id])
		}
		next[id+1] += next[id]
	}
	starts = append(starts, int32(len(ids)))
	order = make([]int32, len(ids))
	for n, id := range ids {
		order[next[id]] = int32(n)
		next[id]++
	}
	return order, starts, unique
}

// kernels/sample.cu
var (
	kernelSample        = kernel{"sample", "sample"}
	kernelSampleLargest = kernel{"sample", "sample_largest"}
	kernelSampleMass    = kernel{"sample", "sample_mass"}
)

type sampleArgs struct {
	logits, random, ids pointer
	topP                uint64
	v, k                int32
	inverse, minP       float32
	greedy              int32
	part, parts, _      int32
	found, ended        pointer
}

// Parts of rows that are drawn from: a row is cut into no more than mostParts, each of no fewer than leastPart logits.
const (
	mostParts, leastPart = 256, 1024
	partThreads          = 256
)

var _ device.Ahead = (*Device)(nil)

// Draws is true for all settings.
func (d *Device) Draws(device.Sample) bool { return true }

// Sample draws tokens; see device.Sample.
func (d *Device) Sample(s device.Sample) {
	n := s.IDs.Len
	if s.V <= 0 || s.Logits.Len != n*s.V || s.Random.Len != 2*n || s.TopK < 0 {
		panic(fmt.Sprintf("cuda: Sample of %d rows of %d, %d logits and %d random numbers, top-k %d", n, s.V, s.Logits.Len, s.Random.Len, s.TopK))
	}
	forget(s.IDs)
	a := sampleArgs{logits: f32sOf("Sample", s.Logits, n*s.V), random: address(need(s.Random, device.I32)), ids: address(need(s.IDs, device.I32)),
		v: int32(s.V), k: int32(min(s.TopK, s.V)), minP: float32(s.MinP), greedy: bit(s.Temperature == 0)}
	if s.TopP < 1 {
		a.topP = device.Fraction(s.TopP)
	}
	if s.Temperature != 0 {
		a.inverse = device.Inverse(s.Temperature)
	}
	if parts := min(2*d.card.processors/max(n, 1), over(s.V, leastPart), mostParts); parts > 1 && (a.greedy == 1 || a.topP == 0 && a.k == 0) {
		d.sampleParts(a, n, parts)
		return
	}
	run(d, kernelSample, line(n, 512), &a)
}

// sampleParts draws from n rows that are cut into about so many parts, since one block a row would leave most multiprocessors idle.
func (d *Device) sampleParts(a sampleArgs, n, parts int) {
	a.part = int32(over(over(int(a.v), parts), 4) * 4)
	a.parts = int32(over(int(a.v), int(a.part)))
	found, release := d.scratch(2 * n * int(a.parts))
	defer release()
	d.tiles.mu.Lock() // the counters are those of attention
	defer d.tiles.mu.Unlock()
	a.found, a.ended = found, d.tiles.counters(d, n)
	grid := shape{x: int(a.parts), y: n, threads: partThreads}
	run(d, kernelSampleLargest, grid, &a)
	if a.greedy == 0 {
		run(d, kernelSampleMass, grid, &a)
	}
}

var kernelPick = kernel{"sample", "pick"} // kernels/sample.cu

type pickArgs struct {
	dst, src, at pointer
	n, m         int32
}

// Pick computes dst[n] = src[at[n]]; see device.Ahead.
func (d *Device) Pick(dst, src, index device.Buffer) {
	if dst.Len != index.Len || dst.Len == 0 {
		panic(fmt.Sprintf("cuda: Pick of %d numbers by %d indices", dst.Len, index.Len))
	}
	checkIndices("Pick", "number", known(index), src.Len)
	forget(dst)
	a := pickArgs{dst: address(need(dst, device.I32)), src: address(need(src, device.I32)), at: address(need(index, device.I32)), n: int32(dst.Len), m: int32(src.Len)}
	run(d, kernelPick, line(over(dst.Len, 256), 256), &a)
}
