package meter

import (
	"fmt"
	"math"
	"time"

	"hone/device"
	"hone/device/cpu"
	"hone/device/cpu/peak"
	"hone/internal/clock"
	"hone/plan"
)

// rateMeter measures the rates that plans of runs on a processor need, each when work first asks for it: a run that writes nothing and
// unpacks nothing does not wait for how fast that would be.
type rateMeter struct {
	peak   *Peak
	whole  func(threads int) peak.Peak                                                     // peak.Rough, or one that takes longer
	decode func(dev *cpu.Device, t device.DType) (few plan.FewRows, us float64, err error) // MeasureDecoding
	known  plan.Rates
	calls  bool // known.CallUS was measured; beside a neighbour it may come out as 0
}

// littleFew is the share of all bytes up to which weights that products of few rows read are not worth measuring them: the head of a
// reward model is such a weight.
const littleFew = 0.01

// rates is a plan.Meter.
func (m *rateMeter) rates(w plan.Work) (plan.Rates, error) {
	k := &m.known
	if k.F32 == 0 {
		m.arithmetic()
	}
	// Measuring how fast tokens are written takes a model and a while, for which training has no use.
	few, all := w.F32.Weights+w.BF16.Weights, w.Moved+w.Updated+w.Read
	decodes := float64(few) > littleFew*float64(all+few)
	f32, bf16 := decodes && w.F32.Weights > 0 && k.FewF32.GBs == 0, decodes && w.BF16.Weights > 0 && k.FewBF16.GBs == 0
	dev := cpu.New(cpu.Options{Threads: m.peak.threads})
	defer dev.Close()
	for _, part := range []struct {
		asked   bool
		measure func() error
	}{
		{f32, func() error { return m.decoding(dev, device.F32, &k.FewF32) }},
		{bf16, func() error { return m.decoding(dev, device.BF16, &k.FewBF16) }},
		{!f32 && !bf16 && !m.calls && k.CallUS == 0, func() error { return m.call(dev) }},
		{w.NF4 > 0 && k.NF4GBs == 0, func() error { k.NF4GBs = MeasureUnpacking(dev, device.NF4, m.peak.dtype()); return nil }},
		{w.Int8 > 0 && k.Int8GBs == 0, func() error { k.Int8GBs = MeasureUnpacking(dev, device.Int8, m.peak.dtype()); return nil }},
	} {
		if !part.asked {
			continue
		}
		if err := part.measure(); err != nil {
			return plan.Rates{}, fmt.Errorf("measure how fast this machine is: %w", err)
		}
	}
	r := *k
	// Something must stand there, for a rate that is needed and not known makes the time unknown; a hundredth of the work does not show.
	if !decodes {
		r.FewF32, r.FewBF16 = plan.FewRows{GBs: r.ReadGBs, GFLOPS: r.F32}, plan.FewRows{GBs: r.ReadGBs, GFLOPS: r.F32}
	}
	return r, nil
}

// arithmetic sets the rates of the machine itself, those of arithmetic as far as the meter of the run knows better.
func (m *rateMeter) arithmetic() {
	now := m.whole(m.peak.threads)
	k := &m.known
	k.F32, k.BF16, k.ReadGBs, k.CopyGBs, k.UpdateGBs = max(m.peak.f32, now.F32), now.BF16, now.ReadGBs, now.CopyGBs, now.UpdateGBs
	if m.peak.bf16 && k.BF16 > 0 {
		k.BF16 = max(k.BF16, m.peak.best)
	}
}

// decoding measures how fast tokens are written, which tells what a kernel takes as well.
func (m *rateMeter) decoding(dev *cpu.Device, t device.DType, few *plan.FewRows) (err error) {
	*few, m.known.CallUS, err = m.decode(dev, t)
	m.calls = err == nil
	return err
}

// call measures what a kernel takes beside its work.
func (m *rateMeter) call(dev *cpu.Device) (err error) {
	m.known.CallUS, err = measureCall(dev, m.peak.dtype())
	m.calls = err == nil
	return err
}

// Runs has the meters of the runs of a command, of which those that use the machine alike share one. The zero value is ready to use.
type Runs struct {
	meters map[machine]*rateMeter
}

// Meter is that of the rates to plan a run with; nil of a GPU, of which none are known.
func (r *Runs) Meter(p *Peak) plan.Meter {
	if p.fixed {
		return nil
	}
	key := machine{p.threads, p.dtype()}
	if r.meters == nil {
		r.meters = map[machine]*rateMeter{}
	}
	if r.meters[key] == nil {
		r.meters[key] = &rateMeter{peak: p, whole: peak.Rough, decode: MeasureDecoding}
	}
	return r.meters[key].rates
}

// Meter is one that takes its time, for benchmarks, and does not measure what is known already; nil of a GPU.
func (p *Peak) Meter(known plan.Rates) plan.Meter {
	if p.fixed {
		return nil
	}
	return (&rateMeter{peak: p, whole: peak.Measure, decode: MeasureDecoding, known: known}).rates
}

// machine is what rates are measured of.
type machine struct {
	threads int
	dtype   device.DType
}

const (
	unpackedRows, unpackedCols = 1024, 2048 // of the weight that is unpacked to measure it: beyond the second cache
	unpackings                 = 8
	unpackTime                 = 50 * time.Millisecond // after which there are no more
)

// MeasureUnpacking is at how many GB/s weights are unpacked to numbers of a type: bytes read and written, the best of several runs in 10 ms or so.
func MeasureUnpacking(dev *cpu.Device, packing device.Packing, t device.DType) float64 {
	p, y := device.NewPacked(dev, packing, unpackedRows, unpackedCols), dev.Alloc(unpackedRows*unpackedCols, t)
	defer dev.Free(y)
	defer p.Free(dev)
	dev.Fill(y, 1)
	dev.Pack(p, y)
	counter := plan.NewDevice()
	counter.Unpack(y, p)
	w := counter.Work()
	best, begin := time.Duration(math.MaxInt64), clock.Now()
	for i := 0; i < unpackings && (i < 2 || clock.Since(begin) < unpackTime); i++ {
		start := clock.Now()
		dev.Unpack(y, p)
		best = min(best, clock.Since(start))
	}
	return float64(w.NF4+w.Int8) / float64(max(best, 1))
}
