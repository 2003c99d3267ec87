package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

// Copy2D copies or adds a matrix between row strides.
func (d *Device) Copy2D(c device.Copy2D) {
	if c.Rows <= 0 || c.Cols <= 0 {
		return
	}
	fits := func(b device.Buffer, stride int) bool {
		return stride >= c.Cols && (c.Rows-1)*stride+c.Cols <= b.Len
	}
	if !fits(c.Src, c.SrcStride) || !fits(c.Dst, c.DstStride) {
		panic(fmt.Sprintf("cpu: Copy2D of %d×%d from %d elements with stride %d to %d with stride %d",
			c.Rows, c.Cols, c.Src.Len, c.SrcStride, c.Dst.Len, c.DstStride))
	}
	dst, src := d.floats("Copy2D", c.Dst, c.Dst.Len), d.floats("Copy2D", c.Src, c.Src.Len)
	d.eachRows(c.Rows, c.Cols, func(_, lo, hi int) {
		if !c.Acc && dst.H != nil && src.H != nil { // by way of f32 it would take longer, and a signalling NaN would become a quiet one
			for r := lo; r < hi; r++ {
				copy(dst.H[r*c.DstStride:][:c.Cols], src.H[r*c.SrcStride:][:c.Cols])
			}
			return
		}
		var a, b chunk // cleared first, which takes longer than a short row
		for r := lo; r < hi; r++ {
			to, from := r*c.DstStride, r*c.SrcStride
			for j := 0; j < c.Cols; j += vec.Chunk {
				end := min(j+vec.Chunk, c.Cols)
				x := src.Load(from+j, from+end, a[:])
				if c.Acc {
					y := dst.Load(to+j, to+end, b[:])
					d.path.Add(y, y, x)
					dst.Store(to+j, y)
					continue
				}
				y := dst.Out(to+j, to+end, b[:])
				copy(y, x)
				dst.Store(to+j, y)
			}
		}
	})
}
