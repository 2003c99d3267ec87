package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/gguf"
	"hone/safetensors"
)

const tinyLlama = `{"model_type":"llama","num_hidden_layers":1,"hidden_size":4,"num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":16}`

// llamaShapes is a llama of one layer, or, with experts, a mixtral of two.
func llamaShapes(experts bool) map[string][]int {
	const layer = "model.layers.0."
	shapes := map[string][]int{"model.embed_tokens.weight": {5, 4}, "model.norm.weight": {4}, layer + "input_layernorm.weight": {4}, layer + "post_attention_layernorm.weight": {4}}
	for _, p := range []string{"q_proj", "k_proj", "v_proj", "o_proj"} {
		shapes[layer+"self_attn."+p+".weight"] = []int{4, 4}
	}
	if !experts {
		shapes[layer+"mlp.gate_proj.weight"], shapes[layer+"mlp.up_proj.weight"], shapes[layer+"mlp.down_proj.weight"] = []int{8, 4}, []int{8, 4}, []int{4, 8}
		return shapes
	}
	shapes[layer+"block_sparse_moe.gate.weight"] = []int{2, 4}
	for _, e := range []string{"0", "1"} {
		expert := layer + "block_sparse_moe.experts." + e
		shapes[expert+".w1.weight"], shapes[expert+".w2.weight"], shapes[expert+".w3.weight"] = []int{8, 4}, []int{4, 8}, []int{8, 4}
	}
	return shapes
}

