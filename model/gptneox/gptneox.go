// Package gptneox is the GPT-NeoX architecture (Black et al., "GPT-NeoX-20B", 2022; Pythia): attention and
// feed-forward read the same residual stream through a LayerNorm each and are added side by side, or else one after
// the other; rotary positions on a part of each head; one projection to queries, keys and values, head by head.
package gptneox

import (
	"fmt"
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type gpt_neox. Dropout comes from the run, not from hidden_dropout.
type Config struct {
	VocabSize             int           `json:"vocab_size"`
	HiddenSize            int           `json:"hidden_size"`
	IntermediateSize      int           `json:"intermediate_size"`
	NumHiddenLayers       int           `json:"num_hidden_layers"`
	NumAttentionHeads     int           `json:"num_attention_heads"`
	HiddenAct             string        `json:"hidden_act"`
	MaxPositionEmbeddings int           `json:"max_position_embeddings"`
	LayerNormEps          float64       `json:"layer_norm_eps"`
	UseParallelResidual   bool          `json:"use_parallel_residual"`
	AttentionBias         bool          `json:"attention_bias"`
	RotaryPct             float64       `json:"rotary_pct"`      // transformers v4's partial_rotary_factor
	RotaryEmbBase         float64       `json:"rotary_emb_base"` // transformers v4's rope_theta
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Rope                  nn.RopeConfig `json:"-"`
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	return Config{
		VocabSize: 50432, HiddenSize: 6144, IntermediateSize: 24576, NumHiddenLayers: 44, NumAttentionHeads: 64,
		HiddenAct: "gelu", MaxPositionEmbeddings: 2048, LayerNormEps: 1e-5, UseParallelResidual: true,
		AttentionBias: true, RotaryPct: 0.25, RotaryEmbBase: 10000, InitializerRange: 0.02,
	}
}

// Model is the tree of parameters, named as in a checkpoint.
type Model struct {
	Config   Config
	Body     Body       `hf:"gpt_neox"`
	EmbedOut *nn.Linear `hf:"embed_out"` // nil when tied to the embedding
	rope     *nn.Rope
}

// Body is the model below its output layer.
type Body struct {
	EmbedIn        *nn.Embedding `hf:"embed_in"` // [V, C]
	Layers         []*Block      `hf:"layers"`
	FinalLayerNorm *nn.LayerNorm `hf:"final_layer_norm"`
}

// Block is one layer.
type Block struct {
	InputLayerNorm         *nn.LayerNorm `hf:"input_layernorm"`
	PostAttentionLayerNorm *nn.LayerNorm `hf:"post_attention_layernorm"`
	Attention              *Attention    `hf:"attention"`
	MLP                    *MLP          `hf:"mlp"`
	parallel               bool
}

// Attention is multi-head self-attention with rotary positions on a part of each head.
type Attention struct {
	QueryKeyValue *nn.Linear `hf:"query_key_value"` // [H*3*D, C]: head by head its query, key and value
	Dense         *nn.Linear `hf:"dense"`           // [C, C]
	shape         tensor.AttentionShape
}

// MLP is the feed-forward dense_4h_to_h(gelu(dense_h_to_4h(x))).
type MLP struct {
	DenseHTo4H *nn.Linear `hf:"dense_h_to_4h"` // [F, C]
	Dense4HToH *nn.Linear `hf:"dense_4h_to_h"` // [C, F]
	act        device.UnaryOp
}

// Hidden runs the blocks over the tokens of in: [N, C].
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(m.Body.EmbedIn.Forward(in.IDs))
	rotation := m.rope.At(in)
	for i, block := range m.Body.Layers {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in, rotation) })
	}
	return m.Body.FinalLayerNorm.Forward(x)
}

// forward is layer i: with use_parallel_residual x + attention(norm(x)) + mlp(norm'(x)), else one after the
// other. The order of the sums is transformers', for bf16 rounds each of them.
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	attended := in.Drop(b.Attention.forward(b.InputLayerNorm.Forward(x), i, in, rotation))
	x = in.Kept(i, x)
	if b.parallel {
		fed := in.Drop(b.MLP.forward(b.PostAttentionLayerNorm.Forward(x)))
		return tensor.Residual(x, tensor.Residual(attended, fed))
	}
	h := tensor.Residual(x, attended)
	return tensor.Residual(h, in.Drop(b.MLP.forward(b.PostAttentionLayerNorm.Forward(h))))
}

// forward maps the normalised x [N, C] to [N, C]. One projection makes [N, H·3·D]: of each head first q, then
// k, then v.
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	h, d := a.shape.Heads, a.shape.D
	qkv := tensor.SplitHeads(a.QueryKeyValue.Forward(x), h, d, d, d)
	return a.Dense.Forward(in.Attend(i, rotation.Rotate(qkv[0], h), rotation.Rotate(qkv[1], h), qkv[2], a.shape))
}

