package lm

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Model says which model is trained: a folder in Hugging Face layout to go on from, or
// the config.json keys of a new one, with the meaning they have there. Keys that are not
// set have the value that transformers gives them, but for the sizes (see NewConfig).
type Model struct {
	Dir string `yaml:"-" json:"-"` // model: DIR

	ModelType *string `yaml:"model_type" json:"model_type,omitempty" doc:"architecture of a new model: llama (default) or gpt2"`
	VocabSize *int    `yaml:"vocab_size" json:"vocab_size,omitempty" doc:"rows of the embedding; default: as many as the tokenizer has tokens"`

	HiddenSize            *int     `yaml:"hidden_size" json:"hidden_size,omitempty" doc:"llama: channels C (default 256)"`
	IntermediateSize      *int     `yaml:"intermediate_size" json:"intermediate_size,omitempty" doc:"llama: feed-forward width F (default: 8/3 of hidden_size, rounded up to a multiple of 32)"`
	NumHiddenLayers       *int     `yaml:"num_hidden_layers" json:"num_hidden_layers,omitempty" doc:"llama: layers (default 4)"`
	NumAttentionHeads     *int     `yaml:"num_attention_heads" json:"num_attention_heads,omitempty" doc:"llama: query heads H (default: hidden_size/64, at least 1)"`
	NumKeyValueHeads      *int     `yaml:"num_key_value_heads" json:"num_key_value_heads,omitempty" doc:"llama: key/value heads K (default: as many as query heads)"`
	HeadDim               *int     `yaml:"head_dim" json:"head_dim,omitempty" doc:"llama: channels per head D (default: hidden_size/num_attention_heads)"`
	HiddenAct             *string  `yaml:"hidden_act" json:"hidden_act,omitempty" doc:"llama: activation of the feed-forward (default silu)"`
	MaxPositionEmbeddings *int     `yaml:"max_position_embeddings" json:"max_position_embeddings,omitempty" doc:"llama: longest context (default: sequence_length)"`
	RMSNormEps            *float64 `yaml:"rms_norm_eps" json:"rms_norm_eps,omitempty" doc:"llama: added to the mean square in norms (default 1e-6)"`
	RopeTheta             *float64 `yaml:"rope_theta" json:"rope_theta,omitempty" doc:"llama: base of the rotary position angles (default 10000)"`
	SlidingWindow         *int     `yaml:"sliding_window" json:"sliding_window,omitempty" doc:"llama: tokens a query looks back at (default: all); the model is then a mistral"`
	AttentionBias         *bool    `yaml:"attention_bias" json:"attention_bias,omitempty" doc:"llama: biases in attention (default false)"`
	MLPBias               *bool    `yaml:"mlp_bias" json:"mlp_bias,omitempty" doc:"llama: biases in the feed-forward (default false)"`
	InitializerRange      *float64 `yaml:"initializer_range" json:"initializer_range,omitempty" doc:"standard deviation of fresh weights (default 0.02)"`
	TieWordEmbeddings     *bool    `yaml:"tie_word_embeddings" json:"tie_word_embeddings,omitempty" doc:"share the embedding with the output layer (default: llama false, gpt2 true)"`

	NEmbd              *int     `yaml:"n_embd" json:"n_embd,omitempty" doc:"gpt2: channels C (default 256)"`
	NLayer             *int     `yaml:"n_layer" json:"n_layer,omitempty" doc:"gpt2: layers (default 4)"`
	NHead              *int     `yaml:"n_head" json:"n_head,omitempty" doc:"gpt2: heads (default: n_embd/64, at least 1)"`
	NPositions         *int     `yaml:"n_positions" json:"n_positions,omitempty" doc:"gpt2: longest context (default: sequence_length)"`
	NInner             *int     `yaml:"n_inner" json:"n_inner,omitempty" doc:"gpt2: feed-forward width F (default 4*n_embd)"`
	ActivationFunction *string  `yaml:"activation_function" json:"activation_function,omitempty" doc:"gpt2: activation of the feed-forward (default gelu_new)"`
	LayerNormEpsilon   *float64 `yaml:"layer_norm_epsilon" json:"layer_norm_epsilon,omitempty" doc:"gpt2: added to the variance in norms (default 1e-5)"`
}

// SetShort reads "model: DIR", the folder of a model to go on from.
func (m *Model) SetShort(s string) { *m = Model{Dir: s} }

// Short is the folder, empty for a new model.
func (m *Model) Short() string { return m.Dir }

// gpt2Alias maps the general names to GPT-2's own, as transformers' attribute_map does.
func (m *Model) gpt2Alias() {
	alias(&m.NEmbd, &m.HiddenSize)
	alias(&m.NLayer, &m.NumHiddenLayers)
	alias(&m.NHead, &m.NumAttentionHeads)
	alias(&m.NPositions, &m.MaxPositionEmbeddings)
}

// alias moves a value to the name that the architecture has for it; one that is set under its own name counts.
func alias(to, from **int) {
	if *to == nil {
		*to = *from
	}
	*from = nil
}

// Architecture is the architecture of a new model.
func (m *Model) Architecture() string {
	if m.ModelType == nil {
		return "llama"
	}
	return *m.ModelType
}

