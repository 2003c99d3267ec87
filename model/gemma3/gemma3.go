// Package gemma3 is the text part of the Gemma 3 architecture (Gemma Team, 2025): Gemma 2 with norms of
// queries and keys in place of soft caps, and a global layer after every five that have a sliding window and
// rotary positions of their own.
package gemma3

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Config is config.json of model_type gemma3_text, or text_config in that of gemma3. Its
// attn_logit_softcapping counts for nothing, as in transformers.
type Config struct {
	VocabSize             int           `json:"vocab_size"`
	HiddenSize            int           `json:"hidden_size"`
	IntermediateSize      int           `json:"intermediate_size"`
	NumHiddenLayers       int           `json:"num_hidden_layers"`
	NumAttentionHeads     int           `json:"num_attention_heads"`
	NumKeyValueHeads      int           `json:"num_key_value_heads"`
	HeadDim               int           `json:"head_dim"`
	HiddenActivation      string        `json:"hidden_activation"`
	MaxPositionEmbeddings int           `json:"max_position_embeddings"`
	RMSNormEps            float64       `json:"rms_norm_eps"`
	QueryPreAttnScalar    float64       `json:"query_pre_attn_scalar"`   // scores are divided by its root
	FinalLogitSoftcapping *float64      `json:"final_logit_softcapping"` // null: off
	SlidingWindow         *int          `json:"sliding_window"`
	SlidingWindowPattern  int           `json:"sliding_window_pattern"` // transformers v4: each so-many-th layer is global
	LayerTypes            []string      `json:"layer_types"`            // transformers v5
	RopeLocalBaseFreq     float64       `json:"rope_local_base_freq"`   // transformers v4: rope_theta of layers with a window
	AttentionBias         bool          `json:"attention_bias"`
	TieWordEmbeddings     bool          `json:"tie_word_embeddings"`
	InitializerRange      float64       `json:"initializer_range"`
	Bidirectional         bool          `json:"use_bidirectional_attention"`
	Global, Local         nn.RopeConfig `json:"-"`
	windows               []int
}

// Default is the configuration of absent keys, as transformers has it.
func Default() Config {
	window := 4096
	return Config{
		VocabSize: 262208, HiddenSize: 2304, IntermediateSize: 9216, NumHiddenLayers: 26,
		NumAttentionHeads: 8, NumKeyValueHeads: 4, HeadDim: 256, HiddenActivation: "gelu_pytorch_tanh",
		MaxPositionEmbeddings: 131072, RMSNormEps: 1e-6, QueryPreAttnScalar: 256, SlidingWindow: &window,
		SlidingWindowPattern: 6, RopeLocalBaseFreq: 10000, TieWordEmbeddings: true, InitializerRange: 0.02,
	}
}

// Model is the tree of parameters, named as in a checkpoint.
type Model struct {
	Config Config
	Body   Body       `hf:"model"`
	LMHead *nn.Linear `hf:"lm_head"` // nil when tied to the embedding
	global *nn.Rope
	local  *nn.Rope // of layers with a window
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

// Attention is grouped-query self-attention with rotary positions on normalised queries and keys.
type Attention struct {
	QProj *nn.Linear  `hf:"q_proj"` // [H*D, C]
	KProj *nn.Linear  `hf:"k_proj"` // [K*D, C]
	VProj *nn.Linear  `hf:"v_proj"` // [K*D, C]
	OProj *nn.Linear  `hf:"o_proj"` // [C, H*D]
	QNorm *nn.RMSNorm `hf:"q_norm"` // [D], of each head
	KNorm *nn.RMSNorm `hf:"k_norm"` // [D]
	shape tensor.AttentionShape
}

// Hidden runs the blocks over the tokens of in: [N, C].
func (m *Model) Hidden(in nn.Input) *tensor.Tensor {
	x := in.Embedded(m.Body.EmbedTokens.Scaled(in.IDs, math.Sqrt(float64(m.Config.HiddenSize))))
	global, local := m.global.At(in), m.local.At(in) // two bases: far positions are told apart by the layers that see them
	for i, block := range m.Body.Layers {
		rotation := global
		if m.Config.windows[i] > 0 {
			rotation = local
		}
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor { return block.forward(x, i, in, rotation) })
	}
	return m.Body.Norm.Forward(x)
}

