package plan_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hone/device"
	"hone/plan"
	"hone/tensor"
)

// TestPeakNeverFalls: what is held later, or for the time of a call, moves the peak only where it is more than there was.
func TestPeakNeverFalls(t *testing.T) {
	dev := plan.NewDevice()
	dev.OnCard = true
	dev.Free(dev.Alloc(1000, device.F32))
	dev.Alloc(10, device.F32)
	dev.AttentionGrad(device.AttentionGrad{Attention: device.Attention{LSE: device.Buffer{Len: 100}}}) // 400 bytes beside the 40
	if m := dev.Memory(); m.InUse != 40 || m.Peak != 4000 {
		t.Errorf("%+v, want the peak of the first buffer", m)
	}
	paged, err := dev.AllocPaged("", 1000, device.F32)
	if err != nil || dev.Paged() != 4000 || dev.Memory().InUse != 40 {
		t.Errorf("%d bytes are paged, %+v, %v", dev.Paged(), dev.Memory(), err)
	}
	if dev.Free(paged); dev.Paged() != 0 {
		t.Errorf("%d bytes are paged after Free", dev.Paged())
	}
}

// TestForeignBuffer: a buffer of another device, or none, is a mistake that is named.
func TestForeignBuffer(t *testing.T) {
	for name, mem := range map[string]any{"[]float32": []float32{1}, "<nil>": nil} {
		func() {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, "Free of a "+name+" that is not in use") {
					t.Errorf("freeing a %s says %q", name, said)
				}
			}()
			plan.NewDevice().Free(device.Buffer{Mem: mem, Len: 1})
		}()
	}
}

// TestKindsOfProducts: what makes a product one of few rows, or a narrow one, at both sides of each bound.
func TestKindsOfProducts(t *testing.T) {
	const few, narrow, wide = "few", "narrow", "wide"
	for _, c := range []struct {
		m, n, k        int
		transA, transB bool
		want           string
	}{
		{16, 500, 500, false, true, few}, {17, 500, 500, false, true, narrow}, {33, 500, 500, false, true, wide},
		{16, 500, 500, true, true, narrow}, {16, 500, 500, false, false, narrow}, {500, 32, 500, false, true, narrow},
		{500, 33, 500, false, true, wide}, {500, 500, 32, true, false, narrow}, {500, 500, 33, true, false, wide},
	} {
		d := plan.NewDevice()
		d.MatMul(device.MatMul{M: c.m, N: c.n, K: c.k, TransA: c.transA, TransB: c.transB, A: device.Buffer{DType: device.F32}, B: device.Buffer{DType: device.BF16}})
		want, n := plan.Work{Calls: 1}, 2*int64(c.m)*int64(c.n)*int64(c.k)
		switch c.want {
		case few: // the operands' type is that of the rows; the weights' bytes are of their own
			want.F32.Few, want.F32.Weights = n, 2*int64(c.n)*int64(c.k)
		case narrow:
			want.F32.Narrow = n
		default:
			want.F32.Wide = n
		}
		if got := d.Work(); got != want {
			t.Errorf("%+v is counted as %+v, want %s", c, got, c.want)
		}
	}
}

// TestUnpackedOnTheWay: each condition of device/cuda alone is enough to have a product's weights unpacked before it.
func TestUnpackedOnTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*device.MatMul, *device.Packed)
		want   bool
	}{
		"all hold":            {func(*device.MatMul, *device.Packed) {}, true},
		"a batch of one":      {func(m *device.MatMul, _ *device.Packed) { m.Batch = 1 }, true},
		"another packing":     {func(_ *device.MatMul, p *device.Packed) { p.Packing = device.Int8 }, false},
		"rows of f32":         {func(m *device.MatMul, _ *device.Packed) { m.A.DType = device.F32 }, false},
		"rows across":         {func(m *device.MatMul, _ *device.Packed) { m.TransA = true }, false},
		"weights across":      {func(m *device.MatMul, _ *device.Packed) { m.TransB = false }, false},
		"across, but many":    {func(m *device.MatMul, _ *device.Packed) { m.TransB, m.N = false, 12288 }, true},
		"several products":    {func(m *device.MatMul, _ *device.Packed) { m.Batch = 2 }, false},
		"depth in part of 8":  {func(m *device.MatMul, _ *device.Packed) { m.K = 124 }, false},
		"stride in part of 8": {func(m *device.MatMul, _ *device.Packed) { m.LDA = 132 }, false},
		"rows end in a block": {func(_ *device.MatMul, p *device.Packed) { p.Cols = 128 + device.NF4Block/2 }, false},
	} {
		d := plan.NewDevice()
		d.OnCard = true
		p := device.Packed{Packing: device.NF4, Rows: 256, Cols: 128, Codes: d.Alloc(256*128/2, device.U8)}
		m := device.MatMul{M: 4, N: 256, K: 128, A: d.Alloc(4*128, device.BF16), LDA: 128, TransB: true}
		c.change(&m, &p)
		if got := d.MatMulPacked(m, p); got != c.want {
			t.Errorf("%s: unpacked on the way is %v", name, got)
		}
		want := plan.Work{} // what is refused is counted when it is done otherwise
		if c.want {
			want.Calls = 1
		}
		if got := d.Work().Calls; got != want.Calls {
			t.Errorf("%s: %d calls", name, got)
		}
		d.OnCard = false
		if d.MatMulPacked(m, p) {
			t.Errorf("%s: a processor unpacks on the way", name)
		}
	}
}

