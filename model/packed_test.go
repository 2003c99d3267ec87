package model

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/nn"
	"hone/safetensors"
)

// TestPackedWeights: all linear layers but the output layer and what is to be kept, by the ends of names, are
// in few bits, whether the model is new, read, or has room alone; what is read is near what it was.
func TestPackedWeights(t *testing.T) {
	dev := devicetest.NewReference()
	whole, err := New([]byte(tiny), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := whole.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	packed := Packed{Packing: device.Int8, Keep: []string{"v_proj", "1.mlp.up_proj", "q_pro", ""}}
	want := func(name string) device.Packing {
		if !strings.HasSuffix(name, "_proj.weight") || strings.Contains(name, "v_proj") || name == "model.layers.1.mlp.up_proj.weight" {
			return device.Unpacked
		}
		return device.Int8
	}
	var held [3]int64
	for i, open := range []func() (*Model, error){
		func() (*Model, error) { return NewPacked([]byte(tiny), dev, device.F32, packed, 1) },
		func() (*Model, error) { return OpenPacked(dir, dev, device.F32, packed) },
		func() (*Model, error) {
			m, err := Declare([]byte(tiny), dev)
			if err == nil {
				m.Alloc(device.F32, packed)
			}
			return m, err
		},
	} {
		before := dev.Memory().InUse
		m, err := open()
		if err != nil {
			t.Fatal(err)
		}
		held[i] = dev.Memory().InUse - before
		for j, p := range m.Params {
			if p.Packing() != want(p.Name) || p.NeedsGrad() != (want(p.Name) == device.Unpacked) {
				t.Errorf("way %d: %s is stored as %v", i, p.Name, p.Packing())
			}
			if i == 2 {
				continue // which has no values
			}
			got, errGot := p.Float32s()
			was, errWas := whole.Params[j].Float32s()
			if errGot != nil || errWas != nil {
				t.Fatal(errGot, errWas)
			}
			largest := max(slices.Max(was), -slices.Min(was))
			for k := range got {
				if d := got[k] - was[k]; d*d > largest*largest/(200*200) || d != 0 && want(p.Name) == device.Unpacked {
					t.Errorf("way %d: %s[%d] is %v and was %v", i, p.Name, k, got[k], was[k])
					break
				}
			}
		}
		m.Free()
		if left := dev.Memory().InUse - before; left != 0 {
			t.Errorf("way %d: %d bytes are left", i, left)
		}
	}
	if held[0] != held[1] || held[0] != held[2] {
		t.Errorf("a new model takes %d bytes, one that is read %d, room alone %d", held[0], held[1], held[2])
	}
}

// TestOpenFrom: the values may come from anywhere, and where they do not the model is freed.
func TestOpenFrom(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := OpenFrom([]byte(tiny), dev, device.F32, func(name string, shape []int) ([]float32, error) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return numbers(name, n), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params {
		if v, err := p.Float32s(); err != nil || !slices.Equal(v, numbers(p.Name, p.Len())) {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
	m.Free()
	asked, gone := 0, errors.New("gone")
	_, err = OpenFrom([]byte(tiny), dev, device.F32, func(_ string, shape []int) ([]float32, error) {
		if asked++; asked == 3 {
			return nil, gone
		}
		return make([]float32, 8*11), nil
	})
	if err == nil || dev.Memory().InUse != 0 {
		t.Errorf("%v; %d bytes are left", err, dev.Memory().InUse)
	}
	if _, err := OpenFrom([]byte(`{}`), dev, device.F32, nil); err == nil {
		t.Error("a config without a model_type was taken")
	}
}

// TestSaveSaysItsType: config.json has the type of the weights under the key that it came with, and these are
// of that type.
func TestSaveSaysItsType(t *testing.T) {
	dev := devicetest.NewReference()
	for config, want := range map[string]string{
		tiny: `"torch_dtype": "bfloat16"`,
		strings.Replace(tiny, `{`, `{"torch_dtype":"float16",`, 1): `"torch_dtype": "bfloat16"`,
		strings.Replace(tiny, `{`, `{"dtype":"float32",`, 1):       `"dtype": "bfloat16"`,
	} {
		m, err := New([]byte(config), dev, device.F32, 1)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "new", "model")
		if err := m.Save(dir, device.BF16, Values); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(filepath.Join(dir, "config.json"))
		if !strings.Contains(string(text), want) || strings.Count(string(text), "dtype") != 1 {
			t.Errorf("config.json lacks %s: %s", want, text)
		}
		a, err := safetensors.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range a.Names() {
			if x, _ := a.Tensor(name); x.DType != safetensors.BF16 {
				t.Errorf("%s is stored as %v", name, x.DType)
			}
		}
		a.Close()
		m.Free()
	}
}

// TestSaveFails: what cannot be read is named, and neither weights nor a config.json that would speak of them are left.
func TestSaveFails(t *testing.T) {
	m, err := New([]byte(tiny), devicetest.NewReference(), device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	dir, broken := t.TempDir(), errors.New("the card fell off")
	err = m.Save(dir, device.F32, func(p nn.Named) ([]float32, error) {
		if p.Name == "model.norm.weight" {
			return nil, broken
		}
		return Values(p)
	})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "save model "+dir+": read model.norm.weight: ") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(filepath.Join(dir, "file"), device.F32, Values); err == nil || !strings.HasPrefix(err.Error(), "save model: ") {
		t.Errorf("saved in the place of a file: %v", err)
	}
}

// TestFingerprints tell tensors apart by name, type, shape, and what is at both ends.
func TestFingerprints(t *testing.T) {
	one := func(change func(*source)) uint64 {
		s := source{Named: nn.Named{Name: "w", Param: nn.NewParam(nn.Init{}, 100, 100)},
			tensor: safetensors.Tensor{Info: safetensors.Info{DType: safetensors.F32, Shape: []int{100, 100}}, Data: make([]byte, 40_000)}}
		change(&s)
		return fingerprint([]source{s})
	}
	plain := one(func(*source) {})
	if again := one(func(*source) {}); again != plain {
		t.Errorf("one tensor has the fingerprints %#x and %#x", plain, again)
	}
	for what, change := range map[string]func(*source){
		"name":       func(s *source) { s.Name = "v" },
		"type":       func(s *source) { s.tensor.DType = safetensors.I32 },
		"shape":      func(s *source) { s.tensor.Shape = []int{10_000} },
		"first byte": func(s *source) { s.tensor.Data[0] = 1 },
		"4096th":     func(s *source) { s.tensor.Data[4095] = 1 },
		"last 4096":  func(s *source) { s.tensor.Data[40_000-4096] = 1 },
		"last byte":  func(s *source) { s.tensor.Data[39_999] = 1 },
	} {
		if one(change) == plain {
			t.Errorf("another %s has the same fingerprint", what)
		}
	}
}

// TestScored: a head on a loaded model scores as one that is opened with it, and leaves the model to its owner.
func TestScored(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	o := ScorerOptions{Layout: ScoreLayout, Seed: 7}
	opened, err := OpenScorer(goldenDir("llama_untied"), dev, device.F32, o)
	if err != nil {
		t.Fatal(err)
	}
	text := [][]int32{{3, 1, 4, 1, 5}, {9, 2}}
	want := scores(t, opened, text)
	opened.Free()
	m, err := Open(goldenDir("llama_untied"), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	first := m.Scored(device.F32, o)
	scores(t, first, text) // the model makes its rotary tables when it first runs, and keeps them
	first.Free()
	before := dev.Memory().InUse
	// and one in which virtual tokens are off
	for _, of := range []*Model{m, {Model: nn.NewVirtual(m.Model, 2), Params: m.Params, dev: m.dev}} {
		s := of.Scored(device.F32, o)
		if got := scores(t, s, text); !slices.Equal(got, want) || !s.Fresh || s.Score.Layout != ScoreLayout || len(s.Params) != len(m.Params)+1 {
			t.Errorf("scores are %v, opened %v", got, want)
		}
		s.Free()
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%d bytes are left", held)
		}
	}
	if _, err := m.Params[0].Float32s(); err != nil {
		t.Error(err)
	}
	o.Layout, o.Seed = ValueLayout, 8
	if s := m.Scored(device.F32, o); slices.Equal(scores(t, s, text), want) || len(s.Params) != len(m.Params)+2 {
		t.Error("another seed gives the same scores")
	}
}

// TestHeadInAFileOfItsOwn: as LLaMA-Factory writes it, beside the weights of a language model.
func TestHeadInAFileOfItsOwn(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := New([]byte(tiny), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := m.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	m.Free()
	text := [][]int32{{3, 1, 4}}
	plan := []safetensors.Info{{Name: "v_head.summary.weight", DType: safetensors.F32, Shape: []int{1, 8}}, {Name: "v_head.summary.bias", DType: safetensors.F32, Shape: []int{1}}}
	w, err := safetensors.Create(filepath.Join(dir, "value_head.safetensors"), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.WriteFloat32(plan[0].Name, make([]float32, 8)), w.WriteFloat32(plan[1].Name, []float32{0.75}), w.Commit()); err != nil {
		t.Fatal(err)
	}
	s, err := OpenScorer(dir, dev, device.F32, ScorerOptions{Layout: ScoreLayout})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	if got := scores(t, s, text); s.Fresh || s.Score.Layout != ValueLayout || got[0] != 0.75 {
		t.Errorf("fresh %v, layout %s, score %v", s.Fresh, s.Score.Layout, got)
	}
	if m, err = Open(dir, dev, device.F32); err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if is, err := m.IsOf(dir); is || err != nil {
		t.Errorf("a folder with a head is the language model's: %v, %v", is, err)
	}
}

// TestScoreClasses: transformers' names of the classes with a scalar head.
func TestScoreClasses(t *testing.T) {
	for _, c := range []struct {
		given any
		want  string
	}{
		{nil, "LlamaForSequenceClassification"}, {[]any{}, "LlamaForSequenceClassification"}, {[]any{3.0}, "LlamaForSequenceClassification"},
		{[]any{"GPT2LMHeadModel"}, "GPT2ForSequenceClassification"}, {[]any{"Qwen2ForSequenceClassification"}, "Qwen2ForSequenceClassification"},
		{[]any{"OwnModel"}, "OwnModel"},
	} {
		if got := scoreClass(c.given, "LlamaForCausalLM"); got != c.want {
			t.Errorf("%v is %s, want %s", c.given, got, c.want)
		}
	}
	if _, err := OpenScorer(writeFolder(t, strings.Replace(tiny, `{`, `{"num_labels":2,`, 1), nil, 0), devicetest.NewReference(), device.F32, ScorerOptions{Layout: ScoreLayout}); err == nil || !strings.Contains(err.Error(), "num_labels 2") {
		t.Errorf("two labels: %v", err)
	}
}
