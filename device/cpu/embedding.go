package cpu

import (
	"fmt"

	"hone/device"
)

// Embedding copies rows: y[n] = table[ids[n]].
func (d *Device) Embedding(y, table, ids device.Buffer) {
	c, rows := embeddingShape("Embedding", y, table, ids)
	to, from := floatsOf("Embedding", y, y.Len), floatsOf("Embedding", table, table.Len)
	d.eachRows(ids.Len, c, func(_, lo, hi int) {
		var buf chunk
		for n := lo; n < hi; n++ {
			row := int(rows[n]) * c
			switch {
			case to.h != nil && from.h != nil:
				copy(to.h[n*c:(n+1)*c], from.h[row:row+c])
			case to.h == nil && from.h == nil:
				copy(to.f[n*c:(n+1)*c], from.f[row:row+c])
			default:
				for j := 0; j < c; j += vecChunk {
					end := min(j+vecChunk, c)
					t := to.out(n*c+j, n*c+end, buf[:])
					copy(t, from.load(row+j, row+end, t))
					to.store(n*c+j, t)
				}
			}
		}
	})
}

// gradColumns is the number of channels that one task of EmbeddingGrad adds: a few cache lines.
const gradColumns = 64

// EmbeddingGrad adds rows: dtable[ids[n]] += dy[n]. A task owns some channels
// of all rows, so the sums run in the order of n without locks.
func (d *Device) EmbeddingGrad(dtable, dy, ids device.Buffer) {
	c, rows := embeddingShape("EmbeddingGrad", dy, dtable, ids)
	to, from := f32s(dtable), floatsOf("EmbeddingGrad", dy, dy.Len)
	if dy.Len == 0 {
		return
	}
	d.pool.run((c+gradColumns-1)/gradColumns, func(task int) {
		var buf [gradColumns]float32
		lo, hi := task*gradColumns, min((task+1)*gradColumns, c)
		for n, id := range rows {
			sum := to[int(id)*c+lo : int(id)*c+hi]
			vecAdd(sum, sum, from.load(n*c+lo, n*c+hi, buf[:]))
		}
	})
}

// embeddingShape checks the operands and returns the number of channels and the ids.
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
