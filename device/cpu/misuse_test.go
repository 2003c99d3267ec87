package cpu

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"hone/device"
)

// TestMisuseSaysWhat: operands that do not fit panic on the caller's goroutine, where they can be recovered, with the kernel's name and the sizes.
func TestMisuseSaysWhat(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 2})
	f := func(n int) device.Buffer { return device.AllocZero(d, n, device.F32) }
	h := func(n int) device.Buffer { return device.AllocZero(d, n, device.BF16) }
	u := func(n int) device.Buffer { return device.AllocZero(d, n, device.U8) }
	ids := func(v ...int32) device.Buffer {
		b := d.Alloc(len(v), device.I32)
		d.Write(b, v)
		return b
	}
	packed := func(p device.Packing, rows, cols int) device.Packed { return device.NewPacked(d, p, rows, cols) }
	arranged, ok := d.Arrange(f(12), 4, 3, true)
	if !ok {
		t.Fatal("a weight in f32 is not arranged")
	}
	turned, _ := d.Arrange(f(12), 4, 3, false)
	combine := device.Combine{C: 2, K: 2, Y: f(2), X: f(6), Index: ids(0, 2)}
	route := device.Route{E: 4, K: 2, Logits: f(8), Index: ids(0, 0, 0, 0), Weights: f(4)}
	rope := device.Rope{Y: f(8), X: f(8), Cos: f(6), Sin: f(6), Positions: ids(0, 2), Heads: 1, D: 4, Rotary: 4}
	adam := device.AdamW{Param: f(4), Grad: f(4), M: f(4), V: f(4), Step: 1}
	for _, c := range []struct {
		what  string
		words []string
		f     func()
	}{
		{"a write of other numbers", []string{"Write", "3", "4"}, func() { d.Write(f(4), make([]float32, 3)) }},
		{"a write of bf16 into integers", []string{"i32", "bf16"}, func() { d.Write(ids(1), make([]uint16, 1)) }},
		{"a write of a type that is none", []string{"Write", "[]int"}, func() { d.Write(f(1), []int{1}) }},
		{"a read into a type that is none", []string{"Read", "[]float64"}, func() { _ = d.Read(make([]float64, 1), f(1)) }},
		{"a read into fewer numbers", []string{"Read", "3", "4"}, func() { _ = d.Read(make([]float32, 3), f(4)) }},
		{"an operation of one that is none", []string{"unary"}, func() { d.Unary(device.UnaryOps, f(1), f(1)) }},
		{"a slope of one that is none", []string{"unary"}, func() { d.UnaryGrad(device.UnaryOps, f(1), f(1), f(1), false) }},
		{"a value and slope of one that is none", []string{"unary"}, func() { d.UnaryBoth(device.UnaryOps, f(1), f(1), f(1)) }},
		{"an operation of two that is none", []string{"binary"}, func() { d.Binary(device.BinaryOps, f(1), f(1), f(1)) }},
		{"a gate that is none", []string{"unary"}, func() { d.Gated(device.UnaryOps, f(1), f(1), f(1)) }},
		{"a gate's slope that is none", []string{"unary"}, func() { d.GatedGrad(device.UnaryOps, f(1), f(1), f(1), f(1), f(1)) }},
		{"a gate and slope that are none", []string{"unary"}, func() { d.GatedBoth(device.UnaryOps, f(1), f(1), f(1), f(1), f(1)) }},
		{"a reduction that is none", []string{"reduce"}, func() { d.Reduce(device.NonFinite+1, f(1), f(1)) }},
		{"a copy of bf16 of other lengths", []string{"Unary", "3", "4"}, func() { d.Unary(device.Identity, h(4), h(3)) }},
		{"a slope of another length", []string{"UnaryGrad"}, func() { d.UnaryGrad(device.SiLU, f(4), f(4), f(3), false) }},
		{"a value of another length", []string{"UnaryBoth"}, func() { d.UnaryBoth(device.SiLU, f(4), f(4), f(3)) }},
		{"a sum into another length", []string{"AddScaled"}, func() { d.AddScaled(f(4), 1, f(3)) }},
		{"a gate of another length", []string{"GatedGrad"}, func() { d.GatedGrad(device.SiLU, f(4), f(4), f(4), f(4), f(3)) }},
		{"a gate of another length", []string{"GatedBoth"}, func() { d.GatedBoth(device.SiLU, f(4), f(4), f(4), f(3), f(4)) }},
		{"a reduction into two numbers", []string{"Reduce"}, func() { d.Reduce(device.Sum, f(2), f(4)) }},
		{"a number of rows that is broken", []string{"ColumnSum", "5", "3"}, func() { d.ColumnSum(f(3), f(5), false) }},
		{"sums in bf16", []string{"bf16", "f32"}, func() { d.ColumnSum(h(3), f(6), false) }},
		{"a copy beyond the source", []string{"Copy2D", "2×3"}, func() { d.Copy2D(device.Copy2D{Dst: f(6), DstStride: 3, Src: f(6), SrcStride: 4, Rows: 2, Cols: 3}) }},
		{"a copy beyond the destination", []string{"Copy2D", "2×3"}, func() { d.Copy2D(device.Copy2D{Dst: f(5), DstStride: 3, Src: f(6), SrcStride: 3, Rows: 2, Cols: 3}) }},
		{"rows that overlap", []string{"Copy2D", "stride 2"}, func() { d.Copy2D(device.Copy2D{Dst: f(9), DstStride: 2, Src: f(6), SrcStride: 3, Rows: 2, Cols: 3}) }},
		{"a probability of NaN", []string{"Dropout", "NaN"}, func() { d.Dropout(f(1), f(1), float32(math.NaN()), 0) }},
		{"a probability below 0", []string{"Dropout", "-1"}, func() { d.Dropout(f(1), f(1), -1, 0) }},
		{"rows of a norm that are broken", []string{"Norm", "5", "3"}, func() { d.Norm(device.Norm{C: 3, Y: f(5), X: f(5)}) }},
		{"means too few", []string{"Norm"}, func() { d.Norm(device.Norm{C: 3, Y: f(6), X: f(6), Mean: f(1)}) }},
		{"weights too few", []string{"Norm"}, func() { d.Norm(device.Norm{C: 3, Y: f(6), X: f(6), Weight: f(2)}) }},
		{"no root for the gradient", []string{"NormGrad"}, func() { d.NormGrad(device.NormGrad{C: 3, DX: f(6), DY: f(6), X: f(6)}) }},
		{"no means for the gradient", []string{"NormGrad"}, func() { d.NormGrad(device.NormGrad{C: 3, DX: f(6), DY: f(6), X: f(6), Rstd: f(2), Center: true}) }},
		{"an odd number of rotated channels", []string{"Rope", "3 channels"}, func() { r := rope; r.Rotary = 3; d.Rope(r) }},
		{"more channels than there are", []string{"Rope", "6 channels", "heads of 4"}, func() { r := rope; r.Rotary = 6; d.Rope(r) }},
		{"a position behind the table", []string{"Rope", "row 1", "position 3", "has 3"}, func() { r := rope; r.Positions = ids(0, 3); d.Rope(r) }},
		{"a position before the table", []string{"Rope", "row 0", "position -1"}, func() { r := rope; r.Positions = ids(-1, 2); d.Rope(r) }},
		{"a position too few", []string{"Rope", "2 rows", "1 positions"}, func() { r := rope; r.Positions = ids(0); d.Rope(r) }},
		{"sines too few", []string{"Rope", "6 cosines", "4 sines"}, func() { r := rope; r.Sin = f(4); d.Rope(r) }},
		{"an id behind the table", []string{"Embedding", "id 3", "at 1", "3 rows"}, func() { d.Embedding(f(4), f(6), ids(0, 3)) }},
		{"an id below 0", []string{"EmbeddingGrad", "id -1"}, func() { d.EmbeddingGrad(f(6), f(4), ids(0, -1)) }},
		{"rows that do not divide", []string{"Embedding", "2 rows", "5 elements"}, func() { d.Embedding(f(5), f(6), ids(0, 1)) }},
		{"a table that does not divide", []string{"Embedding", "table of 7"}, func() { d.Embedding(f(4), f(7), ids(0, 1)) }},
		{"more experts than there are", []string{"Route", "5 of 4"}, func() { r := route; r.K = 5; d.Route(r) }},
		{"no experts", []string{"Route", "0 of 4"}, func() { r := route; r.K = 0; d.Route(r) }},
		{"places too few", []string{"Route", "3 places"}, func() { r := route; r.Index = ids(0, 0, 0); d.Route(r) }},
		{"gradients too few", []string{"RouteGrad"}, func() { d.RouteGrad(device.RouteGrad{Route: route, DLogits: f(8), DWeights: f(3)}) }},
		{"a row that is not there", []string{"Combine", "row 3", "at 1", "there are 3"}, func() { c := combine; c.Index = ids(0, 3); d.Combine(c) }},
		{"a row below 0", []string{"Combine", "row -1"}, func() { c := combine; c.Index = ids(-1, 0); d.Combine(c) }},
		{"rows that do not divide", []string{"Combine", "3 rows", "2 at a time"}, func() { c := combine; c.Index = ids(0, 1, 2); d.Combine(c) }},
		{"rows none at a time", []string{"CombineGrad", "0 at a time"}, func() { c := combine; c.K = 0; d.CombineGrad(device.CombineGrad{Combine: c, DY: f(2), DX: f(6)}) }},
		{"a target that is no column", []string{"CrossEntropy", "target 3", "row 1", "3 columns"}, func() {
			d.CrossEntropy(device.CrossEntropy{V: 3, Logits: f(6), Targets: ids(-1, 3), Loss: f(2)})
		}},
		{"rows of logits that overlap", []string{"CrossEntropy", "3 columns", "2"}, func() { d.CrossEntropy(device.CrossEntropy{V: 3, LD: 2, Logits: f(6), Targets: ids(0), Loss: f(1)}) }},
		{"no columns", []string{"CrossEntropy", "0 columns"}, func() { d.CrossEntropy(device.CrossEntropy{Logits: f(6), Targets: ids(0), Loss: f(1)}) }},
		{"random numbers too few", []string{"Sample", "2 rows", "3"}, func() {
			d.Sample(device.Sample{V: 3, Logits: f(6), Random: ids(0, 0, 0), IDs: ids(0, 0), Temperature: 1, TopP: 1})
		}},
		{"factors of two types", []string{"MatMul", "f32", "bf16"}, func() { d.MatMul(device.MatMul{M: 1, N: 1, K: 1, A: f(1), B: h(1), C: f(1)}) }},
		{"added factors of two types", []string{"MatMulPlus", "f32", "bf16"}, func() {
			d.MatMulPlus(device.MatMul{M: 1, N: 1, K: 1, A: f(1), B: f(1), C: f(1)}, device.MatMul{K: 1, A: f(1), B: h(1)})
		}},
		{"a bias of another length", []string{"MatMul", "1", "2"}, func() { d.MatMul(device.MatMul{M: 1, N: 2, K: 1, A: f(1), B: f(2), C: f(2), Bias: f(1)}) }},
		{"sums too few", []string{"MatMulSums"}, func() { d.MatMulSums(device.MatMul{M: 1, N: 2, K: 1, A: f(1), B: f(2), C: f(2)}, f(1), false) }},
		{"a weight of another size", []string{"Arrange", "12", "4×4"}, func() { d.Arrange(f(12), 4, 4, true) }},
		{"an arranged weight of another size", []string{"Rearrange"}, func() { a := arranged; a.N = 300; d.Rearrange(f(12), a) }},
		{"a row of an arranged weight that is not there", []string{"ArrangedRows", "row 3", "of 3"}, func() { d.ArrangedRows(f(4), arranged, ids(3)) }},
		{"a row of a weight without rows", []string{"ArrangedRows", "false"}, func() { d.ArrangedRows(f(4), turned, ids(0)) }},
		{"a packing that is none", []string{"Pack", "packing 0"}, func() { d.Pack(packed(device.Unpacked, 2, 2), f(4)) }},
		{"numbers too few to pack", []string{"Pack", "3", "4"}, func() { d.Pack(packed(device.Int8, 2, 2), f(3)) }},
		{"packed numbers of another shape", []string{"Unpack", "2×3"}, func() { p := packed(device.NF4, 2, 2); p.Cols = 3; d.Unpack(f(6), p) }},
		{"halves of another type", []string{"Split", "f32"}, func() { d.Split(f(4), u(8), f(4)) }},
		{"a rest of another length", []string{"Join", "7 bytes"}, func() { d.Join(f(4), h(4), u(7)) }},
		{"an update before the first", []string{"AdamW", "step 0"}, func() { a := adam; a.Step = 0; d.AdamW(a) }},
		{"a moment of another length", []string{"AdamW"}, func() { a := adam; a.V = f(3); d.AdamW(a) }},
		{"codes of another length", []string{"AdamW", "moments"}, func() { a := adam; a.M, a.V, a.MScale, a.VScale = u(4), u(3), f(1), f(1); d.AdamW(a) }},
		{"scales too few", []string{"AdamW"}, func() {
			d.AdamW(device.AdamW{Param: f(257), Grad: f(257), M: u(257), V: u(257), MScale: f(1), VScale: f(1), Step: 1})
		}},
		{"eviction of what is not paged", []string{"Evict"}, func() { d.Evict(f(1)) }},
		{"elements of no memory", []string{"no memory"}, func() { d.Scale(device.Buffer{Len: 1}, 1) }},
		{"another device's buffer", []string{"another device", "int"}, func() { d.Scale(device.Buffer{Mem: 1, Len: 1}, 1) }},
	} {
		message := func() (m string) {
			defer func() { m = fmt.Sprint(recover()) }()
			c.f()
			return ""
		}()
		for _, word := range append(c.words, "cpu: ") {
			if !strings.Contains(message, word) {
				t.Errorf("%s: %q does not say %q", c.what, message, word)
			}
		}
	}
}

