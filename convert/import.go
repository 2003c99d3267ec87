package convert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"hone/gguf"
	"hone/internal/atomicfile"
	"hone/safetensors"
	"hone/tokenizer"
)

// Model is an open GGUF file as a model folder would have it.
type Model struct {
	Type       string               // model_type
	Config     []byte               // config.json
	Generation []byte               // generation_config.json
	Tokenizer  *tokenizer.Tokenizer // nil if the file has none
	file       *gguf.File
	links      []link
	places     map[string]part
	shape      shape
}

// part is where a tensor of the folder lies.
type part struct {
	link  int
	index int // in the stack
}

// Open opens the GGUF file at path. Close it in the end.
func Open(path string) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Model{file: f, places: map[string]part{}}
	if err := m.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read model %s: %w", path, err)
	}
	return m, nil
}

// Close gives the mapped memory back.
func (m *Model) Close() error { return m.file.Close() }

// ropeNames are tensors that say how positions rotate, which config.json does in a folder.
var ropeNames = []string{"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}

func (m *Model) read() error {
	meta := &reader{Metadata: m.file.Metadata}
	if parts := meta.whole("split.count", 1); parts > 1 { // before tensors are missed that another part has
		return fmt.Errorf("the file is part %d of %d; make one file of all by llama.cpp's llama-gguf-split --merge", meta.whole("split.no", 0)+1, parts)
	}
	a, err := choose(meta)
	if err != nil {
		return err
	}
	m.Type = a.hf
	factors, all := map[string][]float32{}, []string{}
	for _, t := range m.file.Tensors {
		if !slices.Contains(ropeNames, t.Name) {
			all = append(all, t.Name)
			continue
		}
		if factors[t.Name], err = t.Float32(); err != nil {
			return err
		}
	}
	c, s, err := a.fromMetadata(meta, factors)
	if err != nil {
		return err
	}
	// before links are made for as many layers and experts as the file claims
	if s.layers > len(all) || s.experts > maxExperts {
		return fmt.Errorf("the metadata claims %d layers and %d experts, and there are %d tensors", s.layers, s.experts, len(all))
	}
	m.shape = s
	if m.links, err = a.links(s.layers, s.experts, true, all); err != nil {
		return err
	}
	has := func(name string) bool { return slices.Contains(all, name) }
	// what GGUF files say by having a tensor or not having it
	c["tie_word_embeddings"] = !has("output.weight")
	switch a.hf {
	case "llama":
		c["attention_bias"], c["mlp_bias"] = has("blk.0.attn_q.bias"), has("blk.0.ffn_up.bias")
	case "qwen3":
		c["attention_bias"] = has("blk.0.attn_q.bias")
	case "gpt_neox":
		c["attention_bias"] = has("blk.0.attn_qkv.bias")
	}
	if err := m.place(c); err != nil {
		return err
	}
	var v *vocabulary
	if m.Tokenizer, v, err = readVocabulary(meta, a.gguf); err != nil {
		return err
	}
	if rows, _ := c["vocab_size"].(int); m.Tokenizer != nil && m.Tokenizer.VocabSize() > rows { // ids without a row would be read from beyond it
		return fmt.Errorf("the tokenizer has %d tokens and the model %d: the file was put together of two models; get another", m.Tokenizer.VocabSize(), rows)
	}
	return m.encode(c, v)
}

// place notes where each tensor of the folder lies, and the rows of the embedding, which are the vocabulary.
func (m *Model) place(c config) error {
	for i, l := range m.links {
		t, _ := m.file.Tensor(l.gguf)
		if !t.Type.Float() {
			return fmt.Errorf("tensor %s holds %v, which are no weights", l.gguf, t.Type)
		}
		if len(l.hf) > 1 && (len(t.Shape) != 3 || t.Shape[0] != len(l.hf)) {
			return fmt.Errorf("tensor %s has the shape %v and should stack %d experts", l.gguf, t.Shape, len(l.hf))
		}
		if len(l.hf) == 1 && len(t.Shape) > 2 {
			return fmt.Errorf("tensor %s has the shape %v and should be a matrix or a vector", l.gguf, t.Shape)
		}
		for j, name := range l.hf {
			m.places[name] = part{i, j}
		}
		if l.gguf == "token_embd.weight" {
			c["vocab_size"] = t.Shape[0]
		}
	}
	return nil
}

// encode makes the JSON files.
func (m *Model) encode(c config, v *vocabulary) (err error) {
	// config.json names one type: that of most numbers
	elements := map[safetensors.DType]int{}
	for _, t := range m.file.Tensors {
		elements[exact(t.Type)] += t.Elements()
	}
	most := slices.MaxFunc([]safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16}, func(a, b safetensors.DType) int { return elements[a] - elements[b] })
	c["torch_dtype"] = typeNames[most]
	// no padding is said: left out, transformers' Phi-3 has 32000 for it, and does not open where there are fewer tokens
	c["pad_token_id"] = nil
	generation := config{"_from_model_config": true}
	for key, name := range map[string]string{"bos_token_id": "bos", "pad_token_id": "padding"} {
		if m.Tokenizer != nil && v.token(name) >= 0 {
			c[key], generation[key] = v.token(name), v.token(name)
		}
	}
	if len(v.ends) > 0 {
		c["eos_token_id"], generation["eos_token_id"] = v.ends[0], v.ends[0]
	}
	if len(v.ends) > 1 { // config.json has the end of text, generation_config.json all that ends an answer
		generation["eos_token_id"] = v.ends
	}
	if m.Config, err = json.MarshalIndent(c, "", "  "); err != nil {
		return err
	}
	m.Generation, err = json.MarshalIndent(generation, "", "  ")
	return err
}

