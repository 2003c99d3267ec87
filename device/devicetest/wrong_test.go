package devicetest

import (
	"math"
	"slices"
	"testing"

	"hone/device"
)

// wrong is a device that is right but for one thing, which it does wrongly as a device might.
type wrong struct {
	rounding
	what string
}

// is says whether the thing that is wrong is this one.
func (w wrong) is(what string) bool { return w.what == what }

// TestSuiteFindsErrors breaks one thing at a time: the suite must not pass. It runs the group's test on a T of its own, whose failure is what is
// wanted.
func TestSuiteFindsErrors(t *testing.T) {
	for _, c := range []struct {
		test func(p *pair)
		what []string
	}{
		{testMemory, []string{"Free does not count", "the peak stays", "bf16 is cut off"}},
		{testMatMul, []string{"MatMul always overwrites", "MatMul has no bias", "MatMul forgets the last sum"}},
		{(*pair).batchedMatMul, []string{"MatMul of the first batch alone"}},
		{testFill, []string{"Fill outside", "Fill forgets the last", "Fill of integers"}},
		{testUnary, []string{"GELU for GELUErf", "UnaryGrad always overwrites", "UnaryBoth without slope", "ReLU of NaN is 0"}},
		{testBinary, []string{"Scale by a little more", "Max loses NaN", "Sub the other way round", "AddScaled without a factor"}},
		{testGated, []string{"Gated with gate for up", "GatedGrad without up", "GatedBoth without slope"}},
		{testCopy2D, []string{"Copy2D always overwrites", "Copy2D without a row"}},
		{testDropout, []string{"Dropout by another key", "Dropout without scale"}},
		{testNorm, []string{"Norm without offset", "Norm without eps", "Norm without bias", "Norm keeps no mean", "NormGrad always overwrites x", "NormGrad always overwrites w",
			"NormGrad without mean"}},
		{testRope, []string{"Rope backwards", "Rope of all channels"}},
		{testAttention, []string{"Attention unscaled", "Attention of other heads", "Attention keeps no LSE", "AttentionGrad adds"}},
		{attentionOf("window"), []string{"Attention with a wider window"}},
		{attentionOf("soft cap"), []string{"Attention without a cap"}},
		{testAttentionColumns, []string{"Attention unscaled", "AttentionGrad adds"}},
		{testEmbedding, []string{"Embedding of the first", "EmbeddingGrad overwrites", "Embedding takes any id"}},
		{testRoute, []string{"Route takes the last of equals", "Route without sums", "RouteGrad without sums"}},
		{testCombine, []string{"Combine without weights", "CombineGrad without weights"}},
		{testCrossEntropy, []string{"CrossEntropy without z", "CrossEntropy without smoothing", "CrossEntropy without weights", "CrossEntropy without entropy's weights",
			"CrossEntropy fills gaps", "CrossEntropy of all targets"}},
		{testReduce, []string{"Reduce counts NaN alone", "Reduce with signs", "Reduce forgets the last"}},
		{testColumnSum, []string{"ColumnSum always overwrites"}},
		{testAdamW, []string{"AdamW unscaled", "AdamW uncorrected", "AdamW without decay"}},
		{testAdamW8, []string{"AdamW without eps", "AdamW8 rounds down"}},
		{testPack, []string{"Pack cuts off", "Unpack without offset"}},
		{testMatMuls, []string{"MatMul always overwrites"}},
		{testMatMulPlus, []string{"MatMul always overwrites"}},
		{testMatMulSums, []string{"ColumnSum always overwrites"}},
	} {
		for _, what := range c.what {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				inner := &testing.T{}
				done := make(chan bool)
				go func() { // Fatal ends the goroutine
					defer close(done)
					p := newPair(inner, wrong{rounding{NewReference()}, what})
					p.once = true
					c.test(p)
				}()
				<-done
				if !inner.Failed() {
					t.Error("such a device passes")
				}
			})
		}
	}
}

// attentionOf tests one of the cases of attention, for the sake of time.
func attentionOf(name string) func(p *pair) {
	i := slices.IndexFunc(attentionCases, func(c attentionCase) bool { return c.name == name })
	return func(p *pair) { p.attention(attentionCases[i], device.F32) }
}

