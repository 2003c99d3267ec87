package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExportAndImport takes a model with a tokenizer and a template to GGUF and back, and talks with both.
func TestExportAndImport(t *testing.T) {
	dir, work := chatModel(t, chatML(t)), t.TempDir()
	file, back := filepath.Join(work, "m.gguf"), filepath.Join(work, "back")
	out, errs, code := hone(t, "", "export", dir, "--to", "gguf", "--quant", "f32", "--out", file, "--json")
	var e struct {
		KL      *float64
		MaxDiff *float64 `json:"max_logit"`
		Tokens  int
		Bytes   int64
	}
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 0 || e.KL == nil || *e.KL != 0 || *e.MaxDiff != 0 || e.Tokens < 40 || e.Bytes == 0 {
		t.Fatalf("export printed %s %s (%v)", out, errs, err)
	}
	out, errs, code = hone(t, "", "import", file, "--out", back, "--json")
	var i struct {
		Type               string `json:"model_type"`
		Tokens, Parameters int
	}
	if err := json.Unmarshal([]byte(out), &i); err != nil || code != 0 || i.Type != "llama" || i.Tokens < 260 || i.Parameters == 0 {
		t.Fatalf("import printed %s %s (%v)", out, errs, err)
	}
	talk := func(dir string) string {
		out, errs, code := hone(t, "hello there\nuser\n", "chat", dir, "--temperature", "0", "--max-new-tokens", "9", "--json")
		if code != 0 {
			t.Fatal(errs)
		}
		return out
	}
	if a, b := talk(dir), talk(back); a != b {
		t.Errorf("the model says %q and after GGUF %q", a, b)
	}
	if _, errs, code = hone(t, "", "import", file, "--out", back); code != 1 || !strings.Contains(errs, "already holds a model") {
		t.Errorf("a second import: %d %q", code, errs)
	}
	half := filepath.Join(work, "half")
	if _, errs, code = hone(t, "", "import", file, "--out", half, "--save-dtype", "bf16"); code != 0 {
		t.Fatal(errs)
	}
	if c, _ := os.ReadFile(filepath.Join(half, "config.json")); !strings.Contains(string(c), "bfloat16") {
		t.Errorf("config.json is %s", c)
	}
	text, errs, code := hone(t, "", "export", dir, "--to", "gguf", "--quant", "q8_0", "--out", file)
	if code != 0 || !strings.Contains(text, "nats per token") || !strings.Contains(text, "differ by at most") {
		t.Errorf("export printed %q %q", text, errs)
	}
}

func TestExportFolder(t *testing.T) {
	dir, out := chatModel(t, chatML(t)), filepath.Join(t.TempDir(), "hf")
	if _, errs, code := hone(t, "", "export", dir, "--to", "hf", "--quant", "bf16", "--shard-size", "8KB", "--out", out); code != 0 {
		t.Fatal(errs)
	}
	shards, _ := filepath.Glob(filepath.Join(out, "model-*.safetensors"))
	if len(shards) < 2 {
		t.Errorf("shards: %v", shards)
	}
	if _, errs, code := hone(t, "hello", "chat", out, "--max-new-tokens", "2"); code != 0 {
		t.Error(errs)
	}
}

func TestConvertRefuses(t *testing.T) {
	dir := chatModel(t, "")
	for want, args := range map[string][]string{
		`--to is "onnx"; use gguf or hf`:        {"export", dir, "--to", "onnx"},
		`quantisation "q3" is unknown`:          {"export", dir, "--to", "gguf", "--quant", "q3"},
		`folders take f32, f16 or bf16`:         {"export", dir, "--to", "hf", "--quant", "q8_0", "--out", "x"},
		`size "5 apples" is unknown`:            {"export", dir, "--to", "hf", "--shard-size", "5 apples", "--out", "x"},
		"name the folder to write by --out":     {"export", dir, "--to", "hf"},
		"already holds a model":                 {"export", dir, "--to", "hf", "--out", dir},
		"--save-dtype is \"q8\"":                {"import", "x.gguf", "--save-dtype", "q8"},
		"no GGUF file":                          {"import", filepath.Join(dir, "config.json"), "--out", filepath.Join(t.TempDir(), "new")},
		"there is no file nowhere.gguf":         {"import", "nowhere.gguf"},
		"hone import m.gguf makes a model":      {"chat", "m.gguf"},
		"is an adapter; fold it":                {"export", goldenFile("lora_llama"), "--to", "gguf"},
		"neither a model nor an adapter":        {"inspect", t.TempDir()},
		"tokenizer.json holds no weights; name": {"inspect", filepath.Join(dir, "tokenizer.json")},
		"hone pull org/model downloads it":      {"inspect", "org/model"},
		"there is no file nowhere.safetensors":  {"inspect", "nowhere.safetensors"},
		"export " + goldenFile("llama_dynamic"): {"export", goldenFile("llama_dynamic"), "--to", "gguf", "--out", filepath.Join(t.TempDir(), "x.gguf")},
	} {
		t.Setenv("HF_HOME", t.TempDir())
		_, errs, code := hone(t, "", args...)
		if code != 1 || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %d %q, want %q", args, code, errs, want)
		}
	}
}

