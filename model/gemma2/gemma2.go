// Package gemma2 is the Gemma 2 architecture (Gemma Team, 2024): RMSNorm before and after attention and feed-forward
// whose checkpoints store w-1, scores and logits with a soft cap, sliding windows in every other layer, GeGLU, and
// embeddings scaled by the root of their width.
package gemma2

import (
	"errors"
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type gemma2.
type Config struct {
	VocabSize             int           `json:"vocab_size"`
	HiddenSize            int           `json:"hidden_size"`
	IntermediateSize      int           `json:"intermediate_size"`
	NumHiddenLayers       int           `json:"num_hidden_layers"`
	NumAttentionHeads     int           `json:"num_attention_heads"`
	NumKeyValueHeads      int           `json:"num_key_value_heads"`
	HeadDim               int           `json:"head_dim"`
	HiddenActivation      string        `json:"hidden_activation"` // hidden_act of the first checkpoints is wrong
	MaxPositionEmbeddings int           `json:"max_position_embeddings"`
	RMSNormEps            float64       `json:"rms_norm_eps"`
	QueryPreAttnScalar    float64       `json:"query_pre_attn_scalar"`   // scores are divided by its root
	AttnLogitSoftcapping  *float64      `json:"attn_logit_softcapping"`  // null: off
	FinalLogitSoftcapping *float64      `json:"final_logit_softcapping"` // null: off
	SlidingWindow         *int          `json:"sliding_window"`
	LayerTypes            []string      `json:"layer_types"` // alternating from sliding_attention on when absent
	AttentionBias         bool          `json:"attention_bias"`
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Bidirectional         bool          `json:"use_bidirectional_attention"`
	Rope                  nn.RopeConfig `json:"-"`
	windows               []int
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	attention, final, window := 50.0, 30.0, 4096
	return Config{
		VocabSize: 256000, HiddenSize: 2304, IntermediateSize: 9216, NumHiddenLayers: 26, NumAttentionHeads: 8,
		NumKeyValueHeads: 4, HeadDim: 256, HiddenActivation: "gelu_pytorch_tanh", MaxPositionEmbeddings: 8192,
		RMSNormEps: 1e-6, QueryPreAttnScalar: 256, AttnLogitSoftcapping: &attention,
		FinalLogitSoftcapping: &final, SlidingWindow: &window, TieWordEmbeddings: true, InitializerRange: 0.02,
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

// Block is one layer: attention and feed-forward, each between two norms and added to the residual stream.
type Block struct {
	SelfAttn                 *Attention   `hf:"self_attn"`
	MLP                      *nn.GatedMLP `hf:"mlp"`
	InputLayerNorm           *nn.RMSNorm  `hf:"input_layernorm"`
	PostAttentionLayerNorm   *nn.RMSNorm  `hf:"post_attention_layernorm"`
	PreFeedforwardLayerNorm  *nn.RMSNorm  `hf:"pre_feedforward_layernorm"`
	PostFeedforwardLayerNorm *nn.RMSNorm  `hf:"post_feedforward_layernorm"`
}

// Attention is grouped-query self-attention with rotary positions and a soft cap on its scores.
type Attention struct {
	QProj *nn.Linear `hf:"q_proj"` // [H*D, C]
	KProj *nn.Linear `hf:"k_proj"` // [K*D, C]
	VProj *nn.Linear `hf:"v_proj"` // [K*D, C]
	OProj *nn.Linear `hf:"o_proj"` // [C, H*D]
	shape tensor.AttentionShape
}

// Hidden runs the blocks over the tokens of in: [N, C].
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(m.Body.EmbedTokens.Scaled(in.IDs, math.Sqrt(float64(m.Config.HiddenSize))))
	rotation := m.rope.At(in)
	for i, block := range m.Body.Layers {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in, rotation) })
	}
	return m.Body.Norm.Forward(x)
}