func (w wrong) Free(b device.Buffer) {
	w.rounding.Free(b)
	if w.is("Free does not count") {
		w.inUse += int64(b.Len) * int64(b.DType.Size())
	}
}

func (w wrong) ResetPeak() {
	if !w.is("the peak stays") {
		w.rounding.ResetPeak()
	}
}

func (w wrong) Write(dst device.Buffer, src any) {
	if s, ok := src.([]float32); ok && dst.DType == device.BF16 && w.is("bf16 is cut off") {
		h := make([]uint16, len(s))
		for i, v := range s {
			h[i] = uint16(math.Float32bits(v) >> 16)
		}
		src = h
	}
	w.rounding.Write(dst, src)
}

func (w wrong) MatMul(m device.MatMul) {
	switch {
	case w.is("MatMul always overwrites"):
		m.Accumulate = false
	case w.is("MatMul has no bias"):
		m.Bias = device.Buffer{}
	case w.is("MatMul of the first batch alone"):
		m.Batch = min(m.Batch, 1)
	case w.is("MatMul forgets the last sum") && m.K > 8 && !m.TransA: // whose rows stay as far apart
		m.LDA, m.K = orDense(m.LDA, m.K), m.K-1
		if m.TransB {
			m.LDB = orDense(m.LDB, m.K+1)
		}
	}
	w.rounding.MatMul(m)
}

func (w wrong) Fill(y device.Buffer, v float32) {
	switch {
	case w.is("Fill outside") && y.Off > 0:
		y.Len++
	case w.is("Fill forgets the last") && y.Len > 100:
		y.Len--
	case w.is("Fill of integers") && y.DType == device.I32:
		v = -v
	}
	w.rounding.Fill(y, v)
}

func (w wrong) Unary(op device.UnaryOp, y, x device.Buffer) {
	if w.is("GELU for GELUErf") && op == device.GELUErf {
		op = device.GELU
	}
	w.rounding.Unary(op, y, x)
	if w.is("ReLU of NaN is 0") && op == device.ReLU {
		for i, v := range floats(y) {
			if v != v {
				floats(y)[i] = 0
			}
		}
	}
}

func (w wrong) UnaryGrad(op device.UnaryOp, dx, x, dy device.Buffer, acc bool) {
	w.rounding.UnaryGrad(op, dx, x, dy, acc && !w.is("UnaryGrad always overwrites"))
}

func (w wrong) UnaryBoth(op device.UnaryOp, y, dy, x device.Buffer) {
	if w.is("UnaryBoth without slope") {
		w.rounding.Unary(op, y, x)
		return
	}
	w.rounding.UnaryBoth(op, y, dy, x)
}

func (w wrong) Binary(op device.BinaryOp, y, a, b device.Buffer) {
	switch {
	case w.is("Sub the other way round") && op == device.Sub:
		a, b = b, a
	case w.is("Max loses NaN") && op == device.Max:
		left, right, out := slices.Clone(floats(a)), slices.Clone(floats(b)), floats(y)
		for i := range out {
			if out[i] = right[i]; left[i] > right[i] {
				out[i] = left[i]
			}
		}
		return
	}
	w.rounding.Binary(op, y, a, b)
}

func (w wrong) AddScaled(y device.Buffer, a float32, x device.Buffer) {
	if w.is("AddScaled without a factor") {
		a = 1
	}
	w.rounding.AddScaled(y, a, x)
}

func (w wrong) Scale(y device.Buffer, a float32) {
	if w.is("Scale by a little more") {
		a *= 1.001
	}
	w.rounding.Scale(y, a)
}

func (w wrong) Gated(act device.UnaryOp, y, gate, up device.Buffer) {
	if w.is("Gated with gate for up") {
		up = gate
	}
	w.rounding.Gated(act, y, gate, up)
}

func (w wrong) GatedGrad(act device.UnaryOp, dgate, dup, gate, up, dy device.Buffer) {
	if w.is("GatedGrad without up") {
		up = gate
	}
	w.rounding.GatedGrad(act, dgate, dup, gate, up, dy)
}

