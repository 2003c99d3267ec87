// Package gpt2 is the GPT-2 architecture (Radford et al., 2019): pre-norm blocks with
// LayerNorm, learned positions, multi-head attention and a GELU feed-forward, biases everywhere.
package gpt2

import (
	"fmt"
	"math"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type gpt2. Dropout comes from the run, not from the *_pdrop keys.
type Config struct {
	VocabSize          int     `json:"vocab_size"`
	NPositions         int     `json:"n_positions"`
	NEmbd              int     `json:"n_embd"`
	NLayer             int     `json:"n_layer"`
	NHead              int     `json:"n_head"`
	NInner             int     `json:"n_inner"` // 4*n_embd when 0
	ActivationFunction string  `json:"activation_function"`
	LayerNormEpsilon   float64 `json:"layer_norm_epsilon"`
	InitializerRange   float64 `json:"initializer_range"`
	ScaleAttnWeights   bool    `json:"scale_attn_weights"`
	ScaleByLayer       bool    `json:"scale_attn_by_inverse_layer_idx"`
	TieWordEmbeddings  bool    `json:"tie_word_embeddings"`
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	return Config{
		VocabSize: 50257, NPositions: 1024, NEmbd: 768, NLayer: 12, NHead: 12, ActivationFunction: "gelu_new",
		LayerNormEpsilon: 1e-5, InitializerRange: 0.02, ScaleAttnWeights: true, TieWordEmbeddings: true,
	}
}

// Model is the tree of parameters, named as in a checkpoint.
type Model struct {
	Config Config
	Body   Body       `hf:"transformer"`
	LMHead *nn.Linear `hf:"lm_head"` // nil when tied to the embedding
}

// Body is the model below its output layer.
type Body struct {
	WTE *nn.Embedding `hf:"wte"` // tokens [V, C]
	WPE *nn.Embedding `hf:"wpe"` // positions [P, C]
	H   []*Block      `hf:"h"`
	LnF *nn.LayerNorm `hf:"ln_f"`
}

// Block is one layer: attention and feed-forward, each added to the residual stream.
type Block struct {
	Ln1  *nn.LayerNorm `hf:"ln_1"`
	Attn *Attention    `hf:"attn"`
	Ln2  *nn.LayerNorm `hf:"ln_2"`
	MLP  *MLP          `hf:"mlp"`
}

// Attention is multi-head self-attention with one fused projection to q, k and v.
type Attention struct {
	CAttn *nn.Conv1D `hf:"c_attn"` // [C, 3C]
	CProj *nn.Conv1D `hf:"c_proj"` // [C, C]
	shape tensor.AttentionShape
}

// MLP is the feed-forward c_proj(gelu(c_fc(x))).
type MLP struct {
	CFc   *nn.Conv1D `hf:"c_fc"`   // [C, F]
	CProj *nn.Conv1D `hf:"c_proj"` // [F, C]
	act   device.UnaryOp
}

// Hidden runs the blocks over the tokens of in: [N, C].
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(tensor.Add(m.Body.WTE.Forward(in.IDs), m.Body.WPE.Forward(in.Positions)))
	for i, block := range m.Body.H {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in) })
	}
	return m.Body.LnF.Forward(x)
}

// forward is layer i: h = x + attention(norm(x)), then h + mlp(norm(h)).
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input) *tensor.Tensor {
	kept := in.Kept(i, x)
	attended := b.Attn.forward(b.Ln1.Forward(x), i, in)
	h := tensor.Residual(kept, in.Drop(attended))
	fed := b.MLP.forward(b.Ln2.Forward(h))
	return tensor.Residual(h, in.Drop(fed))
}

// forward maps the normalised x [N, C] to [N, C]. CAttn makes [N, 3·C], of which attention reads queries,
// keys and values where they stand.
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input) *tensor.Tensor {
	return a.CProj.Forward(in.AttendColumns(i, a.CAttn.Forward(x), a.shape))
}

// forward maps x [N, C] to [N, C], by way of [N, F].
func (m *MLP) forward(x *tensor.Tensor) *tensor.Tensor {
	return m.CProj.Forward(tensor.Unary(m.act, m.CFc.Forward(x)))
}

// Head is the output layer, the embedding table itself when tied.
func (m *Model) Head() tensor.Head {
	if m.LMHead == nil {
		return tensor.Head{Weight: m.Body.WTE.Weight.Tensor}
	}
	return tensor.Head{Weight: m.LMHead.Weight.Tensor}
}