// forward maps x [N, C] to [N, C], by way of [N, F].
func (m *MLP) forward(x *tensor.Tensor) *tensor.Tensor {
	return m.Dense4HToH.Forward(tensor.Unary(m.act, m.DenseHTo4H.Forward(x)))
}

// Head is the output layer, the embedding table itself when tied.
func (m *Model) Head() tensor.Head {
	if m.EmbedOut == nil {
		return tensor.Head{Weight: m.Body.EmbedIn.Weight.Tensor}
	}
	return tensor.Head{Weight: m.EmbedOut.Weight.Tensor}
}

// Elsewhere finds the output layer under the name that it has inside transformers 5.
func (m *Model) Elsewhere(name string) []nn.Place {
	if name == "embed_out.weight" {
		return []nn.Place{{Name: "lm_head.weight"}}
	}
	return nil
}

// Free gives back what the model holds beside its parameters.
func (m *Model) Free() { m.rope.Free() }

// Shape is the model's sizes.
func (m *Model) Shape() nn.Shape {
	c := m.Config
	return nn.Shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Heads: c.NumAttentionHeads, KVHeads: c.NumAttentionHeads,
		HeadDim: c.Rope.HeadDim, FFN: c.IntermediateSize, Vocab: c.VocabSize,
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
	m.Body.EmbedIn = nn.NewEmbedding(c.VocabSize, c.HiddenSize, c.InitializerRange)
	for range c.NumHiddenLayers {
		m.Body.Layers = append(m.Body.Layers, c.block(act))
	}
	m.Body.FinalLayerNorm = nn.NewLayerNorm(c.HiddenSize, c.LayerNormEps)
	if !c.TieWordEmbeddings {
		m.EmbedOut = nn.NewLinear(c.HiddenSize, c.VocabSize, false, c.InitializerRange)
	}
	return m, nil
}

// complete fills what depends on other keys and refuses what cannot be a model.
func (c *Config) complete(config []byte) (err error) {
	if err := nn.Positive("vocab_size", c.VocabSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "max_position_embeddings", c.MaxPositionEmbeddings); err != nil {
		return err
	}
	var kv, d int // as many key/value heads as heads, and heads of equal width: there is no key for either
	if err := nn.Heads(config, c.HiddenSize, c.NumAttentionHeads, &kv, &d); err != nil {
		return err
	}
	if err := c.agrees(config, d); err != nil {
		return err
	}
	// version 4's names are defaults for version 5's, which ReadRope finds
	c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: d, MaxPositions: c.MaxPositionEmbeddings,
		Theta: c.RotaryEmbBase, Partial: c.RotaryPct})
	return err
}

// agrees refuses keys of other architectures, at the top, that say something else than this one's:
// transformers does not read them there.
func (c *Config) agrees(config []byte, headDim int) error {
	var others struct {
		Theta   *float64 `json:"rope_theta"`
		Partial *float64 `json:"partial_rotary_factor"`
		HeadDim *int     `json:"head_dim"`
	}
	if err := nn.ReadConfig(config, &others); err != nil {
		return err
	}
	switch {
	case others.Theta != nil && *others.Theta != c.RotaryEmbBase:
		return fmt.Errorf("rope_theta is %v and rotary_emb_base %v; gpt_neox has the latter, or both in rope_parameters",
			*others.Theta, c.RotaryEmbBase)
	case others.Partial != nil && *others.Partial != c.RotaryPct:
		return fmt.Errorf("partial_rotary_factor is %v and rotary_pct %v; gpt_neox has the latter, or both in rope_parameters", *others.Partial, c.RotaryPct)
	case others.HeadDim != nil && *others.HeadDim != headDim:
		return fmt.Errorf("head_dim is %d, but heads of gpt_neox have hidden_size/num_attention_heads = %d channels",
			*others.HeadDim, headDim)
	}
	return nil
}

// block declares a layer. attention_bias is of the attention's projections alone: the feed-forward and the
// norms have biases whatever it says.
func (c *Config) block(act device.UnaryOp) *Block {
	h, d, std := c.NumAttentionHeads, c.Rope.HeadDim, c.InitializerRange
	norm := func() *nn.LayerNorm { return nn.NewLayerNorm(c.HiddenSize, c.LayerNormEps) }
	return &Block{
		InputLayerNorm: norm(), PostAttentionLayerNorm: norm(), parallel: c.UseParallelResidual,
		Attention: &Attention{
			QueryKeyValue: nn.NewLinear(c.HiddenSize, 3*h*d, c.AttentionBias, std),
			Dense:         nn.NewLinear(h*d, c.HiddenSize, c.AttentionBias, std),
			shape:         tensor.AttentionShape{Heads: h, KVHeads: h, D: d, Scale: float32(1 / math.Sqrt(float64(d)))},
		},
		MLP: &MLP{nn.NewLinear(c.HiddenSize, c.IntermediateSize, true, std),
			nn.NewLinear(c.IntermediateSize, c.HiddenSize, true, std), act},
	}
}