// TestAttentionWork: by hand, with 2 heads of 8 channels that share one of keys. A query of a pair (query, key) takes 4·8·2 = 64 operations, and a sequence
// of n keys loses 128/n of its operations (half speed at 128). Few queries read each key and value once: 2·8 numbers of 2 bytes for a key.
func TestAttentionWork(t *testing.T) {
	for _, c := range []struct {
		seqs                   []device.Sequence
		attention, short, read int64
	}{
		{[]device.Sequence{{QLen: 3, KLen: 3}}, 64 * 6, 64 * 6 * 128 / 3, 32 * 3},
		{[]device.Sequence{{QLen: 16, KLen: 256}}, 64 * (241 + 256) * 8, 64 * (241 + 256) * 8 / 2, 32 * 256},
		{[]device.Sequence{{QLen: 17, KLen: 17}}, 64 * 17 * 9, 64 * 17 * 9 * 128 / 17, 0},
		{[]device.Sequence{{QLen: 1, KLen: 2}, {QLen: 1, KLen: 64}}, 64 * 66, 64*128 + 64*128, 32 * 66},
		{[]device.Sequence{{}}, 0, 0, 0}, // an empty sequence divides by nothing
	} {
		a := device.Attention{Q: device.Buffer{DType: device.F32}, K: device.Buffer{DType: device.BF16}, Heads: 2, KVHeads: 1, D: 8, Sequences: c.seqs}
		d := plan.NewDevice()
		d.Attention(a)
		if got, want := d.Work(), (plan.Work{F32: plan.Arithmetic{Attention: c.attention, Short: c.short}, Read: c.read, Calls: 1}); got != want {
			t.Errorf("%v: %+v, want %+v", c.seqs, got, want)
		}
		d = plan.NewDevice()
		d.AttentionGrad(device.AttentionGrad{Attention: a})
		if got, want := d.Work(), (plan.Work{F32: plan.Arithmetic{AttentionGrad: 2 * c.attention, ShortGrad: 2 * c.short}, Calls: 1}); got != want {
			t.Errorf("the gradient of %v: %+v, want %+v", c.seqs, got, want)
		}
	}
}

// TestCutKeys: the parts that device/cuda cuts the keys of few queries into, 4·parts·KVHeads·rows·(D+2) bytes, by hand.
func TestCutKeys(t *testing.T) {
	for name, c := range map[string]struct {
		heads, d, window int
		dtype            device.DType
		seqs             []device.Sequence
		parts, rows      int64
	}{
		"one part":                  {4, 64, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 128}}, 0, 0},
		"two":                       {4, 64, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 129}}, 2, 16},
		"heads of 128":              {4, 128, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 128}}, 0, 0},
		"wider heads: half":         {4, 136, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 128}}, 2, 16},
		"f32 is not cut":            {4, 64, 0, device.F32, []device.Sequence{{QLen: 1, KLen: 300}}, 0, 0},
		"one of two is cut":         {4, 64, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 300}, {QLen: 1, KLen: 5}}, 3 + 1, 16},
		"the other":                 {4, 64, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 5}, {QLen: 1, KLen: 300}}, 1 + 3, 16},
		"blocks hold the most":      {4, 64, 0, device.BF16, []device.Sequence{{QLen: 5, KLen: 300}, {QLen: 1, KLen: 300}}, 6, 32},
		"before the window":         {4, 64, 100, device.BF16, []device.Sequence{{QLen: 1, KLen: 356}}, 1 + 0, 0}, // keys 256 to 356: one part
		"a window across parts":     {4, 64, 101, device.BF16, []device.Sequence{{QLen: 1, KLen: 356}}, 2, 16},    // key 255 is in the part before
		"a window past the first":   {4, 64, 500, device.BF16, []device.Sequence{{QLen: 1, KLen: 300}}, 3, 16},    // all keys
		"the first query's window":  {4, 64, 100, device.BF16, []device.Sequence{{QLen: 2, KLen: 356}}, 2, 16},    // it sees key 255
		"many queries are not few":  {4, 64, 0, device.BF16, []device.Sequence{{QLen: 9, KLen: 300}}, 0, 0},
		"nor is one such beside it": {4, 64, 0, device.BF16, []device.Sequence{{QLen: 1, KLen: 300}, {QLen: 9, KLen: 9}}, 0, 0},
	} {
		dev := plan.NewDevice()
		dev.OnCard = true
		dev.Attention(device.Attention{Q: device.Buffer{DType: c.dtype}, Heads: 2 * c.heads, KVHeads: 2, D: c.d, Window: c.window, Sequences: c.seqs})
		if got, want := dev.Memory().Peak, 4*c.parts*2*c.rows*int64(c.d+2); got != want {
			t.Errorf("%s: %d bytes, want %d", name, got, want)
		}
	}
}