// Shape is the model's sizes. Positions are learned: a longer text than NPositions has none, and no table can
// be made for it.
func (m *Model) Shape() nn.Shape {
	c := m.Config
	return nn.Shape{Layers: c.NLayer, Hidden: c.NEmbd, Heads: c.NHead, KVHeads: c.NHead, HeadDim: c.NEmbd / c.NHead, FFN: c.NInner,
		Vocab: c.VocabSize, MaxPositions: c.NPositions, Tied: c.TieWordEmbeddings}
}

// New declares the model that config.json describes; its parameters have no memory yet.
func New(config []byte, _ device.Device) (nn.Model, error) {
	c := Default()
	if err := nn.ReadConfig(config, &c); err != nil {
		return nil, err
	}
	if err := c.otherNames(config); err != nil {
		return nil, err
	}
	if c.NInner == 0 {
		c.NInner = 4 * c.NEmbd
	}
	if err := nn.Positive("vocab_size", c.VocabSize, "n_positions", c.NPositions, "n_embd", c.NEmbd,
		"n_layer", c.NLayer, "n_head", c.NHead, "n_inner", c.NInner); err != nil {
		return nil, err
	}
	if c.NEmbd%c.NHead != 0 {
		return nil, fmt.Errorf("n_embd %d is not a multiple of n_head %d; change one", c.NEmbd, c.NHead)
	}
	act, err := nn.Activation(c.ActivationFunction)
	if err != nil {
		return nil, err
	}
	std := c.InitializerRange
	m := &Model{Config: c}
	m.Body.WTE = nn.NewEmbedding(c.VocabSize, c.NEmbd, std)
	m.Body.WPE = nn.NewEmbedding(c.NPositions, c.NEmbd, std)
	for i := range c.NLayer {
		m.Body.H = append(m.Body.H, c.block(i, act))
	}
	m.Body.LnF = nn.NewLayerNorm(c.NEmbd, c.LayerNormEpsilon)
	if !c.TieWordEmbeddings {
		m.LMHead = nn.NewLinear(c.NEmbd, c.VocabSize, false, std)
	}
	return m, nil
}

// otherNames reads the sizes by the names that other architectures have for them, as transformers does. A
// size that is given twice must be the same.
func (c *Config) otherNames(config []byte) error {
	var given struct {
		NEmbd      *int `json:"n_embd"`
		NPositions *int `json:"n_positions"`
		NHead      *int `json:"n_head"`
		NLayer     *int `json:"n_layer"`
		Hidden     *int `json:"hidden_size"`
		Positions  *int `json:"max_position_embeddings"`
		Heads      *int `json:"num_attention_heads"`
		Layers     *int `json:"num_hidden_layers"`
	}
	if err := nn.ReadConfig(config, &given); err != nil {
		return err
	}
	for _, size := range []struct {
		own, other string
		v, otherV  *int
		into       *int
	}{
		{"n_embd", "hidden_size", given.NEmbd, given.Hidden, &c.NEmbd},
		{"n_positions", "max_position_embeddings", given.NPositions, given.Positions, &c.NPositions},
		{"n_head", "num_attention_heads", given.NHead, given.Heads, &c.NHead},
		{"n_layer", "num_hidden_layers", given.NLayer, given.Layers, &c.NLayer},
	} {
		switch {
		case size.otherV == nil:
		case size.v != nil && *size.v != *size.otherV:
			return fmt.Errorf("%s is %d and %s, its other name, %d; take one out", size.own, *size.v, size.other, *size.otherV)
		default:
			*size.into = *size.otherV
		}
	}
	return nil
}

// block declares layer i. With scale_attn_weights scores are divided by the root of a head's width, and with
// scale_attn_by_inverse_layer_idx by the number of the layer, counted from 1.
func (c *Config) block(i int, act device.UnaryOp) *Block {
	scale := 1.0
	if c.ScaleAttnWeights {
		scale = 1 / math.Sqrt(float64(c.NEmbd/c.NHead))
	}
	if c.ScaleByLayer {
		scale /= float64(i + 1)
	}
	// Projections into the residual stream start smaller, by the number of them (Radford et al., section 2.3).
	std, residual := c.InitializerRange, c.InitializerRange/math.Sqrt(2*float64(c.NLayer))
	norm := func() *nn.LayerNorm { return nn.NewLayerNorm(c.NEmbd, c.LayerNormEpsilon) }
	return &Block{
		Ln1: norm(), Ln2: norm(),
		Attn: &Attention{nn.NewConv1D(c.NEmbd, 3*c.NEmbd, std), nn.NewConv1D(c.NEmbd, c.NEmbd, residual),
			tensor.AttentionShape{Heads: c.NHead, KVHeads: c.NHead, D: c.NEmbd / c.NHead, Scale: float32(scale)}},
		MLP: &MLP{nn.NewConv1D(c.NEmbd, c.NInner, std), nn.NewConv1D(c.NInner, c.NEmbd, residual), act},
	}
}
