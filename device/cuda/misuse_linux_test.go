package cuda

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
)

// said is what f panics with.
func said(f func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	f()
	return "nothing"
}

// TestMisuseSaysWhat: operands that do not fit panic on the caller's goroutine with the kernel's name and the sizes, before a kernel is launched that
// would read memory which is not there.
func TestMisuseSaysWhat(t *testing.T) {
	d, r := openRecorder(t)
	f := func(n int) device.Buffer { return d.Alloc(n, device.F32) }
	h := func(n int) device.Buffer { return d.Alloc(n, device.BF16) }
	u := func(n int) device.Buffer { return d.Alloc(n, device.U8) }
	ids := func(v ...int32) device.Buffer {
		b := d.Alloc(len(v), device.I32)
		d.Write(b, v)
		return b
	}
	packed := func(p device.Packing, rows, cols int) device.Packed { return device.NewPacked(d, p, rows, cols) }
	combine := device.Combine{C: 2, K: 2, Y: f(2), X: f(6), Index: ids(0, 2)}
	route := device.Route{E: 4, K: 2, Logits: f(8), Index: ids(0, 0, 0, 0), Weights: f(4)}
	rope := device.Rope{Y: f(8), X: f(8), Cos: f(6), Sin: f(6), Positions: ids(0, 2), Heads: 1, D: 4, Rotary: 4}
	adam := device.AdamW{Param: f(4), Grad: f(4), M: f(4), V: f(4), Step: 1}
	attention := device.Attention{O: f(16), Q: f(16), K: f(8), V: f(8), Heads: 2, KVHeads: 1, D: 4, Scale: 1, Sequences: []device.Sequence{{QLen: 2, KLen: 2}}}
	low := device.LowRankGrad{N: 64, R: 8, Out: 256, DY: h(64 * 256), U: h(64 * 8), B: h(256 * 8), DU: h(64 * 8), DB: f(256 * 8)}
	for _, c := range []struct {
		what  string
		words []string
		f     func()
	}{
		{"a write of other numbers", []string{"Write", "3", "4"}, func() { d.Write(f(4), make([]float32, 3)) }},
		{"a write of bf16 into integers", []string{"i32", "bf16"}, func() { d.Write(ids(1), make([]uint16, 1)) }},
		{"a write of floats into bytes", []string{"u8", "f32"}, func() { d.Write(u(1), make([]float32, 1)) }},
		{"a write of a type that is none", []string{"Write", "[]int"}, func() { d.Write(f(1), []int{1}) }},
		{"a read into a type that is none", []string{"Read", "[]float64"}, func() { _ = d.Read(make([]float64, 1), f(1)) }},
		{"a read into fewer numbers", []string{"Read", "3", "4"}, func() { _ = d.Read(make([]float32, 3), f(4)) }},
		{"a read of integers as floats", []string{"i32", "f32"}, func() { _ = d.Read(make([]float32, 1), ids(1)) }},
		{"a later read into another type", []string{"ReadLater", "i32", "[]float32"}, func() { d.ReadLater(make([]float32, 1), ids(1)) }},
		{"a later read into fewer numbers", []string{"ReadLater", "1", "2"}, func() { d.ReadLater(make([]int32, 1), ids(1, 2)) }},
		{"an operation of one that is none", []string{"unary"}, func() { d.Unary(device.UnaryOps, f(1), f(1)) }},
		{"an operation of two that is none", []string{"binary"}, func() { d.Binary(device.BinaryOps, f(1), f(1), f(1)) }},
		{"a reduction that is none", []string{"reduce"}, func() { d.Reduce(device.NonFinite+1, f(1), f(1)) }},
		{"a value of another length", []string{"Unary", "3", "4"}, func() { d.Unary(device.SiLU, f(4), f(3)) }},
		{"a slope of another length", []string{"UnaryGrad"}, func() { d.UnaryGrad(device.SiLU, f(4), f(4), f(3), false) }},
		{"a sum of integers", []string{"i32", "floats"}, func() { d.Scale(ids(1), 2) }},
		{"a reduction into two numbers", []string{"Reduce"}, func() { d.Reduce(device.Sum, f(2), f(4)) }},
		{"a number of rows that is broken", []string{"ColumnSum", "5", "3"}, func() { d.ColumnSum(f(3), f(5), false) }},
		{"a copy beyond the source", []string{"Copy2D", "2×3"}, func() { d.Copy2D(device.Copy2D{Dst: f(6), DstStride: 3, Src: f(6), SrcStride: 4, Rows: 2, Cols: 3}) }},
		{"a probability of NaN", []string{"Dropout", "NaN"}, func() { d.Dropout(f(1), f(1), float32(math.NaN()), 0) }},
		{"rows of a norm that are broken", []string{"Norm", "5", "3"}, func() { d.Norm(device.Norm{C: 3, Y: f(5), X: f(5)}) }},
		{"rows of a norm that are too long", []string{"norm", "16385", "16384"}, func() { d.Norm(device.Norm{C: 16385, Y: f(16385), X: f(16385)}) }},
		{"no root for the gradient", []string{"NormGrad"}, func() { d.NormGrad(device.NormGrad{C: 3, DX: f(6), DY: f(6), X: f(6)}) }},
		{"an odd number of rotated channels", []string{"Rope", "3 channels"}, func() { r := rope; r.Rotary = 3; d.Rope(r) }},
		{"a position behind the table", []string{"Rope", "position 3", "at 1", "has 3"}, func() { r := rope; r.Positions = ids(0, 3); d.Rope(r) }},
		{"a position too few", []string{"Rope", "2 rows", "1 positions"}, func() { r := rope; r.Positions = ids(0); d.Rope(r) }},
		{"a place that is no row", []string{"PutRows", "row 3", "at 1"}, func() { d.PutRows(f(6), f(4), ids(0, 3)) }},
		{"places for broken rows", []string{"PutRows", "5 elements"}, func() { d.PutRows(f(6), f(5), ids(0, 1)) }},
		{"an id behind the table", []string{"Embedding", "id 3", "at 1", "3 rows"}, func() { d.Embedding(f(4), f(6), ids(0, 3)) }},
		{"an id below 0", []string{"EmbeddingGrad", "id -1"}, func() { d.EmbeddingGrad(f(6), f(4), ids(0, -1)) }},
		{"rows that do not divide", []string{"Embedding", "2 rows", "5 elements"}, func() { d.Embedding(f(5), f(6), ids(0, 1)) }},
		{"more experts than there are", []string{"Route", "5 of 4"}, func() { r := route; r.K = 5; d.Route(r) }},
		{"gradients too few", []string{"RouteGrad"}, func() { d.RouteGrad(device.RouteGrad{Route: route, DLogits: f(8), DWeights: f(3)}) }},
		{"a row that is not there", []string{"Combine", "3", "at 1"}, func() { c := combine; c.Index = ids(0, 3); d.Combine(c) }},
		{"rows none at a time", []string{"CombineGrad", "0 at a time"}, func() { c := combine; c.K = 0; d.CombineGrad(device.CombineGrad{Combine: c, DY: f(2), DX: f(6)}) }},
		{"a target that is no column", []string{"CrossEntropy", "target 3", "row 1", "3 columns"}, func() {
			d.CrossEntropy(device.CrossEntropy{V: 3, Logits: f(6), Targets: ids(-1, 3), Loss: f(2)})
		}},
		{"logits in bf16", []string{"bf16", "f32"}, func() { d.CrossEntropy(device.CrossEntropy{V: 3, Logits: h(3), Targets: ids(0), Loss: f(1)}) }},
		{"rows of logits that overlap", []string{"CrossEntropy", "3 columns", "2"}, func() { d.CrossEntropy(device.CrossEntropy{V: 3, LD: 2, Logits: f(6), Targets: ids(0), Loss: f(1)}) }},
		{"random numbers too few", []string{"Sample", "2 rows", "3 random"}, func() {
			d.Sample(device.Sample{V: 3, Logits: f(6), Random: ids(0, 0, 0), IDs: ids(0, 0), Temperature: 1, TopP: 1})
		}},
		{"a number that is not there", []string{"Pick", "number 2", "at 0"}, func() { d.Pick(ids(0), ids(5, 6), ids(2)) }},
		{"numbers too few to pick", []string{"Pick", "2 numbers", "1 indices"}, func() { d.Pick(ids(0, 0), ids(5, 6), ids(0)) }},
		{"factors of two types", []string{"MatMul", "f32", "bf16"}, func() { d.MatMul(device.MatMul{M: 1, N: 1, K: 1, A: f(1), B: h(1), C: f(1)}) }},
		{"a factor too short", []string{"MatMul", "M=2 N=2 K=3", "A 5 elements"}, func() { d.MatMul(device.MatMul{M: 2, N: 2, K: 3, A: f(5), B: f(6), C: f(4)}) }},
		{"rows of a product that overlap", []string{"MatMul", "C 4, 1"}, func() { d.MatMul(device.MatMul{M: 2, N: 2, K: 1, A: f(2), B: f(2), C: f(4), LDC: 1}) }},
		{"batches beyond the end", []string{"MatMul", "batch 3"}, func() {
			d.MatMul(device.MatMul{M: 1, N: 1, K: 1, A: f(3), B: f(3), C: f(2), Batch: 3, StrideA: 1, StrideB: 1, StrideC: 1})
		}},
		{"a bias too short", []string{"MatMul", "bias 1"}, func() { d.MatMul(device.MatMul{M: 1, N: 2, K: 1, A: f(1), B: f(2), C: f(2), Bias: f(1)}) }},
		{"packed numbers of another shape", []string{"MatMul", "2×64 packed"}, func() {
			d.MatMulPacked(device.MatMul{M: 1, N: 3, K: 64, A: h(64), TransB: true, C: h(3)}, packed(device.NF4, 2, 64))
		}},
		{"numbers too few to pack", []string{"Pack", "3", "4"}, func() { d.Pack(packed(device.Int8, 2, 2), f(3)) }},
		{"a packing that is none", []string{"Pack", "packing 0"}, func() { d.Pack(packed(device.Unpacked, 2, 2), f(4)) }},
		{"packed numbers that do not fit their buffers", []string{"Unpack", "2×3"}, func() { p := packed(device.NF4, 2, 2); p.Cols = 3; d.Unpack(f(6), p) }},
		{"halves of another type", []string{"f32", "bf16"}, func() { d.Split(f(4), u(8), f(4)) }},
		{"a rest of another length", []string{"Join", "7 bytes"}, func() { d.Join(f(4), h(4), u(7)) }},
		{"an update before the first", []string{"AdamW", "step 0"}, func() { a := adam; a.Step = 0; d.AdamW(a) }},
		{"a moment of another length", []string{"AdamW", "3 elements", "4"}, func() { a := adam; a.V = f(3); d.AdamW(a) }},
		{"heads that keys do not divide", []string{"Attention", "3 heads"}, func() { a := attention; a.Heads, a.KVHeads = 3, 2; d.Attention(a) }},
		{"a sequence beyond the end", []string{"Attention", "sequences"}, func() { a := attention; a.Sequences = []device.Sequence{{QLen: 3, KLen: 3}}; d.Attention(a) }},
		{"a gradient without log-sum-exp", []string{"AttentionGrad", "LSE"}, func() {
			d.AttentionGrad(device.AttentionGrad{Attention: attention, DO: f(16), DQ: f(16), DK: f(8), DV: f(8)})
		}},
		{"a low-rank gradient of another rank", []string{"LowRankGrad", "rank 8"}, func() { g := low; g.U = h(64 * 9); d.LowRankGrad(g) }},
		{"a negative size", []string{"Alloc", "-1"}, func() { d.Alloc(-1, device.F32) }},
		{"a free of a part", []string{"Free", "slice"}, func() { d.Free(f(4).Slice(1, 4)) }},
		{"a free of the first part", []string{"Free", "slice"}, func() { d.Free(f(4).Slice(0, 2)) }},
		{"a second free", []string{"freed twice"}, func() { b := f(4); d.Free(b); d.Free(b) }},
		{"a use after free", []string{"freed buffer"}, func() { b := f(4); d.Free(b); d.Scale(b, 1) }},
		{"more elements than there are", []string{"elements 0:5", "16 bytes"}, func() { b := f(4); b.Len = 5; d.Scale(b, 1) }},
		{"elements of no memory", []string{"no memory"}, func() { d.Scale(device.Buffer{Len: 1}, 1) }},
		{"another device's buffer", []string{"another device", "int"}, func() { d.Scale(device.Buffer{Mem: 1, Len: 1}, 1) }},
		{"an eviction of what is not paged", []string{"Evict"}, func() { d.Evict(f(1)) }},
		{"a part that goes to the host", []string{"Stash"}, func() { d.Stash(f(4).Slice(1, 4)) }},
		{"the return of what never went", []string{"Unstash"}, func() { d.Unstash(f(4)) }},
		{"the return of what is gone", []string{"Unstash", "freed"}, func() { s := d.Stash(f(4)); d.Free(s); d.Unstash(s) }},
		{"a use of what is on the host", []string{"on the host"}, func() { d.Scale(d.Stash(f(4)), 1) }},
	} {
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		r.log = nil
		message := said(c.f)
		for _, word := range append(c.words, "cuda: ") {
			if !strings.Contains(message, word) {
				t.Errorf("%s: %q does not say %q", c.what, message, word)
			}
		}
		if err := d.Sync(); err != nil {
			t.Errorf("%s: afterwards %v", c.what, err)
		}
		if names := slices.DeleteFunc(r.launches(), func(n string) bool { return n == kernelWrite.name }); len(names) > 0 {
			t.Errorf("%s: launches %v", c.what, names)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestKnownNumbers: indices that the host wrote are checked before a kernel runs, without waiting for the card; those that a kernel may have changed
// are left to the kernel.
func TestKnownNumbers(t *testing.T) {
	d, r := openRecorder(t)
	table, y := d.Alloc(3*2, device.F32), d.Alloc(2*2, device.F32)
	look := func(ids device.Buffer) bool { // says whether it is refused
		r.log = nil
		refused := strings.Contains(said(func() { d.Embedding(y, table, ids) }), "Embedding of id 7")
		if slices.ContainsFunc(r.log, func(l string) bool { return l == "sync" || l == "wait" }) {
			t.Errorf("indices are read back: %v", r.log)
		}
		return refused
	}
	ids := d.Alloc(4, device.I32)
	if look(ids.Slice(0, 2)) {
		t.Error("numbers that nobody wrote are refused")
	}
	d.Write(ids.Slice(1, 3), []int32{7, 1})
	for _, c := range []struct {
		lo, hi int
		want   bool
	}{{0, 2, true}, {1, 3, true}, {2, 4, false}} {
		if got := look(ids.Slice(c.lo, c.hi)); got != c.want {
			t.Errorf("a 7 among numbers %d to %d is refused: %v", c.lo, c.hi, got)
		}
	}
	for name, change := range map[string]func(){
		"Fill": func() { d.Fill(ids.Slice(1, 2), 0) },
		"Pick": func() { d.Pick(ids.Slice(1, 2), ids.Slice(2, 3), ids.Slice(3, 4)) },
		"Route": func() {
			d.Route(device.Route{E: 2, K: 1, Logits: y.Slice(0, 2), Index: ids.Slice(1, 2), Weights: y.Slice(2, 3)})
		},
		"Sample": func() {
			d.Sample(device.Sample{V: 2, Logits: y.Slice(0, 2), Random: ids.Slice(2, 4), IDs: ids.Slice(1, 2), Temperature: 1, TopP: 1})
		},
	} {
		d.Write(ids, []int32{0, 7, 0, 0})
		change()
		if look(ids.Slice(0, 2)) {
			t.Errorf("%s wrote over a 7, which is refused all the same", name)
		}
		d.Write(ids.Slice(1, 2), []int32{7})
		if !look(ids.Slice(0, 2)) {
			t.Errorf("a 7 written after %s is taken", name)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestStashWaits: a copy to the host waits for what is computed before, and memory for the copy that is made of it; one back waits for the copy there,
// and kernels for it, once.
func TestStashWaits(t *testing.T) {
	d, r := openRecorder(t)
	b := d.Alloc(1000, device.F32)
	d.Write(b, slices.Repeat([]float32{3}, 1000))
	calls := func(what string, f func(), want ...string) {
		t.Helper()
		r.log = nil
		f()
		got := slices.DeleteFunc(r.log, func(l string) bool {
			return l == "pin" || strings.HasPrefix(l, "load") || strings.HasPrefix(l, "launch")
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: the driver is asked for %q, want %q", what, got, want)
		}
	}
	var stashed, back device.Buffer
	calls("Stash", func() { stashed = d.Stash(b) }, "mark 0", "await 2", "copy 2", "mark 2")
	calls("a second Stash of it", func() { d.Free(d.Stash(b)) }, "await 0", "mark 0", "await 2", "copy 2", "mark 2")
	calls("Free of what is copied", func() { d.Free(b) }, "await 0")
	calls("Unstash", func() { back = d.Unstash(stashed) }, "mark 0", "await 1", "mark 2", "await 1", "copy 1", "mark 1")
	calls("Arrived", func() { d.Arrived(back) }, "await 0")
	calls("Arrived again", func() { d.Arrived(back) })
	calls("Free of both", func() { d.Free(stashed); d.Free(back) })
	if m := d.Memory(); m.InUse != 0 {
		t.Errorf("%d bytes in use", m.InUse)
	}
	if n, _, _ := d.host.Stats(); n != 0 {
		t.Errorf("%d bytes of the host are held", n)
	}
	back = d.Unstash(d.Stash(d.Alloc(4, device.I32)))
	calls("Free of what has not arrived", func() { d.Free(back) }, "await 0")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestPagedMisuse: paged state needs a folder and room on the host, and is no memory of the card.
func TestPagedMisuse(t *testing.T) {
	d, r := openRecorder(t)
	dir := t.TempDir()
	if _, err := d.AllocPaged(dir+"/none", 1, device.F32); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := d.AllocPaged(dir, 1<<50, device.U8); err == nil || !strings.Contains(err.Error(), "adamw8bit") {
		t.Errorf("more than the host has: %v", err)
	}
	r.fails["pin"] = fmt.Errorf("locked")
	if _, err := d.AllocPaged(dir, 1, device.F32); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("memory that cannot be pinned: %v", err)
	}
	delete(r.fails, "pin")
	b, err := d.AllocPaged(dir, 10, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	if m := d.Memory(); m.InUse != 0 {
		t.Errorf("a paged buffer takes %d bytes of the card", m.InUse)
	}
	d.Evict(b)
	r.log = nil
	d.Free(b)
	if !slices.Equal(r.log, []string{"sync", "unpin"}) { // the card may still copy to it
		t.Errorf("Free of a paged buffer asks for %v", r.log)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestCardIsNamed: reports name the card, its architecture and its memory.
func TestCardIsNamed(t *testing.T) {
	d, _ := openRecorder(t)
	if got, want := d.Name(), "cuda (recorder, sm_90, 0 GB)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if d.FewRows() != manyRows || !d.Joins() || d.LogitRows(1000) != device.CardLogitRows(1000) || !d.Draws(device.Sample{TopK: 3}) {
		t.Error("what the device says of itself is another")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
