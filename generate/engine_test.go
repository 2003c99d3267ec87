package generate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/model/gemma2"
	"hone/model/llama"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
)

const tinyConfig = `{"vocab_size": 300, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
	"num_key_value_heads": 2, "max_position_embeddings": 48, "initializer_range": 0.3}`

func tinyModel(t *testing.T, dev device.Device) nn.Model {
	t.Helper()
	m, err := llama.New([]byte(tinyConfig), dev)
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialize(nn.Params(m), dev, device.F32, 5)
	return m
}

func tinyTokenizer(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	docs := func(yield func([]byte, error) bool) { yield([]byte("the theme of these themes is there"), nil) }
	tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 270, SpecialTokens: []string{"<eos>"}, EOS: "<eos>"})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var prompts = [][]int32{{5, 9, 200}, {7}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {42, 42}, {250, 3, 77, 12}}

func mustRun(t *testing.T, e *Engine, prompts [][]int32, opt Options) []Output {
	t.Helper()
	out, err := e.Run(context.Background(), prompts, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// cappedModel has windows, and soft caps that its logits feel.
func cappedModel(t *testing.T, dev device.Device) nn.Model {
	t.Helper()
	m, err := gemma2.New([]byte(strings.Replace(tinyConfig, "{", `{"head_dim": 4, "sliding_window": 5, "query_pre_attn_scalar": 4,
		"attn_logit_softcapping": 2, "final_logit_softcapping": 1.5,`, 1)), dev)
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialize(nn.Params(m), dev, device.F32, 5)
	return m
}

// TestCacheEqualsFullForward runs the whole sequence through the model without a cache and compares what the
// engine drew and how likely it found it.
func TestCacheEqualsFullForward(t *testing.T) {
	dev := devicetest.NewReference()
	for name, m := range map[string]nn.Model{"llama": tinyModel(t, dev), "gemma2": cappedModel(t, dev)} {
		t.Run(name, func(t *testing.T) { cacheEqualsFullForward(t, dev, m) })
	}
}

func cacheEqualsFullForward(t *testing.T, dev device.Device, m nn.Model) {
	opt := DefaultOptions()
	opt.Temperature, opt.MaxNewTokens = 0, 12
	for i, out := range mustRun(t, New(dev, device.F32, m, nil), prompts, opt) {
		if len(out.Tokens) != 12 || out.Finish != FinishLength {
			t.Fatalf("prompt %d: %d tokens, finish %q, want 12 and length", i, len(out.Tokens), out.Finish)
		}
		all := slices.Concat(prompts[i], out.Tokens)
		tape := tensor.NewTape(dev, device.F32)
		tape.Infer()
		positions, offsets := make([]int32, len(all)), []int32{0, int32(len(all))}
		for p := range positions {
			positions[p] = int32(p)
		}
		rows, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, all, positions, offsets)), nil).Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for j, id := range out.Tokens {
			at := len(prompts[i]) + j - 1
			row := rows[at*300 : (at+1)*300]
			want, _ := argmax(row)
			if int(id) != want {
				t.Fatalf("prompt %d, token %d: drew %d, the full forward pass says %d", i, j, id, want)
			}
			if logp := logSoftmax(row, want); math.Abs(float64(out.LogProbs[j])-logp) > 1e-5 {
				t.Errorf("prompt %d, token %d: log-probability %v, the full forward pass says %v", i, j, out.LogProbs[j], logp)
			}
		}
	}
}

// endless is a model whose context has no bound.
type endless struct{ nn.Model }

func (m endless) Shape() nn.Shape {
	s := m.Model.Shape()
	s.MaxPositions = 0
	return s
}

// TestNoBound: where a model has no longest context, MaxNewTokens alone ends a sequence.
func TestNoBound(t *testing.T) {
	dev := devicetest.NewReference()
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 5, 0
	if out := mustRun(t, New(dev, device.F32, endless{tinyModel(t, dev)}, nil), prompts[:1], opt)[0]; len(out.Tokens) != 5 || out.Finish != FinishLength {
		t.Errorf("%d tokens, finish %q", len(out.Tokens), out.Finish)
	}
}

// TestMoreThanTheContext: the longest context ends a sequence, however many tokens were asked for.
func TestMoreThanTheContext(t *testing.T) {
	dev := devicetest.NewReference()
	for _, n := range []int{46, math.MaxInt32, math.MaxInt} {
		opt := DefaultOptions()
		opt.MaxNewTokens, opt.Temperature = n, 0
		if out := mustRun(t, New(dev, device.F32, tinyModel(t, dev), nil), prompts[:1], opt)[0]; len(out.Tokens) != 45 || out.Finish != FinishLength {
			t.Errorf("of %d: %d tokens, finish %q", n, len(out.Tokens), out.Finish)
		}
	}
}

