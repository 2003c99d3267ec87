package generate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/nn"
	"hone/tensor"
)

// counting is a model that counts the tokens that go through it.
type counting struct {
	nn.Model
	tokens int
}

func (m *counting) Hidden(in nn.Input) *tensor.Tensor {
	for _, s := range in.Sequences {
		m.tokens += s.QLen
	}
	return m.Model.Hidden(in)
}

// TestSession holds a conversation of growing, shortened and changed prompts. Each answer must be that of a
// fresh run, and only what is new may go through the model.
func TestSession(t *testing.T) {
	dev := devicetest.NewReference()
	m := &counting{Model: tinyModel(t, dev)}
	e := New(dev, device.F32, m, tinyTokenizer(t))
	s := e.NewSession()
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 5, 0.8
	var held []int32
	for turn, prompt := range [][]int32{{5, 9, 200}, nil, {5, 9, 200, 7, 7, 7}, {5, 9}, {5, 9}, {8, 8, 8, 8}, nil} {
		if prompt == nil { // goes on from what was said
			prompt = append(slices.Clone(held), 11, 12)
		}
		want := mustRun(t, e, [][]int32{prompt}, opt)[0]
		common := 0
		// the last token that was drawn is not held
		for common < min(len(held)-1, len(prompt)-1) && held[common] == prompt[common] {
			common++
		}
		m.tokens = 0
		var text strings.Builder
		got, err := s.Run(context.Background(), prompt, opt, func(x string) { text.WriteString(x) })
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Tokens, want.Tokens) || got.Text != want.Text || text.String() != want.Text || got.Finish != want.Finish {
			t.Errorf("turn %d: got %v %q, a fresh run gives %v %q", turn, got.Tokens, text.String(), want.Tokens, want.Text)
		}
		if fresh := len(prompt) - common + len(got.Tokens) - 1; m.tokens != fresh {
			t.Errorf("turn %d: %d tokens go through the model, want %d", turn, m.tokens, fresh)
		}
		held = slices.Concat(prompt, got.Tokens)
		if len(s.tokens) != len(held)-1 {
			t.Errorf("turn %d: %d tokens are held, want %d", turn, len(s.tokens), len(held)-1)
		}
	}
	s.Close()
	if s.tokens != nil || s.cache != nil {
		t.Error("a closed session holds tokens")
	}
}

