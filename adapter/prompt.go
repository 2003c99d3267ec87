package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"hone/device"
	"hone/internal/atomicfile"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// The kinds of adapters that put virtual tokens before a text, by PEFT's names.
const (
	PromptTuning = "PROMPT_TUNING" // Lester et al., 2021: rows of the embedding
	PrefixTuning = "PREFIX_TUNING" // Li & Liang, 2021: keys and values of every layer
	PTuning      = "P_TUNING"      // Liu et al., "GPT Understands, Too", 2021: rows of the embedding that a network makes
)

// PromptConfig is adapter_config.json of an adapter of virtual tokens, with PEFT's names and defaults.
type PromptConfig struct {
	PeftType         string `json:"peft_type"`
	TaskType         string `json:"task_type,omitempty"`
	BaseModel        string `json:"base_model_name_or_path,omitempty"`
	InferenceMode    bool   `json:"inference_mode"`
	NumVirtualTokens int    `json:"num_virtual_tokens"`
	TokenDim         int    `json:"token_dim"`                  // channels of a row; of prefixes those of all key/value heads
	Submodules       int    `json:"num_transformer_submodules"` // 1 for decoders
	Heads            int    `json:"num_attention_heads"`        // of prefixes the key/value heads
	Layers           int    `json:"num_layers"`
	Init             string `json:"prompt_tuning_init,omitzero"` // RANDOM, TEXT or SAMPLE_VOCAB
	InitText         string `json:"prompt_tuning_init_text,omitzero"`
	Tokenizer        string `json:"tokenizer_name_or_path,omitzero"`

	ModulesToSave []string `json:"modules_to_save,omitempty"` // modules trained in full

	PrefixProjection  bool   `json:"prefix_projection,omitzero"` // prefixes are made by a network of two layers
	EncoderHiddenSize int    `json:"encoder_hidden_size,omitzero"`
	Reparameterized   string `json:"encoder_reparameterization_type,omitzero"` // MLP or LSTM
	EncoderNumLayers  int    `json:"encoder_num_layers,omitzero"`
}

// Validate reports a value that cannot be meant or is not supported.
func (c *PromptConfig) Validate() error {
	switch {
	case !slices.Contains([]string{PromptTuning, PrefixTuning, PTuning}, c.PeftType):
		return fmt.Errorf("peft_type is %q; use LORA, %s, %s or %s", c.PeftType, PromptTuning, PrefixTuning, PTuning)
	case c.NumVirtualTokens < 1:
		return fmt.Errorf("num_virtual_tokens is %d; it must be at least 1", c.NumVirtualTokens)
	case c.Submodules > 1:
		return fmt.Errorf("num_transformer_submodules is %d; a decoder has 1", c.Submodules)
	case c.EncoderHiddenSize < 0:
		return fmt.Errorf("encoder_hidden_size is %d; it must be at least 1, or 0 for the model's own", c.EncoderHiddenSize)
	}
	return nil
}

// Prompt is an adapter of virtual tokens. It trains either the rows themselves or a network that makes them.
type Prompt struct {
	Config  PromptConfig
	model   *nn.Virtual
	params  []nn.Named // rows, and the network's matrices and biases
	own     []nn.Named // parameters of the base that are trained, by PEFT's names
	encoded bool
}

// AttachPrompt freezes a model and puts virtual tokens before its sequences: Wrapped is the model that has
// them. The parameters have no memory yet: Initialize or a load is next. With train, prompts that a
// network makes have that network.
func AttachPrompt(m Model, c PromptConfig, train bool) (*Prompt, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := m.Shape()
	if s.MaxPositions > 0 && c.NumVirtualTokens >= s.MaxPositions {
		return nil, fmt.Errorf("num_virtual_tokens is %d, which leaves no room in the model's context of %d; lower it",
			c.NumVirtualTokens, s.MaxPositions)
	}
	c.TokenDim, c.Heads, c.Layers, c.Submodules = s.Hidden, s.Heads, s.Layers, 1
	if c.PeftType == PrefixTuning {
		c.TokenDim, c.Heads = s.KVHeads*s.HeadDim, s.KVHeads
	}
	if c.EncoderHiddenSize == 0 {
		c.EncoderHiddenSize = c.TokenDim
	}
	p := &Prompt{Config: c, model: nn.NewVirtual(m.Model, c.NumVirtualTokens), encoded: train &&
		(c.PeftType == PTuning || c.PrefixProjection)}
	if p.encoded && c.PeftType == PTuning && c.Reparameterized != "MLP" {
		return nil, fmt.Errorf("encoder_reparameterization_type is %q; MLP can be trained", c.Reparameterized)
	}
	saved, err := savedModules(m, c.ModulesToSave, c.TaskType)
	if err != nil {
		return nil, err
	}
	for _, q := range m.Params {
		q.Freeze()
		if module, _ := split(q.Name); saved[module] {
			q.Thaw()
			p.own = append(p.own, nn.Named{Name: promptPrefix + q.Name, Param: q.Param})
		}
	}
	p.declare()
	p.Enable(true)
	return p, nil
}