// TestArrangedCopy: the copy of a weight is held, and is a call that reads and writes it.
func TestArrangedCopy(t *testing.T) {
	d := plan.NewDevice()
	a, ok := d.Arrange(d.Alloc(3*5, device.BF16), 3, 5, true)
	if !ok || a.K != 3 || a.N != 5 || !a.TransB || d.Memory().InUse != 2*30 || d.Work() != (plan.Work{Calls: 1, Moved: 60}) {
		t.Errorf("%+v, %v; %d bytes in use, %+v", a, ok, d.Memory().InUse, d.Work())
	}
}

// TestPaddedCopy: where it is known how a processor pads the copy, that is held, and no more is read and written for it; one without a copy has none.
func TestPaddedCopy(t *testing.T) {
	d := plan.NewDevice()
	d.Arranged = func(k, n int, t device.DType) int { return map[int]int{3: 2 * k * n}[k] }
	w := d.Alloc(3*5, device.F32)
	if _, ok := d.Arrange(w, 3, 5, true); !ok || d.Memory().InUse != 60+120 || d.Work() != (plan.Work{Calls: 1, Moved: 120}) {
		t.Errorf("%v; %d bytes in use, %+v", ok, d.Memory().InUse, d.Work())
	}
	if _, ok := d.Arrange(w, 5, 3, true); ok {
		t.Error("a weight is arranged of which the processor makes no copy")
	}
}

// TestWorkAdds: every number of a Work is added n times, also one that a later change adds to the struct.
func TestWorkAdds(t *testing.T) {
	var fill func(v reflect.Value, next func() int64)
	fill = func(v reflect.Value, next func() int64) {
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Struct {
				fill(f, next)
			} else {
				f.SetInt(next())
			}
		}
	}
	var check func(t *rapid.T, got, a, b reflect.Value, n int64)
	check = func(t *rapid.T, got, a, b reflect.Value, n int64) {
		for i := range got.NumField() {
			if f := got.Field(i); f.Kind() == reflect.Struct {
				check(t, f, a.Field(i), b.Field(i), n)
			} else if f.Int() != a.Field(i).Int()+n*b.Field(i).Int() {
				t.Errorf("%s is %d, want %d + %d·%d", got.Type().Field(i).Name, f.Int(), a.Field(i).Int(), n, b.Field(i).Int())
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		next := func() int64 { return int64(rapid.IntRange(1, 1<<20).Draw(t, "number")) }
		var a, b plan.Work
		fill(reflect.ValueOf(&a).Elem(), next)
		fill(reflect.ValueOf(&b).Elem(), next)
		n := int64(rapid.IntRange(-3, 3).Draw(t, "times"))
		got := a
		got.Add(b, n)
		check(t, reflect.ValueOf(got), reflect.ValueOf(a), reflect.ValueOf(b), n)
	})
}