func (w wrong) GatedBoth(act device.UnaryOp, y, dgate, dy, gate, up device.Buffer) {
	w.rounding.GatedBoth(act, y, dgate, dy, gate, up)
	if w.is("GatedBoth without slope") {
		w.rounding.Fill(dgate, 0)
	}
}

func (w wrong) Copy2D(c device.Copy2D) {
	c.Acc = c.Acc && !w.is("Copy2D always overwrites")
	if w.is("Copy2D without a row") && c.Rows > 2 {
		c.Rows--
	}
	w.rounding.Copy2D(c)
}

func (w wrong) Dropout(y, x device.Buffer, p float32, key uint64) {
	if w.is("Dropout by another key") {
		key++
	}
	w.rounding.Dropout(y, x, p, key)
	if w.is("Dropout without scale") {
		w.rounding.Scale(y, 1-p)
	}
}

func (w wrong) Norm(k device.Norm) {
	switch {
	case w.is("Norm without offset"):
		k.WeightOffset = 0
	case w.is("Norm without eps"):
		k.Eps = 0
	case w.is("Norm without bias"):
		k.Bias = device.Buffer{}
	case w.is("Norm keeps no mean"):
		k.Mean = device.Buffer{}
	}
	w.rounding.Norm(k)
}

func (w wrong) NormGrad(k device.NormGrad) {
	k.AccX = k.AccX && !w.is("NormGrad always overwrites x")
	k.AccW = k.AccW && !w.is("NormGrad always overwrites w")
	k.Center = k.Center && !w.is("NormGrad without mean")
	w.rounding.NormGrad(k)
}

func (w wrong) Rope(a device.Rope) {
	a.Inverse = a.Inverse != w.is("Rope backwards")
	if w.is("Rope of all channels") && a.Rotary < a.D && a.Rotary > 0 {
		a.D, a.Heads = a.Rotary, a.Heads*a.D/a.Rotary
	}
	w.rounding.Rope(a)
}

// attention is a with what is wrong with attention.
func (w wrong) attention(a device.Attention) device.Attention {
	switch {
	case w.is("Attention with a wider window") && a.Window > 0:
		a.Window++
	case w.is("Attention without a cap"):
		a.SoftCap = 0
	case w.is("Attention unscaled"):
		a.Scale = 1
	case w.is("Attention of other heads") && a.Heads > a.KVHeads && a.KVHeads > 1: // the first key/value head serves all
		a.LDKV, a.KVHeads = orDense(a.LDKV, a.KVHeads*a.D), 1
	case w.is("Attention keeps no LSE"):
		a.LSE = device.Buffer{}
	}
	return a
}

func (w wrong) Attention(a device.Attention) { w.rounding.Attention(w.attention(a)) }

func (w wrong) AttentionGrad(a device.AttentionGrad) {
	a.Attention = w.attention(a.Attention)
	before := slices.Clone(floats(a.DV))
	w.rounding.AttentionGrad(a)
	if w.is("AttentionGrad adds") {
		for i, v := range before {
			floats(a.DV)[i] += v
		}
	}
}

func (w wrong) Embedding(y, table, ids device.Buffer) {
	if w.is("Embedding takes any id") {
		for i, id := range ints(ids) {
			if id < 0 || int(id)*y.Len/ids.Len >= table.Len {
				ints(ids)[i] = 0
			}
		}
	}
	w.rounding.Embedding(y, table, ids)
	if w.is("Embedding of the first") {
		c := y.Len / max(ids.Len, 1)
		for i := range floats(y) {
			floats(y)[i] = floats(y)[i%c]
		}
	}
}

func (w wrong) EmbeddingGrad(dtable, dy, ids device.Buffer) {
	if w.is("EmbeddingGrad overwrites") {
		w.rounding.Fill(dtable, 0)
	}
	w.rounding.EmbeddingGrad(dtable, dy, ids)
}

