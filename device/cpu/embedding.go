package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

var _ device.Placer = (*Device)(nil)

// Embedding copies rows: y[n] = table[ids[n]].
func (d *Device) Embedding(y, table, ids device.Buffer) {
	c, rows := embeddingShape("Embedding", y, table, ids)
	to, from := d.floats("Embedding", y, y.Len), d.floats("Embedding", table, table.Len)
	d.eachRows(ids.Len, c, func(_, lo, hi int) {
		for n := lo; n < hi; n++ {
			copyRow(&to, n*c, &from, int(rows[n])*c, c)
		}
	})
}

// PutRows copies rows: dst[at[n]] = x[n].
func (d *Device) PutRows(dst, x, at device.Buffer) {
	c, rows := embeddingShape("PutRows", x, dst, at)
	p := putRows{d.floats("PutRows", dst, dst.Len), d.floats("PutRows", x, x.Len), rows, c}
	if small(at.Len, c) {
		p.part(0, at.Len)
		return
	}
	shared := p
	d.eachRows(at.Len, c, func(_, lo, hi int) { shared.part(lo, hi) })
}

// putRows is a checked call of PutRows, of rows of c elements.
type putRows struct {
	to, from vec.Floats
	at       []int32
	c        int
}

// part copies rows lo to hi of from.
func (p *putRows) part(lo, hi int) {
	for n := lo; n < hi; n++ {
		copyRow(&p.to, int(p.at[n])*p.c, &p.from, n*p.c, p.c)
	}
}

// copyRow copies n elements of from, from element j on, to those of to from element i on.
func copyRow(to *vec.Floats, i int, from *vec.Floats, j, n int) {
	switch {
	case to.H != nil && from.H != nil:
		copy(to.H[i:i+n], from.H[j:j+n])
	case to.H == nil && from.H == nil:
		copy(to.F[i:i+n], from.F[j:j+n])
	default:
		var buf chunk
		for at := 0; at < n; at += vec.Chunk {
			end := min(at+vec.Chunk, n)
			t := to.Out(i+at, i+end, buf[:])
			copy(t, from.Load(j+at, j+end, t))
			to.Store(i+at, t)
		}
	}
}

// gradColumns is the number of channels that one task of EmbeddingGrad adds: a few cache lines.
const gradColumns = 64

// EmbeddingGrad adds rows: dtable[ids[n]] += dy[n]. A task owns some channels
// of all rows, so the sums run in the order of n without locks.
func (d *Device) EmbeddingGrad(dtable, dy, ids device.Buffer) {
	c, rows := embeddingShape("EmbeddingGrad", dy, dtable, ids)
	to, from := f32s(dtable), d.floats("EmbeddingGrad", dy, dy.Len)
	if dy.Len == 0 {
		return
	}
	d.pool.Run((c+gradColumns-1)/gradColumns, func(task int) {
		var buf [gradColumns]float32
		lo, hi := task*gradColumns, min((task+1)*gradColumns, c)
		for n, id := range rows {
			sum := to[int(id)*c+lo : int(id)*c+hi]
			d.path.Add(sum, sum, from.Load(n*c+lo, n*c+hi, buf[:]))
		}
	})
}

// embeddingShape checks the operands, on the caller's goroutine, where a panic can be recovered, and returns the number of channels and the ids.
func embeddingShape(op string, y, table, ids device.Buffer) (c int, rows []int32) {
	if ids.Len == 0 {
		return 1, nil
	}
	c = y.Len / ids.Len
	if y.Len%ids.Len != 0 || c == 0 || table.Len%c != 0 {
		panic(fmt.Sprintf("cpu: %s of %d rows with %d elements from a table of %d", op, ids.Len, y.Len, table.Len))
	}
	rows = i32s(ids)
	for n, id := range rows {
		if id < 0 || int(id) >= table.Len/c {
			panic(fmt.Sprintf("cpu: %s of id %d at %d, the table has %d rows", op, id, n, table.Len/c))
		}
	}
	return c, rows
}