// promptPrefix stands before the names of the base's modules in a PEFT checkpoint of virtual tokens, which
// wrap no layer.
const promptPrefix = "base_model."

// declare lists the parameters, with the initial values of PEFT's modules.
func (p *Prompt) declare() {
	c, width := p.Config, p.width()
	name := "prompt_embeddings"
	if p.encoded {
		name, width = "embedding.weight", c.TokenDim
	}
	p.params = []nn.Named{{Name: name, Param: nn.NewParam(nn.Init{Std: 1}, c.NumVirtualTokens, width)}}
	if !p.encoded {
		return
	}
	h := c.EncoderHiddenSize
	if c.PeftType == PrefixTuning {
		p.linear("transform.0", c.TokenDim, h)
		p.linear("transform.2", h, p.width())
		return
	}
	p.linear("mlp_head.0", c.TokenDim, h)
	p.linear("mlp_head.2", h, h)
	p.linear("mlp_head.4", h, c.TokenDim)
}

// linear declares a layer as torch initialises it.
func (p *Prompt) linear(name string, in, out int) {
	init := nn.Init{Bound: 1 / math.Sqrt(float64(in))}
	p.params = append(p.params,
		nn.Named{Name: name + ".weight", Param: nn.NewParam(init, out, in)},
		nn.Named{Name: name + ".bias", Param: nn.NewParam(init, out)})
}

// width is the number of columns of the rows.
func (p *Prompt) width() int {
	if p.Config.PeftType == PrefixTuning {
		// a key and a value of every layer
		return 2 * p.Config.Layers * p.Config.TokenDim
	}
	return p.Config.TokenDim
}

// rows are the virtual tokens: [P, width].
func (p *Prompt) rows(t *tensor.Tape) *tensor.Tensor {
	if !p.encoded {
		return p.params[0].Tensor
	}
	all := make([]int32, p.Config.NumVirtualTokens)
	for i := range all {
		all[i] = int32(i)
	}
	act := device.ReLU
	if p.Config.PeftType == PrefixTuning {
		act = device.Tanh
	}
	x := tensor.Embedding(t.Ints(all), p.params[0].Tensor)
	for i := 1; i < len(p.params); i += 2 { // weight, bias, weight, bias …, behind the embedding
		if i > 1 {
			x = tensor.Unary(act, x)
		}
		x = tensor.Linear(x, p.params[i].Tensor, p.params[i+1].Tensor)
	}
	return x
}

// Wrapped is the model with the virtual tokens.
func (p *Prompt) Wrapped() nn.Model { return p.model }

// Enable turns the virtual tokens on or off; off, the wrapped model computes what the base does.
func (p *Prompt) Enable(on bool) {
	p.model.Prompt, p.model.Prefix, p.model.Tokens = nil, nil, 0
	switch {
	case on && p.Config.PeftType == PrefixTuning:
		p.model.Prefix, p.model.Tokens = p.rows, p.Config.NumVirtualTokens
	case on:
		p.model.Prompt, p.model.Tokens = p.rows, p.Config.NumVirtualTokens
	}
}

// Params lists what is trained.
func (p *Prompt) Params() []nn.Named { return slices.Concat(p.params, p.own) }

// Own lists what of Params is the model's own: modules_to_save.
func (p *Prompt) Own() []nn.Named { return slices.Clone(p.own) }

// Encoded tells that a network makes the rows, so that Params are not what an adapter's file holds.
func (p *Prompt) Encoded() bool { return p.encoded }