// TestMeasureLeavesLoadingOut: what loading a model computes and holds for a while is of no step, and of many micro-batches two are run.
func TestMeasureLeavesLoadingOut(t *testing.T) {
	dev := plan.NewDevice()
	micros, updated := 0, false
	pass := func(tape *tensor.Tape) *tensor.Tensor {
		w := tensor.NewParam(4, 4)
		w.Alloc(dev, device.F32)
		return tensor.Linear(tape.Floats(make([]float32, 40*4), 40, 4), w, nil)
	}
	m, err := plan.Measure(dev, plan.Step{
		Weights: func() error {
			big := dev.Alloc(1<<20, device.F32)
			dev.MatMul(device.MatMul{M: 100, N: 100, K: 100, A: big, B: big, C: big})
			dev.Free(big)
			return nil
		},
		Optimizer: func() error { return nil },
		Tape:      func() *tensor.Tape { return tensor.NewTape(dev, device.F32) },
		Forward:   func(tape *tensor.Tape) { pass(tape) },
		Loss:      func(tape *tensor.Tape) *tensor.Tensor { micros++; return tensor.Sum(pass(tape)) },
		Micros:    7,
		Update:    func() error { updated = true; dev.Fill(device.Buffer{Len: 5}, 0); return nil },
	})
	if err != nil || micros != 2 || !updated {
		t.Fatalf("%d micro-batches were run, updated is %v, %v", micros, updated, err)
	}
	if m.Forward.MatMul != 2*40*4*4 || m.FLOPs.MatMul != 2*2*40*4*4 || m.Work.FLOPs().MatMul != 7*m.FLOPs.MatMul || m.Peak >= 4<<20 {
		t.Errorf("%+v", m)
	}
	once := plan.Memory{FLOPs: plan.FLOPs{MatMul: 10}, Forward: plan.FLOPs{MatMul: 4}}
	if once.Once(0) != 10 { // a model without layers
		t.Errorf("%d operations", once.Once(0))
	}
	bad := errors.New("disk full")
	for name, s := range map[string]plan.Step{
		"optimizer": {Weights: func() error { return nil }, Optimizer: func() error { return bad }},
		"update": {Weights: func() error { return nil }, Optimizer: func() error { return nil }, Tape: func() *tensor.Tape { return tensor.NewTape(dev, device.F32) },
			Forward: func(*tensor.Tape) {}, Update: func() error { return bad }},
	} {
		if m, err := plan.Measure(plan.NewDevice(), s); !errors.Is(err, bad) || m != (plan.Memory{}) || !strings.HasPrefix(err.Error(), "plan the memory: ") {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestPlanTable: the whole of both tables, the short one and the one with every row.
func TestPlanTable(t *testing.T) {
	for want, m := range map[string]plan.Memory{
		"weights              1.0 KiB\n" +
			"gradients            2.0 KiB  freed one by one in the update\n" +
			"optimizer            3.0 KiB\n" +
			"activations          4.0 KiB\n" +
			"logits               5.0 KiB  held a piece at a time\n" +
			"peak                 6.0 KiB  the parts are not all held at the same time\n": {},
		"weights              1.0 KiB\n" +
			"gradients            2.0 KiB  freed one by one in the update\n" +
			"optimizer            3.0 KiB\n" +
			"optimizer, paged     7.0 KiB  in files, or beside a card in the host's memory; not in the peak\n" +
			"offloaded            8.0 KiB  activations on the host, not in the peak\n" +
			"activations          4.0 KiB  1 layers are run again\n" +
			"logits               5.0 KiB  held a piece at a time\n" +
			"peak                 6.0 KiB  the parts are not all held at the same time\n" +
			"card's own           9.0 KiB  beside the peak, at most: for copies, the library of products, memory committed ahead\n": {Paged: 7 << 10, Offloaded: 8 << 10, Own: 9 << 10, Recompute: 1},
	} {
		m.Weights, m.Gradients, m.Optimizer, m.Activations, m.Logits, m.Peak = 1<<10, 2<<10, 3<<10, 4<<10, 5<<10, 6<<10
		var out bytes.Buffer
		if m.Print(&out); out.String() != want {
			t.Errorf("the table is\n%s\nwant\n%s", out.String(), want)
		}
	}
}

// TestOnePrice: a line's values as they are read, and the bounds of a price.
func TestOnePrice(t *testing.T) {
	const header = "provider,machine,gpu,gpus,usd_per_hour,spot_usd_per_hour,date,source\n"
	list, err := plan.ReadPrices("my.csv", strings.NewReader(header+"AWS,M1,A100-80GB,8,1e9,0.5,2026-02-28,here\nx,m,h100,1,2,,2026-01-01,\n"))
	want := plan.Price{Provider: "aws", Machine: "M1", GPU: "a100", GPUs: 8, USD: 1e9, Spot: 0.5, Date: "2026-02-28", Source: "here"}
	if err != nil || len(list) != 2 || list[0] != want || list[1].Spot != 0 {
		t.Errorf("%+v, %v, want %+v", list, err, want)
	}
	for line, want := range map[string]string{
		"x,m,h100,two,1,,2026-01-01,":    `my.csv:3: gpus is "two"; it must be a whole number of at least 1`,
		"x,m,h100,1,0,,2026-01-01,":      `my.csv:3: "0" is no price in dollars an hour`,
		"x,m,h100,1,,,2026-01-01,":       `my.csv:3: "" is no price in dollars an hour`,
		"x,m,h100,1,1.1e9,,2026-01-01,":  `my.csv:3: "1.1e9" is no price in dollars an hour`,
		"x,m,h100,1,+Inf,,2026-01-01,":   `my.csv:3: "+Inf" is no price in dollars an hour`,
		"x,m,h100,1,2 USD,,2026-01-01,":  `my.csv:3: "2 USD" is no price in dollars an hour`,
		"x,m,h100,1,1,free,2026-01-01,":  `my.csv:3: "free" is no price in dollars an hour`,
		"x,m,h100,1,1,,2026-02-29,":      `my.csv:3: the date is "2026-02-29"; write YYYY-MM-DD`,
		"x,m,h100,1,1,2026-01-01,source": "my.csv: record on line 3: wrong number of fields; the columns are provider,machine,",
	} {
		_, err := plan.ReadPrices("my.csv", strings.NewReader(header+"x,m,h100,1,2,,2026-01-01,\n"+line+"\n"))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q", line, err, want)
		}
	}
}

// TestShares: tensor parallelism divides everything of a GPU, ZeRO what the copies of that hold; a frozen critic of an adapter is there only with a critic.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := plan.Sharded{Params: 96e6, Linear: 48e6, Layer: 12e6, Trainable: 96e6, Method: "full", GPUs: 12, ZeRO: rapid.IntRange(0, 3).Draw(t, "zero"),
			TP: rapid.SampledFrom([]int{1, 2, 3, 4, 6, 12}).Draw(t, "tp"), Offload: "none", Activations: 24e6, Logits: 36e6, Scratch: 12e6, KVCache: 48e6}
		m, tp, dp := s.Memory(), int64(s.TP), int64(12/s.TP)
		by := func(stage int) int64 { // what holds a share from a stage of ZeRO on
			if s.ZeRO >= stage {
				return tp * dp
			}
			return tp
		}
		whole := s
		whole.GPUs, whole.TP = 1, 1
		w := whole.Memory()
		for name, pair := range map[string][2]int64{
			"weights": {m.Weights, 192e6 / by(3)}, "gradients": {m.Gradients, 192e6 / by(2)}, "optimizer": {m.Optimizer, 12 * 96e6 / by(1)},
			"activations": {m.Activations, 24e6 / tp}, "logits": {m.Logits, 36e6 / tp}, "cache": {m.KVCache, 48e6 / tp},
			"scratch": {m.Workspace - w.Workspace, 12e6/tp - 12e6}, "critic": {m.Critic, 0},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %d bytes, want %d", name, pair[0], pair[1])
			}
		}
		if s.Method = "lora"; s.Memory().Critic != 0 {
			t.Errorf("without a critic %d bytes are its", s.Memory().Critic)
		}
	})
}

