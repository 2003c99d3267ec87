package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"hone/device"
	"hone/device/cpu"
	"hone/generate"
	"hone/model"
	"hone/nn"
	"hone/plan"
	"hone/tensor"
)

// decoding is how fast tokens are written here, for the plan. It is measured with the engine that writes them, so that what the host
// does for a token and what a kernel takes beside its work are in it as they are: two models have as many weights, in a few wide
// layers and in many narrow ones, and what the second takes longer is the time of the kernels that it has more of.
type decoding struct {
	F32, BF16 plan.FewRows
	CallUS    float64 // of a kernel beside its work: the host's part, handing out, waiting
}

// mean is that of two measurements.
func (d decoding) mean(e decoding) decoding {
	few := func(a, b plan.FewRows) plan.FewRows {
		return plan.FewRows{GBs: (a.GBs + b.GBs) / 2, GFLOPS: (a.GFLOPS + b.GFLOPS) / 2}
	}
	return decoding{few(d.F32, e.F32), few(d.BF16, e.BF16), (d.CallUS + e.CallUS) / 2}
}

// decodeSizes are those of the two models: a layer has 12·C² weights, so that a narrow model of the same weights has (wide/narrow)² the layers.
type decodeSizes struct{ wide, narrow, bytes int }

var (
	decodeUsual = decodeSizes{wide: 768, narrow: 192, bytes: 100 << 20} // beyond the caches
	decodeSlow  = decodeSizes{wide: 192, narrow: 48}                    // where kernels are slow, as in an emulator, caches do not matter
)

const (
	decodeRows   = 16 // sequences side by side, beside one
	decodeTokens = 4
	decodeRuns   = 6
	decodeTime   = 400 * time.Millisecond // after which there are no more runs: on a busy machine one takes seconds
	// decodeSlowAt is how long a token of one layer of the usual narrow model takes where kernels are slow: a hundred times what it usually does.
	decodeSlowAt = 3 * time.Millisecond
)

// measureDecoding takes 0.4 s and 200 MiB for each type. The types that are not measured have no rates.
func measureDecoding(threads int, types ...device.DType) (d decoding, err error) {
	dev := cpu.New(cpu.Options{Threads: threads})
	defer dev.Close()
	var calls []float64
	for _, t := range types {
		few, call, err := measureDecodingOf(dev, t)
		if err != nil {
			return d, fmt.Errorf("measure how fast this machine writes tokens: %w", err)
		}
		calls = append(calls, call...)
		if t == device.BF16 {
			d.BF16 = few
		} else {
			d.F32 = few
		}
	}
	d.CallUS = max(0, median(calls)/1e3)
	return d, nil
}

// measureDecodingOf returns the rates of few rows, and nanoseconds of a kernel by each run.
func measureDecodingOf(dev *cpu.Device, t device.DType) (few plan.FewRows, calls []float64, err error) {
	s := decodeUsual
	probe, err := newDecodeModel(dev, t, s.narrow, 1)
	if err != nil {
		return few, nil, err
	}
	probe.write(1) // memory is touched
	if probe.write(1) > decodeSlowAt {
		s = decodeSlow
	}
	probe.Free()
	layers := max(1, s.bytes/(12*s.wide*s.wide*t.Size()))
	wide, err := newDecodeModel(dev, t, s.wide, layers)
	if err != nil {
		return few, nil, err
	}
	defer wide.Free()
	narrow, err := newDecodeModel(dev, t, s.narrow, layers*(s.wide/s.narrow)*(s.wide/s.narrow))
	if err != nil {
		return few, nil, err
	}
	defer narrow.Free()
	one, all := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	begin := time.Now()
	for i := 0; i < decodeRuns && (i == 0 || time.Since(begin) < decodeTime); i++ {
		w := wide.write(1) // right before the narrow one, as memory changes its speed
		calls = append(calls, float64(narrow.write(1)-w)/float64(narrow.calls-wide.calls))
		one, all = min(one, w), min(all, wide.write(decodeRows))
	}
	weights := 12 * float64(s.wide*s.wide*layers)
	few.GBs = weights * float64(t.Size()) / (float64(one) - max(0, median(calls))*float64(wide.calls))
	few.GFLOPS = 2 * (decodeRows - 1) * weights / float64(max(all-one, 1))
	return few, calls, errors.Join(probe.err, wide.err, narrow.err)
}

// median is that of a list, which it sorts.
func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
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
	begin := time.Now()
	_, err := d.engine.Run(context.Background(), prompts, opt, nil)
	d.err = errors.Join(d.err, err)
	return time.Since(begin) / decodeTokens
}