func (w wrong) Route(a device.Route) {
	if w.is("Route without sums") && !a.ProbSum.IsZero() {
		w.rounding.Fill(a.ProbSum, 0)
		a.ProbSum = device.Buffer{}
	}
	w.rounding.Route(a)
	if !w.is("Route takes the last of equals") {
		return
	}
	for j, e := range ints(a.Index) {
		row := floats(a.Logits)[j/a.K*a.E : (j/a.K+1)*a.E]
		for other := a.E - 1; other > int(e); other-- {
			if row[other] == row[e] && !slices.Contains(ints(a.Index)[j/a.K*a.K:(j/a.K+1)*a.K], int32(other)) {
				ints(a.Index)[j] = int32(other)
			}
		}
	}
}

func (w wrong) RouteGrad(a device.RouteGrad) {
	if w.is("RouteGrad without sums") {
		a.DProbSum = device.Buffer{}
	}
	w.rounding.RouteGrad(a)
}

func (w wrong) Combine(a device.Combine) {
	if w.is("Combine without weights") {
		a.Weights = device.Buffer{}
	}
	w.rounding.Combine(a)
}

func (w wrong) CombineGrad(a device.CombineGrad) {
	w.rounding.CombineGrad(a)
	if w.is("CombineGrad without weights") && !a.DWeights.IsZero() {
		w.rounding.Fill(a.DWeights, 0)
	}
}

func (w wrong) CrossEntropy(a device.CrossEntropy) {
	switch {
	case w.is("CrossEntropy without z"):
		a.ZLoss = 0
	case w.is("CrossEntropy without smoothing"):
		a.Smoothing = 0
	case w.is("CrossEntropy without weights"):
		a.Weights = device.Buffer{}
	case w.is("CrossEntropy without entropy's weights"):
		a.EntropyWeights = device.Buffer{}
	case w.is("CrossEntropy fills gaps") && !a.DLogits.IsZero() && a.LD > a.V:
		w.rounding.Fill(a.DLogits, 0)
	case w.is("CrossEntropy of all targets"):
		for i, t := range ints(a.Targets) {
			ints(a.Targets)[i] = max(t, 0)
		}
	}
	w.rounding.CrossEntropy(a)
}

func (w wrong) Reduce(op device.ReduceOp, y, x device.Buffer) {
	if w.is("Reduce forgets the last") && x.Len > 100 {
		x.Len--
	}
	w.rounding.Reduce(op, y, x)
	switch {
	case w.is("Reduce counts NaN alone") && op == device.NonFinite:
		n := 0.0
		for _, v := range floats(x) {
			if v != v {
				n++
			}
		}
		floats(y)[0] = n
	case w.is("Reduce with signs") && op == device.MaxAbs:
		floats(y)[0] = slices.Max(floats(x))
	}
}

func (w wrong) ColumnSum(y, x device.Buffer, acc bool) {
	w.rounding.ColumnSum(y, x, acc && !w.is("ColumnSum always overwrites"))
}

func (w wrong) AdamW(a device.AdamW) {
	switch {
	case w.is("AdamW unscaled"):
		a.Scale = 1
	case w.is("AdamW uncorrected"):
		a.Step = 1000
	case w.is("AdamW without decay"):
		a.Decay = 0
	case w.is("AdamW without eps"):
		a.Eps = 0
	}
	w.rounding.AdamW(a)
	if w.is("AdamW8 rounds down") && !a.MScale.IsZero() {
		for i, code := range bytes(a.M) {
			bytes(a.M)[i] = code - min(code, 1)
		}
	}
}

func (w wrong) Pack(p device.Packed, x device.Buffer) {
	w.rounding.Pack(p, x)
	if w.is("Pack cuts off") && p.Packing == device.Int8 {
		for i, code := range bytes(p.Codes) {
			if int8(code) > 0 {
				bytes(p.Codes)[i]--
			}
		}
	}
}

func (w wrong) Unpack(y device.Buffer, p device.Packed) {
	if w.is("Unpack without offset") && p.Packing == device.NF4 {
		offset := floats(p.Offset)[0]
		floats(p.Offset)[0] = 0
		defer func() { floats(p.Offset)[0] = offset }()
	}
	w.rounding.Unpack(y, p)
}