// TestFreeTakesWholeBuffers: the first part of a buffer is a slice of it as any other.
func TestFreeTakesWholeBuffers(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	b := d.Alloc(100, device.F32)
	message := func() (m string) {
		defer func() { m = fmt.Sprint(recover()) }()
		d.Free(b.Slice(0, 50))
		return ""
	}()
	if !strings.Contains(message, "slice") {
		t.Fatalf("Free of the first half of a buffer says %q", message)
	}
	d.Free(b)
	empty := d.Alloc(0, device.F32)
	d.Free(empty)
	if m := d.Memory(); m.InUse != 0 {
		t.Errorf("%d bytes in use", m.InUse)
	}
}

// TestEmptyOperands: no rows, no elements and no tokens are no work and no misuse.
func TestEmptyOperands(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		d := newTestDevice(t, Options{Threads: threads})
		f := func(n int) device.Buffer { return device.AllocZero(d, n, device.F32) }
		none, ids, one := f(0), d.Alloc(0, device.I32), f(1)
		d.Write(one, []float32{5})
		d.Fill(none, 1)
		d.Unary(device.SiLU, none, none)
		d.UnaryGrad(device.SiLU, none, none, none, true)
		d.Binary(device.Add, none, none, none)
		d.AddScaled(none, 1, none)
		d.Scale(none, 2)
		d.Gated(device.SiLU, none, none, none)
		d.Dropout(none, none, 0.5, 1)
		d.Copy2D(device.Copy2D{Dst: none, Src: none})
		d.Norm(device.Norm{C: 3, X: none, Y: none, Eps: 1})
		d.Rope(device.Rope{X: none, Y: none, Positions: ids, Cos: none, Sin: none, Heads: 1, D: 2})
		d.Embedding(none, f(3), ids)
		d.EmbeddingGrad(f(3), none, ids)
		d.CrossEntropy(device.CrossEntropy{V: 3, Logits: none, Targets: ids, Loss: none})
		d.Attention(device.Attention{O: none, Q: none, K: none, V: none, Heads: 1, KVHeads: 1, D: 4})
		d.MatMuls(nil)
		d.AdamW(device.AdamW{Param: none, Grad: none, M: none, V: none, Step: 1})
		weights, bias := f(3), f(3)
		d.Fill(weights, 7)
		d.Fill(bias, 7)
		d.NormGrad(device.NormGrad{C: 3, X: none, DY: none, DX: none, Rstd: none, DWeight: weights, DBias: bias})
		d.ColumnSum(one, none, true) // adds nothing
		for _, op := range []device.ReduceOp{device.Sum, device.SumSquares, device.MaxAbs, device.NonFinite} {
			y := f(1)
			d.Fill(y, 9)
			d.Reduce(op, y, none)
			if v := f32s(y)[0]; v != 0 {
				t.Errorf("%d threads: reduction %d of nothing is %v", threads, op, v)
			}
		}
		if f32s(one)[0] != 5 {
			t.Errorf("%d threads: sums of no rows change what they are added to", threads)
		}
		d.ColumnSum(one, none, false)
		for name, b := range map[string]device.Buffer{"ColumnSum": one, "the weights of NormGrad": weights, "the biases of NormGrad": bias} {
			for _, v := range f32s(b) {
				if v != 0 {
					t.Errorf("%d threads: %s over no rows is %v", threads, name, v)
				}
			}
		}
		b := f(6) // a product over nothing is zero, or the bias
		d.Fill(b, 3)
		d.MatMul(device.MatMul{M: 2, N: 3, A: none, B: none, C: b})
		for _, v := range f32s(b) {
			if v != 0 {
				t.Errorf("%d threads: a product over nothing is %v", threads, v)
			}
		}
	}
}

