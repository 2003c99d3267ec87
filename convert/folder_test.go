package convert

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/gguf"
	"hone/safetensors"
	"hone/tokenizer"
)

// modelFolder writes a model folder whose weights count up, each from where the one before ended.
func modelFolder(t *testing.T, config string, shapes map[string][]int, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	var plan []safetensors.Info
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		plan = append(plan, safetensors.Info{Name: name, DType: safetensors.F32, Shape: shapes[name]})
	}
	w, err := safetensors.CreateModel(dir, plan, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := float32(0)
	for _, p := range plan {
		v := make([]float32, p.Elements())
		for i := range v {
			v[i], next = next, next+1
		}
		if err := w.WriteFloat32(p.Name, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(files)
	if all == nil {
		all = map[string]string{}
	}
	all["config.json"] = config
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// gpt2Shapes is a GPT-2 of one layer as its first checkpoints were written: without the prefix, with masks, and with the output layer that is the embedding.
func gpt2Shapes() map[string][]int {
	shapes := map[string][]int{"wte.weight": {5, 4}, "wpe.weight": {8, 4}, "lm_head.weight": {5, 4}, "h.0.attn.bias": {1, 1, 8, 8}, "h.0.attn.masked_bias": {1}}
	for name, out := range map[string]int{"h.0.attn.c_attn": 12, "h.0.attn.c_proj": 4, "h.0.mlp.c_fc": 16} {
		shapes[name+".weight"], shapes[name+".bias"] = []int{4, out}, []int{out}
	}
	shapes["h.0.mlp.c_proj.weight"], shapes["h.0.mlp.c_proj.bias"] = []int{16, 4}, []int{4}
	for _, name := range []string{"ln_f", "h.0.ln_1", "h.0.ln_2"} {
		shapes[name+".weight"], shapes[name+".bias"] = []int{4}, []int{4}
	}
	return shapes
}

const tinyGPT2 = `{"model_type":"gpt2","n_layer":1,"n_embd":4,"n_head":2,"n_positions":8}`

// TestNamesWithoutBody: a folder whose names lack that of the body, and whose embedding has the name of the output layer that it is, gives the same file.
func TestNamesWithoutBody(t *testing.T) {
	const config = `{"model_type":"qwen3","num_hidden_layers":1,"hidden_size":4,"intermediate_size":6,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":2,"vocab_size":5,"max_position_embeddings":8,"tie_word_embeddings":true}`
	shapes := map[string][]int{"model.embed_tokens.weight": {5, 4}, "model.norm.weight": {4}}
	for name, shape := range map[string][]int{"input_layernorm": {4}, "post_attention_layernorm": {4}, "self_attn.q_proj": {4, 4}, "self_attn.k_proj": {2, 4}, "self_attn.v_proj": {2, 4},
		"self_attn.o_proj": {4, 4}, "self_attn.q_norm": {2}, "self_attn.k_norm": {2}, "mlp.gate_proj": {6, 4}, "mlp.up_proj": {6, 4}, "mlp.down_proj": {4, 6}} {
		shapes["model.layers.0."+name+".weight"] = shape
	}
	written := func(rename func(string) string) map[string][]float32 {
		renamed := map[string][]int{}
		for name, shape := range shapes {
			renamed[rename(name)] = shape
		}
		f, err := OpenFolder(modelFolder(t, config, renamed, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		mix, _ := gguf.ParseMixture("f32")
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := f.Write(t.Context(), path, mix); err != nil {
			t.Fatal(err)
		}
		g, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		values := map[string][]float32{}
		for _, x := range g.Tensors {
			if values[x.Name], err = x.Float32(); err != nil {
				t.Fatal(err)
			}
		}
		return values
	}
	want := written(func(name string) string { return name })
	for old, other := range map[string]string{"model.": "", "model.embed_tokens": "lm_head"} {
		if d := cmp.Diff(want, written(func(name string) string { return strings.Replace(name, old, other, 1) })); d != "" {
			t.Errorf("%q in place of %q: %s", other, old, d)
		}
	}
	for _, part := range []string{"layers", "norm"} { // which changes the order, by which the numbers are made
		got := written(func(name string) string { return strings.Replace(name, "model."+part, part, 1) })
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("only the names of %s are without the body's: %v", part, slices.Sorted(maps.Keys(got)))
		}
	}
}

// TestStrangeNames: what has no place is told by the name that it has, whatever other names lack.
func TestStrangeNames(t *testing.T) {
	for _, name := range []string{"h.0.strange.weight", "transformer.h.0.strange.weight", "h.1.ln_1.weight"} {
		shapes := gpt2Shapes()
		shapes[name] = []int{4}
		if _, err := OpenFolder(modelFolder(t, tinyGPT2, shapes, nil)); err == nil || !strings.Contains(err.Error(), ": tensor "+name+" has no place in a gpt2 model") {
			t.Errorf("%s: %v", name, err)
		}
	}
	shapes := gpt2Shapes()
	shapes["transformer.wpe.weight"] = shapes["wpe.weight"] // of two, one is too many
	if _, err := OpenFolder(modelFolder(t, tinyGPT2, shapes, nil)); err == nil || !strings.Contains(err.Error(), ": tensor wpe.weight has no place in a gpt2 model") {
		t.Errorf("a tensor under both names: %v", err)
	}
}

// TestOldNames: masks and an output layer that is tied are left out, names get their prefix, matrices are turned, and what comes back are the same numbers.
func TestOldNames(t *testing.T) {
	dir := modelFolder(t, tinyGPT2, gpt2Shapes(), nil)
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mix, _ := gguf.ParseMixture("f32")
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := f.Write(t.Context(), path, mix); err != nil {
		t.Fatal(err)
	}
	g, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, there := g.Tensor("output.weight"); there || len(g.Tensors) != 16 {
		t.Errorf("%d tensors, an output layer of its own: %v", len(g.Tensors), there)
	}
	for key, want := range map[string]any{"tokenizer.ggml.model": "none", "gpt2.vocab_size": uint32(5), "general.name": filepath.Base(dir), "general.file_type": uint32(0), "general.type": "model"} {
		if v, _ := g.Metadata.Get(key); v != want {
			t.Errorf("%s is %v, want %v", key, v, want)
		}
	}
	if len(f.Notes) != 1 || !strings.Contains(f.Notes[0], "no tokenizer") {
		t.Errorf("notes %q", f.Notes)
	}
	weights, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	fc, _ := weights.Tensor("h.0.mlp.c_fc.weight") // [in, out]
	a, _ := fc.Float32()
	up, _ := g.Tensor("blk.0.ffn_up.weight") // [out, in]
	b, _ := up.Float32()
	if !slices.Equal(up.Shape, []int{16, 4}) {
		t.Fatalf("the turned matrix is %v", up.Shape)
	}
	for i := range 4 {
		for o := range 16 {
			if a[i*16+o] != b[o*4+i] {
				t.Fatalf("the weight from %d to %d is %v, want %v", i, o, b[o*4+i], a[i*16+o])
			}
		}
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "out")
	if err := m.Save(t.Context(), out, safetensors.F16); err != nil {
		t.Fatal(err)
	}
	back, err := safetensors.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	for _, name := range back.Names() {
		x, _ := back.Tensor(name)
		y, ok := weights.Tensor(strings.TrimPrefix(name, "transformer."))
		got, _ := x.Float32()
		want, _ := y.Float32()
		if !ok || x.DType != safetensors.F16 || !slices.Equal(x.Shape, y.Shape) || !slices.Equal(got, want) {
			t.Errorf("%s came back as %v", name, x.Info)
		}
	}
	var c map[string]any
	text, _ := os.ReadFile(filepath.Join(out, "config.json"))
	if err := json.Unmarshal(text, &c); err != nil || c["torch_dtype"] != "float16" || c["tie_word_embeddings"] != true || c["vocab_size"] != 5.0 || len(back.Names()) != 16 {
		t.Errorf("%d tensors, config.json %s, %v", len(back.Names()), text, err)
	}
	if _, _, err := m.Float32("nothing"); err == nil || !strings.Contains(err.Error(), "no tensor nothing") {
		t.Errorf("a tensor that is not there: %v", err)
	}
}

// TestUntied: an output layer of its own goes along where config.json says so.
func TestUntied(t *testing.T) {
	f, err := OpenFolder(modelFolder(t, with(tinyGPT2, `"tie_word_embeddings":false`), gpt2Shapes(), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !slices.ContainsFunc(f.links, func(l link) bool { return l.gguf == "output.weight" }) {
		t.Error("the output layer is left out")
	}
	for i := 1; i < len(f.links); i++ {
		if f.links[i].layer < f.links[i-1].layer {
			t.Errorf("%s of layer %d stands behind one of layer %d", f.links[i].gguf, f.links[i].layer, f.links[i-1].layer)
		}
	}
}

// TestFoldersRefused: weights of other shapes, and files that are not what they should be.
func TestFoldersRefused(t *testing.T) {
	for want, c := range map[string]struct{ config string }{
		"null": {"null"}, "read config.json": {"{"}, "of the type array": {"[]"}, `model_type "" cannot be converted`: {"{}"},
		"claims 100 layers": {with(tinyGPT2, `"n_layer":100`)},
	} {
		if _, err := OpenFolder(modelFolder(t, c.config, gpt2Shapes(), nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", c.config, err, want)
		}
	}
	dir := modelFolder(t, llamaConfig, map[string][]int{"model.embed_tokens.weight": {5, 4}}, nil)
	if _, err := OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "num_hidden_layers") && !strings.Contains(err.Error(), "claims 2 layers") {
		t.Errorf("got %v", err)
	}
	f := &Folder{arch: architectures[0], links: []link{{gguf: "a", hf: []string{"x"}, layer: -1}}}
	for _, shape := range [][]int{{}, {1, 2, 3}} {
		weights, err := safetensors.Open(modelFolder(t, "{}", map[string][]int{"x": shape}, nil))
		if err != nil {
			t.Fatal(err)
		}
		f.weight = weights
		if _, err := f.plan(gguf.Mixture{}); err == nil || !strings.Contains(err.Error(), "no matrix or vector") {
			t.Errorf("a tensor of the shape %v: %v", shape, err)
		}
		weights.Close()
	}
	weights, err := safetensors.Open(modelFolder(t, "{}", map[string][]int{"x": {2, 3}, "y": {3, 2}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	f.weight, f.links[0].hf = weights, []string{"x", "y"}
	if _, err := f.plan(gguf.Mixture{}); err == nil || !strings.Contains(err.Error(), "tensor y F32 [3 2] cannot be stacked on x F32 [2 3]") {
		t.Errorf("experts of other shapes: %v", err)
	}
}

// TestEmbeddingsRefused: the rows of the embedding are the vocabulary, so it has to have rows.
func TestEmbeddingsRefused(t *testing.T) {
	for _, shape := range [][]int{{}, {4}, {1, 5, 4}} {
		shapes := gpt2Shapes()
		shapes["wte.weight"] = shape
		if _, err := OpenFolder(modelFolder(t, tinyGPT2, shapes, nil)); err == nil || !strings.Contains(err.Error(), "is no matrix of a row for each token") {
			t.Errorf("an embedding of the shape %v: %v", shape, err)
		}
	}
}

// TestEnds reads the ends of answers as generation_config.json has them: one, several, none.
func TestEnds(t *testing.T) {
	for text, want := range map[string][]int{`{"eos_token_id":7}`: {7}, `{"eos_token_id":[7,9]}`: {7, 9}, `{"eos_token_id":null}`: nil, `{}`: nil, `{"eos_token_id":"x"}`: nil, `[`: nil, `{"eos_token_id":[]}`: {}} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := ends(dir); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if got := ends(t.TempDir()); got != nil {
		t.Errorf("without the file: %v", got)
	}
}

// spaced is a SentencePiece BPE as tokenizer.json has it, with a pre-tokenizer and a normalizer.
func spaced(t *testing.T, pre, normal any, more object) *tokenizer.Tokenizer {
	t.Helper()
	vocab := object{"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 259, "a": 260, "b": 261, "ab": 262, "▁ab": 263}
	for b := range 256 {
		vocab["<0x"+strings.ToUpper(string("0123456789abcdef"[b/16])+string("0123456789abcdef"[b%16]))+">"] = 3 + b
	}
	file := object{"pre_tokenizer": pre, "normalizer": normal, "decoder": object{"type": "ByteFallback"}, "added_tokens": []object{{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true},
		{"id": 2, "content": "</s>", "special": true}}, "model": object{"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": vocab, "merges": []string{"a b", "▁ ab"}}}
	maps.Copy(file, more)
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err = tok.WithConfig(tokenizer.Config{BOS: "<s>", EOS: "</s>", UNK: "<unk>"}); err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestWaysWithSpaces: SentencePiece's spaces may be a normalizer or Metaspace; what else stands there is refused.
func TestWaysWithSpaces(t *testing.T) {
	replace := object{"type": "Replace", "pattern": object{"String": " "}, "content": mark}
	prepend := object{"type": "Prepend", "prepend": mark}
	both := object{"type": "Sequence", "normalizers": []object{prepend, replace}}
	split := object{"type": "Split", "pattern": object{"String": " "}, "behavior": "MergedWithPrevious", "invert": false}
	meta := func(scheme string) object {
		return object{"type": "Metaspace", "replacement": mark, "prepend_scheme": scheme}
	}
	for name, c := range map[string]struct {
		pre, normal any
		prefix      any // of the metadata; text: the error
	}{
		"normalizers":                  {nil, both, true},
		"a normalizer without a space": {nil, replace, false},
		"with Gemma's split":           {split, replace, false},
		"Metaspace":                    {meta("always"), nil, true},
		"Metaspace at the first":       {meta("first"), nil, true},
		"Metaspace without a space":    {meta("never"), nil, false},
		"a space from both":            {meta("never"), prepend, true},
		"another content":              {nil, object{"type": "Replace", "pattern": object{"String": " "}, "content": "_"}, "normalizer Replace has no place"},
		"an expression":                {nil, object{"type": "Replace", "pattern": object{"Regex": " "}, "content": mark}, "normalizer Replace has no place"},
		"another pattern":              {nil, object{"type": "Replace", "pattern": object{"String": "x"}, "content": mark}, "normalizer Replace has no place"},
		"another sign":                 {object{"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}, nil, "pre-tokenizer Metaspace has no place"},
		"a split alone":                {split, nil, "pre-tokenizer Split has no place"},
		"no spaces":                    {nil, prepend, "neither byte-level BPE nor"},
	} {
		m, _, err := tokenMetadata(spaced(t, c.pre, c.normal, nil), 300, []int{2})
		if want, refused := c.prefix.(string); refused {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
			continue
		}
		if v, _ := m.Get("tokenizer.ggml.add_space_prefix"); err != nil || v != c.prefix {
			t.Errorf("%s: a space in front %v, want %v (%v)", name, v, c.prefix, err)
		}
	}
	for scheme, want := range map[string][]string{"never": nil, "always": {"the tokenizer puts no space before a text that begins with one; llama.cpp does"},
		"first": {"the tokenizer puts no space before a text that begins with one, nor behind special tokens; llama.cpp does"}} {
		if _, notes, err := tokenMetadata(spaced(t, meta(scheme), nil, nil), 300, []int{2}); err != nil || !slices.Equal(notes, want) {
			t.Errorf("%s: the notes are %q, %v, want %q", scheme, notes, err, want)
		}
		if _, notes, err := tokenMetadata(spaced(t, meta(scheme), prepend, nil), 300, []int{2}); err != nil || len(notes) > 0 {
			t.Errorf("%s behind a space: the notes are %q, %v", scheme, notes, err)
		}
	}
	if _, _, err := tokenMetadata(spaced(t, nil, both, object{"model": object{"type": "BPE", "vocab": object{"<unk>": 0, "<s>": 1, "</s>": 2, mark: 3}, "merges": []string{}}}), 300, nil); err == nil || !strings.Contains(err.Error(), "bytes to fall back on") {
		t.Errorf("without bytes: %v", err)
	}
}

// TestTokenKinds: kinds and scores by id, rows without a token, and the ids that end an answer.
func TestTokenKinds(t *testing.T) {
	m, notes, err := tokenMetadata(spaced(t, object{"type": "Metaspace", "replacement": mark, "prepend_scheme": "never"}, nil, nil), 266, []int{2, 262})
	if err != nil || len(notes) > 0 {
		t.Fatalf("%q, %v", notes, err)
	}
	get := func(key string) any { v, _ := m.Get("tokenizer.ggml." + key); return v }
	names, kinds, scores := get("tokens").([]string), get("token_type").([]int32), get("scores").([]float32)
	for id, want := range map[int]struct {
		name  string
		kind  int32
		score float32
	}{0: {"<unk>", tokenUnknown, -2}, 1: {"<s>", tokenControl, -2}, 3: {"<0x00>", tokenByte, 0}, 258: {"<0xFF>", tokenByte, 0}, 260: {"a", tokenNormal, -2}, 262: {"ab", tokenNormal, 0}, 263: {"▁ab", tokenNormal, -1}, 265: {"[PAD265]", tokenUnused, -2}} {
		if names[id] != want.name || kinds[id] != want.kind || scores[id] != want.score {
			t.Errorf("token %d is %q of the kind %d with %v, want %v", id, names[id], kinds[id], scores[id], want)
		}
	}
	got := map[string]any{}
	for _, key := range []string{"bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id", "eot_token_id", "add_bos_token", "add_eos_token"} {
		got[key] = get(key)
	}
	if diff := cmp.Diff(map[string]any{"bos_token_id": uint32(1), "eos_token_id": uint32(2), "unknown_token_id": uint32(0), "padding_token_id": nil, "eot_token_id": uint32(262), "add_bos_token": false, "add_eos_token": false}, got); diff != "" {
		t.Error(diff)
	}
}

// TestPatternsOtherwise: a known expression that cuts in another way is not the known pre-tokenizer.
func TestPatternsOtherwise(t *testing.T) {
	known := component{Type: "Split", Behavior: "Isolated"}
	for _, p := range preTokenizers {
		if len(p.splits) == 1 && p.splits[0] != "" && !p.regex {
			known.Pattern.Regex = p.splits[0]
		}
	}
	off := false
	bytes := component{Type: "ByteLevel", UseRegex: &off}
	if _, err := recognise([]component{known, bytes}, false, false); err != nil {
		t.Fatal(err)
	}
	llama3 := component{Type: "Split", Behavior: "Isolated"}
	llama3.Pattern.Regex = llama3Split
	for _, nfc := range []bool{true, false} { // settings that no name has are no reason to refuse a pattern that has one
		if p, err := recognise([]component{llama3, bytes}, nfc, nfc); err != nil || p.names[0] != map[bool]string{true: "llama-bpe", false: "dbrx"}[nfc] {
			t.Errorf("normalised %v: %v, %v", nfc, p.names, err)
		}
	}
	digits := component{Type: "Split", Behavior: "Isolated"}
	digits.Pattern.Regex = `\p{N}`
	for name, change := range map[string]func(c *component){"inverted": func(c *component) { c.Invert = true }, "removed": func(c *component) { c.Behavior = "Removed" }, "another part": func(c *component) { c.Type = "Whitespace" }} {
		for _, c := range []component{known, digits} {
			change(&c)
			if p, err := recognise([]component{c, bytes}, false, false); err == nil {
				t.Errorf("%s: taken for %v", name, p.names)
			}
		}
	}
	if p, err := recognise([]component{{Type: "Digits"}, {Type: "ByteLevel"}}, false, false); err == nil {
		t.Errorf("digits that stay together are taken for %v", p.names)
	}
	if p, err := recognise([]component{{Type: "ByteLevel"}, known}, false, false); err == nil {
		t.Errorf("a part behind ByteLevel is taken for %v", p.names)
	}
}
