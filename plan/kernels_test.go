package plan_test

import (
	"testing"

	"hone/device"
	"hone/plan"
)

// TestKernelsMoveBytes: every kernel is a call, and reads and writes what its documentation says. x is 100 numbers of F32 (400 bytes) and
// h as many of BF16 (200), so that a buffer that is left out or counted twice shows.
func TestKernelsMoveBytes(t *testing.T) {
	d := plan.NewDevice()
	x, h := d.Alloc(100, device.F32), d.Alloc(100, device.BF16)
	rows, ids := d.Alloc(300, device.F32), d.Alloc(3, device.I32)
	none := device.Buffer{}
	for name, c := range map[string]struct {
		run  func()
		want int64
	}{
		"Fill":          {func() { d.Fill(x, 1) }, 400},
		"Unary":         {func() { d.Unary(device.SiLU, h, x) }, 600},
		"UnaryGrad":     {func() { d.UnaryGrad(device.SiLU, x, h, h, false) }, 800},
		"UnaryBoth":     {func() { d.UnaryBoth(device.SiLU, h, x, h) }, 200 + 2*400 + 200},
		"Binary":        {func() { d.Binary(device.Add, x, h, h) }, 800},
		"AddScaled":     {func() { d.AddScaled(x, 2, h) }, 2*400 + 200},
		"Scale":         {func() { d.Scale(h, 2) }, 400},
		"Gated":         {func() { d.Gated(device.SiLU, x, h, h) }, 800},
		"GatedGrad":     {func() { d.GatedGrad(device.SiLU, h, h, h, h, x) }, 4*200 + 400},
		"GatedBoth":     {func() { d.GatedBoth(device.SiLU, h, h, x, h, h) }, 4*200 + 2*400},
		"Dropout":       {func() { d.Dropout(h, x, 0.5, 1) }, 600},
		"Norm":          {func() { d.Norm(device.Norm{Y: h, X: x}) }, 600},
		"NormGrad":      {func() { d.NormGrad(device.NormGrad{DX: x, DY: h, X: x}) }, 1000},
		"Rope":          {func() { d.Rope(device.Rope{Y: h, X: h}) }, 400},
		"Embedding":     {func() { d.Embedding(h, x, ids) }, 400},
		"PutRows":       {func() { d.PutRows(x, h, ids) }, 400},
		"EmbeddingGrad": {func() { d.EmbeddingGrad(x, h, ids) }, 600},
		"Combine":       {func() { d.Combine(device.Combine{Y: x, K: 2}) }, 3 * 400},
		"CombineGrad":   {func() { d.CombineGrad(device.CombineGrad{Combine: device.Combine{X: x}, DY: h, DX: rows}) }, 200 + 400 + 1200},
		"ColumnSum":     {func() { d.ColumnSum(none, x, false) }, 400},
		"Reduce":        {func() { d.Reduce(device.Sum, none, h) }, 200},
		"Split":         {func() { d.Split(h, h, x) }, 800},
		"Join":          {func() { d.Join(x, h, h) }, 800},
		"Pack":          {func() { d.Pack(device.Packed{Codes: h}, x) }, 600},
		"Copy2D":        {func() { d.Copy2D(device.Copy2D{Dst: h, Src: x, Rows: 5, Cols: 7}) }, 5 * 7 * 6},
		"Rearrange":     {func() { d.Rearrange(x, device.Arranged{Buf: x}) }, 800},
		"ArrangedRows":  {func() { d.ArrangedRows(x, device.Arranged{}, ids) }, 800},
		"CrossEntropy":  {func() { d.CrossEntropy(device.CrossEntropy{Logits: x, DLogits: x}) }, 3 * 400},
	} {
		before := d.Work()
		c.run()
		work := d.Work()
		work.Add(before, -1)
		if work != (plan.Work{Moved: c.want, Calls: 1}) {
			t.Errorf("%s counts %+v, want a call that moves %d bytes", name, work, c.want)
		}
	}
}

