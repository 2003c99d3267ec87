package convert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/gguf"
	"hone/safetensors"
	"hone/tokenizer"
)

// Folder is a model folder that can be written as a GGUF file.
type Folder struct {
	Notes  []string // what programs that read GGUF files will not see or do
	arch   architecture
	config config
	shape  shape
	meta   gguf.Metadata
	weight *safetensors.Archive
	links  []link
	rope   map[string][]float32
}

// OpenFolder opens a model folder and checks that all of it has a place in a GGUF file. Close it in the end.
func OpenFolder(dir string) (*Folder, error) {
	f := &Folder{}
	if err := f.read(dir); err != nil {
		f.Close()
		return nil, fmt.Errorf("export %s: %w", dir, err)
	}
	return f, nil
}

// Close gives the mapped memory back.
func (f *Folder) Close() error {
	if f.weight == nil {
		return nil
	}
	return f.weight.Close()
}

func (f *Folder) read(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return err
	}
	if f.config, err = parseConfig(text); err != nil {
		return err
	}
	kind, _ := f.config["model_type"].(string)
	if f.arch, err = byModelType(kind); err != nil {
		return err
	}
	f.arch.complete(f.config)
	if f.shape, err = f.arch.shapeOf(f.config); err != nil {
		return err
	}
	if f.weight, err = safetensors.Open(dir); err != nil {
		return err
	}
	if f.shape.layers > len(f.weight.Names()) || f.shape.experts > maxExperts {
		return fmt.Errorf("config.json claims %d layers and %d experts, and there are %d tensors", f.shape.layers, f.shape.experts, len(f.weight.Names()))
	}
	if f.links, err = f.arch.links(f.shape.layers, f.shape.experts, false, f.names()); err != nil {
		return err
	}
	meta, notes, err := f.arch.toMetadata(f.config, f.shape)
	if err != nil {
		return err
	}
	// scaled positions are tensors in a GGUF file and numbers in config.json
	if f.rope, err = f.arch.ropeTensors(f.config, f.shape); err != nil {
		return err
	}
	name := filepath.Base(dir)
	f.meta = append(gguf.Metadata{{Key: "general.architecture", Value: f.arch.gguf}, {Key: "general.type", Value: "model"}, {Key: "general.name", Value: name}}, meta...)
	f.Notes = notes
	return f.readTokens(dir)
}

// tied reports whether the output layer is the embedding.
func (f *Folder) tied() bool {
	if t, ok := f.config["tie_word_embeddings"].(bool); ok {
		return t
	}
	return f.arch.tied
}

// body is what the names of all tensors but those of the output layer begin with; some checkpoints leave it out.
func (f *Folder) body() string {
	first, _, _ := strings.Cut(f.arch.rows[0].hf, ".")
	return first + "."
}

// embedding is the tensor of the first row of every architecture.
func (f *Folder) embedding() string { return f.arch.rows[0].link(0, 1, ".weight").hf[0] }

// outputs are the names of output layers.
var outputs = []string{"lm_head.weight", "embed_out.weight"}

// names are the tensors of the folder, as most checkpoints call them, without those that hold nothing.
func (f *Folder) names() (list []string) {
	all := f.weight.Names()
	known := f.arch.known(f.shape)
	for _, n := range all {
		output := slices.Contains(outputs, n)
		switch {
		case slices.ContainsFunc(ignored, func(end string) bool { return strings.HasSuffix(n, end) }) || f.tied() && output:
			continue
		case !output && known[f.body()+n] && !slices.Contains(all, f.body()+n):
			n = f.body() + n // tensor looks for both
		}
		list = append(list, n)
	}
	if e := f.embedding(); f.tied() && !slices.Contains(list, e) && slices.ContainsFunc(all, func(n string) bool { return slices.Contains(outputs, n) }) {
		list = append(list, e)
	}
	return list
}

// tensor finds a tensor under its name, without that of the body, or the embedding as the output layer that it is tied to. names has made sure that it is there.
func (f *Folder) tensor(name string) safetensors.Tensor {
	places := []string{name, strings.TrimPrefix(name, f.body())}
	if name == f.embedding() {
		places = append(places, outputs...)
	}
	for _, place := range places {
		if t, ok := f.weight.Tensor(place); ok {
			return t
		}
	}
	return safetensors.Tensor{}
}

