package adapter_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/devicetest"
	"hone/model"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

func target(m *model.Model) adapter.Model { return adapter.Model{Model: m.Model, Params: m.Params} }

// trained are the logits of a training pass.
func (in input) trained(t *testing.T, dev device.Device, m nn.Model) []float32 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Train(1, 0, 0)
	v, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, in.ids, in.positions, in.offsets)), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFreshDoRA: magnitudes begin as the lengths of the base's weights, so a fresh adapter computes what the
// base does, and in training, too, for its dropout is that of what the magnitudes change alone.
func TestFreshDoRA(t *testing.T) {
	for _, base := range []string{"llama_untied", "gpt2_tied"} {
		dev := devicetest.NewReference()
		m, in := open(t, dev, base), batch(t, base)
		plain := in.logits(t, dev, m)
		c := adapter.Default()
		c.UseDoRA, c.LoraDropout = true, 0.4
		l, err := adapter.Attach(target(m), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Initialize(dev, device.F32, 3); err != nil {
			t.Fatal(err)
		}
		near(t, base+": logits of a fresh adapter", in.logits(t, dev, m), plain, 1e-5)
		near(t, base+": logits in training", in.trained(t, dev, m), plain, 1e-5)
		l.Free()
	}
}

// TestFirstValues: A as torch's kaiming_uniform_(a=√5) or normal, B of zeros, and a network's layers as torch has them.
func TestFirstValues(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	most := func(p nn.Named) (most, deviation float64) {
		v, err := p.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			most, deviation = max(most, math.Abs(float64(x))), deviation+float64(x)*float64(x)/float64(len(v))
		}
		return most, math.Sqrt(deviation)
	}
	// the largest and the deviation
	for init, want := range map[any][2]float64{true: {1 / math.Sqrt(60), 1 / math.Sqrt(180)}, "gaussian": {0.6, 0.125}} {
		c := adapter.Default()
		c.InitLoraWeights, c.TargetModules = init, adapter.Modules{Names: []string{"q_proj"}}
		l, err := adapter.Attach(target(m), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Initialize(dev, device.F32, 3); err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Params() {
			largest, deviation := most(p)
			if strings.HasSuffix(p.Name, "lora_B.weight") {
				if largest != 0 {
					t.Errorf("%v: %s begins with %v", init, p.Name, largest)
				}
			} else if largest > want[0] || math.Abs(deviation-want[1]) > 0.1*want[1] {
				t.Errorf("%v: %s begins within %v with a deviation of %v, want %v", init, p.Name, largest, deviation, want)
			}
		}
		l.Free()
	}
	p, err := adapter.AttachPrompt(target(m), adapter.PromptConfig{PeftType: adapter.PTuning, NumVirtualTokens: 2, Reparameterized: "MLP"}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Free()
	p.Initialize(dev, device.F32, 1)
	if !p.Encoded() || p.Config.EncoderHiddenSize != 60 {
		t.Errorf("encoded %v by a network of %d channels, want the model's 60", p.Encoded(), p.Config.EncoderHiddenSize)
	}
	for _, q := range p.Params() {
		largest, deviation := most(q)
		if q.Name == "embedding.weight" {
			if math.Abs(deviation-1) > 0.2 {
				t.Errorf("%s begins with a deviation of %v", q.Name, deviation)
			}
		} else if bound := 1 / math.Sqrt(60); largest > bound || largest < 0.8*bound {
			t.Errorf("%s begins within %v, want %v", q.Name, largest, bound)
		}
	}
}

// names are those of parameters.
func names(params []nn.Named) (list []string) {
	for _, p := range params {
		list = append(list, p.Name)
	}
	return list
}

// TestWhatOfTheBaseLearns: biases and modules_to_save, by the names that PEFT gives them, and nothing else.
func TestWhatOfTheBaseLearns(t *testing.T) {
	dev := devicetest.NewReference()
	const gpt2, llama = "base_model.model.transformer.", "base_model.model.model."
	for _, c := range []struct {
		base   string
		change func(*adapter.Config)
		want   []string
	}{
		{"gpt2_tied", func(c *adapter.Config) {}, nil},
		{"gpt2_tied", func(c *adapter.Config) { c.Bias = "lora_only" }, []string{gpt2 + "h.0.attn.c_attn.base_layer.bias", gpt2 + "h.1.attn.c_attn.base_layer.bias"}},
		{"gpt2_tied", func(c *adapter.Config) { c.ModulesToSave = []string{"ln_f"} }, []string{gpt2 + "ln_f.bias", gpt2 + "ln_f.weight"}},
		{"llama_untied", func(c *adapter.Config) { c.Bias = "all"; c.ModulesToSave = []string{"model.norm"} }, []string{"base_model.model.model.norm.weight"}},
		{"llama_untied", func(c *adapter.Config) { c.ModulesToSave = []string{"norm"} }, []string{llama + "layers.0.input_layernorm.weight", llama + "layers.0.post_attention_layernorm.weight",
			llama + "layers.1.input_layernorm.weight", llama + "layers.1.post_attention_layernorm.weight", llama + "norm.weight"}},
		{"llama_untied", func(c *adapter.Config) { c.ModulesToSave = []string{"lm_head"} }, []string{"base_model.model.lm_head.weight"}},
		{"llama_untied", func(c *adapter.Config) {
			c.TaskType, c.ModulesToSave = adapter.TaskSequence, []string{"classifier", "score"}
		}, nil},
	} {
		m := open(t, dev, c.base)
		config := adapter.Default()
		config.TargetModules = adapter.Modules{Names: []string{"c_attn", "q_proj"}}
		c.change(&config)
		l, err := adapter.Attach(target(m), config)
		if err != nil {
			t.Fatal(err)
		}
		got := names(l.Own())
		slices.Sort(got)
		if !slices.Equal(got, c.want) || len(l.Params()) != len(l.Added())+len(c.want) || l.Wrapped() != m.Model {
			t.Errorf("%s: %q learns of the base, want %q", c.base, got, c.want)
		}
		learning := 0
		for _, p := range m.Params {
			if p.NeedsGrad() {
				learning++
			}
		}
		if learning != len(c.want) {
			t.Errorf("%s: %d parameters of the base want gradients, want %d", c.base, learning, len(c.want))
		}
		if l.Config.FanInFanOut != (c.base == "gpt2_tied") {
			t.Errorf("%s: fan_in_fan_out is %v", c.base, l.Config.FanInFanOut)
		}
		l.Free()
	}
	m := open(t, dev, "gpt2_tied")
	config := adapter.Default()
	config.Bias = "all"
	l, err := adapter.Attach(target(m), config)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	for _, p := range m.Params {
		if bias := strings.HasSuffix(p.Name, ".bias"); p.NeedsGrad() != bias {
			t.Errorf("with all biases %s wants a gradient: %v", p.Name, p.NeedsGrad())
		}
	}
}

// TestTargets: what is selected stays as it was asked for, but where PEFT would not take it, and the output
// layer is refused by name alone.
func TestTargets(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	for _, c := range []struct {
		modules adapter.Modules
		layers  []int
		want    adapter.Modules
		count   int
	}{
		{adapter.Modules{Pattern: adapter.AllLinear}, nil, adapter.Modules{Pattern: adapter.AllLinear}, 14},
		{adapter.Modules{Names: []string{"self_attn.q_proj"}}, []int{1}, adapter.Modules{Names: []string{"self_attn.q_proj"}}, 1},
		{adapter.Modules{Names: []string{"model.layers.0.mlp.up_proj", "q_proj"}}, []int{1}, adapter.Modules{Names: []string{"model.layers.0.mlp.up_proj", "q_proj"}}, 2},
		{adapter.Modules{Pattern: `.*\.[qv]_proj`}, nil, adapter.Modules{Names: []string{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj",
			"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"}}, 4},
	} {
		config := adapter.Default()
		config.TargetModules, config.LayersToTransform = c.modules, c.layers
		l, err := adapter.Attach(target(m), config)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Config.TargetModules; len(l.Added()) != 2*c.count || got.Pattern != c.want.Pattern || !slices.Equal(got.Names, c.want.Names) {
			t.Errorf("%+v of %v: %d matrices, written as %+v", c.modules, c.layers, len(l.Added()), got)
		}
		l.Free()
	}
	for want, change := range map[string]func(*adapter.Config){
		"target_modules names the output layer lm_head, which cannot":                                                   func(c *adapter.Config) { c.TargetModules.Names = []string{"q_proj", "lm_head"} },
		"target_modules selects no layer; the model has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj$": func(c *adapter.Config) { c.TargetModules.Names = []string{"lm"} },
		"modules_to_save names layer_norm, which the model does not have":                                               func(c *adapter.Config) { c.ModulesToSave = []string{"layer_norm"} },
		"modules_to_save names , which the model does not have":                                                         func(c *adapter.Config) { c.ModulesToSave = []string{""} },
		"modules_to_save names classifier, which the model does not have":                                               func(c *adapter.Config) { c.ModulesToSave = []string{"classifier"} },
		"modules_to_save names other, which the model does not have": func(c *adapter.Config) {
			c.TaskType, c.ModulesToSave = adapter.TaskSequence, []string{"score", "other"}
		},
	} {
		config := adapter.Default()
		config.TargetModules = adapter.Modules{Names: []string{"q_proj"}}
		change(&config)
		if _, err := adapter.Attach(target(m), config); err == nil || !strings.HasPrefix(err.Error()+"$", want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

// TestSavedLayersHaveNoUpdate: as in PEFT, what modules_to_save names by whole parts of its name is trained in
// full and not adapted beside, so that it has PEFT's name without base_layer; also the output layer.
func TestSavedLayersHaveNoUpdate(t *testing.T) {
	dev := devicetest.NewReference()
	const llama, gpt2 = "base_model.model.model.layers.", "base_model.model.transformer."
	for _, c := range []struct {
		base    string
		modules adapter.Modules
		saved   []string
		pairs   int
		own     []string
	}{
		{"llama_untied", adapter.Modules{Pattern: adapter.AllLinear}, []string{"down_proj"}, 12,
			[]string{llama + "0.mlp.down_proj.weight", llama + "1.mlp.down_proj.weight"}},
		{"llama_untied", adapter.Modules{Names: []string{"q_proj", "down_proj", "lm_head"}}, []string{"0.mlp.down_proj", "lm_head"}, 3,
			[]string{"base_model.model.lm_head.weight", llama + "0.mlp.down_proj.weight"}},
		{"llama_untied", adapter.Modules{Pattern: adapter.AllLinear}, []string{"layers.1.mlp", "0.self_attn"}, 7,
			[]string{llama + "0.self_attn.k_proj.weight", llama + "0.self_attn.o_proj.weight", llama + "0.self_attn.q_proj.weight", llama + "0.self_attn.v_proj.weight",
				llama + "1.mlp.down_proj.weight", llama + "1.mlp.gate_proj.weight", llama + "1.mlp.up_proj.weight"}},
		{"gpt2_tied", adapter.Modules{Names: []string{"c_attn", "lm_head"}}, []string{"wte", "lm_head"}, 2, []string{gpt2 + "wte.weight"}},
	} {
		m := open(t, dev, c.base)
		config := adapter.Default()
		config.TargetModules, config.ModulesToSave = c.modules, c.saved
		l, err := adapter.Attach(target(m), config)
		if err != nil {
			t.Fatal(err)
		}
		own := names(l.Own())
		slices.Sort(own)
		if len(l.Added()) != 2*c.pairs || !slices.Equal(own, c.own) {
			t.Errorf("%+v beside %q: %d matrices and %q of the base", c.modules, c.saved, len(l.Added()), own)
		}
		l.Free()
	}
}

// TestSavedInBF16: half as many bytes, and a configuration as PEFT writes it.
func TestSavedInBF16(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	config := adapter.Default()
	config.TargetModules = adapter.Modules{Names: []string{"q_proj"}}
	l, err := adapter.Attach(target(m), config)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 1); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "adapter")
	if err := l.Save(dir, device.BF16, model.Values); err != nil {
		t.Fatal(err)
	}
	a := archive(t, filepath.Join(dir, adapter.WeightsName))
	if got := a.Names(); !slices.IsSorted(got) || len(got) != 4 {
		t.Errorf("the file has %q", got)
	}
	for _, name := range a.Names() {
		if x, _ := a.Tensor(name); x.DType != safetensors.BF16 {
			t.Errorf("%s is %v", name, x.DType)
		}
	}
	const want = `{
  "alpha_pattern": {},
  "bias": "none",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "lora_alpha": 8,
  "lora_bias": false,
  "lora_dropout": 0,
  "peft_type": "LORA",
  "r": 8,
  "rank_pattern": {},
  "target_modules": [
    "q_proj"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": false
}
`
	if text, err := os.ReadFile(filepath.Join(dir, adapter.ConfigName)); err != nil || string(text) != want {
		t.Errorf("the configuration is %s, %v", text, err)
	}
}

// TestOpenAny: of whatever kind it is, what cannot be opened is no adapter, and the error names its folder.
func TestOpenAny(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	a, err := adapter.OpenAny(goldenPath("lora_llama"), target(m), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.(*adapter.LoRA); !ok {
		t.Errorf("a LoRA is opened as %T", a)
	}
	a.Free()
	folder := func(config string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, adapter.ConfigName), []byte(config), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	before := dev.Memory().InUse
	for dir, want := range map[string]string{
		t.TempDir(): "it is no folder with adapter_config.json",
		folder(`{"peft_type": "LORA", "target_modules": ["q_proj"]}`):                         adapter.WeightsName,
		folder(`{"peft_type": "LORA", "target_modules": ["query"]}`):                          "target_modules selects no layer",
		folder(`{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}`):                     adapter.WeightsName,
		folder(`{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": "two"}`):                 "adapter_config.json has num_virtual_tokens of the wrong type (string)",
		folder(`{"peft_type": "LORA", "target_modules": ["q_proj"], "exclude_modules": "["}`): `exclude_modules: "["`,
	} {
		a, err := adapter.OpenAny(dir, target(m), dev, device.F32)
		if a != nil || err == nil || !strings.HasPrefix(err.Error(), "open adapter "+dir+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v, want %q", a, err, want)
		}
	}
	if held := dev.Memory().InUse - before; held != 0 {
		t.Errorf("%d bytes are left", held)
	}
}

// TestSaveFails: a parameter that cannot be read is named, and no file of weights is left.
func TestSaveFails(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	l, err := adapter.Attach(target(m), adapter.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	p, err := adapter.AttachPrompt(target(m), adapter.PromptConfig{PeftType: adapter.PromptTuning, NumVirtualTokens: 2}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Free()
	broken := errors.New("the card fell off")
	for name, a := range map[string]adapter.Adapter{"lora_A.weight": l, "prompt_embeddings": p} {
		dir := t.TempDir()
		err := a.Save(dir, device.F32, func(nn.Named) ([]float32, error) { return nil, broken })
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, adapter.WeightsName)); err == nil {
			t.Errorf("%s: a file of weights is there", name)
		}
		if err := a.Save(filepath.Join(dir, adapter.ConfigName, "x"), device.F32, model.Values); err == nil || !strings.HasPrefix(err.Error(), "save adapter") {
			t.Errorf("%s: saved in a file: %v", name, err)
		}
	}
}

// TestWrongTensors: what is missing, of another shape or too many is named, and nothing stays on the model or
// in memory.
func TestWrongTensors(t *testing.T) {
	dev := devicetest.NewReference()
	m, in := open(t, dev, "llama_untied"), batch(t, "llama_untied")
	plain := in.logits(t, dev, m)
	const first = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
	for want, change := range map[string]func([]safetensors.Info) []safetensors.Info{
		"tensor " + first + " is missing; is the adapter of another model?":                   func(p []safetensors.Info) []safetensors.Info { return p[1:] },
		"tensor " + first + " has shape [8 61] and the model asks for [8 60]; the adapter is": func(p []safetensors.Info) []safetensors.Info { p[0].Shape = []int{8, 61}; return p },
		"tensor base_model.model.x has no place in the model; the adapter is of another model": func(p []safetensors.Info) []safetensors.Info {
			return append(p, safetensors.Info{Name: "base_model.model.x", DType: safetensors.F32, Shape: []int{1}})
		},
	} {
		dir := written(t, "llama_untied", 1, func(*adapter.Config) {})
		path := filepath.Join(dir, adapter.WeightsName)
		old, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var plan []safetensors.Info
		for _, name := range old.Names() {
			x, _ := old.Tensor(name)
			plan = append(plan, x.Info)
		}
		old.Close()
		plan = change(plan)
		w, err := safetensors.Create(path, plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range plan {
			if err := w.WriteFloat32(info.Name, make([]float32, info.Elements())); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		before := dev.Memory().InUse
		if _, err := adapter.Open(dir, target(m), dev, device.F32); err == nil || !strings.HasPrefix(err.Error(), "open adapter "+dir+": "+want) {
			t.Errorf("got error %v, want %s", err, want)
		}
		near(t, "logits after an error", in.logits(t, dev, m), plain, 0)
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%s: %d bytes are left", want, held)
		}
	}
}

// TestPromptSaved: virtual tokens of every kind come back from their files as the rows that they are, with
// what of the base learned with them.
func TestPromptSaved(t *testing.T) {
	for _, c := range []adapter.PromptConfig{
		{PeftType: adapter.PromptTuning, NumVirtualTokens: 3, ModulesToSave: []string{"lm_head"}},
		{PeftType: adapter.PrefixTuning, NumVirtualTokens: 2},
		{PeftType: adapter.PrefixTuning, NumVirtualTokens: 2, PrefixProjection: true, EncoderHiddenSize: 5},
		{PeftType: adapter.PTuning, NumVirtualTokens: 2, Reparameterized: "MLP"},
	} {
		dev := devicetest.NewReference()
		m, in := open(t, dev, "llama_untied"), batch(t, "llama_untied")
		plain := in.logits(t, dev, m)
		before := dev.Memory().InUse
		p, err := adapter.AttachPrompt(target(m), c, true)
		if err != nil {
			t.Fatal(err)
		}
		p.Initialize(dev, device.F32, 1)
		own := map[string][]float32{}
		for _, q := range p.Own() {
			v, err := q.Float32s()
			if err != nil || !q.NeedsGrad() {
				t.Fatal(q.Name, err)
			}
			own[q.Name] = v
			q.Write(make([]float32, len(v)))
			if len(c.ModulesToSave) == 0 || q.Name != "base_model.lm_head.weight" {
				t.Errorf("%s learns of the base", q.Name)
			}
		}
		if len(own) != len(c.ModulesToSave) || len(p.Params()) != 1+len(own) && !p.Encoded() {
			t.Errorf("%+v: %q are trained", c, names(p.Params()))
		}
		want := in.logits(t, dev, p.Wrapped())
		dirs := map[device.DType]string{device.F32: filepath.Join(t.TempDir(), "whole"), device.BF16: filepath.Join(t.TempDir(), "half")}
		for dtype, dir := range dirs {
			if err := p.Save(dir, dtype, model.Values); err != nil {
				t.Fatal(err)
			}
		}
		wrapped, base := p.Wrapped(), p.Own()
		p.Free()
		for _, q := range base {
			q.Write(own[q.Name])
		}
		near(t, "logits after Free", in.logits(t, dev, wrapped), plain, 0)
		for dtype, dir := range dirs {
			stored := map[device.DType]safetensors.DType{device.F32: safetensors.F32, device.BF16: safetensors.BF16}[dtype]
			a := archive(t, filepath.Join(dir, adapter.WeightsName))
			for _, name := range append([]string{"prompt_embeddings"}, names(base)...) {
				if x, ok := a.Tensor(name); !ok || x.DType != stored || len(a.Names()) != 1+len(base) {
					t.Errorf("%+v in %v: %s is %v, among %q", c, dtype, name, x.DType, a.Names())
				}
			}
			again, err := adapter.OpenAny(dir, target(m), dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "logits of what is read back", in.logits(t, dev, again.Wrapped()), want, map[device.DType]float64{device.F32: 1e-5, device.BF16: 0.2}[dtype])
			again.Free()
			for _, q := range base {
				q.Write(own[q.Name])
			}
		}
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%+v: %d bytes are left", c, held)
		}
	}
}

// TestPromptOfTokens: the rows are the embeddings of a text, cut or said again, and a text without tokens is refused.
func TestPromptOfTokens(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	table := m.Params[slices.IndexFunc(m.Params, func(p nn.Named) bool { return strings.Contains(p.Name, "embed_tokens") })]
	embedded, err := table.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ ids, want []int32 }{{[]int32{7, 3}, []int32{7, 3, 7}}, {[]int32{9, 8, 7, 6}, []int32{9, 8, 7}}} {
		p, err := adapter.AttachPrompt(target(m), adapter.PromptConfig{PeftType: adapter.PromptTuning, NumVirtualTokens: 3}, true)
		if err != nil {
			t.Fatal(err)
		}
		p.Initialize(dev, device.F32, 1)
		if err := p.FromTokens(dev, device.F32, nil); err == nil || !strings.Contains(err.Error(), "no tokens") {
			t.Errorf("of no tokens: %v", err)
		}
		if err := p.FromTokens(dev, device.F32, c.ids); err != nil {
			t.Fatal(err)
		}
		rows, err := p.Params()[0].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range c.want {
			if !slices.Equal(rows[i*60:(i+1)*60], embedded[id*60:(id+1)*60]) {
				t.Errorf("of %v row %d is not the embedding of %d", c.ids, i, id)
			}
		}
		p.Free()
	}
	if _, err := adapter.AttachPrompt(target(m), adapter.PromptConfig{PeftType: adapter.PromptTuning, NumVirtualTokens: 2, ModulesToSave: []string{"x"}}, true); err == nil || !strings.Contains(err.Error(), "modules_to_save names x") {
		t.Errorf("a module that is not there: %v", err)
	}
}
