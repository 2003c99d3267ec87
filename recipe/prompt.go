package recipe

import (
	"errors"
	"fmt"

	"hone/adapter"
	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Prompt holds the keys of method=prompt, prefix and ptuning, with PEFT's names.
type Prompt struct {
	NumVirtualTokens  int    `yaml:"num_virtual_tokens" doc:"tokens that stand before every text and are trained"`
	Init              string `yaml:"init" doc:"prompt: what they start as: random, text (the embeddings of init_text) or vocabulary (those of random tokens)"`
	InitText          string `yaml:"init_text" doc:"prompt: text to start from; cut or repeated to the number of virtual tokens"`
	Projection        bool   `yaml:"projection" doc:"prefix: a network of two layers makes the prefix"`
	EncoderHiddenSize int    `yaml:"encoder_hidden_size" doc:"prefix and ptuning: width of the network; 0: that of a virtual token"`
}

// promptKinds are the methods of virtual tokens by the kinds of adapters they train.
var promptKinds = map[string]string{"prompt": adapter.PromptTuning, "prefix": adapter.PrefixTuning, "ptuning": adapter.PTuning}

// promptFactor is the learning rate of virtual tokens in terms of that of other adapters, where the recipe
// names none: they start far from what helps, and there are few of them. In fine-tuning it makes 1e-2
// (PEFT's examples take 1e-2 to 3e-2).
const promptFactor = 50

// FallbackRate sets the learning rate where the recipe names none: for all weights, or for an adapter.
func (c *Training) FallbackRate(full, adapter float64) {
	if c.Optimizer.LearningRate != 0 {
		return
	}
	_, virtual := promptKinds[c.Method]
	switch {
	case c.Method == "full":
		c.Optimizer.LearningRate = full
	case virtual:
		c.Optimizer.LearningRate = adapter * promptFactor
	default:
		c.Optimizer.LearningRate = adapter
	}
}

func (p *Prompt) validate() error {
	switch {
	case p.NumVirtualTokens < 1:
		return fmt.Errorf("prompt.num_virtual_tokens is %d; it must be at least 1", p.NumVirtualTokens)
	case p.EncoderHiddenSize < 0:
		return fmt.Errorf("prompt.encoder_hidden_size is %d; it must be at least 0", p.EncoderHiddenSize)
	case p.Init != "random" && p.Init != "text" && p.Init != "vocabulary":
		return fmt.Errorf("prompt.init is %q; use random, text or vocabulary", p.Init)
	case (p.Init == "text") != (p.InitText != ""):
		return errors.New("prompt.init=text and prompt.init_text go together; set both or neither")
	}
	return nil
}

// prompt puts virtual tokens before the model's sequences.
func (r *Run) prompt(kind string, dtype device.DType) (Trained, error) {
	c := r.Training.Prompt
	config := adapter.PromptConfig{PeftType: kind, TaskType: adapter.TaskCausal, BaseModel: r.From,
		NumVirtualTokens: c.NumVirtualTokens}
	if r.Head != "" {
		config.TaskType, config.ModulesToSave = adapter.TaskSequence, []string{r.Head}
	}
	switch kind {
	case adapter.PromptTuning:
		config.Init = map[string]string{"random": "RANDOM", "text": "TEXT", "vocabulary": "SAMPLE_VOCAB"}[c.Init]
		if config.InitText = c.InitText; c.Init == "text" {
			config.Tokenizer = r.From
		}
	case adapter.PrefixTuning:
		config.PrefixProjection, config.EncoderHiddenSize = c.Projection, c.EncoderHiddenSize
	case adapter.PTuning:
		config.Reparameterized, config.EncoderNumLayers, config.EncoderHiddenSize = "MLP", 2, c.EncoderHiddenSize
	}
	p, err := adapter.AttachPrompt(adapter.Model{Model: r.Model.Model, Params: r.Model.Params}, config, true)
	if err != nil {
		return nil, fmt.Errorf("prompt.%w", err)
	}
	p.Initialize(r.Env.Device, dtype, r.Training.Seed)
	if kind == adapter.PromptTuning && c.Init != "random" {
		if err := p.FromTokens(r.Env.Device, dtype, r.firstTokens()); err != nil {
			p.Free()
			return nil, err
		}
	}
	r.Model.Model = p.Wrapped()
	return &virtual{adapted{p, r.Tokenizer}, p}, nil
}

// firstTokens are those whose embeddings the virtual tokens start as.
func (r *Run) firstTokens() []int32 {
	if r.Training.Prompt.Init == "text" {
		return r.Tokenizer.EncodeWithSpecial(nil, []byte(r.Training.Prompt.InitText))
	}
	random := tensor.NewRandomFor(r.Training.Seed, "prompt_embeddings")
	ids := make([]int32, r.Training.Prompt.NumVirtualTokens)
	for i := range ids {
		// the bias of a remainder, of 2^64 by a vocabulary, is nothing beside what the start matters
		ids[i] = int32(random.Uint64() % uint64(r.Tokenizer.VocabSize()))
	}
	return ids
}

// virtual trains virtual tokens. Where a network makes them, a checkpoint holds the network beside what it makes.
type virtual struct {
	adapted
	prompt *adapter.Prompt
}

// Weights names a file of its own where a network makes the rows: the adapter's file in a checkpoint
// holds the rows, for others to load.
func (v *virtual) Weights() string {
	if v.prompt.Encoded() {
		return "prompt_encoder.safetensors"
	}
	return adapter.WeightsName
}

// Files puts the rows as they are at the moment into a checkpoint whose weights are the network's.
func (v *virtual) Files(dir string) error {
	if !v.prompt.Encoded() {
		return v.adapted.Files(dir)
	}
	return errors.Join(v.prompt.Save(dir, device.F32, func(p nn.Named) ([]float32, error) { return p.Float32s() }), v.tok.Save(dir))
}
