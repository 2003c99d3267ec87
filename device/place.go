package device

// Placer is a device that puts rows where they are told to in one go. It is optional: see PutRows.
type Placer interface {
	// PutRows computes dst[at[n]] = x[n]: dst [R, C], x [N, C], at I32 [N], no two of them alike.
	PutRows(dst, x, at Buffer)
}

// PutRows computes dst[at[n]] = x[n] on d. rows are the numbers in at, which devices that are no Placer do not read.
func PutRows(d Device, dst, x, at Buffer, rows []int32) {
	if p, ok := d.(Placer); ok {
		p.PutRows(dst, x, at)
		return
	}
	for from := 0; from < len(rows); { // neighbours together
		to := from + 1
		for to < len(rows) && rows[to] == rows[to-1]+1 {
			to++
		}
		w, n := x.Len/len(rows), to-from
		at := int(rows[from])
		d.Copy2D(Copy2D{Dst: dst.Slice(at*w, (at+n)*w), DstStride: w, Src: x.Slice(from*w, to*w), SrcStride: w, Rows: n, Cols: w})
		from = to
	}
}