// TestValuesAreOfTheStates: each token comes with what Options.Value makes of the state that it
// was drawn from, in either type.
func TestValuesAreOfTheStates(t *testing.T) {
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		dev := devicetest.NewReference()
		m, err := llama.New([]byte(tinyConfig), dev)
		if err != nil {
			t.Fatal(err)
		}
		nn.Initialize(nn.Params(m), dev, dtype, 5)
		critic := tensor.NewParam(1, 16)
		critic.Set(dev, dtype, []float32{3, 1, 4, 1, 5, 9, 2, 6, -5, -3, -5, -8, -9, -7, -9, -3})
		opt := DefaultOptions()
		opt.MaxNewTokens, opt.Temperature, opt.BatchSize = 4, 0, 2
		opt.Value = func(h *tensor.Tensor) *tensor.Tensor { return tensor.Linear(h, critic, nil) }
		for i, out := range mustRun(t, New(dev, dtype, m, nil), prompts, opt) {
			all := slices.Concat(prompts[i], out.Tokens)
			positions := make([]int32, len(all))
			for p := range positions {
				positions[p] = int32(p)
			}
			tape := tensor.NewTape(dev, dtype)
			tape.Infer()
			want, err := opt.Value(m.Hidden(nn.NewInput(tape, all, positions, []int32{0, int32(len(all))}))).Float32s()
			if err != nil {
				t.Fatal(err)
			}
			want = want[len(prompts[i])-1 : len(all)-1]
			if len(out.Values) != len(want) {
				t.Fatalf("%v, prompt %d: %d values of %d tokens", dtype, i, len(out.Values), len(want))
			}
			for j, w := range want {
				if math.Abs(float64(out.Values[j]-w)) > 1e-5 {
					t.Errorf("%v, prompt %d: value %d is %v, the full forward pass says %v", dtype, i, j, out.Values[j], w)
				}
			}
		}
	}
}

// stuck is a device that fails whenever it is waited for, and has memory for nothing when it is full.
type stuck struct {
	*devicetest.Reference
	full bool
}

func (stuck) Sync() error { return errors.New("the card fell off") }

func (s stuck) Alloc(n int, t device.DType) device.Buffer {
	if s.full {
		panic(&device.OutOfMemory{Device: "test", Asked: int64(n)})
	}
	return s.Reference.Alloc(n, t)
}

// TestFailuresOfTheDevice end a run: in the midst of a prompt, and where there is no room for its keys.
func TestFailuresOfTheDevice(t *testing.T) {
	dev := devicetest.NewReference()
	m := tinyModel(t, dev)
	e := New(stuck{dev, false}, device.F32, m, nil)
	e.prefill = 4
	if _, err := e.Run(context.Background(), prompts[2:3], DefaultOptions(), nil); err == nil || err.Error() != "generate: the card fell off" {
		t.Errorf("a piece of a prompt that fails: %v", err)
	}
	full := New(stuck{dev, true}, device.F32, m, nil)
	var oom *device.OutOfMemory
	if _, err := full.Run(context.Background(), prompts, DefaultOptions(), nil); !errors.As(err, &oom) {
		t.Errorf("no room for a cache: %v", err)
	}
	if _, err := full.NewSession().Run(context.Background(), prompts[0], Options{}, nil); err == nil || errors.As(err, &oom) {
		t.Errorf("a session of no options: %v", err)
	}
}

func logSoftmax(row []float32, i int) float64 {
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(float64(x))
	}
	return float64(row[i]) - math.Log(sum)
}

// TestBatchesDoNotMatter: one at a time, two at a time with slots used again, all at once.
func TestBatchesDoNotMatter(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), nil)
	opt := DefaultOptions()
	opt.Temperature, opt.TopK, opt.MaxNewTokens, opt.Seed = 0.9, 50, 10, 3
	opt.EOS = []int32{7, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40} // so that sequences end at different times
	opt.BatchSize = len(prompts)
	want := mustRun(t, e, prompts, opt)
	for _, size := range []int{1, 2, 3} {
		opt.BatchSize = size
		for i, out := range mustRun(t, e, prompts, opt) {
			if !slices.Equal(out.Tokens, want[i].Tokens) || !slices.Equal(out.LogProbs, want[i].LogProbs) || out.Finish != want[i].Finish {
				t.Errorf("batch_size %d, prompt %d: %v, in one batch %v", size, i, out, want[i])
			}
		}
	}
	opt.Seed = 4
	if other := mustRun(t, e, prompts, opt); slices.Equal(other[0].Tokens, want[0].Tokens) {
		t.Error("another seed gave the same tokens")
	}
	opt.Seed, opt.EOS = 3, nil
	if slices.Equal(mustRun(t, e, prompts, opt)[0].Tokens, mustRun(t, e, [][]int32{{9}, prompts[0]}, opt)[1].Tokens) {
		t.Error("another sequence number gave the same tokens")
	}
}

