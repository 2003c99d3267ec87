package generate

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/device"
	"hone/device/devicetest"
	"hone/nn"
	"hone/tensor"
)

// aheadDevice draws by itself and gives results to the host when they are waited for.
type aheadDevice struct {
	device.Device
	on   int // results on their way to the host
	most int // of them at a time
	left int // allocations until there is no more memory; 0: there always is
}

func (d *aheadDevice) Alloc(n int, t device.DType) device.Buffer {
	if d.left > 0 {
		if d.left--; d.left == 0 {
			d.left = 1
			panic(&device.OutOfMemory{Device: "test", Asked: int64(n)})
		}
	}
	return d.Device.Alloc(n, t)
}

func (d *aheadDevice) Draws(device.Sample) bool { return true }

func (d *aheadDevice) Sample(s device.Sample) {
	logits, random := make([]float32, s.Logits.Len), make([]int32, s.Random.Len)
	if err := errors.Join(d.Read(logits, s.Logits), d.Read(random, s.Random)); err != nil {
		panic(err)
	}
	sampler := NewSampler(Sampling{Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP, RepetitionPenalty: 1})
	ids := make([]int32, s.IDs.Len)
	for i := range ids {
		row := logits[i*s.V : (i+1)*s.V]
		best, err := argmax(row)
		switch {
		case err != nil:
			ids[i] = -1
		case s.Temperature == 0:
			ids[i] = int32(best)
		default:
			sampler.collect(row, row[best])
			sampler.topP(s.V)
			sampler.minP()
			ids[i] = sampler.draw(uint64(uint32(random[2*i])) | uint64(uint32(random[2*i+1]))<<32)
		}
	}
	d.Write(s.IDs, ids)
}

// CrossEntropy and Embedding take the -1 of a row that is not finite.
func (d *aheadDevice) CrossEntropy(c device.CrossEntropy) {
	c.Targets = d.lawful(c.Targets)
	defer d.Free(c.Targets)
	d.Device.CrossEntropy(c)
}

func (d *aheadDevice) Embedding(y, table, ids device.Buffer) {
	ids = d.lawful(ids)
	defer d.Free(ids)
	d.Device.Embedding(y, table, ids)
}

func (d *aheadDevice) lawful(b device.Buffer) device.Buffer {
	ids, own := make([]int32, b.Len), d.Device.Alloc(b.Len, device.I32)
	if err := d.Read(ids, b); err != nil {
		panic(err)
	}
	for i := range ids {
		ids[i] = max(ids[i], 0)
	}
	d.Write(own, ids)
	return own
}

func (d *aheadDevice) Pick(dst, src, at device.Buffer) {
	from, rows, to := make([]int32, src.Len), make([]int32, at.Len), make([]int32, dst.Len)
	if err := errors.Join(d.Read(from, src), d.Read(rows, at)); err != nil {
		panic(err)
	}
	for i, row := range rows {
		to[i] = from[row]
	}
	d.Write(dst, to)
}

func (d *aheadDevice) ReadLater(dst any, src device.Buffer) func() error {
	d.on++
	d.most = max(d.most, d.on)
	var err error
	deliver := func() {}
	switch to := dst.(type) {
	case []int32:
		v := make([]int32, len(to))
		err, deliver = d.Read(v, src), func() { copy(to, v) }
	case []float32:
		v := make([]float32, len(to))
		err, deliver = d.Read(v, src), func() { copy(to, v) }
	}
	return func() error {
		d.on--
		deliver()
		return err
	}
}

// told is a run's answers and what was said of them meanwhile.
type told struct {
	Out    []Output
	Pieces map[int][]string
	Err    string
}

func tell(ctx context.Context, e *Engine, prompts [][]int32, opt Options) (s told) {
	s.Pieces = map[int][]string{}
	out, err := e.Run(ctx, prompts, opt, func(i int, text string) { s.Pieces[i] = append(s.Pieces[i], text) })
	if s.Out = out; err != nil {
		s.Err = err.Error()
	}
	return s
}