// readTokens adds what the file says of the tokenizer. A folder may have none: the file then holds weights alone.
func (f *Folder) readTokens(dir string) error {
	embedding := f.tensor(f.links[0].hf[0]) // the first row of every architecture
	if len(embedding.Shape) != 2 {
		return fmt.Errorf("tensor %s is no matrix of a row for each token", embedding.Info)
	}
	size := embedding.Shape[0]
	if f.arch.gguf == "llama" {
		f.meta = append(f.meta, gguf.Pair{Key: "llama.vocab_size", Value: uint32(size)})
	}
	t, err := tokenizer.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		f.Notes = append(f.Notes, "the folder has no tokenizer, so the file has none")
		f.meta = append(f.meta, gguf.Pair{Key: "tokenizer.ggml.model", Value: "none"})
		if f.arch.gguf != "llama" {
			f.meta = append(f.meta, gguf.Pair{Key: f.arch.gguf + ".vocab_size", Value: uint32(size)})
		}
		return nil
	}
	if err != nil {
		return err
	}
	meta, notes, err := tokenMetadata(t, size, ends(dir))
	f.meta, f.Notes = append(f.meta, meta...), append(f.Notes, notes...)
	return err
}

// ends are the ids of generation_config.json that end an answer.
func ends(dir string) (list []int) {
	text, err := os.ReadFile(filepath.Join(dir, "generation_config.json"))
	if err != nil {
		return nil
	}
	var c struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if json.Unmarshal(text, &c) != nil || json.Unmarshal(c.EOS, &list) == nil {
		return list
	}
	var one int
	if json.Unmarshal(c.EOS, &one) == nil {
		list = []int{one}
	}
	return list
}

// Write writes the GGUF file, with the types of a mixture. When ctx is done it stops with that error.
func (f *Folder) Write(ctx context.Context, path string, mix gguf.Mixture) error {
	plan, err := f.plan(mix)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// quantization_version 2 is the layout of blocks that llama.cpp has had since May 2023
	meta := append(slices.Clone(f.meta), gguf.Pair{Key: "general.file_type", Value: mix.FileType}, gguf.Pair{Key: "general.quantization_version", Value: uint32(2)})
	w, err := gguf.Create(path, meta, plan)
	if err != nil {
		return err
	}
	defer w.Abort()
	for name, v := range f.rope { // in any order: the plan has given each its place
		if err := w.WriteFloat32(name, v); err != nil {
			return err
		}
	}
	for _, l := range f.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, _, err := f.float32(l)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := w.WriteFloat32(l.gguf, v); err != nil {
			return err
		}
	}
	return w.Commit()
}

// plan lists the tensors of the file.
func (f *Folder) plan(mix gguf.Mixture) ([]gguf.Info, error) {
	var plan []gguf.Info
	for _, l := range f.links {
		t := f.tensor(l.hf[0])
		if !t.DType.Float() || len(t.Shape) == 0 || len(t.Shape) > 2 {
			return nil, fmt.Errorf("tensor %s is no matrix or vector of floating-point numbers", t.Info)
		}
		for _, name := range l.hf[1:] { // of as many numbers in another order there would be no error later
			if other := f.tensor(name); !slices.Equal(other.Shape, t.Shape) {
				return nil, fmt.Errorf("tensor %s cannot be stacked on %s, which has another shape", other.Info, t.Info)
			}
		}
		shape := t.Shape
		if l.how == transposed && len(shape) == 2 {
			shape = []int{shape[1], shape[0]}
		}
		if len(l.hf) > 1 { // experts are stacked, the first dimension outermost
			shape = append([]int{len(l.hf)}, shape...)
		}
		plan = append(plan, gguf.Info{Name: l.gguf, Shape: shape})
	}
	for _, name := range slices.Sorted(maps.Keys(f.rope)) {
		plan = append(plan, gguf.Info{Name: name, Shape: []int{len(f.rope[name])}})
	}
	mix.Assign(plan, gguf.Sizes{Layers: f.shape.layers, Experts: f.shape.experts})
	return plan, nil
}

// float32 gives a tensor of the file.
func (f *Folder) float32(l link) (all []float32, shape []int, err error) {
	for _, name := range l.hf {
		t := f.tensor(name)
		v, err := t.Float32()
		if err != nil {
			return nil, nil, err
		}
		if v, shape, err = l.how.forward(v, t.Shape, f.shape.heads); err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		if len(l.hf) == 1 {
			return v, shape, nil
		}
		all = append(all, v...)
	}
	return all, shape, nil
}
