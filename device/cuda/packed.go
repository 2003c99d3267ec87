package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/packed.cu
var (
	kernelPackNF4    = kernel{"packed", "pack_nf4"}
	kernelPackOffset = kernel{"packed", "pack_offset"}
	kernelPackNested = kernel{"packed", "pack_nested"}
	kernelPackInt8   = kernel{"packed", "pack_int8"}
	kernelUnpackNF4  = kernel{"packed", "unpack_nf4"}
	kernelUnpackInt8 = kernel{"packed", "unpack_int8"}
)

type packedArgs struct {
	x              floats
	codes, scales  pointer
	nested, offset pointer
	largest        pointer
	dynamic, nf4   pointer
	n              int64
	cols           int32
}

// packedOf checks the buffers of p.
func (d *Device) packedOf(op string, p device.Packed) packedArgs {
	codes, scales, nested, offset := p.Sizes()
	if p.Packing != device.NF4 && p.Packing != device.Int8 || p.Codes.Len != codes || p.Scales.Len != scales || p.Nested.Len != nested || p.Offset.Len != offset {
		panic(fmt.Sprintf("cuda: %s of %d×%d in packing %d with buffers of %d, %d, %d and %d elements", op, p.Rows, p.Cols, p.Packing,
			p.Codes.Len, p.Scales.Len, p.Nested.Len, p.Offset.Len))
	}
	return packedArgs{codes: address(need(p.Codes, device.U8)), scales: address(need(p.Scales, device.U8)),
		nested: address(need(p.Nested, device.F32)), offset: address(need(p.Offset, device.F32)),
		dynamic: d.tableAt(tableDynamic), nf4: d.tableAt(tableNF4), n: int64(p.Rows) * int64(p.Cols), cols: int32(p.Cols)}
}

// Pack stores x in few bits.
func (d *Device) Pack(p device.Packed, x device.Buffer) {
	a := d.packedOf("Pack", p)
	a.x = floatsOf("Pack", x, p.Rows*p.Cols)
	if p.Packing == device.Int8 {
		run(d, kernelPackInt8, line(p.Rows, 256), &a)
		return
	}
	blocks := p.Scales.Len
	largest, release := d.scratch(blocks)
	defer release()
	a.largest = largest
	run(d, kernelPackNF4, line(over(blocks, 8), 256), &a)
	a.n = int64(blocks)
	run(d, kernelPackOffset, line(1, 256), &a)
	run(d, kernelPackNested, line(p.Nested.Len, 256), &a)
}

// Unpack computes the numbers that p stands for.
func (d *Device) Unpack(y device.Buffer, p device.Packed) {
	a := d.packedOf("Unpack", p)
	a.x = floatsOf("Unpack", y, p.Rows*p.Cols)
	if p.Packing == device.Int8 {
		run(d, kernelUnpackInt8, line(p.Rows, 256), &a)
		return
	}
	run(d, kernelUnpackNF4, line(over(y.Len, 8192), 256), &a)
}