// forward is layer i: h = x + norm(attention(norm(x))), then h + norm(mlp(norm(h))), as in Gemma 2.
func (b *Block) forward(x *tensor.Tensor, i int, in nn.Input, rotation nn.Rotation) *tensor.Tensor {
	attended := b.SelfAttn.forward(b.InputLayerNorm.Forward(x), i, in, rotation)
	h := tensor.Residual(in.Kept(i, x), in.Drop(b.PostAttentionLayerNorm.Forward(attended)))
	fed := b.MLP.Forward(b.PreFeedforwardLayerNorm.Forward(h))
	return tensor.Residual(h, in.Drop(b.PostFeedforwardLayerNorm.Forward(fed)))
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
	h := tensor.Head{Weight: m.Body.EmbedTokens.Weight.Tensor, SoftCap: nn.SoftCap(m.Config.FinalLogitSoftcapping)}
	if m.LMHead != nil {
		h.Weight = m.LMHead.Weight.Tensor
	}
	return h
}

// Elsewhere finds the text model inside the checkpoints that see images, as transformers 4 and 5 name it.
func (m *Model) Elsewhere(name string) []nn.Place {
	inner := strings.TrimPrefix(name, "model.")
	return []nn.Place{{Name: "language_model." + name}, {Name: "model.language_model." + inner}}
}

// Free gives back what the model holds beside its parameters.
func (m *Model) Free() {
	m.global.Free()
	m.local.Free()
}

// Shape is the model's sizes.
func (m *Model) Shape() nn.Shape {
	c := m.Config
	return nn.Shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		FFN: c.IntermediateSize, Vocab: c.VocabSize,
		MaxPositions: c.Global.Context(), Tied: c.TieWordEmbeddings, OwnAfter: c.Global.OwnAfter(), LongAfter: c.Global.LongAfter(),
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
	m := &Model{Config: c, global: nn.NewRope(c.Global, dev), local: nn.NewRope(c.Local, dev)}
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

// TextConfig is the config.json of the text model in one of model_type gemma3.
func TextConfig(config []byte) ([]byte, error) {
	var whole map[string]json.RawMessage
	if err := nn.ReadConfig(config, &whole); err != nil {
		return nil, err
	}
	text := whole["text_config"]
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("config.json of model_type gemma3 has no text_config")
	}
	set := map[string]any{"model_type": "gemma3_text", "architectures": []string{"Gemma3ForCausalLM"}}
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype"} {
		if v := whole[key]; v != nil && string(v) != "null" { // the whole model's are those that it was made with
			set[key] = v
		}
	}
	return nn.EditConfig(text, set)
}

// complete fills what depends on other keys and refuses what cannot be a model.
func (c *Config) complete(config []byte) (err error) {
	if err := nn.Positive("vocab_size", c.VocabSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "max_position_embeddings", c.MaxPositionEmbeddings,
		"sliding_window_pattern", c.SlidingWindowPattern); err != nil {
		return err
	}
	if err := nn.Heads(config, c.HiddenSize, c.NumAttentionHeads, &c.NumKeyValueHeads, &c.HeadDim); err != nil {
		return err
	}
	// as embedding models on Gemma 3 are: attention that sees what comes later cannot be trained on the next token
	if c.Bidirectional {
		return errors.New("use_bidirectional_attention is true, but hone only trains and runs models that predict the next token")
	}
	if c.LayerTypes == nil {
		c.LayerTypes = nn.PatternedLayers(c.NumHiddenLayers, c.SlidingWindowPattern)
	}
	if c.windows, err = nn.LayerWindows(c.LayerTypes, c.NumHiddenLayers, nn.Window(c.SlidingWindow)); err != nil {
		return err
	}
	return c.readRopes(config)
}

