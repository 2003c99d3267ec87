// Package qwen3 is the Qwen3 architecture (Yang et al., "Qwen3 Technical Report", 2025) with dense feed-forwards:
// pre-norm blocks with RMSNorm, rotary positions, grouped-query attention whose queries and keys are normalised
// in each head before they are rotated, and a SwiGLU feed-forward. The upper layers may see a sliding window.
package qwen3

import (
	"fmt"
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type qwen3; keys that are absent get the defaults of Default.
type Config struct {
	VocabSize             int           `json:"vocab_size"`
	HiddenSize            int           `json:"hidden_size"`
	IntermediateSize      int           `json:"intermediate_size"`
	NumHiddenLayers       int           `json:"num_hidden_layers"`
	NumAttentionHeads     int           `json:"num_attention_heads"`
	NumKeyValueHeads      int           `json:"num_key_value_heads"`
	HeadDim               int           `json:"head_dim"` // 128 when absent, whatever the other sizes are
	HiddenAct             string        `json:"hidden_act"`
	MaxPositionEmbeddings int           `json:"max_position_embeddings"`
	RMSNormEps            float64       `json:"rms_norm_eps"`
	UseSlidingWindow      bool          `json:"use_sliding_window"` // else sliding_window counts for nothing
	SlidingWindow         *int          `json:"sliding_window"`
	MaxWindowLayers       int           `json:"max_window_layers"` // layers from it on have the window, without layer_types
	LayerTypes            []string      `json:"layer_types"`       // full_attention or sliding_attention of each layer
	AttentionBias         bool          `json:"attention_bias"`
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Rope                  nn.RopeConfig `json:"-"`
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	window := 4096
	return Config{
		VocabSize: 151936, HiddenSize: 4096, IntermediateSize: 22016, NumHiddenLayers: 32, NumAttentionHeads: 32,
		NumKeyValueHeads: 32, HeadDim: 128, HiddenAct: "silu", MaxPositionEmbeddings: 32768, RMSNormEps: 1e-6,
		SlidingWindow: &window, MaxWindowLayers: 28, InitializerRange: 0.02,
	}
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

// Attention is grouped-query self-attention with rotary positions and norms of queries and keys.
type Attention struct {
	QProj *nn.Linear  `hf:"q_proj"` // [H*D, C]
	KProj *nn.Linear  `hf:"k_proj"` // [K*D, C]
	VProj *nn.Linear  `hf:"v_proj"` // [K*D, C]
	OProj *nn.Linear  `hf:"o_proj"` // [C, H*D]
	QNorm *nn.RMSNorm `hf:"q_norm"` // [D], the same for all heads
	KNorm *nn.RMSNorm `hf:"k_norm"` // [D]
	shape tensor.AttentionShape
}

// Hidden runs the blocks over the tokens of in: [N, C].
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(m.Body.EmbedTokens.Forward(in.IDs))
	rotation := m.rope.At(in)
	for i, block := range m.Body.Layers {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in, rotation) })
	}
	return m.Body.Norm.Forward(x)
}

// forward is layer i: h = x + attention(norm(x)), then h + mlp(norm(h)).
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	kept := in.Kept(i, x)
	attended := b.SelfAttn.forward(b.InputLayerNorm.Forward(x), i, in, rotation)
	h := tensor.Residual(kept, in.Drop(attended))
	fed := b.MLP.Forward(b.PostAttentionLayerNorm.Forward(h))
	return tensor.Residual(h, in.Drop(fed))
}

// forward maps the normalised x [N, C] to [N, C]. QNorm and KNorm are of each head's D channels, before rotation.
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	p := nn.Project(x, a.QProj, a.KProj, a.VProj)
	q, k, v := p[0], p[1], p[2]
	q, k = rotation.Rotate(a.QNorm.Forward(q), a.shape.Heads), rotation.Rotate(a.KNorm.Forward(k), a.shape.KVHeads)
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

// New declares the model that config.json describes; its parameters have no memory yet.
func New(config []byte, dev device.Device) (nn.Model, error) {
	c := Default()
	if err := nn.ReadConfig(config, &c); err != nil {
		return nil, err
	}
	windows, err := c.complete(config)
	if err != nil {
		return nil, err
	}
	act, err := nn.Activation(c.HiddenAct)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, rope: nn.NewRope(c.Rope, dev)}
	m.Body.EmbedTokens = nn.NewEmbedding(c.VocabSize, c.HiddenSize, c.InitializerRange)
	for _, window := range windows {
		m.Body.Layers = append(m.Body.Layers, c.block(window, act))
	}
	m.Body.Norm = nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps)
	if !c.TieWordEmbeddings {
		m.LMHead = nn.NewLinear(c.HiddenSize, c.VocabSize, false, c.InitializerRange)
	}
	return m, nil
}

// complete fills what depends on other keys, refuses what cannot be a model, and gives the window of each layer.
func (c *Config) complete(config []byte) (windows []int, err error) {
	if err := nn.Positive("vocab_size", c.VocabSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "max_position_embeddings", c.MaxPositionEmbeddings); err != nil {
		return nil, err
	}
	if err := nn.Heads(config, c.HiddenSize, c.NumAttentionHeads, &c.NumKeyValueHeads, &c.HeadDim); err != nil {
		return nil, err
	}
	if c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings}); err != nil {
		return nil, err
	}
	if err := c.Rope.Whole(); err != nil {
		return nil, err
	}
	window := 0 // sliding_window counts only where use_sliding_window turns it on
	if c.UseSlidingWindow && c.SlidingWindow != nil {
		if window = *c.SlidingWindow; window < 1 {
			return nil, fmt.Errorf("use_sliding_window is true, but sliding_window is %d; it must be at least 1", window)
		}
	}
	if c.LayerTypes == nil {
		c.LayerTypes = nn.UpperWindows(c.NumHiddenLayers, c.MaxWindowLayers, window)
	}
	return nn.LayerWindows(c.LayerTypes, c.NumHiddenLayers, window)
}

// block declares a layer with a window, 0 for none. In place of Qwen2's biases queries and keys have norms.
func (c *Config) block(window int, act device.UnaryOp) *Block {
	std := c.InitializerRange
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim))), Window: window}
	q, kv := shape.Heads*shape.D, shape.KVHeads*shape.D
	return &Block{
		SelfAttn: &Attention{
			QProj: nn.NewLinear(c.HiddenSize, q, c.AttentionBias, std), KProj: nn.NewLinear(c.HiddenSize, kv, c.AttentionBias, std),
			VProj: nn.NewLinear(c.HiddenSize, kv, c.AttentionBias, std), OProj: nn.NewLinear(q, c.HiddenSize, c.AttentionBias, std),
			QNorm: nn.NewRMSNorm(c.HeadDim, c.RMSNormEps), KNorm: nn.NewRMSNorm(c.HeadDim, c.RMSNormEps), shape: shape,
		},
		MLP:            nn.NewGatedMLP(c.HiddenSize, c.IntermediateSize, false, act, std),
		InputLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps), PostAttentionLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps),
	}
}