// llamaFile is the GGUF file of such a model, after a change to what it will hold; its weights are zeros.
func llamaFile(t *testing.T, experts bool, change func(meta gguf.Metadata, plan []gguf.Info) gguf.Metadata) string {
	t.Helper()
	config := tinyLlama
	if experts {
		config = with(config, `"model_type":"mixtral","num_local_experts":2`)
	}
	f, err := OpenFolder(modelFolder(t, config, llamaShapes(experts), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mix, _ := gguf.ParseMixture("f32")
	plan, err := f.plan(mix)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	w, err := gguf.Create(path, change(slices.Clone(f.meta), plan), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, p := range plan {
		if err := w.WriteFloat32(p.Name, make([]float32, p.Elements())); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

// reshaped gives a tensor of the file another shape.
func reshaped(name string, shape ...int) func(gguf.Metadata, []gguf.Info) gguf.Metadata {
	return func(meta gguf.Metadata, plan []gguf.Info) gguf.Metadata {
		for i := range plan {
			if plan[i].Name == name {
				plan[i].Shape = shape
			}
		}
		return meta
	}
}

// withTokens puts the tokenizer of spaceMeta into the file, for an embedding of so many rows.
func withTokens(rows int, more ...gguf.Pair) func(gguf.Metadata, []gguf.Info) gguf.Metadata {
	return func(meta gguf.Metadata, plan []gguf.Info) gguf.Metadata {
		reshaped("token_embd.weight", rows, 4)(meta, plan)
		meta = slices.DeleteFunc(meta, func(p gguf.Pair) bool { return strings.HasPrefix(p.Key, "tokenizer.") })
		return append(meta, spaceMeta(more...)...)
	}
}

// TestTensorsRefused: tensors of other shapes and types than the architecture has are told by name, when the file is opened or when they are read.
func TestTensorsRefused(t *testing.T) {
	for want, c := range map[string]struct {
		experts bool
		change  func(gguf.Metadata, []gguf.Info) gguf.Metadata
	}{
		"tensor output_norm.weight has the shape [1 1 4] and should be a matrix or a vector": {false, reshaped("output_norm.weight", 1, 1, 4)},
		"tensor blk.0.ffn_up_exps.weight has the shape [3 8 4] and should stack 2 experts":   {true, reshaped("blk.0.ffn_up_exps.weight", 3, 8, 4)},
		"tensor blk.0.ffn_up_exps.weight has the shape [2 32] and should stack 2 experts":    {true, reshaped("blk.0.ffn_up_exps.weight", 2, 32)},
		"the tokenizer has 284 tokens and the model 283":                                     {false, withTokens(283)},
		"tokenizer.ggml.tokens is": {false, func(meta gguf.Metadata, _ []gguf.Info) gguf.Metadata {
			meta = slices.DeleteFunc(meta, func(p gguf.Pair) bool { return strings.HasPrefix(p.Key, "tokenizer.") })
			return append(meta, gguf.Pair{Key: "tokenizer.ggml.model", Value: "gpt2"}, gguf.Pair{Key: "tokenizer.ggml.tokens", Value: "a"})
		}},
	} {
		if m, err := Open(llamaFile(t, c.experts, c.change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v %v, want %q", m, err, want)
		}
	}
	path := llamaFile(t, false, reshaped("", 0))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const norm = "output_norm.weight"
	binary.LittleEndian.PutUint32(data[bytes.Index(data, []byte(norm))+len(norm)+4+8:], uint32(gguf.I32)) // behind the rank and one dimension; as wide as F32
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "tensor output_norm.weight holds I32, which are no weights") {
		t.Errorf("whole numbers for weights: %v", err)
	}
	if _, err := Open(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	m, err := Open(llamaFile(t, false, reshaped("blk.0.attn_q.weight", 6, 4)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "out")
	if err := m.Save(t.Context(), out, 0); err == nil || !strings.Contains(err.Error(), "tensor blk.0.attn_q.weight: 6 rows are no pairs of channels for 2 heads") {
		t.Errorf("rows that are no pairs: %v", err)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("of a model that cannot be written is left %v, %v", left, err)
	}
}

// TestEndsOfAnswers: of a file that names two, config.json gets the end of text and generation_config.json both; a token that there is not is none.
func TestEndsOfAnswers(t *testing.T) {
	pair := func(name string, id int) gguf.Pair {
		return gguf.Pair{Key: "tokenizer.ggml." + name + "_token_id", Value: uint32(id)}
	}
	m, err := Open(llamaFile(t, false, withTokens(300, pair("eot", 282), pair("padding", 300), gguf.Pair{Key: "tokenizer.ggml.add_eos_token", Value: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var c, generation map[string]any
	if err := errors.Join(json.Unmarshal(m.Config, &c), json.Unmarshal(m.Generation, &generation)); err != nil {
		t.Fatal(err)
	}
	if ends, _ := json.Marshal(generation["eos_token_id"]); string(ends) != "[2,282]" || c["eos_token_id"] != 2.0 || c["vocab_size"] != 300.0 || c["pad_token_id"] != nil {
		t.Errorf("%s and %s", m.Config, m.Generation)
	}
	if _, said := c["pad_token_id"]; !said { // left out, it would be the architecture's
		t.Errorf("that nothing pads is not said: %s", m.Config)
	}
	if before, after := m.Tokenizer.Special(); !slices.Equal(before, []int32{1}) || !slices.Equal(after, []int32{2}) {
		t.Errorf("texts begin with %v and end with %v", before, after)
	}
}

// TestVocabulariesWithGaps: what older files leave out is taken as llama.cpp takes it.
func TestVocabulariesWithGaps(t *testing.T) {
	without := func(meta gguf.Metadata, name string) gguf.Metadata {
		return slices.DeleteFunc(meta, func(p gguf.Pair) bool { return p.Key == "tokenizer.ggml."+name })
	}
	tok, _, err := readVocabulary(&reader{Metadata: without(spaceMeta(), "unknown_token_id")}, "llama")
	if err != nil || tok.Config().UNK != "<unk>" {
		t.Errorf("the unknown token is told by its kind: %v", err)
	}
	tok, _, err = readVocabulary(&reader{Metadata: without(spaceMeta(gguf.Pair{Key: "tokenizer.ggml.add_eos_token", Value: true}), "eos_token_id")}, "llama")
	if err != nil {
		t.Fatal(err)
	}
	if _, after := tok.Special(); len(after) > 0 {
		t.Errorf("an end that there is not ends texts: %v", after)
	}
	meta, _, err := tokenMetadata(byteLevelTokenizer(t, "gpt-2"), 410, nil)
	if err != nil {
		t.Fatal(err)
	}
	for arch, fine := range map[string]bool{"gpt2": true, "gptneox": true, "phi2": true, "llama": false} {
		if _, _, err := readVocabulary(&reader{Metadata: without(slices.Clone(meta), "pre")}, arch); (err == nil) != fine {
			t.Errorf("a tokenizer of %s without a name: %v", arch, err)
		}
	}
	broken := append(without(slices.Clone(meta), "merges"), gguf.Pair{Key: "tokenizer.ggml.merges", Value: []string{"no token"}})
	if _, _, err := readVocabulary(&reader{Metadata: broken}, "gpt2"); err == nil || !strings.Contains(err.Error(), "the file's tokenizer: ") {
		t.Errorf("a merge of what are no tokens: %v", err)
	}
}

// TestNumbers: metadata may have a number in any width.
func TestNumbers(t *testing.T) {
	for _, v := range []any{uint8(7), int8(7), uint16(7), int16(7), uint32(7), int32(7), uint64(7), int64(7), float32(7), 7.0} {
		r := &reader{Metadata: gguf.Metadata{{Key: "k", Value: v}}}
		if got := r.number("k", 1); got != 7 || r.whole("k", 1) != 7 || r.err != nil {
			t.Errorf("%T is read as %v, %v", v, got, r.err)
		}
	}
	if got := shortest(0.1); got != 0.1 {
		t.Errorf("a float32 of 0.1 is %v", got)
	}
}

// TestFilesNotWritten: a folder whose tensors cannot be converted, a place that cannot be written to and a run that is stopped leave no file.
func TestFilesNotWritten(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for want, c := range map[string]struct {
		ctx   context.Context
		name  string
		shape []int // of a layer's projection to queries
	}{
		"6 rows are no pairs of channels": {t.Context(), "x.gguf", []int{6, 4}},
		"is no matrix or vector":          {t.Context(), "x.gguf", []int{2, 2, 4}},
		"create ":                         {t.Context(), filepath.Join("none", "x.gguf"), []int{4, 4}},
		"context canceled":                {stopped, "x.gguf", []int{4, 4}},
	} {
		shapes := llamaShapes(false)
		shapes["model.layers.0.self_attn.q_proj.weight"] = c.shape
		f, err := OpenFolder(modelFolder(t, tinyLlama, shapes, nil))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		mix, _ := gguf.ParseMixture("f32")
		if err := f.Write(c.ctx, filepath.Join(dir, c.name), mix); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left behind is %v", want, left)
		}
		f.Close()
	}
}

// TestCopiesAsTheyAre: without another type tensors keep their bytes, whatever they hold, and the folder its files; what cannot be copied leaves no config.json.
func TestCopiesAsTheyAre(t *testing.T) {
	from := modelFolder(t, tinyLlama, llamaShapes(false), map[string]string{"generation_config.json": "{}", "other.txt": "x"})
	out := filepath.Join(t.TempDir(), "a", "b")
	n, err := Copy(t.Context(), out, from, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, there := range map[string]bool{"config.json": true, "generation_config.json": true, safetensors.SingleName: true, "other.txt": false} {
		want, _ := os.ReadFile(filepath.Join(from, name))
		if got, err := os.ReadFile(filepath.Join(out, name)); (err == nil) != there || there && name != safetensors.SingleName && !bytes.Equal(got, want) {
			t.Errorf("%s is copied as %q, %v", name, got, err)
		}
	}
	a, err := safetensors.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := safetensors.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, name := range a.Names() {
		x, _ := a.Tensor(name)
		if y, _ := b.Tensor(name); y.DType != x.DType || !slices.Equal(y.Shape, x.Shape) || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%v is copied as %v", x.Info, y.Info)
		}
	}
	if n != a.Bytes() || len(b.Names()) != len(a.Names()) {
		t.Errorf("%d of %d bytes, %d of %d tensors", n, a.Bytes(), len(b.Names()), len(a.Names()))
	}
	if _, err := Copy(t.Context(), filepath.Join(out, "config.json", "below"), from, 0, 0); err == nil || !strings.Contains(err.Error(), "copy model: ") {
		t.Errorf("below a file: %v", err)
	}
	for name, spoil := range map[string]func(dir string) error{
		"weights that are gone":         func(dir string) error { return os.Remove(filepath.Join(dir, safetensors.SingleName)) },
		"a folder in a tokenizer's way": func(dir string) error { return os.Mkdir(filepath.Join(dir, "tokenizer.json"), 0o755) },
	} {
		from, out := modelFolder(t, tinyLlama, llamaShapes(false), nil), t.TempDir()
		if err := spoil(from); err != nil {
			t.Fatal(err)
		}
		if _, err := Copy(t.Context(), out, from, 0, 0); err == nil || !strings.Contains(err.Error(), from) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(out, "config.json")); err == nil {
			t.Errorf("%s: the copy is a model", name)
		}
	}
}

// TestTypesOfCopies: the type stands under the key that config.json has for it, and 0 keeps the smallest that holds all numbers.
func TestTypesOfCopies(t *testing.T) {
	for config, want := range map[string]string{`{"dtype":"float32"}`: `{"dtype":"float16"}`, `{"torch_dtype":"float32"}`: `{"torch_dtype":"float16"}`, `{}`: `{"torch_dtype":"float16"}`} {
		text, err := withType([]byte(config), safetensors.F16)
		if got := strings.Join(strings.Fields(string(text)), ""); err != nil || got != want {
			t.Errorf("%s becomes %s, %v", config, got, err)
		}
	}
	for typ, want := range map[gguf.Type]safetensors.DType{gguf.F32: safetensors.F32, gguf.F16: safetensors.F16, gguf.BF16: safetensors.BF16, gguf.Q4_K: safetensors.F32, gguf.F64: safetensors.F32} {
		if got := exact(typ); got != want {
			t.Errorf("%v comes as %v", typ, got)
		}
	}
}

// TestDamagedLongRope: factors of longrope that are no numbers, or too few, are refused, and not written as zeros.
func TestDamagedLongRope(t *testing.T) {
	a, err := byModelType("phi3")
	if err != nil {
		t.Fatal(err)
	}
	for _, long := range []any{[]any{1.0, nil}, []any{1.0, "2"}, []any{1.0, 0.0}, []any{1.0}, []any{1.0, 2.0, 3.0}, nil, 2.0} {
		scaling := map[string]any{"type": "longrope", "short_factor": []any{1.0, 2.0}, "long_factor": long}
		if got, err := a.ropeTensors(config{"rope_scaling": scaling}, shape{dim: 4}); err == nil || !strings.Contains(err.Error(), "2 positive numbers in long_factor") {
			t.Errorf("%v gives %v, %v", long, got, err)
		}
	}
	scaling := map[string]any{"type": "longrope", "short_factor": []any{1.0}, "long_factor": []any{3.0}}
	got, err := a.ropeTensors(config{"rope_scaling": scaling, "partial_rotary_factor": 0.5}, shape{dim: 4})
	if err != nil || !slices.Equal(got["rope_factors_long.weight"], []float32{3}) || !slices.Equal(got["rope_factors_short.weight"], []float32{1}) {
		t.Errorf("of half a head: %v, %v", got, err)
	}
}

// TestDefaultsOfScaling: what a config.json leaves out of Llama 3's scaling, and what the largest Gemmas divide by, is as in the reference.
func TestDefaultsOfScaling(t *testing.T) {
	a, err := byModelType("llama")
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.ropeTensors(config{"rope_scaling": map[string]any{"rope_type": "llama3"}}, shape{dim: 128})
	if err != nil {
		t.Fatal(err)
	}
	if want := (llama3{8, 1, 4, 8192}).divisors(10000, 128); !slices.Equal(got["rope_freqs.weight"], want) {
		t.Errorf("%v, want %v", got, want)
	}
	for kind, layers := range map[string]int{"gemma2": 46, "gemma3_text": 62} {
		a, err := byModelType(kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int{-1, 0, 1} {
			want := map[bool]int{true: 168, false: 128}[off == 0]
			if got := a.queryScalar(shape{layers: layers + off, hidden: 5376, dim: 128, heads: heads{query: 32}}); got != want {
				t.Errorf("%s of %d layers: %d, want %d", kind, layers+off, got, want)
			}
		}
	}
}

// TestFirstErrorSticks: of several values that are not what they should be the first is told.
func TestFirstErrorSticks(t *testing.T) {
	r := &reader{Metadata: gguf.Metadata{{Key: "a", Value: "x"}, {Key: "b", Value: "y"}}}
	r.number("a", 0)
	r.flag("b", false)
	if r.err == nil || !strings.Contains(r.err.Error(), `a is "x", which is not a number`) {
		t.Errorf("got %v", r.err)
	}
}

// TestPartsOfFiles: a file of several is told from one that lacks tensors.
func TestPartsOfFiles(t *testing.T) {
	for parts, want := range map[uint16]string{1: "", 3: "the file is part 2 of 3; make one file of all"} {
		path := llamaFile(t, false, func(meta gguf.Metadata, _ []gguf.Info) gguf.Metadata {
			return append(meta, gguf.Pair{Key: "split.no", Value: parts - 1 - parts/3}, gguf.Pair{Key: "split.count", Value: parts})
		})
		m, err := Open(path)
		if err == nil {
			m.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d parts: %v, want %q", parts, err, want)
		}
	}
}