// validate checks what does not need the tokenizer.
func (m *Model) validate(sequenceLength int) error {
	set := m.setKeys()
	if m.Dir != "" {
		if len(set) > 0 {
			return fmt.Errorf("model is the folder %s, so model.%s cannot be changed; leave one of the two out", m.Dir, set[0])
		}
		return nil
	}
	kind := m.Architecture()
	if kind != "llama" && kind != "gpt2" {
		return fmt.Errorf("model.model_type is %q; a new model can be llama or gpt2", kind)
	}
	own := *m
	if kind == "gpt2" {
		own.gpt2Alias()
	}
	for _, key := range own.setKeys() {
		if owner := ownerOf(key); owner != "" && owner != kind {
			return fmt.Errorf("model.%s is a key of %s models, and model.model_type is %s; leave it out", key, owner, kind)
		}
	}
	// Sizes are checked as a run would have them, so that a mistake is told before a tokenizer is trained.
	c := own.complete(256, sequenceLength) // 256 stands for the vocabulary, which is checked when there is a tokenizer
	return c.checkSizes(kind, sequenceLength)
}

// checkSizes reports sizes that do not fit together; all sizes are set.
func (m *Model) checkSizes(kind string, sequenceLength int) error {
	hidden, heads, context := m.HiddenSize, m.NumAttentionHeads, m.MaxPositionEmbeddings
	names := [3]string{"hidden_size", "num_attention_heads", "max_position_embeddings"}
	if kind == "gpt2" {
		hidden, heads, context = m.NEmbd, m.NHead, m.NPositions
		names = [3]string{"n_embd", "n_head", "n_positions"}
	}
	if err := m.positive(); err != nil {
		return err
	}
	if m.HeadDim == nil && *hidden%*heads != 0 {
		return fmt.Errorf("model.%s is %d, which is not a multiple of model.%s %d; change one of them", names[0],
			*hidden, names[1], *heads)
	}
	if *context < sequenceLength {
		return fmt.Errorf("sequence_length is %d but model.%s is only %d; raise the second or lower the first",
			sequenceLength, names[2], *context)
	}
	if kind == "gpt2" {
		return nil
	}
	d := *hidden / *heads
	if m.HeadDim != nil {
		d = *m.HeadDim
	}
	if d%2 != 0 {
		return fmt.Errorf("the head size is %d, and rotary positions need an even one; change model.hidden_size or set model.head_dim", d)
	}
	if biased := m.AttentionBias != nil && *m.AttentionBias || m.MLPBias != nil && *m.MLPBias; biased && m.SlidingWindow != nil {
		return errors.New("model.sliding_window makes a mistral, which has no biases; leave model.attention_bias and model.mlp_bias out")
	}
	if k := m.NumKeyValueHeads; k != nil && *heads%*k != 0 {
		return fmt.Errorf("model.num_attention_heads is %d, which is not a multiple of model.num_key_value_heads %d; change one of them",
			*heads, *k)
	}
	return nil
}

// positive checks that every whole number is at least 1 and every other number above 0.
func (m *Model) positive() error {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Pointer || f.IsNil() {
			continue
		}
		key := v.Type().Field(i).Tag.Get("yaml")
		switch n := f.Interface().(type) {
		case *int:
			if *n < 1 || *n > 1<<30 {
				return fmt.Errorf("model.%s is %d; it must be at least 1 and below 2^30", key, *n)
			}
		case *float64:
			if *n <= 0 {
				return fmt.Errorf("model.%s is %v; it must be above 0", key, *n)
			}
		}
	}
	return nil
}

// ownerOf returns the architecture that a key belongs to, by the first word of its doc; it is
// empty for a key that all have.
func ownerOf(key string) string {
	t := reflect.TypeFor[Model]()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			doc := t.Field(i).Tag.Get("doc")
			for _, kind := range []string{"llama", "gpt2"} {
				if strings.HasPrefix(doc, kind+":") {
					return kind
				}
			}
		}
	}
	return ""
}

// setKeys lists the config keys that were given.
func (m *Model) setKeys() []string {
	var keys []string
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			keys = append(keys, v.Type().Field(i).Tag.Get("yaml"))
		}
	}
	return keys
}

// complete fills in the sizes that were not given; vocab and sequenceLength come from the run.
func (m *Model) complete(vocab, sequenceLength int) Model {
	c := *m
	fill(&c.ModelType, m.Architecture())
	fill(&c.VocabSize, vocab)
	if *c.ModelType == "gpt2" {
		c.gpt2Alias()
		fill(&c.NEmbd, 256)
		fill(&c.NLayer, 4)
		fill(&c.NHead, max(1, *c.NEmbd/64))
		fill(&c.NPositions, sequenceLength)
		return c
	}
	fill(&c.HiddenSize, 256)
	// A gated feed-forward has three matrices where GPT-2's has two: 8/3 of the channels make as many
	// parameters as its 4.
	fill(&c.IntermediateSize, (*c.HiddenSize*8/3+31)/32*32)
	fill(&c.NumHiddenLayers, 4)
	fill(&c.NumAttentionHeads, max(1, *c.HiddenSize/64))
	fill(&c.MaxPositionEmbeddings, sequenceLength)
	return c
}

func fill[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

// NewConfig is the config.json of a new model for a tokenizer of vocab tokens. The sizes
// that were not given are those of a small model.
func (m *Model) NewConfig(vocab, sequenceLength int) ([]byte, error) {
	if m.Dir != "" {
		return nil, errors.New("the model is not new: it comes from " + m.Dir)
	}
	c := m.complete(vocab, sequenceLength)
	if *c.VocabSize < vocab {
		return nil, fmt.Errorf("model.vocab_size is %d but the tokenizer has %d tokens; raise it or leave it out",
			*c.VocabSize, vocab)
	}
	if c.SlidingWindow != nil { // in the field's formats a llama has no window, and a mistral is a llama with one
		fill(&c.NumKeyValueHeads, *c.NumAttentionHeads)
		kind := "mistral"
		c.ModelType = &kind
	}
	return json.MarshalIndent(&c, "", "  ")
}
