package meter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hone/device"
	"hone/device/cpu"
	"hone/generate"
	"hone/internal/clock"
	"hone/model"
	"hone/nn"
	"hone/plan"
	"hone/tensor"
)

// Decoding times tokens that two models of zeros write, for the plan. They are written by the engine, so that what the host
// does for a token and what a kernel takes beside its work are in it as they are: both have as many weights, in a few wide
// layers and in many narrow ones, and what the second takes longer is the time of the kernels that it has more of.
//
// Rates are of the mean time, not of the best: other guests of a machine take its memory for seconds at a time, in which reading is half as
// fast, and a run that lasts has its share of them.
type Decoding struct {
	wide, narrow *decodeModel
	weights      float64         // of each, in numbers
	one, many    []time.Duration // of a token of the wide model, for one sequence and for decodeRows
	thin         []time.Duration // of the narrow one, for one
}

// decodeSizes are those of the two models: a layer has 12·C² weights, so that a narrow model of the same weights has (wide/narrow)² the layers.
type decodeSizes struct{ wide, narrow, bytes int }

var (
	decodeUsual = decodeSizes{wide: 768, narrow: 192, bytes: 100 << 20} // beyond the caches
	decodeSmall = decodeSizes{wide: 192, narrow: 48}                    // for the time of kernels, and where they are slow, as in an emulator: then caches do not matter
)

const (
	decodeRows   = 16 // sequences side by side, beside one
	decodeTokens = 4
	decodeRuns   = 6
	decodeTime   = 400 * time.Millisecond // after which there are no more runs: on a busy machine one takes seconds
	// decodeSlowAt is how long a token of one layer of the usual narrow model takes where kernels are slow: a hundred times what it usually does.
	decodeSlowAt = 3 * time.Millisecond
)

// MeasureDecoding finds the rates of few rows, and the microseconds of a kernel beside its work. It takes 0.4 s and 200 MiB.
func MeasureDecoding(dev *cpu.Device, t device.DType) (few plan.FewRows, call float64, err error) {
	s := decodeUsual
	probe, err := newDecodeModel(dev, t, s.narrow, 1)
	if err != nil {
		return few, 0, err
	}
	defer probe.Free()
	probe.write(1) // memory is touched
	if probe.write(1) > decodeSlowAt {
		s = decodeSmall
	}
	m, err := newDecoding(dev, t, s)
	if err != nil {
		return few, 0, err
	}
	defer m.Free()
	for begin := clock.Now(); len(m.one) == 0 || len(m.one) < decodeRuns && clock.Since(begin) < decodeTime; {
		m.Sample()
	}
	return m.few(t), m.call(), errors.Join(probe.err, m.Err())
}

// measureCall is the microseconds of a kernel beside its work, by models that are small: in 20 ms.
func measureCall(dev *cpu.Device, t device.DType) (float64, error) {
	m, err := newDecoding(dev, t, decodeSmall)
	if err != nil {
		return 0, err
	}
	defer m.Free()
	for begin := clock.Now(); len(m.one) == 0 || len(m.one) < decodeRuns && clock.Since(begin) < decodeTime; {
		m.pair()
	}
	return m.call(), m.Err()
}

// NewDecoding makes models that are larger than the caches. The caller frees it.
func NewDecoding(dev device.Device, t device.DType) (*Decoding, error) {
	return newDecoding(dev, t, decodeUsual)
}

func newDecoding(dev device.Device, t device.DType, s decodeSizes) (m *Decoding, err error) {
	layers := max(1, s.bytes/(12*s.wide*s.wide*t.Size()))
	m = &Decoding{weights: 12 * float64(s.wide*s.wide*layers)}
	if m.wide, err = newDecodeModel(dev, t, s.wide, layers); err != nil {
		return nil, err
	}
	if m.narrow, err = newDecodeModel(dev, t, s.narrow, layers*(s.wide/s.narrow)*(s.wide/s.narrow)); err != nil {
		m.wide.Free()
		return nil, err
	}
	m.wide.write(1) // memory is touched
	m.narrow.write(1)
	return m, nil
}

