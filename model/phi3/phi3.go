// Package phi3 is the Phi-3 architecture (Abdin et al., "Phi-3 Technical Report", 2024), that of Phi-3.5-mini
// and Phi-4, too: pre-norm blocks with RMSNorm, rotary positions on all or part of each head, grouped-query
// attention and a SwiGLU feed-forward, with one fused projection to q, k and v and one to gate and up.
package phi3

import (
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type phi3; keys that are absent get the defaults of Default.
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
	OriginalMaxPosition   int           `json:"original_max_position_embeddings"` // beyond it longrope uses its long factors
	SlidingWindow         *int          `json:"sliding_window"`
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Rope                  nn.RopeConfig `json:"-"`
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	return Config{
		VocabSize: 32064, HiddenSize: 3072, IntermediateSize: 8192, NumHiddenLayers: 32,
		NumAttentionHeads: 32, HiddenAct: "silu", MaxPositionEmbeddings: 4096,
		OriginalMaxPosition: 4096, RMSNormEps: 1e-5, InitializerRange: 0.02,
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
	SelfAttn               *Attention  `hf:"self_attn"`
	MLP                    *MLP        `hf:"mlp"`
	InputLayerNorm         *nn.RMSNorm `hf:"input_layernorm"`
	PostAttentionLayerNorm *nn.RMSNorm `hf:"post_attention_layernorm"`
}

// Attention is grouped-query self-attention with rotary positions and one projection to q, k and v.
type Attention struct {
	QKVProj *nn.Linear `hf:"qkv_proj"` // [(H+2K)*D, C]: q, then k, then v
	OProj   *nn.Linear `hf:"o_proj"`   // [C, H*D]
	shape   tensor.AttentionShape
}

// MLP is the SwiGLU feed-forward down(act(gate)·up) with one projection to gate and up.
type MLP struct {
	GateUpProj *nn.Linear `hf:"gate_up_proj"` // [2F, C]: gate, then up
	DownProj   *nn.Linear `hf:"down_proj"`    // [C, F]
	act        device.UnaryOp
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
	fed := b.MLP.forward(b.PostAttentionLayerNorm.Forward(h))
	return tensor.Residual(h, in.Drop(fed))
}

// forward maps the normalised x [N, C] to [N, C]. One projection makes [N, (H+2K)·D]: all queries, all keys,
// all values.
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	s := a.shape
	qkv := tensor.SplitCols(a.QKVProj.Forward(x), s.Heads*s.D, s.KVHeads*s.D, s.KVHeads*s.D)
	q, k := rotation.Rotate(qkv[0], s.Heads), rotation.Rotate(qkv[1], s.KVHeads)
	return a.OProj.Forward(in.Attend(i, q, k, qkv[2], s))
}

// forward maps x [N, C] to [N, C]. One projection makes [N, 2·F]: gate, then up.
func (m *MLP) forward(x *tensor.Tensor) *tensor.Tensor {
	f, _ := m.DownProj.Sizes()
	gateUp := tensor.SplitCols(m.GateUpProj.Forward(x), f, f)
	return m.DownProj.Forward(tensor.Gated(m.act, gateUp[0], gateUp[1]))
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
	if c.SlidingWindow != nil {
		if err := nn.Positive("sliding_window", *c.SlidingWindow); err != nil {
			return err
		}
	}
	// longrope: up to the original context by the short factors, a longer text by the long ones from its first token on
	c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings,
		Original: c.OriginalMaxPosition,
		OldTypes: map[string]string{"su": "longrope", "yarn": "longrope"}}) // as early checkpoints call it
	return err
}

// block declares a layer. No projection has a bias.
func (c *Config) block(act device.UnaryOp) *Block {
	std := c.InitializerRange
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
	if c.SlidingWindow != nil {
		shape.Window = *c.SlidingWindow
	}
	return &Block{
		SelfAttn: &Attention{
			QKVProj: nn.NewLinear(c.HiddenSize, (shape.Heads+2*shape.KVHeads)*shape.D, false, std),
			OProj:   nn.NewLinear(shape.Heads*shape.D, c.HiddenSize, false, std), shape: shape,
		},
		MLP: &MLP{
			GateUpProj: nn.NewLinear(c.HiddenSize, 2*c.IntermediateSize, false, std),
			DownProj:   nn.NewLinear(c.IntermediateSize, c.HiddenSize, false, std), act: act,
		},
		InputLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps), PostAttentionLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps),
	}
}