// TestAhead: a device that is asked for tokens before the last ones are read gives the answers of one
// that is not, in the same pieces.
func TestAhead(t *testing.T) {
	some := []int32{7, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50}
	many := slices.Concat(prompts, prompts, prompts[2:3], prompts[2:3])
	var critic *tensor.Tensor // of the model that was made last
	for name, c := range map[string]struct {
		prompts [][]int32
		model   func(*testing.T, device.Device) nn.Model
		change  func(*Options)
		alone   bool // nothing can be asked for ahead
	}{
		"greedy":      {prompts, tinyModel, func(o *Options) { o.Temperature = 0 }, false},
		"ends":        {many, tinyModel, func(o *Options) { o.EOS = some }, false},
		"small batch": {many, tinyModel, func(o *Options) { o.EOS, o.BatchSize = some, 3 }, false},
		"one by one":  {many, tinyModel, func(o *Options) { o.EOS, o.BatchSize = some, 1 }, false},
		"filters":     {prompts, tinyModel, func(o *Options) { o.TopK, o.TopP, o.MinP, o.Temperature = 40, 0.9, 0.01, 0.7 }, false},
		"full":        {prompts, tinyModel, func(o *Options) { o.MaxNewTokens = 1000 }, false},
		"stop":        {prompts, tinyModel, func(o *Options) { o.Stop, o.MaxNewTokens = []string{"e", "th", "\ufffd\ufffd"}, 40 }, false},
		"one token":   {prompts, tinyModel, func(o *Options) { o.MaxNewTokens = 1 }, true},
		"penalty":     {prompts, tinyModel, func(o *Options) { o.RepetitionPenalty = 1.3 }, true},
		"long":        {many, longModel, func(o *Options) { o.EOS, o.BatchSize = some, 3 }, false},
		"critic": {many, tinyModel, func(o *Options) {
			o.EOS, o.BatchSize = some, 1
			o.Value = func(h *tensor.Tensor) *tensor.Tensor { return tensor.Sum(tensor.Mul(h, h)) }
		}, false},
		"critic of several": {many, func(t *testing.T, dev device.Device) nn.Model {
			critic = tensor.NewParam(1, 16)
			critic.Set(dev, device.F32, []float32{3, 1, 4, 1, 5, 9, 2, 6, -5, -3, -5, -8, -9, -7, -9, -3})
			return tinyModel(t, dev)
		}, func(o *Options) {
			o.EOS, o.BatchSize = some, 3
			o.Value = func(h *tensor.Tensor) *tensor.Tensor { return tensor.Linear(h, critic, nil) }
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			opt := DefaultOptions()
			opt.MaxNewTokens, opt.Seed = 12, 3
			c.change(&opt)
			plain := devicetest.NewReference()
			want := tell(t.Context(), New(plain, device.F32, c.model(t, plain), tinyTokenizer(t)), c.prompts, opt)
			ahead := &aheadDevice{Device: devicetest.NewReference()}
			e := New(ahead, device.F32, c.model(t, ahead), tinyTokenizer(t))
			mustRun(t, e, c.prompts, opt) // the model makes its rotary tables when it first runs, and keeps them
			before := ahead.Memory().InUse
			ahead.most = 0
			if diff := cmp.Diff(want, tell(t.Context(), e, c.prompts, opt)); diff != "" || want.Err != "" {
				t.Errorf("%s, %s", diff, want.Err)
			}
			if each := 2 + int(bit(opt.Value != nil)); (ahead.most > each) == c.alone || ahead.on != 0 {
				t.Errorf("%d results were on their way at a time, %d at the end", ahead.most, ahead.on)
			}
			if after := ahead.Memory().InUse; after != before {
				t.Errorf("%d bytes are in use after the run, %d before", after, before)
			}
		})
	}
}