// Free gives back the memory of the models.
func (m *Decoding) Free() {
	m.wide.Free()
	m.narrow.Free()
}

// Err is the first error of what was written.
func (m *Decoding) Err() error { return errors.Join(m.wide.err, m.narrow.err) }

// pair times both models with one sequence, one right after the other, as memory changes its speed.
func (m *Decoding) pair() {
	m.one = append(m.one, m.wide.write(1))
	m.thin = append(m.thin, m.narrow.write(1))
}

// Sample times all that rates are made of.
func (m *Decoding) Sample() {
	m.pair()
	m.many = append(m.many, m.wide.write(decodeRows))
}

// Forget begins anew, without the samples there are.
func (m *Decoding) Forget() { m.one, m.thin, m.many = nil, nil, nil }

// Rates are those that samples of models of a type tell.
func (m *Decoding) Rates(t device.DType) (r plan.Rates) {
	r.CallUS = m.call()
	if t == device.BF16 {
		r.FewBF16 = m.few(t)
	} else {
		r.FewF32 = m.few(t)
	}
	return r
}

// callNS is nanoseconds of a kernel beside its work.
func (m *Decoding) callNS() float64 {
	return max(0, (mean(m.thin)-mean(m.one))/float64(m.narrow.calls-m.wide.calls))
}

// call is that in microseconds.
func (m *Decoding) call() float64 { return m.callNS() / 1e3 }

// few is the rates of few rows that samples of models of a type tell.
func (m *Decoding) few(t device.DType) plan.FewRows {
	one, many := mean(m.one), mean(m.many)
	return plan.FewRows{
		GBs:    m.weights * float64(t.Size()) / max(one-m.callNS()*float64(m.wide.calls), one/10),
		GFLOPS: 2 * (decodeRows - 1) * m.weights / max(many-one, 1),
	}
}

// mean is that of times, in nanoseconds.
func mean(list []time.Duration) float64 {
	sum := time.Duration(0)
	for _, d := range list {
		sum += d
	}
	return float64(sum) / float64(len(list))
}

// decodeModel is a Llama of zeros that writes tokens.
type decodeModel struct {
	*model.Model
	engine *generate.Engine
	calls  int64 // of kernels, for a token
	err    error // the first of write
}

func newDecodeModel(dev device.Device, t device.DType, c, layers int) (*decodeModel, error) {
	declare := func(dev device.Device) (*decodeModel, error) {
		m, err := model.Declare(fmt.Appendf(nil, `{"model_type":"llama","hidden_size":%d,"num_hidden_layers":%d,"num_attention_heads":%d,"intermediate_size":%d,
			"vocab_size":64,"tie_word_embeddings":true,"max_position_embeddings":64,"rms_norm_eps":1e-5}`, c, layers, max(1, c/64), c*8/3), dev)
		if err != nil {
			return nil, err
		}
		m.Alloc(t, model.Packed{})
		for _, p := range m.Params {
			dev.Fill(p.Buffer(), 0)
		}
		return &decodeModel{Model: m, engine: generate.New(dev, t, m, nil)}, tensor.Try(func() { nn.Arrange(m.Model) })
	}
	counter := plan.NewDevice()
	counted, err := declare(counter)
	if err != nil {
		return nil, err
	}
	before := counter.Work()
	counted.write(1)
	after := counter.Work()
	d, err := declare(dev)
	if err != nil {
		return nil, err
	}
	d.calls = (after.Calls - before.Calls) / decodeTokens
	return d, counted.err
}

// write is how long a token of sequences side by side takes.
func (d *decodeModel) write(sequences int) time.Duration {
	prompts := make([][]int32, sequences)
	for i := range prompts {
		prompts[i] = []int32{int32(i)}
	}
	opt := generate.DefaultOptions()
	opt.MaxNewTokens, opt.Temperature, opt.BatchSize = decodeTokens, 0, sequences
	begin := clock.Now()
	_, err := d.engine.Run(context.Background(), prompts, opt, nil)
	d.err = errors.Join(d.err, err)
	return clock.Since(begin) / decodeTokens
}