func TestLongPromptGoesInPieces(t *testing.T) {
	dev := devicetest.NewReference()
	m := tinyModel(t, dev)
	prompt := make([]int32, 35)
	for i := range prompt {
		prompt[i] = int32(i * 7 % 300)
	}
	opt := DefaultOptions()
	opt.Temperature, opt.MaxNewTokens = 0, 2
	e := New(dev, device.F32, m, nil)
	e.prefill = 16
	out := mustRun(t, e, [][]int32{{4}, prompt, {8, 9}}, opt)
	tape := tensor.NewTape(dev, device.F32)
	tape.Infer()
	positions := make([]int32, len(prompt))
	for p := range positions {
		positions[p] = int32(p)
	}
	h := m.Hidden(nn.NewInput(tape, prompt, positions, []int32{0, int32(len(prompt))}))
	row, err := nn.Logits(m, h, tape.Ints([]int32{int32(len(prompt) - 1)})).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := argmax(row); int(out[1].Tokens[0]) != want {
		t.Errorf("after a prompt in pieces came token %d, want %d", out[1].Tokens[0], want)
	}
}

func TestEndings(t *testing.T) {
	dev := devicetest.NewReference()
	tok := tinyTokenizer(t)
	e := New(dev, device.F32, tinyModel(t, dev), tok)
	opt := DefaultOptions()
	opt.Temperature, opt.MaxNewTokens = 0, 20
	free := mustRun(t, e, [][]int32{{65}}, opt)[0]

	opt.EOS = []int32{free.Tokens[5]}
	first := slices.Index(free.Tokens, free.Tokens[5])
	out := mustRun(t, e, [][]int32{{65}}, opt)[0]
	if out.Finish != FinishEOS || !slices.Equal(out.Tokens, free.Tokens[:first+1]) || len(out.LogProbs) != len(out.Tokens) {
		t.Errorf("with an EOS token: %+v, want the tokens %v and finish eos", out, free.Tokens[:first+1])
	}
	if want := decode(tok, free.Tokens[:first]); out.Text != want {
		t.Errorf("the text before the EOS token is %q, want %q", out.Text, want)
	}
	opt.MaxNewTokens = first + 1
	if out = mustRun(t, e, [][]int32{{65}}, opt)[0]; out.Finish != FinishEOS {
		t.Errorf("an EOS token in the last place gives finish %q", out.Finish)
	}
	opt.MaxNewTokens = 20

	opt.EOS = nil
	stop := string([]rune(free.Text)[3:5])
	opt.Stop = []string{"never seen", stop}
	out = mustRun(t, e, [][]int32{{65}}, opt)[0]
	if want, _, _ := strings.Cut(free.Text, stop); out.Finish != FinishStop || out.Text != want {
		t.Errorf("with stop string %q: text %q, finish %q, want %q", stop, out.Text, out.Finish, want)
	}

	opt.Stop = []string{string([]rune(free.Text)[len([]rune(free.Text))-1:]) + "never"}
	if out = mustRun(t, e, [][]int32{{65}}, opt)[0]; out.Finish != FinishLength || out.Text != free.Text {
		t.Errorf("with a stop string that only begins: text %q, finish %q, want %q", out.Text, out.Finish, free.Text)
	}

	opt.Stop, opt.MaxNewTokens = nil, 1000
	out = mustRun(t, e, [][]int32{{65}}, opt)[0]
	if len(out.Tokens) != 47 || out.Finish != FinishLength {
		t.Errorf("the context of 48 allowed %d new tokens after 1, finish %q", len(out.Tokens), out.Finish)
	}
}

func decode(tok *tokenizer.Tokenizer, ids []int32) string {
	return strings.ToValidUTF8(string(tok.Decode(ids)), "\ufffd")
}

func TestStreamGivesTheText(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), tinyTokenizer(t))
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.BatchSize = 30, 2
	pieces := map[int]string{}
	out, err := e.Run(context.Background(), prompts, opt, func(i int, text string) {
		if text == "" {
			t.Error("an empty piece was given out")
		}
		pieces[i] += text
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		if pieces[i] != out[i].Text || out[i].Text == "" {
			t.Errorf("prompt %d streamed %q, its text is %q", i, pieces[i], out[i].Text)
		}
	}
}