// TestPagedBuffers: paged memory begins as zeros, keeps what was written across Evict, counts for nothing, and a folder that is not there is an error.
func TestPagedBuffers(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	if _, err := d.AllocPaged(t.TempDir()+"/none", 10, device.F32); err == nil || !strings.Contains(err.Error(), "page") {
		t.Errorf("a folder that is not there: %v", err)
	}
	b, err := d.AllocPaged(t.TempDir(), 5000, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	if m := d.Memory(); m.InUse != 0 {
		t.Errorf("a paged buffer counts %d bytes", m.InUse)
	}
	for i, v := range f32s(b) {
		if v != 0 {
			t.Fatalf("element %d begins as %v", i, v)
		}
	}
	d.Fill(b.Slice(10, 4990), 3)
	d.Evict(b)
	d.Evict(b.Slice(100, 200))
	if s := f32s(b); s[9] != 0 || s[10] != 3 || s[4989] != 3 || s[4990] != 0 {
		t.Errorf("after Evict: %v %v %v %v", s[9], s[10], s[4989], s[4990])
	}
	d.Free(b)
	for name, f := range map[string]func(){"a second Free": func() { d.Free(b) }, "a use after Free": func() { d.Scale(b, 1) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			f()
		}()
	}
}

// TestName says how many threads there are.
func TestName(t *testing.T) {
	for threads, want := range map[int]string{1: "cpu (1 thread)", 3: "cpu (3 threads)"} {
		if got := newTestDevice(t, Options{Threads: threads}).Name(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
