package convert_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hone/convert"
	"hone/device"
	"hone/device/cpu"
	"hone/gguf"
	"hone/model"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// edited is a golden folder with other values in config.json, nil to take a key out.
func edited(t *testing.T, name string, edits map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"model.safetensors", "config.json"} {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "golden", name, file))
		if err != nil {
			t.Fatal(err)
		}
		if file == "config.json" && len(edits) > 0 {
			c := map[string]any{}
			if err := json.Unmarshal(data, &c); err != nil {
				t.Fatal(err)
			}
			for k, v := range edits {
				c[k] = v
			}
			data, _ = json.Marshal(c)
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func export(t *testing.T, dir, mixture string) (string, []string) {
	t.Helper()
	f, err := convert.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mix, err := gguf.ParseMixture(mixture)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := f.Write(t.Context(), path, mix); err != nil {
		t.Fatal(err)
	}
	return path, f.Notes
}

func open(t *testing.T, path string) *convert.Model {
	t.Helper()
	m, err := convert.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

type batch struct {
	ids, positions, offsets []int32
	logits                  []float32
}

func goldenBatch(t *testing.T, name string) batch {
	t.Helper()
	a, err := safetensors.Open(filepath.Join("..", "testdata", "golden", name, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	in, _ := a.Tensor("input_ids")
	want, _ := a.Tensor("logits")
	var b batch
	b.logits, _ = want.Float32()
	n := in.Shape[1]
	for i := range in.Elements() {
		b.ids = append(b.ids, int32(binary.LittleEndian.Uint32(in.Data[4*i:])))
		b.positions = append(b.positions, int32(i%n))
	}
	for s := range in.Shape[0] + 1 {
		b.offsets = append(b.offsets, int32(s*n))
	}
	return b
}

func (b batch) run(t *testing.T, m *model.Model, dev device.Device) []float32 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	v, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, b.ids, b.positions, b.offsets)), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRoundTrip exports golden models as f32 and reads them back: the same weights, and the reference's logits. Where a golden model has what
// GGUF files cannot say, its configuration is changed, and the logits of the model itself count.
func TestRoundTrip(t *testing.T) {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	gemma := map[string]any{"query_pre_attn_scalar": 10, "sliding_window_pattern": nil, "rope_local_base_freq": 10000.0, "layer_types": nil, "rope_parameters": nil}
	for name, edits := range map[string]map[string]any{
		"llama_tied": nil, "llama_untied": nil, "llama_linear": nil, "llama_yarn": nil, "llama_llama3": nil, "mistral_window7": nil, "mixtral": nil,
		"mixtral_window": nil, "qwen2_tied": nil, "phi3_long": nil, "phi3_short": nil, "phi3_window": nil, "phi_partial": nil, "gpt2_tied": nil, "gpt2_untied": nil,
		"gpt_neox_parallel": nil, "gpt_neox_sequential": {"hidden_act": "gelu"}, "qwen3_layers": {"use_sliding_window": false, "layer_types": nil},
		"gemma2": {"query_pre_attn_scalar": 10}, "gemma3": gemma,
	} {
		t.Run(name, func(t *testing.T) {
			dir, b := edited(t, name, edits), goldenBatch(t, name)
			path, _ := export(t, dir, "f32")
			m := open(t, path)
			sameWeights(t, dir, m)
			out := filepath.Join(t.TempDir(), "back")
			if err := m.Save(t.Context(), out, 0); err != nil {
				t.Fatal(err)
			}
			whole := regexp.MustCompile(`"(final_logit_softcapping|attn_logit_softcapping|rope_theta|rotary_pct|factor)": \d+[,\n]`)
			if c, _ := os.ReadFile(filepath.Join(out, "config.json")); whole.Match(c) {
				t.Errorf("transformers 5 wants a float and has %s", whole.Find(c))
			}
			back, err := model.Open(out, dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			defer back.Free()
			got, want, tolerance := b.run(t, back, dev), b.logits, 1e-4
			if len(edits) > 0 {
				itself, err := model.Open(dir, dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer itself.Free()
				want, tolerance = b.run(t, itself, dev), 1e-5
			}
			for i := range want {
				if !(math.Abs(float64(got[i]-want[i])) <= tolerance) {
					t.Fatalf("logit %d is %v, want %v", i, got[i], want[i])
				}
			}
		})
	}
}

// sameWeights allows norms that are stored plus one the rounding of that.
func sameWeights(t *testing.T, dir string, m *convert.Model) {
	t.Helper()
	a, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if len(a.Names()) != len(m.Tensors()) {
		t.Errorf("%d tensors became %d", len(a.Names()), len(m.Tensors()))
	}
	for _, info := range m.Tensors() {
		x, ok := a.Tensor(info.Name)
		got, shape, err := m.Float32(info.Name)
		if !ok || err != nil || !slices.Equal(shape, x.Shape) || !slices.Equal(info.Shape, x.Shape) {
			t.Fatalf("%v came from %v (%v)", info, x.Info, err)
		}
		want, _ := x.Float32()
		for i := range want {
			if d := math.Abs(float64(got[i] - want[i])); d > 0 && !(m.Type[:3] == "gem" && d < 1e-6) {
				t.Fatalf("%s[%d] is %v, want %v", info.Name, i, got[i], want[i])
			}
		}
	}
}

// TestQuantised bounds how far the mixtures are from the model, by the largest difference of weights.
func TestQuantised(t *testing.T) {
	dir := edited(t, "mixtral", nil)
	a, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for mixture, bound := range map[string]float64{"f16": 3e-4, "bf16": 3e-3, "q8_0": 4e-3, "q4_k_m": 4e-3} { // rows are too short for blocks
		path, _ := export(t, dir, mixture)
		m := open(t, path)
		worst := 0.0
		for _, info := range m.Tensors() {
			got, _, err := m.Float32(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			x, _ := a.Tensor(info.Name)
			want, _ := x.Float32()
			for i := range want {
				worst = max(worst, math.Abs(float64(got[i]-want[i])))
			}
		}
		if worst == 0 || worst > bound {
			t.Errorf("%s differs by %v, want at most %v", mixture, worst, bound)
		}
	}
	path, _ := export(t, dir, "bf16")
	m := open(t, path)
	out := filepath.Join(t.TempDir(), "half")
	if err := m.Save(t.Context(), out, 0); err != nil {
		t.Fatal(err)
	}
	if c, _ := os.ReadFile(filepath.Join(out, "config.json")); !bytes.Contains(c, []byte(`"bfloat16"`)) {
		t.Errorf("config.json of a bf16 file is %s", c)
	}
}

// TestRefused holds what GGUF files cannot say.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		edits      map[string]any
	}{
		{"llama_dynamic", `rope_type "dynamic" has no place`, nil},
		{"llama_yarn_mscale", "mscale has no place", nil},
		{"qwen2_window", "attention windows of qwen2", nil},
		{"gemma2", "query_pre_attn_scalar is 3", nil},
		{"gemma2", "layer 0 has full_attention", map[string]any{"query_pre_attn_scalar": 10, "layer_types": []string{"full_attention"}}},
		{"gemma2_untied", "attn_logit_softcapping is null", map[string]any{"query_pre_attn_scalar": 10, "attention_bias": false}},
		{"gemma3", "sliding_window_pattern is 3", map[string]any{"query_pre_attn_scalar": 10}},
		{"gemma3_capped", "rotary base of layers with a window is 20", map[string]any{"query_pre_attn_scalar": 10}},
		{"phi_tied", "has no place in a phi model", nil},
		{"gpt_neox_sequential", "the activation is gelu_new", nil},
		{"qwen3_tied", "attention_bias", map[string]any{"use_sliding_window": false}},
		{"llama_tied", `model_type "bert" cannot be converted; these can: llama, mistral`, map[string]any{"model_type": "bert"}},
		{"llama_tied", "tensor model.layers.1.input_layernorm.weight is missing", map[string]any{"num_hidden_layers": 2}},
		{"llama_untied", "tensor model.layers.1.input_layernorm.weight has no place", map[string]any{"num_hidden_layers": 1}},
		{"llama_tied", "claims 1000000 layers", map[string]any{"num_hidden_layers": 1000000}},
		{"llama_tied", "lacks the sizes", map[string]any{"hidden_size": nil}},
		{"llama_tied", "lacks max_position_embeddings", map[string]any{"max_position_embeddings": nil}},
	} {
		f, err := convert.OpenFolder(edited(t, c.name, c.edits))
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %v: got %v, want %q", c.name, c.edits, err, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	_, notes := export(t, edited(t, "mistral_window7", nil), "f32")
	if len(notes) != 2 || !strings.Contains(notes[0], "limited to 7 tokens") || !strings.Contains(notes[1], "no tokenizer") {
		t.Errorf("got %q", notes)
	}
}

// TestCopy writes another type in several files.
func TestCopy(t *testing.T) {
	dir, out := edited(t, "llama_untied", nil), filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join("additional_chat_templates", "tool_use.jinja")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, filepath.Dir(tools)), 0o777), os.WriteFile(filepath.Join(dir, tools), []byte("y"), 0o666)); err != nil {
		t.Fatal(err)
	}
	n, err := convert.Copy(t.Context(), out, dir, safetensors.BF16, 50_000)
	if err != nil {
		t.Fatal(err)
	}
	a, err := safetensors.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	shards, _ := filepath.Glob(filepath.Join(out, "model-*.safetensors"))
	c, _ := os.ReadFile(filepath.Join(out, "config.json"))
	if !bytes.Contains(c, []byte(`"rope_theta": 10000.0`)) || !bytes.Contains(c, []byte(`"attention_dropout": 0.0`)) {
		t.Errorf("numbers are not as they were written: %s", c)
	}
	template, _ := os.ReadFile(filepath.Join(out, "chat_template.jinja"))
	if n != a.Bytes() || len(shards) < 3 || !bytes.Contains(c, []byte("bfloat16")) || string(template) != "x" {
		t.Errorf("%d bytes of %d, %v, %s, %q", n, a.Bytes(), shards, c, template)
	}
	if template, _ := os.ReadFile(filepath.Join(out, tools)); string(template) != "y" {
		t.Errorf("the template for tools is %q", template)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	interrupted := filepath.Join(t.TempDir(), "interrupted")
	if _, err := convert.Copy(ctx, interrupted, dir, 0, 50_000); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted copy ends in %v", err)
	}
	if _, err := os.Stat(filepath.Join(interrupted, "config.json")); err == nil {
		t.Error("an interrupted copy is a model")
	}
	if _, err := convert.Copy(t.Context(), out, t.TempDir(), 0, 0); err == nil {
		t.Error("an empty folder was copied")
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("null"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := convert.Copy(t.Context(), filepath.Join(t.TempDir(), "null"), dir, safetensors.BF16, 0); err == nil || !strings.Contains(err.Error(), "but null") {
		t.Errorf("a config.json of null: %v", err)
	}
}