// forward is layer i: h = x + norm(attention(norm(x))), then h + norm(mlp(norm(h))). What a part adds is
// normalised once more before it is added.
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	attended := b.SelfAttn.forward(b.InputLayerNorm.Forward(x), i, in, rotation)
	h := tensor.Residual(in.Kept(i, x), in.Drop(b.PostAttentionLayerNorm.Forward(attended)))
	fed := b.MLP.Forward(b.PreFeedforwardLayerNorm.Forward(h))
	return tensor.Residual(h, in.Drop(b.PostFeedforwardLayerNorm.Forward(fed)))
}

// forward maps the normalised x [N, C] to [N, C]. Window, soft cap and scale (query_pre_attn_scalar, not
// the head's width) are in shape.
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	p := nn.Project(x, a.QProj, a.KProj, a.VProj)
	q, k, v := p[0], p[1], p[2]
	q, k = rotation.Rotate(q, a.shape.Heads), rotation.Rotate(k, a.shape.KVHeads)
	return a.OProj.Forward(in.Attend(i, q, k, v, a.shape))
}

// Head is the output layer, the embedding table itself when tied: unscaled, for the scale is of the embedded
// tokens alone.
func (m *Model) Head() tensor.Head {
	h := tensor.Head{Weight: m.Body.EmbedTokens.Weight.Tensor, SoftCap: nn.SoftCap(m.Config.FinalLogitSoftcapping)}
	if m.LMHead != nil {
		h.Weight = m.LMHead.Weight.Tensor
	}
	return h
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
	act, err := nn.Activation(c.HiddenActivation)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, rope: nn.NewRope(c.Rope, dev)}
	m.Body.EmbedTokens = nn.NewEmbedding(c.VocabSize, c.HiddenSize, c.InitializerRange)
	for i := range c.NumHiddenLayers {
		m.Body.Layers = append(m.Body.Layers, c.block(i, act))
	}
	m.Body.Norm = nn.NewOffsetRMSNorm(c.HiddenSize, c.RMSNormEps)
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
	if c.Bidirectional {
		return errors.New("use_bidirectional_attention is true, but hone only trains and runs models that predict the next token")
	}
	// the first checkpoints do not say: the first layer has the window, the second sees everything, and so on
	if c.LayerTypes == nil {
		c.LayerTypes = nn.PatternedLayers(c.NumHiddenLayers, 2)
	}
	if c.windows, err = nn.LayerWindows(c.LayerTypes, c.NumHiddenLayers, nn.Window(c.SlidingWindow)); err != nil {
		return err
	}
	if c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings}); err != nil {
		return err
	}
	return c.Rope.Whole()
}

// block declares layer i. Norms store their weight less 1, so fresh ones begin at 0; the scale of scores is
// query_pre_attn_scalar's, which need not be the width of a head (27B: 144 for heads of 128).
func (c *Config) block(i int, act device.UnaryOp) *Block {
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim, Window: c.windows[i],
		Scale: float32(1 / math.Sqrt(c.QueryPreAttnScalar)), SoftCap: nn.SoftCap(c.AttnLogitSoftcapping)}
	norm := func() *nn.RMSNorm { return nn.NewOffsetRMSNorm(c.HiddenSize, c.RMSNormEps) }
	linear := func(in, out int) *nn.Linear { return nn.NewLinear(in, out, c.AttentionBias, c.InitializerRange) }
	q, kv := shape.Heads*shape.D, shape.KVHeads*shape.D
	return &Block{
		SelfAttn: &Attention{linear(c.HiddenSize, q), linear(c.HiddenSize, kv), linear(c.HiddenSize, kv),
			linear(q, c.HiddenSize), shape},
		MLP:            nn.NewGatedMLP(c.HiddenSize, c.IntermediateSize, false, act, c.InitializerRange),
		InputLayerNorm: norm(), PostAttentionLayerNorm: norm(),
		PreFeedforwardLayerNorm: norm(), PostFeedforwardLayerNorm: norm(),
	}
}
