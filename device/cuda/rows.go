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