// TestSessionStopped cancels an answer in the middle and goes on.
func TestSessionStopped(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), tinyTokenizer(t))
	s := e.NewSession()
	defer s.Close()
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 20, 0
	want := mustRun(t, e, [][]int32{{5, 9, 200}}, opt)[0]
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	out, err := s.Run(ctx, []int32{5, 9, 200}, opt, func(string) {
		if n++; n == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || out.Finish != "" || len(out.Tokens) == 0 || len(out.Tokens) >= 20 || !slices.Equal(out.Tokens, want.Tokens[:len(out.Tokens)]) {
		t.Fatalf("got %+v, %v, want the beginning of %v", out, err, want.Tokens)
	}
	again, err := s.Run(context.Background(), []int32{5, 9, 200}, opt, nil)
	if err != nil || !slices.Equal(again.Tokens, want.Tokens) {
		t.Errorf("after it: %v, %v, want %v", again.Tokens, err, want.Tokens)
	}
	if _, err := s.Run(context.Background(), make([]int32, 48), opt, nil); err == nil || !strings.Contains(err.Error(), "shorten") {
		t.Errorf("a prompt as long as the context: %v", err)
	}
}

// leaving is a model whose caller goes away in the midst of the passes that are left: between two layers, as
// Ctrl-C does.
type leaving struct {
	nn.Model
	passes int
	leave  func()
	done   []int // rows of passes that were not stopped
}

func (m *leaving) Hidden(in nn.Input) *tensor.Tensor {
	if m.passes--; m.passes == 0 {
		m.leave()
	}
	h := m.Model.Hidden(in)
	m.done = append(m.done, in.IDs.Len())
	return h
}

// TestStoppedInAPass: a pass that the context ends in its midst is left there, frees its memory, and a
// session has the pieces of the prompt before it and goes on as a fresh one.
func TestStoppedInAPass(t *testing.T) {
	dev := devicetest.NewReference()
	m := &leaving{Model: tinyModel(t, dev)}
	e := New(dev, device.F32, m, nil)
	e.prefill = 4
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 5, 0
	prompt := []int32{5, 9, 200, 7, 8, 1, 2, 3, 4, 6, 11}
	want := mustRun(t, e, [][]int32{prompt}, opt)[0]
	before := dev.Memory().InUse
	for _, test := range []struct {
		passes      int   // of which the last is stopped
		done, again []int // rows of the passes before, and of those that the prompt takes afterwards
	}{{1, nil, []int{4, 4, 3}}, {2, []int{4}, []int{4, 3}}, {4, []int{4, 4, 3}, []int{1}}, {5, []int{4, 4, 3, 1}, []int{1}}} {
		ctx, cancel := context.WithCancel(t.Context())
		m.passes, m.leave, m.done = test.passes, cancel, nil
		if _, err := e.Run(ctx, [][]int32{prompt}, opt, nil); !errors.Is(err, context.Canceled) || !slices.Equal(m.done, test.done) {
			t.Errorf("stopped in pass %d: %v, whole passes %v", test.passes, err, m.done)
		}
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("stopped in pass %d: %d bytes are held", test.passes, held)
		}
		s := e.NewSession()
		ctx, cancel = context.WithCancel(t.Context())
		m.passes, m.leave, m.done = test.passes, cancel, nil
		if _, err := s.Run(ctx, prompt, opt, nil); !errors.Is(err, context.Canceled) || !slices.Equal(m.done, test.done) {
			t.Errorf("a session stopped in pass %d: %v, whole passes %v", test.passes, err, m.done)
		}
		m.done = nil
		again, err := s.Run(t.Context(), prompt, opt, nil)
		if err != nil || !slices.Equal(again.Tokens, want.Tokens) || !slices.Equal(m.done[:len(test.again)], test.again) {
			t.Errorf("after pass %d was stopped: %v, %v, want %v, in passes %v", test.passes, again.Tokens, err, want.Tokens, m.done)
		}
		s.Close()
	}
}

// TestSessionGrows starts a cache small and lets it grow.
func TestSessionGrows(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), nil)
	s := e.NewSession()
	defer s.Close()
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 4, 0
	s.cache = nn.NewCache(dev, device.F32, e.model.Shape(), 1, 8)
	prompt := []int32{3, 1, 4}
	for range 5 {
		out, err := s.Run(context.Background(), prompt, opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := mustRun(t, e, [][]int32{prompt}, opt)[0]; !slices.Equal(out.Tokens, want.Tokens) {
			t.Fatalf("with room for %d: got %v, want %v", s.cache.Capacity, out.Tokens, want.Tokens)
		}
		prompt = slices.Concat(prompt, out.Tokens, []int32{9})
	}
	if s.cache.Capacity < 20 {
		t.Errorf("the cache has room for %d", s.cache.Capacity)
	}
}

// TestSessionCloses: a session that is closed, also twice or before it ran, holds nothing, and one
// that is closed can begin anew.
func TestSessionCloses(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, tinyModel(t, dev), nil)
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.Temperature = 2, 0
	s := e.NewSession()
	s.Close()
	mustRun(t, e, [][]int32{{3, 1}}, opt) // what the model makes at its first use stays
	before := dev.Memory().InUse
	for range 2 {
		if _, err := s.Run(context.Background(), []int32{3, 1}, opt, nil); err != nil {
			t.Fatal(err)
		}
		if dev.Memory().InUse <= before {
			t.Error("a session holds no keys and values")
		}
		s.Close()
		s.Close()
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%d bytes are held by a session that is closed", held)
		}
	}
}
