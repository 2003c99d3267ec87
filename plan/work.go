package plan

import (
	"time"

	"hone/device"
)

// Work is what a device is asked for, by what limits its kernels.
type Work struct {
	F32     Arithmetic `json:"f32"`
	BF16    Arithmetic `json:"bf16"`          // of operands in bf16
	Read    int64      `json:"read_bytes"`    // of keys and values, by attention of few queries, as in decoding
	Calls   int64      `json:"calls"`         // of kernels, which take a time even for nothing
	Moved   int64      `json:"moved_bytes"`   // read and written by kernels that are no products
	Updated int64      `json:"updated_bytes"` // the same of the optimizer
	NF4     int64      `json:"nf4_bytes"`     // read and written to unpack weights
	Int8    int64      `json:"int8_bytes"`    // the same of the other packing
}

// Arithmetic is floating-point operations by the kind of kernel, an addition or a multiplication each.
type Arithmetic struct {
	Wide          int64 `json:"wide"`          // products
	Narrow        int64 `json:"narrow"`        // products with a side of at most 32, as adapters have them
	Few           int64 `json:"few"`           // products of at most 16 rows with a weight, whose time is for the most part that of reading it
	Weights       int64 `json:"weights_bytes"` // read by those
	Attention     int64 `json:"attention"`
	AttentionGrad int64 `json:"attention_grad"` // four products; a kernel that computes the scores again has a fifth, which is no work of the model
	Short         int64 `json:"short"`          // further operations that attention would do in the time that it loses on short sequences
	ShortGrad     int64 `json:"short_grad"`
}

// The bounds of narrow products and of few rows.
const (
	narrowMost = 32
	fewMost    = 16
)

// Rates are what a machine can do at most, as peak.Measure finds them, and how fast kernels are that no share of that tells of.
type Rates struct {
	F32       float64 `json:"f32_gflops"`
	BF16      float64 `json:"bf16_gflops"` // 0 where the arithmetic of f32 serves it, too
	ReadGBs   float64 `json:"read_gb_per_s"`
	CopyGBs   float64 `json:"copy_gb_per_s"`
	UpdateGBs float64 `json:"update_gb_per_s"`

	FewF32  FewRows `json:"few_rows_f32"`
	FewBF16 FewRows `json:"few_rows_bf16"`
	CallUS  float64 `json:"call_us"` // of a kernel beside its work: the host's part, handing out to cores, waiting for them
	NF4GBs  float64 `json:"nf4_gb_per_s"`
	Int8GBs float64 `json:"int8_gb_per_s"`
}

// Meter finds the rates of a machine that the time of such work depends on. The others may be missing.
type Meter func(w Work) (Rates, error)

// FewRows is how fast products of few rows go: weights are read at GBs with a single row, and each further row is multiplied at GFLOPS.
type FewRows struct {
	GBs    float64 `json:"gb_per_s"`
	GFLOPS float64 `json:"gflops"`
}

// shares are the parts of a machine's peak that kinds of kernels reach, one number for all models. They are means of device/cpu on a Zen 4,
// each kernel measured alone: wide and narrow by products of training shapes (hone bench gemm has the wide ones), attention by
// BenchmarkAttention on sequences of 256, 512 and 1024, whose length over length+halfLength is the rest.
type shares struct{ wide, narrow, attention, attentionGrad float64 }

var (
	sharesF32  = shares{wide: 0.86, narrow: 0.6, attention: 0.72, attentionGrad: 0.61}
	sharesBF16 = shares{wide: 0.86, narrow: 0.5, attention: 0.59, attentionGrad: 0.48}
)

const (
	// halfLength is the length of sequences on which attention is half as fast as on long ones.
	halfLength = 128
	// shareRead is that of the bandwidth of reading which attention of few queries reaches.
	shareRead = 0.8
	// together is the share of a step that is left when cores have waited for each other at the end of each kernel; docs/performance/training.md has
	// 1 to 2 % of waiting by profiles of whole steps on an idle machine, and 5 % on one that others used.
	together = 0.95
)

// Add counts n times the work of b.
func (w *Work) Add(b Work, n int64) {
	w.F32.add(b.F32, n)
	w.BF16.add(b.BF16, n)
	w.Read += n * b.Read
	w.Calls += n * b.Calls
	w.Moved += n * b.Moved
	w.Updated += n * b.Updated
	w.NF4 += n * b.NF4
	w.Int8 += n * b.Int8
}

