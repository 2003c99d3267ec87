// Package llama is the Llama architecture (Touvron et al., 2023): pre-norm blocks with
// RMSNorm, rotary positions, grouped-query attention and a SwiGLU feed-forward. Mistral
// (Jiang et al., 2023) is the same with a sliding window.
//
// It is the architecture to read first, and the one to copy for a new one. Its parts:
//
//	Config             the keys of config.json, with transformers' defaults
//	Model … Attention  the tree of parameters: joined by dots, the `hf` tags are the names in a checkpoint
//	Hidden, forward    the forward pass; all rows of all sequences are one matrix [N, C]
//	New, build         from a config.json to a declared model, whose parameters have no memory yet
//
// Nothing here knows of training or generation: nn.Input brings the cache, dropout, recompute and the rows
// that are asked for. Letters are nn's: N rows (tokens), C channels, H query heads, K key/value heads, D
// channels of a head, F feed-forward width, V vocabulary.
package llama

import (
	"fmt"
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type llama or mistral; keys that are absent get the defaults of Default or
// DefaultMistral.
type Config struct {
	VocabSize             int           `json:"vocab_size"`
	HiddenSize            int           `json:"hidden_size"`
	IntermediateSize      int           `json:"intermediate_size"`
	NumHiddenLayers       int           `json:"num_hidden_layers"`
	NumAttentionHeads     int           `json:"num_attention_heads"`
	NumKeyValueHeads      int           `json:"num_key_value_heads"` // as many as heads when 0
	HeadDim               int           `json:"head_dim"`            // hidden_size/num_attention_heads when 0
	HiddenAct             string        `json:"hidden_act"`
	MaxPositionEmbeddings int           `json:"max_position_embeddings"`
	RMSNormEps            float64       `json:"rms_norm_eps"`
	SlidingWindow         *int          `json:"sliding_window"` // mistral alone
	LayerTypes            []string      `json:"layer_types"`
	AttentionBias         bool          `json:"attention_bias"`
	MLPBias               bool          `json:"mlp_bias"`
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Rope                  nn.RopeConfig `json:"-"`
}

// Default is the configuration of absent keys, as transformers has it for llama.
func Default() Config {
	return Config{
		VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 11008, NumHiddenLayers: 32, NumAttentionHeads: 32,
		HiddenAct: "silu", MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, InitializerRange: 0.02,
	}
}

// DefaultMistral is the configuration of absent keys, as transformers has it for mistral.
func DefaultMistral() Config {
	c, window := Default(), 4096
	c.IntermediateSize, c.NumKeyValueHeads, c.MaxPositionEmbeddings, c.SlidingWindow = 14336, 8, 131072, &window
	return c
}

// Model is the tree of parameters, named as in a checkpoint.
type Model struct {
	Config Config
	Body   Body       `hf:"model"`
	LMHead *nn.Linear `hf:"lm_head"` // nil when tied to the embedding
	rope   *nn.Rope
}

// Body is the model below its output layer.
type Body struct {
	EmbedTokens *nn.Embedding `hf:"embed_tokens"` // [V, C]
	Layers      []*Block      `hf:"layers"`
	Norm        *nn.RMSNorm   `hf:"norm"`
}

// Block is one layer: attention and feed-forward, each added to the residual stream.
type Block struct {
	SelfAttn               *Attention   `hf:"self_attn"`
	MLP                    *nn.GatedMLP `hf:"mlp"`
	InputLayerNorm         *nn.RMSNorm  `hf:"input_layernorm"`
	PostAttentionLayerNorm *nn.RMSNorm  `hf:"post_attention_layernorm"`
}

// Attention is grouped-query self-attention with rotary positions.
type Attention struct {
	QProj *nn.Linear `hf:"q_proj"` // [H*D, C]
	KProj *nn.Linear `hf:"k_proj"` // [K*D, C]
	VProj *nn.Linear `hf:"v_proj"` // [K*D, C]
	OProj *nn.Linear `hf:"o_proj"` // [C, H*D]
	shape tensor.AttentionShape
}

// Hidden runs the blocks over the tokens of in: [N, C]. The rotation is looked up once for all layers.
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(m.Body.EmbedTokens.Forward(in.IDs))
	rotation := m.rope.At(in)
	for i, block := range m.Body.Layers {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in, rotation) })
	}
	return m.Body.Norm.Forward(x)
}

// forward is layer i: h = x + attention(norm(x)), then h + mlp(norm(h)). Of the last layer only the rows that
// are asked for go on: in.Kept takes them from x, and attention gives them alone.
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	kept := in.Kept(i, x)
	attended := b.SelfAttn.forward(b.InputLayerNorm.Forward(x), i, in, rotation)
	h := tensor.Residual(kept, in.Drop(attended))
	fed := b.MLP.Forward(b.PostAttentionLayerNorm.Forward(h))
	return tensor.Residual(h, in.Drop(fed))
}