// TestShardedValidates: GPUs and what shares a layer, by the words of the error.
func TestShardedValidates(t *testing.T) {
	for _, c := range []struct {
		gpus, tp int
		want     string
	}{
		{1, 1, ""}, {8, 4, ""}, {8, 8, ""}, {0, 1, "gpus is 0; it must be at least 1"}, {-1, 1, "gpus is -1"}, {4, 0, "tensor_parallel is 0; it must divide the 4 gpus"},
		{4, -1, "tensor_parallel is -1; it must divide"}, {4, 3, "tensor_parallel is 3; it must divide the 4 gpus"},
		{16, 16, "tensor_parallel is 16 and the model has 8 heads, which cannot be divided so"},
	} {
		err := plan.Sharded{GPUs: c.gpus, TP: c.tp}.Validate(8)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d GPUs, %d to a layer: %v, want %q", c.gpus, c.tp, err, c.want)
		}
	}
}

// TestChinchillaKeepsCompute: the best model of the same compute takes 20 tokens a parameter and as many operations, whatever was asked.
func TestChinchillaKeepsCompute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, tokens := rapid.Int64Range(1e3, 1e13).Draw(t, "parameters"), rapid.Float64Range(1e3, 1e15).Draw(t, "tokens")
		a := plan.Chinchilla(n, tokens)
		if a.OptimalTokens != 20*float64(n) || !near(a.SameComputeTokens, 20*a.SameCompute) || !near(a.SameCompute*a.SameComputeTokens, float64(n)*tokens) ||
			!near(a.TokensPerParameter*float64(n), tokens) || math.IsNaN(a.SameCompute) {
			t.Errorf("%d parameters and %g tokens: %+v", n, tokens, a)
		}
	})
}