func (a *Arithmetic) add(b Arithmetic, n int64) {
	a.Wide += n * b.Wide
	a.Narrow += n * b.Narrow
	a.Few += n * b.Few
	a.Weights += n * b.Weights
	a.Attention += n * b.Attention
	a.AttentionGrad += n * b.AttentionGrad
	a.Short += n * b.Short
	a.ShortGrad += n * b.ShortGrad
}

// Filled is the work of batches that hold a share of the rows: the weights are unpacked and updated all the same.
func (w Work) Filled(share float64) Work {
	part := func(n *int64) { *n = int64(share * float64(*n)) }
	for _, a := range []*Arithmetic{&w.F32, &w.BF16} {
		for _, n := range []*int64{&a.Wide, &a.Narrow, &a.Few, &a.Attention, &a.AttentionGrad, &a.Short, &a.ShortGrad} {
			part(n)
		}
	}
	part(&w.Moved)
	return w
}

// FLOPs are the operations of both types.
func (w *Work) FLOPs() FLOPs {
	a := w.F32
	a.add(w.BF16, 1)
	return FLOPs{MatMul: a.Wide + a.Narrow + a.Few, Attention: a.Attention + a.AttentionGrad}
}

// Time is how long the work takes at the rates of a machine, each kind of kernel at its share of the peak, one after the other.
// It is zero where a rate that it needs is not known.
func (w *Work) Time(r Rates) time.Duration {
	for _, part := range []struct {
		work int64
		rate float64
	}{{1, min(r.F32, r.ReadGBs, r.CopyGBs, r.UpdateGBs)}, {w.F32.Weights, r.FewF32.GBs}, {w.BF16.Weights, r.FewBF16.GBs}, {w.NF4, r.NF4GBs}, {w.Int8, r.Int8GBs}} {
		if part.work > 0 && !(part.rate > 0) {
			return 0
		}
	}
	half := r.BF16
	if half == 0 {
		half = r.F32 // bf16 is widened
	}
	alone := w.F32.few(r.FewF32, device.F32) + w.BF16.few(r.FewBF16, device.BF16) + 1e3*float64(w.Calls)*r.CallUS + at(w.NF4, r.NF4GBs) + at(w.Int8, r.Int8GBs)
	ns := w.F32.ns(r.F32, sharesF32) + w.BF16.ns(half, sharesBF16) + float64(w.Read)/(shareRead*r.ReadGBs) +
		float64(w.Moved)/r.CopyGBs + float64(w.Updated)/r.UpdateGBs
	return time.Duration(ns/together + alone) // what is measured with the kernels themselves has the waiting in it
}

// at is nanoseconds of bytes, of which there may be none.
func at(bytes int64, gbs float64) float64 {
	if bytes == 0 {
		return 0
	}
	return float64(bytes) / gbs
}

// few is nanoseconds of products of few rows.
func (a Arithmetic) few(r FewRows, t device.DType) float64 {
	further := float64(a.Few) - 2*float64(a.Weights)/float64(t.Size()) // operations of all rows but the first of each product
	if a.Weights == 0 {
		return 0
	}
	return float64(a.Weights)/r.GBs + further/max(r.GFLOPS, 1)
}

// ns is nanoseconds at a peak in GFLOP/s, those of few rows left out.
func (a Arithmetic) ns(peak float64, s shares) float64 {
	return (float64(a.Wide)/s.wide + float64(a.Narrow)/s.narrow + float64(a.Attention+a.Short)/s.attention + float64(a.AttentionGrad+a.ShortGrad)/s.attentionGrad) / peak
}

// TimeBy is Time at rates that are measured for it; without a measure it is 0.
func (w *Work) TimeBy(measure Meter) (time.Duration, error) {
	if measure == nil {
		return 0, nil
	}
	r, err := measure(*w)
	return w.Time(r), err
}

// Work is what the device was asked for so far.
func (d *Device) Work() Work { return d.work }

// arithmetic is the counter of a type.
func (d *Device) arithmetic(t device.DType) *Arithmetic {
	if t == device.BF16 {
		return &d.work.BF16
	}
	return &d.work.F32
}

// size is the bytes of buffers; one that is absent has none.
func size(list ...device.Buffer) (n int64) {
	for _, b := range list {
		n += int64(b.Len) * int64(b.DType.Size())
	}
	return n
}

// move counts a kernel that reads and writes buffers once.
func (d *Device) move(list ...device.Buffer) {
	d.work.Moved += size(list...)
	d.work.Calls++
}