// forward maps the normalised x [N, C] to [N, C].
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	p := nn.Project(x, a.QProj, a.KProj, a.VProj)
	q, k, v := p[0], p[1], p[2] // [N, H*D], [N, K*D], [N, K*D]
	q, k = rotation.Rotate(q, a.shape.Heads), rotation.Rotate(k, a.shape.KVHeads)
	return a.OProj.Forward(in.Attend(i, q, k, v, a.shape))
}

// Head is the output layer, the embedding table itself when tied.
func (m *Model) Head() tensor.Head {
	if m.LMHead == nil {
		return tensor.Head{Weight: m.Body.EmbedTokens.Weight.Tensor}
	}
	return tensor.Head{Weight: m.LMHead.Weight.Tensor}
}

// Free gives back what the model holds beside its parameters.
func (m *Model) Free() { m.rope.Free() }

// Shape is the model's sizes.
func (m *Model) Shape() nn.Shape {
	c := m.Config
	return nn.Shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		FFN: c.IntermediateSize, Vocab: c.VocabSize,
		MaxPositions: c.Rope.Context(), Tied: c.TieWordEmbeddings, OwnAfter: c.Rope.OwnAfter(), LongAfter: c.Rope.LongAfter(),
	}
}

// New declares the llama that config.json describes; its parameters have no memory yet.
func New(config []byte, dev device.Device) (nn.Model, error) {
	c := Default()
	if err := nn.ReadConfig(config, &c); err != nil {
		return nil, err
	}
	// transformers ignores the key there: the model would not be what its writer meant, or what it was trained as
	if c.SlidingWindow != nil {
		return nil, fmt.Errorf("model_type llama has no sliding_window; use model_type mistral, or take the key out")
	}
	return build(c, config, dev)
}

// NewMistral declares the mistral that config.json describes.
func NewMistral(config []byte, dev device.Device) (nn.Model, error) {
	c := DefaultMistral()
	if err := nn.ReadConfig(config, &c); err != nil {
		return nil, err
	}
	c.AttentionBias, c.MLPBias = false, false // keys that mistral does not have
	return build(c, config, dev)
}

// build declares the model of a configuration that is read, and completed here by config.json's other keys.
func build(c Config, config []byte, dev device.Device) (nn.Model, error) {
	if err := c.complete(config); err != nil {
		return nil, err
	}
	act, err := nn.Activation(c.HiddenAct)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, rope: nn.NewRope(c.Rope, dev)}
	m.Body.EmbedTokens = nn.NewEmbedding(c.VocabSize, c.HiddenSize, c.InitializerRange)
	for range c.NumHiddenLayers {
		m.Body.Layers = append(m.Body.Layers, c.block(act))
	}
	m.Body.Norm = nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps)
	if !c.TieWordEmbeddings {
		m.LMHead = nn.NewLinear(c.HiddenSize, c.VocabSize, false, c.InitializerRange)
	}
	return m, nil
}

// complete fills what depends on other keys and refuses what cannot be a model.
func (c *Config) complete(config []byte) (err error) {
	if err := nn.Positive("vocab_size", c.VocabSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "max_position_embeddings", c.MaxPositionEmbeddings); err != nil {
		return err
	}
	if err := nn.Heads(config, c.HiddenSize, c.NumAttentionHeads, &c.NumKeyValueHeads, &c.HeadDim); err != nil {
		return err
	}
	for _, kind := range c.LayerTypes { // other models of this family mix them; here the window is that of all layers
		if kind != c.LayerTypes[0] {
			return fmt.Errorf("layer_types mixes %s and %s, which this model_type does not do", c.LayerTypes[0], kind)
		}
	}
	if c.SlidingWindow != nil {
		if err := nn.Positive("sliding_window", *c.SlidingWindow); err != nil {
			return err
		}
	}
	if c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings}); err != nil {
		return err
	}
	return c.Rope.Whole()
}

// block declares a layer, whose weights start normal with standard deviation initializer_range.
func (c *Config) block(act device.UnaryOp) *Block {
	std := c.InitializerRange
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
	if c.SlidingWindow != nil {
		shape.Window = *c.SlidingWindow
	}
	q, kv := shape.Heads*shape.D, shape.KVHeads*shape.D
	return &Block{
		SelfAttn: &Attention{
			QProj: nn.NewLinear(c.HiddenSize, q, c.AttentionBias, std),
			KProj: nn.NewLinear(c.HiddenSize, kv, c.AttentionBias, std),
			VProj: nn.NewLinear(c.HiddenSize, kv, c.AttentionBias, std),
			OProj: nn.NewLinear(q, c.HiddenSize, c.AttentionBias, std),
			shape: shape,
		},
		MLP:                    nn.NewGatedMLP(c.HiddenSize, c.IntermediateSize, c.MLPBias, act, std),
		InputLayerNorm:         nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps),
		PostAttentionLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps),
	}
}