// typeNames are those of config.json.
var typeNames = map[safetensors.DType]string{safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16"}

// exact is the smallest type that holds all numbers of a type.
func exact(t gguf.Type) safetensors.DType {
	switch t {
	case gguf.BF16:
		return safetensors.BF16
	case gguf.F16:
		return safetensors.F16
	}
	return safetensors.F32
}

// Tensors lists the tensors of the folder, each in the smallest type that holds its numbers.
func (m *Model) Tensors() []safetensors.Info {
	var list []safetensors.Info
	for _, l := range m.links {
		t, _ := m.file.Tensor(l.gguf)
		shape := t.Shape
		if len(l.hf) > 1 {
			shape = shape[1:]
		}
		if l.how == transposed && len(shape) == 2 {
			shape = []int{shape[1], shape[0]}
		}
		for _, name := range l.hf {
			list = append(list, safetensors.Info{Name: name, DType: exact(t.Type), Shape: shape})
		}
	}
	return list
}

// Float32 returns the numbers of a tensor of the folder, dequantised by all cores, and its shape.
func (m *Model) Float32(name string) ([]float32, []int, error) {
	p, ok := m.places[name]
	if !ok {
		return nil, nil, fmt.Errorf("the file has no tensor %s", name)
	}
	l := m.links[p.link]
	t, _ := m.file.Tensor(l.gguf)
	shape, data := t.Shape, t.Data
	// one expert of a stack: rows of all types are whole blocks, so the data can be cut
	if n := len(l.hf); n > 1 {
		size := len(data) / n
		shape, data = shape[1:], data[p.index*size:(p.index+1)*size]
	}
	v := make([]float32, product(shape))
	if err := gguf.Decode(v, data, t.Type); err != nil {
		return nil, nil, fmt.Errorf("tensor %s: %w", l.gguf, err)
	}
	v, shape, err := l.how.backward(v, shape, m.shape.heads)
	if err != nil {
		return nil, nil, fmt.Errorf("tensor %s: %w", l.gguf, err)
	}
	return v, shape, nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Save writes the model folder, which it makes; config.json comes last. stored is the type of all weights, or 0 for the smallest that holds
// each tensor's numbers. When ctx is done it stops with that error.
func (m *Model) Save(ctx context.Context, dir string, stored safetensors.DType) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	plan := m.Tensors()
	for i := range plan {
		if stored != 0 {
			plan[i].DType = stored
		}
	}
	w, err := safetensors.CreateModel(dir, plan, 0)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, info := range plan {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, _, err := m.Float32(info.Name)
		if err == nil {
			err = w.WriteFloat32(info.Name, v)
		}
		if err != nil {
			return fmt.Errorf("save model %s: %w", dir, err)
		}
	}
	if err := w.Commit(); err != nil {
		return err
	}
	if m.Tokenizer != nil {
		if err := m.Tokenizer.Save(dir); err != nil {
			return err
		}
	}
	c := m.Config
	if stored != 0 {
		if c, err = withType(c, stored); err != nil {
			return err
		}
	}
	return errors.Join(atomicfile.WriteFile(filepath.Join(dir, "generation_config.json"), append(m.Generation, '\n')),
		atomicfile.WriteFile(filepath.Join(dir, "config.json"), append(c, '\n')))
}

// withType changes the type that config.json names.
func withType(text []byte, stored safetensors.DType) ([]byte, error) {
	c := map[string]json.RawMessage{} // so that all other values stay as they are written
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read config.json: %w", err)
	}
	key := "torch_dtype"
	if _, ok := c["dtype"]; ok {
		key = "dtype"
	}
	c[key] = json.RawMessage(strconv.Quote(typeNames[stored]))
	return json.MarshalIndent(c, "", "  ")
}
