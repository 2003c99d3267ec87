package eval

import (
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"testing"

	"hone/data"
	"hone/device"
	"hone/device/devicetest"
	"hone/model/llama"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
)

const config = `{"vocab_size": 300, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
	"max_position_embeddings": 16, "initializer_range": 0.5}`

func tiny(t *testing.T, eos string) Model {
	t.Helper()
	dev := devicetest.NewReference()
	m, err := llama.New([]byte(config), dev)
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialize(nn.Params(m), dev, device.F32, 3)
	docs := func(yield func([]byte, error) bool) { yield([]byte("the theme of these themes is there"), nil) }
	tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 270, SpecialTokens: []string{"<eos>"}, EOS: eos})
	if err != nil {
		t.Fatal(err)
	}
	return Model{Dev: dev, DType: device.F32, Model: m, Tokenizer: tok}
}

func texts(list ...string) iter.Seq2[data.Document, error] {
	return func(yield func(data.Document, error) bool) {
		for _, s := range list {
			if !yield(data.Document{Text: []byte(s), Source: "test"}, nil) {
				return
			}
		}
	}
}

// nats is the loss of tokens[i] after tokens[from:i], by a forward pass of its own.
func nats(t *testing.T, m Model, tokens []int32, from, i int) float64 {
	t.Helper()
	tape := tensor.NewTape(m.Dev, m.DType)
	tape.Infer()
	positions := make([]int32, i-from)
	for p := range positions {
		positions[p] = int32(p)
	}
	h := m.Hidden(nn.NewInput(tape, tokens[from:i], positions, []int32{0, int32(i - from)}))
	row, err := nn.Logits(m, h, tape.Ints([]int32{int32(i - from - 1)})).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(float64(x))
	}
	return math.Log(sum) - float64(row[tokens[i]])
}

var docs = []string{"the theme is here and there and where", "x", "of these \xff themes"}

// TestWindowsScoreEachTokenOnce compares with one forward pass per token, whose context is that of the first
// window that reaches the token.
func TestWindowsScoreEachTokenOnce(t *testing.T) {
	for _, eos := range []string{"", "<eos>"} {
		m := tiny(t, eos)
		for _, c := range []struct{ length, stride, batch int }{{16, 16, 4}, {8, 8, 3}, {8, 3, 2}, {5, 1, 64}, {2, 2, 1}} {
			var want float64
			var tokens, bytes int64
			for _, text := range docs {
				var ids []int32
				if eos != "" {
					ids = append(ids, 0)
				}
				ids = m.Tokenizer.Encode(ids, []byte(text))
				for i := 1; i < len(ids); i++ {
					from := 0
					for i > from+c.length {
						from += c.stride
					}
					want += nats(t, m, ids, from, i)
					tokens++
					bytes += int64(len(m.Tokenizer.TokenBytes(ids[i])))
				}
			}
			got, err := Run(context.Background(), m, texts(docs...), Config{Length: c.length, Stride: c.stride, BatchSize: c.batch})
			if err != nil {
				t.Fatal(err)
			}
			if got.Tokens != tokens || got.Bytes != bytes || got.Documents != 3 {
				t.Errorf("eos %q, %+v: %d tokens, %d bytes, %d documents, want %d, %d and 3", eos, c, got.Tokens, got.Bytes, got.Documents, tokens, bytes)
			}
			loss := want / float64(tokens)
			if math.Abs(got.Loss-loss) > 1e-5 || math.Abs(got.Perplexity/math.Exp(loss)-1) > 1e-5 || math.Abs(got.BitsPerByte-want/math.Ln2/float64(bytes)) > 1e-5 {
				t.Errorf("eos %q, %+v: %+v, want a loss of %v", eos, c, got, loss)
			}
		}
	}
}

func TestBytesAreThoseOfTheText(t *testing.T) {
	got, err := Run(context.Background(), tiny(t, "<eos>"), texts(docs...), Config{Length: 8, Stride: 4, BatchSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(len(strings.Join(docs, ""))); got.Bytes != want {
		t.Errorf("%d bytes were counted, the text has %d", got.Bytes, want)
	}
}

func TestMaxTokensStops(t *testing.T) {
	got, err := Run(context.Background(), tiny(t, "<eos>"), texts(strings.Repeat("abc ", 200), docs[0]), Config{Length: 8, Stride: 8, BatchSize: 2, MaxTokens: 40})
	if err != nil || got.Tokens < 40 || got.Tokens > 40+8 || got.Documents != 1 {
		t.Errorf("max_tokens 40 scored %d tokens of %d documents (%v)", got.Tokens, got.Documents, err)
	}
}

// leaving is a model whose caller goes away before its layers.
type leaving struct {
	nn.Model
	leave func()
	whole bool // a pass was not stopped
}

func (m *leaving) Hidden(in nn.Input) *tensor.Tensor {
	m.leave()
	h := m.Model.Hidden(in)
	m.whole = true
	return h
}

// TestStoppedInAPass: the context ends a pass between its layers.
func TestStoppedInAPass(t *testing.T) {
	m := tiny(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	stopped := &leaving{Model: m.Model, leave: cancel}
	m.Model = stopped
	if _, err := Run(ctx, m, texts(docs...), Config{Length: 16, Stride: 16, BatchSize: 4}); !errors.Is(err, context.Canceled) || stopped.whole {
		t.Errorf("%v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	m := tiny(t, "")
	ok := Config{Length: 8, Stride: 8, BatchSize: 2}
	broken := func(yield func(data.Document, error) bool) { yield(data.Document{}, errors.New("disk on fire")) }
	for _, c := range []struct {
		docs iter.Seq2[data.Document, error]
		cfg  Config
		want string
	}{
		{texts("abc"), Config{Length: 1, Stride: 1, BatchSize: 1}, "sequence_length"},
		{texts("abc"), Config{Length: 8, Stride: 9, BatchSize: 1}, "stride"},
		{texts("abc"), Config{Length: 8, Stride: 8}, "batch_size"},
		{texts("abc"), Config{Length: 17, Stride: 8, BatchSize: 1}, "context is 16"},
		{texts(), ok, "no text"},
		{texts("", "a"), ok, "no text"},
		{broken, ok, "disk on fire"},
	} {
		if _, err := Run(context.Background(), m, c.docs, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.cfg, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, m, texts(docs...), ok); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run returned %v", err)
	}
}