// TestLogitsAreNoted: the most that is held of them at a time, twice where the gradient has memory of its own.
func TestLogitsAreNoted(t *testing.T) {
	d := plan.NewDevice()
	small, x, y := d.Alloc(10, device.F32), d.Alloc(100, device.F32), d.Alloc(100, device.BF16)
	for _, c := range []struct {
		k    device.CrossEntropy
		want int64
	}{
		{device.CrossEntropy{Logits: small}, 40}, {device.CrossEntropy{Logits: x, DLogits: x}, 400}, {device.CrossEntropy{Logits: small}, 400},
		{device.CrossEntropy{Logits: x, DLogits: y}, 600},
	} {
		if d.CrossEntropy(c.k); d.Logits() != c.want {
			t.Errorf("%+v: %d bytes of logits, want %d", c.k, d.Logits(), c.want)
		}
	}
}

// TestStash: what waits on the host is not on the device, and its most is remembered.
func TestStash(t *testing.T) {
	d := plan.NewDevice()
	x := d.Alloc(100, device.BF16)
	a, b := d.Stash(x), d.Stash(x)
	if d.Stashed() != 400 || d.Memory().InUse != 200 {
		t.Errorf("%d bytes are stashed beside %d in use", d.Stashed(), d.Memory().InUse)
	}
	back := d.Unstash(a)
	d.Arrived(back)
	d.Free(a)
	if back.Len != 100 || back.DType != device.BF16 || d.Memory().InUse != 400 || d.Memory().Peak != 400 {
		t.Errorf("%+v came back, %+v", back, d.Memory())
	}
	d.Free(b)
	c := d.Stash(x)
	d.Free(c)
	d.Free(back)
	d.Free(x)
	if d.Stashed() != 400 || d.Memory().InUse != 0 || d.HostFree() < 1<<60 {
		t.Errorf("in the end %d bytes were the most, %d are in use, %d are free", d.Stashed(), d.Memory().InUse, d.HostFree())
	}
}

// TestFilledWork: rows that are left out save their work; weights are read, unpacked and updated all the same.
func TestFilledWork(t *testing.T) {
	whole := plan.Work{F32: plan.Arithmetic{Wide: 100, Narrow: 80, Few: 60, Weights: 50, Attention: 40, AttentionGrad: 20, Short: 10, ShortGrad: 8},
		BF16: plan.Arithmetic{Wide: 1000}, Read: 7, Calls: 9, Moved: 200, Updated: 300, NF4: 400, Int8: 500}
	want := plan.Work{F32: plan.Arithmetic{Wide: 25, Narrow: 20, Few: 15, Weights: 50, Attention: 10, AttentionGrad: 5, Short: 2, ShortGrad: 2},
		BF16: plan.Arithmetic{Wide: 250}, Read: 7, Calls: 9, Moved: 50, Updated: 300, NF4: 400, Int8: 500}
	copied := whole
	if got := whole.Filled(0.25); got != want {
		t.Errorf("a quarter is %+v, want %+v", got, want)
	}
	if whole != copied || whole.Filled(1) != whole {
		t.Error("the whole has changed")
	}
}

// TestOnce: layers that are run again are counted once where a share of the peak is said.
func TestOnce(t *testing.T) {
	m := plan.Memory{FLOPs: plan.FLOPs{MatMul: 360, Attention: 40}, Forward: plan.FLOPs{MatMul: 90, Attention: 10}}
	for again, want := range map[int]int64{0: 400, 2: 350, 4: 300} {
		if m.Recompute = again; m.Once(4) != want {
			t.Errorf("with %d of 4 layers run again %d operations are of the model, want %d", again, m.Once(4), want)
		}
	}
	m.Peak, m.Own = 100, 11
	if m.Needed() != 111 {
		t.Errorf("%d bytes are needed", m.Needed())
	}
}
