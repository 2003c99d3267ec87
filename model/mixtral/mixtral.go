// Package mixtral is the Mixtral architecture (Jiang et al., "Mixtral of Experts", 2024): Mistral's blocks
// with a sparse feed-forward, in which a router sends each token to a few of many SwiGLU experts.
package mixtral

import (
	"fmt"
	"math"
	"strings"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type mixtral.
type Config struct {
	VocabSize             int           `json:"vocab_size"`
	HiddenSize            int           `json:"hidden_size"`
	IntermediateSize      int           `json:"intermediate_size"` // of each expert
	NumHiddenLayers       int           `json:"num_hidden_layers"`
	NumAttentionHeads     int           `json:"num_attention_heads"`
	NumKeyValueHeads      int           `json:"num_key_value_heads"`
	HeadDim               int           `json:"head_dim"` // hidden_size/num_attention_heads when 0
	HiddenAct             string        `json:"hidden_act"`
	MaxPositionEmbeddings int           `json:"max_position_embeddings"`
	RMSNormEps            float64       `json:"rms_norm_eps"`
	SlidingWindow         *int          `json:"sliding_window"`
	NumLocalExperts       int           `json:"num_local_experts"`
	NumExpertsPerTok      int           `json:"num_experts_per_tok"`
	OutputRouterLogits    bool          `json:"output_router_logits"` // train with the load-balancing loss
	RouterAuxLossCoef     float64       `json:"router_aux_loss_coef"` // times this
	RouterJitterNoise     float64       `json:"router_jitter_noise"`  // refused
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Rope                  nn.RopeConfig `json:"-"`
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	return Config{
		VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336, NumHiddenLayers: 32, NumAttentionHeads: 32,
		NumKeyValueHeads: 8, HiddenAct: "silu", MaxPositionEmbeddings: 131072, RMSNormEps: 1e-5,
		NumLocalExperts: 8, NumExpertsPerTok: 2, RouterAuxLossCoef: 0.001, InitializerRange: 0.02,
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

// Block is one layer: attention and experts, each added to the residual stream.
type Block struct {
	SelfAttn               *Attention  `hf:"self_attn"`
	BlockSparseMoE         *Mixture    `hf:"block_sparse_moe"`
	InputLayerNorm         *nn.RMSNorm `hf:"input_layernorm"`
	PostAttentionLayerNorm *nn.RMSNorm `hf:"post_attention_layernorm"`
}

// Attention is grouped-query self-attention with rotary positions.
type Attention struct {
	QProj *nn.Linear `hf:"q_proj"` // [H*D, C]
	KProj *nn.Linear `hf:"k_proj"` // [K*D, C]
	VProj *nn.Linear `hf:"v_proj"` // [K*D, C]
	OProj *nn.Linear `hf:"o_proj"` // [C, H*D]
	shape tensor.AttentionShape
}

// Mixture is a router and its experts.
type Mixture struct {
	Gate    *nn.Linear `hf:"gate"` // [E, C]
	Experts []*Expert  `hf:"experts"`
	perTok  int
}

// Expert is the feed-forward w2(silu(w1(x))·w3(x)).
type Expert struct {
	W1  *nn.Linear `hf:"w1"` // [F, C]
	W2  *nn.Linear `hf:"w2"` // [C, F]
	W3  *nn.Linear `hf:"w3"` // [F, C]
	act device.UnaryOp
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

// forward is layer i: h = x + attention(norm(x)), then h + experts(norm(h)).
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	kept := in.Kept(i, x)
	attended := b.SelfAttn.forward(b.InputLayerNorm.Forward(x), i, in, rotation)
	h := tensor.Residual(kept, in.Drop(attended))
	fed := b.BlockSparseMoE.forward(b.PostAttentionLayerNorm.Forward(h), in.Balance)
	return tensor.Residual(h, in.Drop(fed))
}

// forward maps the normalised x [N, C] to [N, C].
func (a *Attention) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	p := nn.Project(x, a.QProj, a.KProj, a.VProj)
	q, k, v := p[0], p[1], p[2]
	q, k = rotation.Rotate(q, a.shape.Heads), rotation.Rotate(k, a.shape.KVHeads)
	return a.OProj.Forward(in.Attend(i, q, k, v, a.shape))
}

// forward maps x [N, C] to [N, C]: Gate gives logits [N, E], the perTok best experts of a row work on it, and
// their results are weighed by a softmax over the picked. balance collects what was picked; nil when nobody asks.
func (m *Mixture) forward(x *tensor.Tensor, balance *tensor.Balance) *tensor.Tensor {
	routing := tensor.Route(m.Gate.Forward(x), m.perTok, balance)
	return tensor.Experts(x, routing, func(e int, rows *tensor.Tensor) *tensor.Tensor { return m.Experts[e].forward(rows) })
}

// forward maps the rows of one expert [M, C] to [M, C].
func (e *Expert) forward(x *tensor.Tensor) *tensor.Tensor {
	return e.W2.Forward(tensor.Gated(e.act, e.W1.Forward(x), e.W3.Forward(x)))
}

// Head is the output layer, the embedding table itself when tied.
func (m *Model) Head() tensor.Head {
	if m.LMHead == nil {
		return tensor.Head{Weight: m.Body.EmbedTokens.Weight.Tensor}
	}
	return tensor.Head{Weight: m.LMHead.Weight.Tensor}
}

// Elsewhere finds experts in the layout that transformers 5 has in memory: mlp.experts.gate_up_proj
// [E, 2F, C], for each expert w1 above w3, and mlp.experts.down_proj [E, C, F].
func (m *Model) Elsewhere(name string) []nn.Place {
	before, after, ok := strings.Cut(name, ".block_sparse_moe.")
	if !ok {
		return nil
	}
	moved := before + ".mlp." + after
	experts, c, f := m.Config.NumLocalExperts, m.Config.HiddenSize, m.Config.IntermediateSize
	var e, w int
	if n, _ := fmt.Sscanf(after, "experts.%d.w%d.weight", &e, &w); n != 2 {
		return []nn.Place{{Name: moved}}
	}
	gateUp, down := before+".mlp.experts.gate_up_proj", before+".mlp.experts.down_proj"
	return []nn.Place{{Name: moved}, map[int]nn.Place{
		1: {Name: gateUp, Shape: []int{experts, 2 * f, c}, Offset: 2 * e * f * c},
		2: {Name: down, Shape: []int{experts, c, f}, Offset: e * f * c},
		3: {Name: gateUp, Shape: []int{experts, 2 * f, c}, Offset: (2*e + 1) * f * c},
	}[w]}
}

// Free gives back what the model holds beside its parameters.
func (m *Model) Free() { m.rope.Free() }

// Shape is the model's sizes.
func (m *Model) Shape() nn.Shape {
	c := m.Config
	s := nn.Shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		FFN: c.IntermediateSize, Vocab: c.VocabSize, Experts: c.NumLocalExperts, ExpertsPerToken: c.NumExpertsPerTok,
		MaxPositions: c.Rope.Context(), Tied: c.TieWordEmbeddings, OwnAfter: c.Rope.OwnAfter(), LongAfter: c.Rope.LongAfter(),
	}
	if c.OutputRouterLogits { // transformers adds the loss under this key alone
		s.RouterLoss = float32(c.RouterAuxLossCoef)
	}
	return s
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
		"num_hidden_layers", c.NumHiddenLayers, "max_position_embeddings", c.MaxPositionEmbeddings,
		"num_local_experts", c.NumLocalExperts, "num_experts_per_tok", c.NumExpertsPerTok); err != nil {
		return err
	}
	if err := nn.Heads(config, c.HiddenSize, c.NumAttentionHeads, &c.NumKeyValueHeads, &c.HeadDim); err != nil {
		return err
	}
	// each is in bounds, and together they may still be more modules than any model has: they are declared
	// before a checkpoint is looked at
	if err := nn.Positive("num_hidden_layers times num_local_experts", c.NumHiddenLayers*c.NumLocalExperts); err != nil {
		return err
	}
	if c.SlidingWindow != nil { // attention takes 0 for no window, and what is below it for misuse
		if err := nn.Positive("sliding_window", *c.SlidingWindow); err != nil {
			return err
		}
	}
	if c.NumExpertsPerTok > c.NumLocalExperts {
		return fmt.Errorf("num_experts_per_tok is %d, but num_local_experts is only %d", c.NumExpertsPerTok, c.NumLocalExperts)
	}
	if c.RouterJitterNoise != 0 {
		return fmt.Errorf("router_jitter_noise is %v, but hone has no noise on what routers see in training; set it to 0",
			c.RouterJitterNoise)
	}
	if c.Rope, err = nn.ReadRope(config, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings,
		Theta: 1e6}); err != nil {
		return err
	}
	return c.Rope.Whole()
}

// block declares a layer: attention as Mistral's, and in place of one feed-forward a router and
// NumLocalExperts of them.
func (c *Config) block(act device.UnaryOp) *Block {
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim))), Window: nn.Window(c.SlidingWindow)}
	linear := func(in, out int) *nn.Linear { return nn.NewLinear(in, out, false, c.InitializerRange) }
	q, kv := shape.Heads*shape.D, shape.KVHeads*shape.D
	moe := &Mixture{Gate: linear(c.HiddenSize, c.NumLocalExperts), perTok: c.NumExpertsPerTok}
	for range c.NumLocalExperts {
		moe.Experts = append(moe.Experts, &Expert{linear(c.HiddenSize, c.IntermediateSize), linear(c.IntermediateSize, c.HiddenSize),
			linear(c.HiddenSize, c.IntermediateSize), act})
	}
	return &Block{
		SelfAttn: &Attention{linear(c.HiddenSize, q), linear(c.HiddenSize, kv), linear(c.HiddenSize, kv),
			linear(q, c.HiddenSize), shape},
		BlockSparseMoE: moe, InputLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps),
		PostAttentionLayerNorm: nn.NewRMSNorm(c.HiddenSize, c.RMSNormEps),
	}
}