func bit(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// TestAheadRunsNoFurtherThanOne: one pass more than without asking ahead goes through the model,
// where the end is not known before.
func TestAheadRunsNoFurtherThanOne(t *testing.T) {
	ahead := &aheadDevice{Device: devicetest.NewReference()}
	m := &countedModel{Model: tinyModel(t, ahead)}
	e := New(ahead, device.F32, m, nil)
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 12, 0
	free := mustRun(t, e, prompts[:1], opt)[0]
	if want := 3 + 11; m.tokens != want {
		t.Errorf("%d tokens went through for 12 after 3, want %d", m.tokens, want)
	}
	opt.EOS = []int32{free.Tokens[5]}
	m.tokens = 0
	n := slices.Index(free.Tokens, free.Tokens[5])
	if mustRun(t, e, prompts[:1], opt); m.tokens != 3+n+1 {
		t.Errorf("%d tokens went through for %d and the end after 3", m.tokens, n)
	}
}

// TestAheadEndsEarly: a run that is cancelled, or out of memory, has told of the same tokens as without
// asking ahead, and holds nothing.
func TestAheadEndsEarly(t *testing.T) {
	ahead := &aheadDevice{Device: devicetest.NewReference()}
	e := New(ahead, device.F32, tinyModel(t, ahead), tinyTokenizer(t))
	opt := DefaultOptions()
	opt.MaxNewTokens = 20
	whole := mustRun(t, e, prompts, opt)
	before := ahead.Memory().InUse
	told := func(stop func(n int) error) (texts []string, err error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		texts = make([]string, len(prompts))
		n := 0
		_, err = e.Run(ctx, prompts, opt, func(i int, text string) {
			texts[i] += text
			if n++; stop != nil {
				if err := stop(n); err != nil {
					cancel(err)
				}
			}
		})
		return texts, err
	}
	texts, err := told(func(n int) error {
		if n < 20 {
			return nil
		}
		return errors.New("enough")
	})
	if !errors.Is(err, context.Canceled) || ahead.on != 0 || ahead.Memory().InUse != before {
		t.Errorf("cancelled: %v, %d results on their way, %d bytes in use, %d before", err, ahead.on, ahead.Memory().InUse, before)
	}
	for i, text := range texts {
		if !strings.HasPrefix(whole[i].Text, text) || text == "" || text == whole[i].Text {
			t.Errorf("prompt %d: %q was told of %q", i, text, whole[i].Text)
		}
	}
	for left := 5; ; left += 3 { // wherever memory runs out once the cache is there
		ahead.left = left
		texts, err := told(nil)
		ahead.left = 0
		if err == nil {
			break
		}
		if oom := (*device.OutOfMemory)(nil); !errors.As(err, &oom) || ahead.on != 0 || ahead.Memory().InUse != before {
			t.Fatalf("%d allocations: %v, %d results on their way, %d bytes in use, %d before", left, err, ahead.on, ahead.Memory().InUse, before)
		}
		for i, text := range texts {
			if !strings.HasPrefix(whole[i].Text, text) {
				t.Fatalf("%d allocations, prompt %d: %q was told of %q", left, i, text, whole[i].Text)
			}
		}
	}
}

// TestAheadSession: a conversation, also one that was interrupted, goes on as without asking ahead, and
// its cache holds the same tokens.
func TestAheadSession(t *testing.T) {
	var devs [2]device.Device
	var sessions [2]*Session
	ahead := &aheadDevice{Device: devicetest.NewReference()}
	devs[0], devs[1] = devicetest.NewReference(), ahead
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature, opt.EOS = 8, 0, []int32{5, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75}
	for i, dev := range devs {
		sessions[i] = New(dev, device.F32, tinyModel(t, dev), tinyTokenizer(t)).NewSession()
		defer sessions[i].Close()
	}
	prompt := []int32{5, 9, 200}
	for round := range 4 {
		var outs [2]Output
		for i, s := range sessions {
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			out, err := s.Run(ctx, prompt, opt, func(string) {
				if n++; round == 1 && n == 2 {
					cancel()
				}
			})
			cancel()
			if (err != nil) != (round == 1) {
				t.Fatal(err)
			}
			outs[i] = out
		}
		if diff := cmp.Diff(outs[0], outs[1]); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		if !slices.Equal(sessions[0].tokens, sessions[1].tokens) || sessions[0].cache.Len(0) != sessions[1].cache.Len(0) {
			t.Fatalf("round %d: the sessions hold %v and %v", round, sessions[0].tokens, sessions[1].tokens)
		}
		prompt = slices.Concat(prompt, outs[0].Tokens, []int32{9})
	}
}

// TestAheadSessionFails: a session whose pass ran out of memory while it was interrupted goes on with the right keys.
func TestAheadSessionFails(t *testing.T) {
	ahead := &aheadDevice{Device: devicetest.NewReference()}
	e := New(ahead, device.F32, tinyModel(t, ahead), tinyTokenizer(t))
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 12, 0
	prompt := []int32{5, 9, 200}
	whole := mustRun(t, e, [][]int32{prompt}, opt)[0]
	failures := 0
	for left := 5; ; left++ { // wherever memory runs out
		s := e.NewSession()
		s.room(64)
		ctx, cancel := context.WithCancel(t.Context())
		ahead.left = left
		_, err := s.Run(ctx, prompt, opt, func(string) {
			if ahead.left == 1 {
				cancel()
			}
		})
		ahead.left = 0
		cancel()
		if err == nil {
			s.Close()
			break
		}
		if oom := (*device.OutOfMemory)(nil); errors.As(err, &oom) {
			failures++
		}
		out, err := s.Run(t.Context(), slices.Concat(prompt, whole.Tokens[:8]), opt, nil)
		if err != nil || !slices.Equal(out.Tokens[:4], whole.Tokens[8:]) {
			t.Fatalf("%d allocations: the session goes on with %v, %v, want %v first", left, out.Tokens, err, whole.Tokens[8:])
		}
		s.Close()
	}
	if failures == 0 {
		t.Error("memory did not run out")
	}
}

// TestAheadNotFinite: damaged weights are said to be so, whatever a pass that was asked for ahead makes of them.
func TestAheadNotFinite(t *testing.T) {
	ahead := &aheadDevice{Device: devicetest.NewReference()}
	for _, dev := range []device.Device{ahead, devicetest.NewReference()} {
		m := tinyModel(t, dev)
		head := m.Head().Weight
		bad := make([]float32, head.Len())
		bad[7] = float32(math.NaN())
		dev.Write(head.Buffer(), bad)
		_, err := New(dev, device.F32, m, nil).Run(t.Context(), prompts, DefaultOptions(), nil)
		if !errors.Is(err, errNotFinite) || ahead.on != 0 {
			t.Errorf("%T: got %v, %d results on their way", dev, err, ahead.on)
		}
	}
}
