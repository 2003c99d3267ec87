package tensor

import "hone/device"

// Embedding looks up rows: ids [N] (I32), table [V, C], result [N, C] in the tape's dtype.
func Embedding(ids, table *Tensor) *Tensor {
	t := tapeOf("Embedding", ids)
	return lookup(t, t.DType, table, ids)
}

// Rows gathers rows of a matrix x [M, C] by index [N] (I32), such as the last token of each sequence: [N, C]
// in x's dtype. A row may be asked for more than once; its gradients add up.
func Rows(x, index *Tensor) *Tensor { return lookup(tapeOf("Rows", x, index), x.dtype, x, index) }

func lookup(t *Tape, dtype device.DType, table, ids *Tensor) *Tensor {
	y := t.empty(dtype, ids.Len(), table.Cols()) // dtype: a table kept in F32 still gives activations of the tape's type
	// only a frozen table is kept in the order of the products alone: no gradient
	if table.data == nil && table.order != nil {
		t.Dev.(device.Arranger).ArrangedRows(y.Buffer(), *table.order, ids.Buffer())
		return y
	}
	t.Dev.Embedding(y.Buffer(), table.Buffer(), ids.Buffer())
	if t.wants(table) {
		t.push(y, func() {
			// A parameter's gradient, in F32, is added to in place: it is as large as the
			// vocabulary, and few of its rows change.
			if table.gradType() == device.F32 {
				g, acc := table.gradBuffer()
				if !acc {
					t.Dev.Fill(g, 0)
				}
				t.Dev.EmbeddingGrad(g, y.grad.buf, ids.Buffer())
				return
			}
			g := t.scratch(table.Len(), device.F32) // the kernel sums in F32
			t.Dev.Fill(g.buf, 0)
			t.Dev.EmbeddingGrad(g.buf, y.grad.buf, ids.Buffer())
			table.addGrad(g)
		}, ids)
	}
	return y
}

// SplitCols cuts x [N, C] into matrices of the given widths, which sum to C.
func SplitCols(x *Tensor, widths ...int) []*Tensor { return SplitHeads(x, 1, widths...) }

// SplitHeads cuts each of the heads of x [N, heads*W] into parts of the given widths, which sum to W, and
// puts the parts of all heads together: the i-th matrix is [N, heads*widths[i]].
func SplitHeads(x *Tensor, heads int, widths ...int) []*Tensor {
	t := tapeOf("SplitHeads", x)
	check(heads > 0 && x.Cols()%heads == 0, "SplitHeads", "%v does not have %d heads", x.Shape, heads)
	c, from := x.Cols()/heads, 0
	parts := make([]*Tensor, len(widths))
	for i, w := range widths {
		check(from+w <= c, "SplitHeads", "widths %v exceed %v in %d heads", widths, x.Shape, heads)
		parts[i] = splitHead(t, x, heads, from, w)
		from += w
	}
	check(from == c, "SplitHeads", "widths %v do not fill %v in %d heads", widths, x.Shape, heads)
	return parts
}

// splitHead takes w columns from column from on of each head; as memory goes, heads are rows.
func splitHead(t *Tape, x *Tensor, heads, from, w int) *Tensor {
	n, c := x.Rows()*heads, x.Cols()/heads
	y := t.empty(x.dtype, x.Rows(), heads*w)
	t.Dev.Copy2D(device.Copy2D{Dst: y.Buffer(), DstStride: w, Src: x.Buffer().Slice(from, x.Len()), SrcStride: c,
		Rows: n, Cols: w})
	if t.wants(x) {
		t.push(y, func() {
			dx, acc := x.gradBuffer()
			if !acc { // other columns may get nothing
				t.Dev.Fill(dx, 0)
			}
			t.Dev.Copy2D(device.Copy2D{Dst: dx.Slice(from, dx.Len), DstStride: c, Src: y.grad.buf, SrcStride: w,
				Rows: n, Cols: w, Acc: true})
		})
	}
	return y
}