// Initialize gives the parameters memory and fresh values.
func (p *Prompt) Initialize(dev device.Device, dtype device.DType, seed uint64) {
	nn.Initialize(p.params, dev, dtype, seed)
}

// FromTokens makes the rows of prompt tuning the embeddings of ids, which are cut or repeated to the number
// of virtual tokens.
func (p *Prompt) FromTokens(dev device.Device, dtype device.DType, ids []int32) error {
	if len(ids) == 0 {
		return errors.New("prompt_tuning_init_text has no tokens; give a text")
	}
	all := make([]int32, p.Config.NumVirtualTokens)
	for i := range all {
		all[i] = ids[i%len(ids)]
	}
	tape := tensor.NewTape(dev, dtype)
	defer tape.Reset()
	tape.Infer()
	v, err := p.model.Embed(tape, all).Float32s()
	if err == nil {
		p.params[0].Write(v)
	}
	return err
}

// openPrompt reads virtual tokens as rows, whatever made them: a network is not in the file.
func openPrompt(dir string, m Model, dev device.Device, dtype device.DType) (*Prompt, error) {
	text, err := os.ReadFile(filepath.Join(dir, ConfigName))
	if err != nil {
		return nil, err
	}
	var c PromptConfig
	if err := decode(text, &c); err != nil {
		return nil, err
	}
	weights, err := openWeights(dir)
	if err != nil {
		return nil, err
	}
	defer weights.Close()
	p, err := AttachPrompt(m, c, false)
	if err != nil {
		return nil, err
	}
	// without the network that may have made them: a file holds rows
	err = nn.Load(p.Params(), dev, dtype, func(name string, shape []int) ([]float32, error) {
		t, ok := weights.Tensor(name)
		if !ok || !slices.Equal(t.Shape, shape) {
			return nil, fmt.Errorf("tensor %s has shape %v and the model asks for %v; the adapter is of another model",
				name, t.Shape, shape)
		}
		return t.Float32()
	})
	if err != nil {
		p.Free()
		return nil, err
	}
	return p, nil
}

// Free takes the virtual tokens off and gives their memory back.
func (p *Prompt) Free() {
	p.Enable(false)
	nn.Free(p.params)
}

// Save writes the adapter to dir, which it makes; values gives each parameter's numbers. What a network makes
// is written as PEFT does, as the rows it made: the network is not needed any more.
func (p *Prompt) Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	if err := errors.Join(os.MkdirAll(dir, 0o777), p.SaveConfig(dir)); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	v, err := p.made(values)
	if err != nil {
		return fmt.Errorf("save adapter %s: %w", dir, err)
	}
	stored := safetensors.F32
	if dtype == device.BF16 {
		stored = safetensors.BF16
	}
	plan := []safetensors.Info{{Name: "prompt_embeddings", DType: stored, Shape: []int{p.Config.NumVirtualTokens, p.width()}}}
	for _, q := range p.own {
		plan = append(plan, safetensors.Info{Name: q.Name, DType: stored, Shape: q.Shape})
	}
	w, err := safetensors.Create(filepath.Join(dir, WeightsName), plan, map[string]string{"format": "pt"})
	if err != nil {
		return fmt.Errorf("save adapter %s: %w", dir, err)
	}
	defer w.Abort()
	err = w.WriteFloat32("prompt_embeddings", v)
	for _, q := range p.own {
		if err == nil {
			if v, err = values(q); err == nil {
				err = w.WriteFloat32(q.Name, v)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("save adapter %s: %w", dir, err)
	}
	return w.Commit()
}

// made are the numbers of the rows that parameters of the given values make.
func (p *Prompt) made(values func(nn.Named) ([]float32, error)) ([]float32, error) {
	for _, q := range p.params {
		v, err := values(q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Name, err)
		}
		if !p.encoded {
			return v, nil
		}
		q.Write(v)
	}
	tape := tensor.NewTape(p.params[0].Device(), p.params[0].DType())
	defer tape.Reset()
	tape.Infer()
	return p.rows(tape).Float32s()
}

// SaveConfig writes adapter_config.json.
func (p *Prompt) SaveConfig(dir string) error {
	c := p.Config
	c.InferenceMode = true
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, ConfigName), append(text, '\n'))
}
