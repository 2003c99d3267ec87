package tensor

import "hone/device"

// Embedding looks up rows: ids [N] (I32), table [V, C], result [N, C] in the tape's dtype.
func Embedding(ids, table *Tensor) *Tensor {
	t := tapeOf("Embedding", ids)
	return lookup(t, t.DType, table, ids)
}

// Rows gathers rows of a matrix x [M, C] by index [N], such as the last token of each sequence.
func Rows(x, index *Tensor) *Tensor { return lookup(tapeOf("Rows", x, index), x.dtype, x, index) }

func lookup(t *Tape, dtype device.DType, table, ids *Tensor) *Tensor {
	y := t.empty(dtype, ids.Len(), table.Cols())
	t.Dev.Embedding(y.Buffer(), table.Buffer(), ids.Buffer())
	if t.wants(table) {
		t.push(y, func() {
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
func SplitCols(x *Tensor, widths ...int) []*Tensor {
	t := tapeOf("SplitCols", x)
	n, c, from := x.Rows(), x.Cols(), 0
	parts := make([]*Tensor, len(widths))
	for i, w := range widths {
		check(from+w <= c, "SplitCols", "widths %v exceed %v", widths, x.Shape)
		parts[i] = splitCol(t, x, from, w)
		from += w
	}
	check(from == c, "SplitCols", "widths %v of %d rows do not fill %v", widths, n, x.Shape)
	return parts
}

func splitCol(t *Tape, x *Tensor, from, w int) *Tensor {
	n, c := x.Rows(), x.Cols()
	y := t.empty(x.dtype, n, w)
	t.Dev.Copy2D(device.Copy2D{Dst: y.Buffer(), DstStride: w, Src: x.Buffer().Slice(from, x.Len()), SrcStride: c, Rows: n, Cols: w})
	if t.wants(x) {
		t.push(y, func() {
			dx, acc := x.gradBuffer()
			if !acc { // other columns may get nothing
				t.Dev.Fill(dx, 0)
			}
			t.Dev.Copy2D(device.Copy2D{Dst: dx.Slice(from, dx.Len), DstStride: c, Src: y.grad.buf, SrcStride: w, Rows: n, Cols: w, Acc: true})
		})
	}
	return y
}