// TestJoinedTexts keep the space between them and their prompts; those of other prompts begin without one.
func TestJoinedTexts(t *testing.T) {
	var vocab []string
	for i := range 300 {
		vocab = append(vocab, fmt.Sprintf(`"▁w%d":%d`, i, i))
	}
	tok, err := tokenizer.Parse([]byte(`{"model":{"type":"WordLevel","unk_token":"▁w0","vocab":{` + strings.Join(vocab, ",") + `}},
		"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}}`))
	if err != nil {
		t.Fatal(err)
	}
	dev := devicetest.NewReference()
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Joined = 2, func(prompt int) bool { return prompt == 1 }
	for i, o := range mustRun(t, New(dev, device.F32, tinyModel(t, dev), tok), prompts[:3], opt) {
		if strings.HasPrefix(o.Text, " ") != (i == 1) || strings.Count(strings.TrimSpace(o.Text), " w") != 1 {
			t.Errorf("prompt %d goes on as %q", i, o.Text)
		}
	}
}

func TestRunFreesItsMemory(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), nil)
	mustRun(t, e, prompts, DefaultOptions()) // the model makes its rotary tables when it first runs, and keeps them
	before := dev.Memory().InUse
	mustRun(t, e, prompts, DefaultOptions())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Run(ctx, prompts, DefaultOptions(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run returned %v", err)
	}
	if after := dev.Memory().InUse; after != before {
		t.Errorf("%d bytes are in use after the runs, %d before", after, before)
	}
}

func TestRunRefuses(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), nil)
	long := make([]int32, 48)
	for _, c := range []struct {
		prompt []int32
		change func(*Options)
		want   string
	}{
		{[]int32{}, func(*Options) {}, "prompt 1 has no tokens"},
		{[]int32{300}, func(*Options) {}, "vocabulary of 300"},
		{[]int32{-1}, func(*Options) {}, "vocabulary of 300"},
		{long, func(*Options) {}, "context of 48"},
		{[]int32{1}, func(o *Options) { o.MaxNewTokens = 0 }, "max_new_tokens"},
		{[]int32{1}, func(o *Options) { o.BatchSize = 0 }, "batch_size"},
		{[]int32{1}, func(o *Options) { o.Stop = []string{""} }, "stop string"},
		{[]int32{1}, func(o *Options) { o.TopP = 2 }, "top_p"},
	} {
		opt := DefaultOptions()
		c.change(&opt)
		if _, err := e.Run(context.Background(), [][]int32{c.prompt}, opt, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("prompt of %d tokens: error %v, want one with %q", len(c.prompt), err, c.want)
		}
	}
	if out := mustRun(t, e, nil, DefaultOptions()); len(out) != 0 {
		t.Errorf("no prompts gave %d outputs", len(out))
	}
}

func TestStopStringsAcrossTokens(t *testing.T) {
	tok := tinyTokenizer(t)
	for _, c := range []struct {
		text  string
		stops []string
		want  []string // pieces given out for each byte
		rest  string
	}{
		{"abcd", nil, []string{"a", "b", "c", "d"}, ""},
		{"ab\n\nc", []string{"\n\n"}, []string{"a", "b", "", ""}, ""},
		{"ab\nc", []string{"\n\n"}, []string{"a", "b", "", "\nc"}, ""},
		{"ab\n", []string{"\n\n"}, []string{"a", "b", ""}, "\n"},
		{"aabaabaac", []string{"aabaac"}, []string{"", "", "", "", "", "aab", "", "", ""}, ""},
		{"xé", nil, []string{"x", "", "é"}, ""},
		{"x\xc3", nil, []string{"x", ""}, "\ufffd"},
		{"x\xc3y", nil, []string{"x", "", "\ufffdy"}, ""},
	} {
		s := &textStream{decoder: tok.NewStreamDecoder(), stops: c.stops}
		var got []string
		for _, b := range []byte(c.text) {
			text, stopped := s.add(tok.Encode(nil, []byte{b})[0])
			got = append(got, text)
			if stopped {
				break
			}
		}
		if len(got) == len(c.want) && len(got) > 0 && c.rest != "" {
			if rest := s.end(); rest != c.rest {
				t.Errorf("%q: the end gave %q, want %q", c.text, rest, c.rest)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q with stops %q gave %q, want %q", c.text, c.stops, got, c.want)
		}
	}
}

// TestTokensLeaveLittleOnTheHeap: what a layer of a token makes on the Go heap stays few objects, for
// between two products memory is idle.
func TestTokensLeaveLittleOnTheHeap(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	e := New(dev, device.F32, tinyModel(t, dev), nil)
	run := func(tokens int) float64 {
		opt := DefaultOptions()
		opt.MaxNewTokens, opt.Temperature = tokens, 0
		return testing.AllocsPerRun(3, func() { mustRun(t, e, [][]int32{{5, 9, 200}}, opt) })
	}
	const layers, most = 2, 80
	if got := (run(42) - run(2)) / 40 / layers; got > most {
		t.Errorf("%.0f objects a token and layer, want at most %d", got, most)
	}
}