// TestExportLeavesFiles: only GGUF files are written over, not the model's own, and none is made of a folder whose files do not fit each other.
func TestExportLeavesFiles(t *testing.T) {
	dir := lettered(t, "llama_untied")
	if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	export := func(out string) (string, int) {
		_, errs, code := hone(t, "", "export", dir, "--to", "gguf", "--quant", "f32", "--out", out)
		return errs, code
	}
	for _, name := range []string{"model.safetensors", "config.json"} {
		path := filepath.Join(dir, name)
		before, _ := os.ReadFile(path)
		errs, code := export(path)
		if after, _ := os.ReadFile(path); code != 1 || !strings.Contains(errs, "is there and is no GGUF file") || !bytes.Equal(before, after) {
			t.Errorf("over %s: exit %d, %s, %d bytes became %d", name, code, errs, len(before), len(after))
		}
	}
	file, empty := filepath.Join(t.TempDir(), "m.gguf"), filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file, empty} {
		if errs, code := export(path); code != 0 {
			t.Errorf("%s: %s", path, errs)
		}
	}
	config := filepath.Join(dir, "config.json")
	text, _ := os.ReadFile(config)
	other := bytes.Replace(text, []byte(`"vocab_size": 97`), []byte(`"vocab_size": 98`), 1)
	if err := os.WriteFile(config, other, 0o666); err != nil || bytes.Equal(text, other) {
		t.Fatal(err, string(text))
	}
	misfit := filepath.Join(t.TempDir(), "misfit.gguf")
	errs, code := export(misfit)
	if _, err := os.Stat(misfit); code != 1 || !strings.Contains(errs, "does not fit config.json") || strings.Contains(errs, "is written") || err == nil {
		t.Errorf("a misfit: exit %d, %s, %v", code, errs, err)
	}
}

// TestNotFinite: a model whose weights are damaged is not exported as if it were whole, and what is not finite is no error of JSON's.
func TestNotFinite(t *testing.T) {
	dir, work := chatModel(t, chatML(t)), t.TempDir()
	weights, ids := filepath.Join(dir, "model.safetensors"), filepath.Join(work, "ids.json")
	text, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(text) - 4096; i < len(text); i++ { // the last tensors
		text[i] = 0xff
	}
	if err := errors.Join(os.WriteFile(weights, text, 0o644), os.WriteFile(ids, []byte(`{"input_ids": [[1, 2, 3]]}`), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := hone(t, "", "export", dir, "--to", "gguf", "--quant", "f32", "--out", filepath.Join(work, "m.gguf"), "--json"); code != 1 || !strings.Contains(errs, "the model's own logits are not finite") {
		t.Errorf("export: %d %q", code, errs)
	}
	out, errs, code := hone(t, "", "logits", dir, "--ids", ids, "--out", filepath.Join(work, "l.safetensors"), "--json")
	if code != 0 || !strings.Contains(out, `"loss":null`) {
		t.Errorf("logits: %d %q %q", code, out, errs)
	}
}

func TestInspect(t *testing.T) {
	dir := chatModel(t, chatML(t))
	file := filepath.Join(t.TempDir(), "m.gguf")
	if _, errs, code := hone(t, "", "export", dir, "--to", "gguf", "--quant", "bf16", "--out", file); code != 0 {
		t.Fatal(errs)
	}
	for path, want := range map[string]struct {
		kind, about string
		bytes       int64 // of the model's parameters; 0 for another number of them
	}{
		dir: {"model", "hidden_size", 4}, filepath.Join(dir, "config.json"): {"model", "hidden_size", 4}, filepath.Join(dir, "model.safetensors"): {"safetensors", "format", 4}, file: {"gguf", "llama.block_count", 2},
		goldenFile("lora_llama"): {"adapter", "lora_alpha", 0},
	} {
		out, errs, code := hone(t, "", "inspect", path, "--json")
		var r struct {
			Kind    string
			About   map[string]any
			Tensors []struct {
				Name  string
				Bytes int64
			}
			Parameters int
			Bytes      int64
			LoadF32    int64 `json:"load_f32"`
			LoadBF16   int64 `json:"load_bf16"`
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Kind != want.kind || r.About[want.about] == nil || len(r.Tensors) == 0 {
			t.Errorf("%s: %+v %s (%v)", path, r, errs, err)
			continue
		}
		sum := int64(0)
		for _, x := range r.Tensors {
			sum += x.Bytes
		}
		if sum != r.Bytes || r.LoadF32 != 4*int64(r.Parameters) || r.LoadBF16 >= r.LoadF32 || want.bytes > 0 && r.Bytes < want.bytes*int64(r.Parameters) {
			t.Errorf("%s: %d bytes of %d, %d parameters, memory %d and %d", path, sum, r.Bytes, r.Parameters, r.LoadF32, r.LoadBF16)
		}
		text, _, _ := hone(t, "", "inspect", path)
		if !strings.Contains(text, "memory as bf16") || !strings.Contains(text, r.Tensors[0].Name) {
			t.Errorf("%s: %s", path, text)
		}
	}
}
