package device

import (
	"slices"
	"strings"
	"testing"
)

// TestNames: what recipes write is read, and everything else is refused with what there is.
func TestNames(t *testing.T) {
	for name, want := range map[string]struct {
		kind  string
		index int
	}{"cpu": {"cpu", 0}, "cuda": {"cuda", 0}, "cuda:0": {"cuda", 0}, "cuda:11": {"cuda", 11}} {
		if kind, index, err := ParseName(name); err != nil || kind != want.kind || index != want.index {
			t.Errorf("%s is %s %d, %v", name, kind, index, err)
		}
	}
	for _, name := range []string{"", "gpu", "CUDA", "cpu:0", "cuda:", "cuda:-1", "cuda:1:2", "cuda:x", "cuda:99999999999999999999"} {
		if kind, _, err := ParseName(name); err == nil || kind != "" || !strings.Contains(err.Error(), "use cpu, cuda or cuda:N") {
			t.Errorf("%q is %q, %v", name, kind, err)
		}
	}
	for dtype, size := range map[DType]int{F32: 4, BF16: 2, I32: 4, U8: 1} {
		if got, err := ParseDType(dtype.String()); err != nil || got != dtype || dtype.Size() != size {
			t.Errorf("%v reads as %v, %v, and has %d bytes", dtype, got, err, dtype.Size())
		}
	}
	for _, name := range []string{"", "F32", "fp16", "DType(9)"} {
		if _, err := ParseDType(name); err == nil {
			t.Errorf("%q is read", name)
		}
	}
}

// TestSlice: a slice of a slice counts from it, and one past either end panics before a kernel can read there.
func TestSlice(t *testing.T) {
	b := Buffer{Mem: 1, Off: 5, Len: 10, DType: BF16}
	if got := b.Slice(2, 8).Slice(1, 6); got != (Buffer{Mem: 1, Off: 8, Len: 5, DType: BF16}) {
		t.Errorf("got %+v", got)
	}
	if got := b.Slice(10, 10); got.Len != 0 || got.IsZero() || !(Buffer{}).IsZero() {
		t.Errorf("the empty slice at the end is %+v", got)
	}
	for _, bad := range [][2]int{{-1, 3}, {4, 3}, {0, 11}, {11, 11}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the slice %v is taken", bad)
				}
			}()
			b.Slice(bad[0], bad[1])
		}()
	}
}

// TestAttentionRows: sizes that fit give the rows, and each that does not is found before memory is read.
func TestAttentionRows(t *testing.T) {
	of := func(n int) Buffer { return Buffer{Mem: 1, Len: n} }
	fits := func() *Attention { // 4 heads on 2, of 8: rows of 32 and 16
		return &Attention{O: of(5 * 32), Q: of(5 * 32), K: of(7 * 16), V: of(7 * 16), Heads: 4, KVHeads: 2, D: 8,
			Sequences: []Sequence{{Q: 0, QLen: 2, K: 0, KLen: 4}, {Q: 2, QLen: 3, K: 4, KLen: 3}}}
	}
	if q, k, ok := fits().Rows(); q != 5 || k != 7 || !ok {
		t.Errorf("%d and %d rows, %v", q, k, ok)
	}
	columns := fits() // of one matrix of rows of 32+16+16, in which the last row ends before the next would begin
	columns.LDQ, columns.LDKV = 64, 64
	columns.Q, columns.K, columns.V = of(4*64+32), of(6*64+16), of(6*64+16)
	if q, k, ok := columns.Rows(); q != 5 || k != 7 || !ok {
		t.Errorf("of columns: %d and %d rows, %v", q, k, ok)
	}
	for what, change := range map[string]func(a *Attention){
		"no heads":                      func(a *Attention) { a.Heads = 0 },
		"heads that do not divide":      func(a *Attention) { a.KVHeads = 3 },
		"no width":                      func(a *Attention) { a.D = 0 },
		"a window below 0":              func(a *Attention) { a.Window = -1 },
		"rows of Q that overlap":        func(a *Attention) { a.LDQ = 31 },
		"rows of K that overlap":        func(a *Attention) { a.LDKV = 15 },
		"less O than Q":                 func(a *Attention) { a.O = of(4 * 32) },
		"less V than K":                 func(a *Attention) { a.V = of(6 * 16) },
		"queries behind the end":        func(a *Attention) { a.Sequences[1].Q = 3 },
		"keys behind the end":           func(a *Attention) { a.Sequences[1].K = 5 },
		"more queries than keys":        func(a *Attention) { a.Sequences[0].KLen = 1 },
		"a sequence before the start":   func(a *Attention) { a.Sequences[0].Q = -1 },
		"keys before the start":         func(a *Attention) { a.Sequences[0].K = -1 },
		"a sequence of negative length": func(a *Attention) { a.Sequences[0].QLen = -1 },
	} {
		a := fits()
		change(a)
		if _, _, ok := a.Rows(); ok {
			t.Errorf("%s: is taken", what)
		}
	}
}

