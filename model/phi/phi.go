// Package phi is the Phi architecture (Gunasekar et al., "Textbooks Are All You Need", 2023; phi-1, phi-1.5 and phi-2):
// blocks in which attention and feed-forward read the same LayerNorm and are added side by side, rotary positions on a
// part of each head, biases everywhere, on the output layer too.
package phi

import (
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type phi. Dropout comes from the run, not from the *_pdrop keys.
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
	LayerNormEps          float64       `json:"layer_norm_eps"`
	QKLayerNorm           bool          `json:"qk_layernorm"` // of each head of queries and keys
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Rope                  nn.RopeConfig `json:"-"`
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	return Config{
		VocabSize: 51200, HiddenSize: 2048, IntermediateSize: 8192, NumHiddenLayers: 24, NumAttentionHeads: 32,
		HiddenAct: "gelu_new", MaxPositionEmbeddings: 2048, LayerNormEps: 1e-5, InitializerRange: 0.02,
	}
}

// Model is the tree of parameters, named as in a checkpoint.
type Model struct {
	Config   Config
	Body     Body       `hf:"model"`
	LMHead   *nn.Linear `hf:"lm_head"` // nil when tied to the embedding
	TiedHead *TiedHead  `hf:"lm_head"` // nil when not
	rope     *nn.Rope
}

// TiedHead is what is left of the output layer when its weight is the embedding table.
type TiedHead struct {
	Bias *nn.Param `hf:"bias"` // [V]
}

// Body is the model below its output layer.
type Body struct {
	EmbedTokens    *nn.Embedding `hf:"embed_tokens"` // [V, C]
	Layers         []*Block      `hf:"layers"`
	FinalLayerNorm *nn.LayerNorm `hf:"final_layernorm"`
}

// Block is one layer: attention and feed-forward side by side.
type Block struct {
	SelfAttn       *Attention    `hf:"self_attn"`
	MLP            *MLP          `hf:"mlp"`
	InputLayerNorm *nn.LayerNorm `hf:"input_layernorm"`
}

// Attention is grouped-query self-attention with rotary positions on a part of each head.
type Attention struct {
	QProj      *nn.Linear    `hf:"q_proj"`      // [H*D, C]
	KProj      *nn.Linear    `hf:"k_proj"`      // [K*D, C]
	VProj      *nn.Linear    `hf:"v_proj"`      // [K*D, C]
	Dense      *nn.Linear    `hf:"dense"`       // [C, H*D]
	QLayerNorm *nn.LayerNorm `hf:"q_layernorm"` // [D] or nil
	KLayerNorm *nn.LayerNorm `hf:"k_layernorm"`
	shape      tensor.AttentionShape
}

// MLP is the feed-forward fc2(gelu(fc1(x))).
type MLP struct {
	FC1 *nn.Linear `hf:"fc1"` // [F, C]
	FC2 *nn.Linear `hf:"fc2"` // [C, F]
	act device.UnaryOp
}

// Hidden runs the blocks over the tokens of in: [N, C].
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(m.Body.EmbedTokens.Forward(in.IDs))
	rotation := m.rope.At(in)
	for i, block := range m.Body.Layers {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in, rotation) })
	}
	return m.Body.FinalLayerNorm.Forward(x)
}

// forward is layer i: x + attention(h) + mlp(h) with h = norm(x), both parts of the same h.
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	h := b.InputLayerNorm.Forward(x)
	attended := in.Drop(b.SelfAttn.forward(h, i, in, rotation))
	return tensor.Residual(in.Kept(i, x), tensor.Residual(attended, in.Drop(b.MLP.forward(in.Kept(i, h)))))
}

// forward maps h [N, C] to [N, C]. With qk_layernorm queries and keys are normalised in each head before they
// are rotated.
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	p := nn.Project(x, a.QProj, a.KProj, a.VProj)
	q, k, v := p[0], p[1], p[2]
	if a.QLayerNorm != nil {
		q, k = a.QLayerNorm.Forward(q), a.KLayerNorm.Forward(k)
	}
	q, k = rotation.Rotate(q, a.shape.Heads), rotation.Rotate(k, a.shape.KVHeads)
	return a.Dense.Forward(in.Attend(i, q, k, v, a.shape))
}

// forward maps h [N, C] to [N, C], by way of [N, F].
func (m *MLP) forward(x *tensor.Tensor) *tensor.Tensor {
	return m.FC2.Forward(tensor.Unary(m.act, m.FC1.Forward(x)))
}

// Head is the output layer.
func (m *Model) Head() tensor.Head {
	if m.TiedHead != nil {
		return tensor.Head{Weight: m.Body.EmbedTokens.Weight.Tensor, Bias: m.TiedHead.Bias.Tensor}
	}
	return tensor.Head{Weight: m.LMHead.Weight.Tensor, Bias: m.LMHead.Bias.Tensor}
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
	m.Body.FinalLayerNorm = nn.NewLayerNorm(c.HiddenSize, c.LayerNormEps)
	if c.TieWordEmbeddings { // the bias of the output layer is its own even so
		m.TiedHead = &TiedHead{nn.NewParam(nn.Init{}, c.VocabSize)}
	} else {
		m.LMHead = nn.NewLinear(c.HiddenSize, c.VocabSize, true, c.InitializerRange)
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
	c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings, Partial: 0.5})
	return err
}

// block declares a layer: one norm for both of its parts, so that they can run side by side.
func (c *Config) block(act device.UnaryOp) *Block {
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
	linear := func(in, out int) *nn.Linear { return nn.NewLinear(in, out, true, c.InitializerRange) }
	q, kv := shape.Heads*shape.D, shape.KVHeads*shape.D
	a := &Attention{QProj: linear(c.HiddenSize, q), KProj: linear(c.HiddenSize, kv), VProj: linear(c.HiddenSize, kv),
		Dense: linear(q, c.HiddenSize), shape: shape}
	if c.QKLayerNorm {
		a.QLayerNorm, a.KLayerNorm = nn.NewLayerNorm(c.HeadDim, c.LayerNormEps), nn.NewLayerNorm(c.HeadDim, c.LayerNormEps)
	}
	return &Block{SelfAttn: a, MLP: &MLP{linear(c.HiddenSize, c.IntermediateSize), linear(c.IntermediateSize, c.HiddenSize), act},
		InputLayerNorm: nn.NewLayerNorm(c.HiddenSize, c.LayerNormEps)}
}
