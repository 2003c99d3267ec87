package plan_test

import (
	"testing"

	"hone/device"
	"hone/device/cuda"
	"hone/plan"
)

// TestWorkspace: a plan knows what device/cuda takes for itself, and the scratch of its kernels.
func TestWorkspace(t *testing.T) {
	s := plan.Sharded{Params: 1e6, Method: "full", GPUs: 1, TP: 1, Offload: "none"}
	if got := s.Memory().Workspace; got != cuda.OwnBytes {
		t.Errorf("the workspace is %d bytes, of device/cuda %d", got, cuda.OwnBytes)
	}
	if s.Scratch = plan.Scratch(1<<16, 32, 4096); s.Memory().Workspace != cuda.OwnBytes+4*(1<<16)*32 {
		t.Errorf("with scratch it is %d bytes", s.Memory().Workspace)
	}
	if got := plan.Scratch(16, 32, 4096); got != 4*128*4096 {
		t.Errorf("the scratch of a short batch is %d bytes", got)
	}
}

// TestCard: the device that counts for a card knows what device/cuda takes for itself, which products it unpacks on the way, and that it arranges no weights.
func TestCard(t *testing.T) {
	host, card := plan.NewDevice(), plan.NewDevice()
	card.OnCard = true
	if device.IsLoose(host) || !device.IsLoose(card) || host.Own() != 0 || card.Own() != cuda.OwnBytes || host.FewRows() != 0 || card.FewRows() != (&cuda.Device{}).FewRows() {
		t.Errorf("own bytes %d and %d, few rows %d and %d", host.Own(), card.Own(), host.FewRows(), card.FewRows())
	}
	paged, err := card.AllocPaged("", 10, device.F32)
	if err != nil || card.Own() != cuda.OwnBytes+cuda.PagedBytes {
		t.Errorf("with paged state %d bytes of its own, %v", card.Own(), err)
	}
	card.Free(paged)

	const in = 128
	peak := func(d *plan.Device, rows, out int, dt device.DType, packing device.Packing) int64 {
		w := device.NewPacked(d, packing, out, in)
		defer w.Free(d)
		m := device.MatMul{M: rows, N: out, K: in, A: d.Alloc(rows*in, dt), C: d.Alloc(rows*out, dt), TransB: true}
		before := d.Memory().InUse
		d.ResetPeak()
		device.MatMulPacked(d, m, w)
		return d.Memory().Peak - before
	}
	for _, c := range []struct {
		d         *plan.Device
		rows, out int
		dt        device.DType
		packing   device.Packing
		want      int64 // bytes of a number
	}{
		{card, cuda.FewUnpackedRows, 256, device.BF16, device.NF4, 0}, {card, cuda.FewUnpackedRows + 1, 256, device.BF16, device.NF4, 2},
		{card, cuda.MostUnpackedRows, cuda.LeastUnpackedColumns, device.BF16, device.NF4, 0}, {card, cuda.MostUnpackedRows + 1, cuda.LeastUnpackedColumns, device.BF16, device.NF4, 2},
		{card, cuda.MostUnpackedRows, cuda.LeastUnpackedColumns - 1, device.BF16, device.NF4, 2},
		{card, 16, 256, device.F32, device.NF4, 4}, {card, 16, 256, device.BF16, device.Int8, 2}, {host, 16, 256, device.BF16, device.NF4, 2},
	} {
		before := c.d.Work()
		if got, want := peak(c.d, c.rows, c.out, c.dt, c.packing), c.want*in*int64(c.out); got != want {
			t.Errorf("%d rows in %s by %d columns in packing %d on a card (%v) take %d bytes beside, want %d", c.rows, c.dt, c.out, c.packing, c.d.OnCard, got, want)
		}
		work := c.d.Work()
		work.Add(before, -1)
		if got := work.FLOPs().MatMul; got != 2*int64(c.rows)*in*int64(c.out) {
			t.Errorf("%d rows are %d operations", c.rows, got)
		}
	}
	w := host.Alloc(in*in, device.F32)
	if _, ok := host.Arrange(w, in, in, true); !ok {
		t.Error("a processor arranges no weights")
	}
	if _, ok := card.Arrange(w, in, in, true); ok {
		t.Error("a card arranges weights")
	}
}

// TestCardScratch: what a card takes for the time of attention is in its peak alone.
func TestCardScratch(t *testing.T) {
	const heads, kv, d, keys = 8, 2, 64, 300
	attention := func(dev *plan.Device, queries int) device.Attention {
		return device.Attention{Q: dev.Alloc(queries*heads*d, device.BF16), K: dev.Alloc(keys*kv*d, device.BF16), V: dev.Alloc(keys*kv*d, device.BF16),
			O: dev.Alloc(queries*heads*d, device.BF16), LSE: dev.Alloc(queries*heads, device.F32), Heads: heads, KVHeads: kv, D: d,
			Sequences: []device.Sequence{{QLen: queries, KLen: keys}}}
	}
	for _, card := range []bool{false, true} {
		for queries, want := range map[int]int64{1: 4 * 3 * kv * 16 * (d + 2), 8: 4 * 3 * kv * 32 * (d + 2), 9: 0} { // three parts, by blocks of 16 rows
			dev := plan.NewDevice()
			dev.OnCard = card
			a := attention(dev, queries)
			if !card {
				want = 0
			}
			dev.Attention(a)
			if got := dev.Memory().Peak - dev.Memory().InUse; got != want {
				t.Errorf("%d queries take %d bytes beside, want %d", queries, got, want)
			}
			dev.ResetPeak()
			dev.AttentionGrad(device.AttentionGrad{Attention: a})
			if got := dev.Memory().Peak - dev.Memory().InUse; card && got != 4*int64(queries)*heads || !card && got != 0 {
				t.Errorf("the gradient of %d queries takes %d bytes beside", queries, got)
			}
		}
	}
}