// TestDynamicMap: the codes rise, none stands twice, and with signs all but 1 stand on both sides of 0.
func TestDynamicMap(t *testing.T) {
	for _, signed := range []bool{true, false} {
		codes := DynamicMap(signed)
		for i := 1; i < len(codes); i++ {
			if codes[i] <= codes[i-1] {
				t.Fatalf("signed %v: code %d is %v behind %v", signed, i, codes[i], codes[i-1])
			}
		}
		if !slices.Contains(codes[:], 0) || codes[255] != 1 || !signed && codes[0] != 0 {
			t.Errorf("signed %v: from %v to %v", signed, codes[0], codes[255])
		}
		for _, c := range codes[:255] {
			if signed && !slices.Contains(codes[:], -c) {
				t.Errorf("%v is a code and %v is none", c, -c)
			}
		}
	}
}

// TestPackedSizes: the last block of each kind may be short, and still has its own scale.
func TestPackedSizes(t *testing.T) {
	for _, c := range []struct {
		packing    Packing
		rows, cols int
		want       [4]int
	}{
		{NF4, 1, 1, [4]int{1, 1, 1, 1}}, {NF4, 8, 8, [4]int{32, 1, 1, 1}}, {NF4, 5, 13, [4]int{33, 2, 1, 1}},
		{NF4, 256, 64, [4]int{8192, 256, 1, 1}}, {NF4, 257, 64, [4]int{8224, 257, 2, 1}}, {Int8, 5, 13, [4]int{65, 0, 5, 0}},
	} {
		p := Packed{Packing: c.packing, Rows: c.rows, Cols: c.cols}
		var got [4]int
		if got[0], got[1], got[2], got[3] = p.Sizes(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for bits, want := range map[int]Packing{0: Unpacked, 4: NF4, 8: Int8} {
		if got, err := PackingOf(bits); err != nil || got != want {
			t.Errorf("%d bits: %v, %v", bits, got, err)
		}
	}
	for _, bits := range []int{-4, 1, 2, 3, 5, 16} {
		if _, err := PackingOf(bits); err == nil {
			t.Errorf("%d bits are taken", bits)
		}
	}
}

// TestOutOfMemory sums what holds the memory by its use, the most first, and says what helps: first against what was asked for.
func TestOutOfMemory(t *testing.T) {
	e := &OutOfMemory{Device: "cuda:0", Asked: 512 << 20, For: Activations, InUse: 7 << 30, Total: 8 << 30, Holders: []Holder{
		{Activations, "tensor.Linear", 1 << 30}, {Weights, "nn.Load", 2 << 30}, {Weights, "nn.Head", 3 << 30}, {Activations, "tensor.Norm", 1 << 29},
	}}
	const want = "cuda:0 is out of memory: 512 MiB asked for activations with 7168 MiB in use of 8192 MiB: weights 5120 MiB (most by nn.Head)," +
		" activations 1536 MiB (most by tensor.Linear); lower batch_size or sequence_length, or set recompute=layers; or use dtype=bf16 or method=qlora"
	if got := e.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e = &OutOfMemory{Device: "cpu", Asked: 1 << 20, For: Weights, Holders: []Holder{{Weights, "nn.Load", 3 << 20}}}
	if got := e.Error(); strings.Contains(got, " of 0 MiB") || strings.Count(got, "method=qlora") != 1 {
		t.Errorf("the same remedy twice, or a total that nobody knows: %s", got)
	}
}
