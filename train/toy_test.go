package train

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/optim"
	"hone/tensor"
)

// toy is a small language model of real parts: embedding, dropout, a layer, a head. It learns that each
// token follows from the one before.
type toy struct {
	dev    *cpu.Device
	dtype  device.DType
	params []optim.Param
	opt    *optim.AdamW
}

const toyVocab, toyWidth = 31, 16

func newToy(t testing.TB, dtype device.DType, threads int) *toy {
	m := &toy{dev: cpu.New(cpu.Options{Threads: threads}), dtype: dtype}
	t.Cleanup(m.dev.Close)
	for _, s := range []struct {
		name  string
		shape []int
	}{{"embed", []int{toyVocab, toyWidth}}, {"layer", []int{toyWidth, toyWidth}}, {"bias", []int{toyWidth}}, {"head", []int{toyVocab, toyWidth}}} {
		p := tensor.NewParam(s.shape...)
		v := make([]float32, p.Len())
		r := tensor.NewRandomFor(1, s.name)
		r.Normal(v, 0.3)
		kind := dtype
		if len(s.shape) < 2 {
			kind = device.F32
		}
		p.Set(m.dev, kind, v)
		m.params = append(m.params, optim.Param{Name: s.name, Tensor: p, Decay: len(s.shape) > 1})
	}
	m.opt = optim.New(m.dev, m.params, optim.Default())
	return m
}

func (m *toy) objective(dropout float32) Objective {
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
		p := m.params
		x := tensor.Dropout(tensor.Embedding(tape.Ints(b.IDs), p[0].Tensor), dropout)
		x = tensor.Add(x, tensor.Unary(device.SiLU, tensor.Linear(x, p[1].Tensor, p[2].Tensor)))
		return tensor.LinearCrossEntropy(x, tensor.Head{Weight: p[3].Tensor}, tape.Ints(b.Targets), tensor.CrossEntropyOptions{Tokens: b.Tokens})
	}
}

// toyBatches cuts a step of 24 rows, of which some are not supervised, into micro-batches.
func toyBatches(micro int) func(context.Context, int) ([]data.Batch, error) {
	return func(_ context.Context, step int) ([]data.Batch, error) {
		const rows = 24
		r := tensor.NewRandom(7, uint64(step))
		batches := make([]data.Batch, micro)
		tokens := 0
		for i := range rows {
			b := &batches[i*micro/rows]
			id := int32(r.Uint64() % toyVocab)
			target := (id*5 + 2) % toyVocab
			if r.Float64() < 0.3 {
				target = data.Ignore
			} else {
				tokens++
			}
			b.IDs, b.Targets = append(b.IDs, id), append(b.Targets, target)
		}
		for i := range batches {
			batches[i].Tokens = tokens
		}
		return batches, nil
	}
}

// toyRun is a loop over the toy in a folder of its own.
type toyRun struct {
	*toy
	*Loop
	metrics *Metrics
}

// openToy sets a run up in dir, resuming from the newest checkpoint if there is one.
func openToy(t testing.TB, dir string, m *toy, change func(*Loop)) *toyRun {
	t.Helper()
	l := &Loop{
		Steps: 12, Seed: 3, Tape: tensor.NewTape(m.dev, m.dtype), Batches: toyBatches(2), Objective: m.objective(0.1), Optimizer: m.opt,
		Rate:        Schedule{Name: "inverse_sqrt", WarmupSteps: 3}.Rate(0.02, 12),
		Checkpoints: &Checkpoints{Dir: filepath.Join(dir, "checkpoints"), Recipe: map[string]string{"kind": "toy"}},
	}
	l.Evaluate = func(ctx context.Context) (map[string]float64, error) {
		held := func(yield func(data.Batch) bool) {
			b, _ := toyBatches(1)(ctx, 1_000_000)
			yield(b[0])
		}
		loss, _, err := HeldOut(ctx, l.Tape, held, m.objective(0.5))
		return map[string]float64{"loss": loss}, err
	}
	l.EvalEvery = 3
	if change != nil {
		change(l)
	}
	step := 0
	if l.Checkpoints != nil {
		if _, err := l.Checkpoints.Clean(); err != nil {
			t.Fatal(err)
		}
		if step = l.Checkpoints.Newest(); step > 0 {
			if err := l.Resume(step, func(string) bool { return false }); err != nil {
				t.Fatal(err)
			}
		}
	}
	metrics, err := OpenMetrics(filepath.Join(dir, "metrics.jsonl"), step, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Record, l.Evaluated = metrics, metrics.Evaluated()
	t.Cleanup(func() { metrics.Close() })
	return &toyRun{m, l, metrics}
}

func (r *toyRun) run(t testing.TB) Outcome {
	t.Helper()
	out, err := r.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bits reads everything a checkpoint holds, as bit patterns.
func (m *toy) bits(t testing.TB) map[string][]uint32 {
	t.Helper()
	all := make(map[string][]uint32)
	for _, s := range m.opt.State() {
		v := make([]float32, s.Len())
		if err := s.Read(v); err != nil {
			t.Fatal(err)
		}
		u := make([]uint32, len(v))
		for i := range v {
			u[i] = math.Float32bits(v[i])
		}
		file, name := (&Checkpoints{}).place(s)
		all[file+" "+name] = u
	}
	for _, p := range m.params {
		if p.Tensor.DType() == device.BF16 {
			v := make([]uint16, p.Tensor.Len())
			if err := m.dev.Read(v, p.Tensor.Buffer()); err != nil {
				t.Fatal(err)
			}
			u := make([]uint32, len(v))
			for i := range v {
				u[i] = uint32(v[i])
			}
			all["half "+p.Name] = u
		}
	}
	return all
}

// readMetrics reads the events of a metrics.jsonl in order. Kinds it does not know and a last line that is still being written are left out.
func readMetrics(path string) ([]Event, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	var events []Event
	for i, line := range bytes.SplitAfter(text, []byte("\n")) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		e, err := unmarshalEvent(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: not a JSON object of metrics: %w", path, i+1, err)
		}
		if e != nil {
			events = append(events, e)
		}
	}
	return events, nil
}

// lines are the events of a run's file without what depends on the clock or on pauses.
func lines(t testing.TB, dir string) []Event {
	t.Helper()
	events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var kept []Event
	for _, e := range events {
		switch e := e.(type) {
		case StepEvent:
			e.TokensPerS, e.StepTime, e.Seconds = 0, 0, 0
			kept = append(kept, e)
		case SkipEvent, SampleEvent:
			kept = append(kept, e)
		case EvalEvent:
			e.Took, e.Seconds, e.Metrics = 0, 0, maps.Clone(e.Metrics)
			kept = append(kept, e)
		}
	}
	return kept
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