// readRopes reads the rotary positions of both kinds of layers, as the two versions of transformers write them:
//
//	5   rope_parameters: {full_attention: {...}, sliding_attention: {...}}, an entry for each kind
//	4   rope_theta and rope_scaling of global layers, rope_local_base_freq of those with a window
//
// An entry knows no original_max_position_embeddings but its own.
func (c *Config) readRopes(config []byte) error {
	type group = map[string]json.RawMessage
	var top struct {
		Theta      json.RawMessage `json:"rope_theta"`
		Partial    json.RawMessage `json:"partial_rotary_factor"`
		Scaling    group           `json:"rope_scaling"`
		Parameters map[string]any  `json:"rope_parameters"`
	}
	var entries struct {
		Parameters struct {
			Global group `json:"full_attention"`
			Local  group `json:"sliding_attention"`
		} `json:"rope_parameters"`
	}
	for _, into := range []any{&top, &entries} {
		if err := nn.ReadConfig(config, into); err != nil {
			return err
		}
	}
	for key := range top.Parameters {
		if key != "full_attention" && key != "sliding_attention" {
			return fmt.Errorf("rope_parameters has %s, which is of no kind of layer; put it under full_attention or sliding_attention", key)
		}
	}
	// nn.ReadRope reads one kind of layers: for each it is given a config.json that has that kind's keys alone
	global := maps.Clone(entries.Parameters.Global)
	if global == nil {
		global = group{}
	}
	maps.Copy(global, top.Scaling)
	read := func(theta float64, from map[string]any) (nn.RopeConfig, error) {
		text, err := json.Marshal(from)
		if err != nil {
			return nn.RopeConfig{}, err
		}
		rope, err := nn.ReadRope(text, nn.RopeDefaults{HeadDim: c.HeadDim, MaxPositions: c.MaxPositionEmbeddings, Theta: theta})
		if err != nil {
			return rope, err
		}
		return rope, rope.Whole()
	}
	var err error
	if c.Global, err = read(1e6, map[string]any{"rope_theta": top.Theta, "partial_rotary_factor": top.Partial,
		"rope_parameters": global}); err != nil {
		return err
	}
	c.Local, err = read(c.RopeLocalBaseFreq, map[string]any{"rope_parameters": entries.Parameters.Local})
	if err == nil && c.Local.OwnAfter() > 0 { // Shape can say it of one kind of layers
		return fmt.Errorf("rope_type %s of sliding_attention depends on the length of a text, which is not supported for layers with a window", c.Local.Type)
	}
	return err
}

// block declares layer i, as Gemma 2's but for the norms of queries and keys, which keep scores small
// and so stand for the soft cap.
func (c *Config) block(i int, act device.UnaryOp) *Block {
	shape := tensor.AttentionShape{Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, D: c.HeadDim, Window: c.windows[i],
		Scale: float32(1 / math.Sqrt(c.QueryPreAttnScalar))}
	norm := func() *nn.RMSNorm { return nn.NewOffsetRMSNorm(c.HiddenSize, c.RMSNormEps) }
	linear := func(in, out int) *nn.Linear { return nn.NewLinear(in, out, c.AttentionBias, c.InitializerRange) }
	q, kv := shape.Heads*shape.D, shape.KVHeads*shape.D
	return &Block{
		SelfAttn: &Attention{linear(c.HiddenSize, q), linear(c.HiddenSize, kv), linear(c.HiddenSize, kv), linear(q, c.HiddenSize),
			nn.NewOffsetRMSNorm(c.HeadDim, c.RMSNormEps), nn.NewOffsetRMSNorm(c.HeadDim, c.RMSNormEps), shape},
		MLP:            nn.NewGatedMLP(c.HiddenSize, c.IntermediateSize, false, act, c.InitializerRange),
		InputLayerNorm: norm(), PostAttentionLayerNorm: norm(),
		PreFeedforwardLayerNorm: norm(), PostFeedforwardLayerNorm: norm(),
	}
}
