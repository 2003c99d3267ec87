package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"hone/device"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// Layout is where a scalar head stands in a checkpoint.
type Layout string

// The layouts.
const (
	// ScoreLayout is transformers' sequence classification with one label: score.weight [1, C] instead of the
	// output layer.
	ScoreLayout Layout = "score"
	// ValueLayout is that of TRL's and LLaMA-Factory's value heads: v_head.summary.weight [1, C] and .bias
	// [1] beside the output layer. It is read from the model's weights or from value_head.safetensors, and
	// written to the model's weights.
	ValueLayout Layout = "v_head"
)

// Module is the name of the head's linear layer.
func (l Layout) Module() string {
	if l == ValueLayout {
		return "v_head.summary"
	}
	return "score"
}

// valueHeadFile is where LLaMA-Factory puts a value head.
const valueHeadFile = "value_head.safetensors"

// ScoreHead maps hidden states to one number each. It is kept in F32.
type ScoreHead struct {
	*nn.Linear
	Layout Layout
}

// NewScoreHead declares a head on hidden states of c channels. Its weights start normal with a standard
// deviation of 1/(c+1), so that the first scores are near 0, as OpenRLHF has it.
func NewScoreHead(c int, layout Layout) *ScoreHead {
	h := &ScoreHead{nn.NewLinear(c, 1, layout == ValueLayout, 1/float64(c+1)), layout}
	h.Weight.Single = true
	return h
}

// Forward maps rows of hidden states [M, C] to scores [M, 1] in F32.
func (h *ScoreHead) Forward(hidden *tensor.Tensor) *tensor.Tensor {
	return h.Linear.Forward(tensor.Float32(hidden))
}

// Params lists the head's parameters by their names in a checkpoint.
func (h *ScoreHead) Params() []nn.Named {
	list := []nn.Named{{Name: h.Layout.Module() + ".weight", Param: h.Weight}}
	if h.Bias != nil {
		list = append(list, nn.Named{Name: h.Layout.Module() + ".bias", Param: h.Bias})
	}
	return list
}

// Scorer is a model that gives texts a score: a reward model. Its parameters include the head's.
type Scorer struct {
	*Model
	Score  *ScoreHead
	Pad    int32 // texts are scored at their last token that is not this one; -1: at their last one
	Fresh  bool  // the checkpoint had no head
	shared bool  // the model below the head is another's, who frees it
}

// padOf is the pad_token_id of a configuration, which is a part of transformers' sequence classification: it reads the score at the last
// token that is another, and TRL, which makes the end token the pad of models without one, so trains them. Value heads know of none.
func padOf(config []byte, layout Layout) int32 {
	var c struct {
		Pad *int32 `json:"pad_token_id"`
	}
	if err := json.Unmarshal(config, &c); err != nil || c.Pad == nil || layout != ScoreLayout {
		return -1
	}
	return *c.Pad
}

// ScorerOptions say how a model with a scalar head is opened.
type ScorerOptions struct {
	Layout Layout // of a fresh head
	Seed   uint64 // of its values
	Packed Packed
}

// Free gives the memory back that is the scorer's own.
func (s *Scorer) Free() {
	if s.shared {
		nn.Free(s.Score.Params())
		return
	}
	s.Model.Free()
}

// Scores are the scores of some rows of in, such as the last of each sequence: [S, 1] in F32.
func (s *Scorer) Scores(in nn.Input, rows []int32) *tensor.Tensor {
	return s.Score.Forward(nn.HiddenAt(s, in, rows))
}

// OpenScorer loads a model folder with a scalar head in either layout. A language model without one gets a
// fresh head; with ScoreLayout its output layer is left out.
func OpenScorer(dir string, dev device.Device, dtype device.DType, o ScorerOptions) (*Scorer, error) {
	config, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	s, err := openScorer(dir, config, dev, dtype, o)
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	return s, nil
}

// openScorer is OpenScorer of a folder whose config.json is read.
func openScorer(dir string, config []byte, dev device.Device, dtype device.DType, o ScorerOptions) (*Scorer, error) {
	weights, err := safetensors.Open(dir)
	if err != nil {
		return nil, err
	}
	defer weights.Close()
	heads, err := headWeights(dir)
	if err != nil {
		return nil, err
	}
	defer heads.Close()
	found, ok := headLayout(heads)
	if ok {
		o.Layout = found
	}
	m, err := declareScorer(config, o.Layout, dev)
	if err != nil {
		return nil, err
	}
	o.Packed.mark(m.Model)
	s := &Scorer{Model: m, Score: NewScoreHead(m.Shape().Hidden, o.Layout), Pad: padOf(m.Config, o.Layout), Fresh: !ok}
	if err := m.load(weights, dtype, "lm_head.weight", "embed_out.weight"); err != nil { // the output layer of a language model
		m.Free()
		return nil, err
	}
	m.Params = append(m.Params, s.Score.Params()...) // before they load, so that Free has what a damaged head leaves behind
	if err := s.loadHead(heads, dev, dtype, o.Seed); err != nil {
		m.Free()
		return nil, err
	}
	return s, nil
}

// HeadOf is the layout that OpenScorer finds in a folder, or fresh where there is no head.
func HeadOf(dir string, fresh Layout) (Layout, error) {
	heads, err := headWeights(dir)
	if err != nil {
		return "", fmt.Errorf("open model %s: %w", dir, err)
	}
	defer heads.Close()
	if found, ok := headLayout(heads); ok {
		return found, nil
	}
	return fresh, nil
}

// ReadsAll says where in a conversation a head of the layout has its score: at the last token that the template writes, as in what TRL trains for
// transformers' sequence classification, or, as a value head, at the last one of the answer.
func (l Layout) ReadsAll() bool { return l == ScoreLayout }

// headLayout tells where a checkpoint has a head.
func headLayout(heads *safetensors.Archive) (Layout, bool) {
	for _, l := range []Layout{ScoreLayout, ValueLayout} {
		if _, ok := heads.Tensor(l.Module() + ".weight"); ok {
			return l, true
		}
	}
	return "", false
}

// Scored puts a fresh head on a model that is loaded already and stays its owner's: what is put on its layers must be
// taken off again.
func (m *Model) Scored(dtype device.DType, o ScorerOptions) *Scorer {
	own := *m
	if v, ok := m.Model.(*nn.Virtual); ok {
		own.Model = v.Model
	}
	s := &Scorer{Model: &own, Score: NewScoreHead(own.Shape().Hidden, o.Layout), Pad: padOf(m.Config, o.Layout), Fresh: true, shared: true}
	nn.Initialize(s.Score.Params(), m.dev, dtype, o.Seed)
	own.Params = slices.Concat(m.Params, s.Score.Params())
	return s
}

// IsOf tells whether the model, loaded and not trained, is that of a folder: one with the same configuration
// and, by the fingerprint, the same weights, and without a scalar head.
func (m *Model) IsOf(dir string) (bool, error) {
	config, err := ReadConfig(dir)
	if err != nil {
		return false, err
	}
	var mine, other map[string]any
	if err := errors.Join(json.Unmarshal(config, &other), json.Unmarshal(m.Config, &mine)); err != nil {
		return false, fmt.Errorf("open model %s: read config.json: %w", dir, err)
	}
	if !reflect.DeepEqual(mine, other) {
		return false, nil
	}
	weights, err := safetensors.Open(dir)
	if err != nil {
		return false, fmt.Errorf("open model %s: %w", dir, err)
	}
	defer weights.Close()
	heads, err := headWeights(dir)
	if err != nil {
		return false, fmt.Errorf("open model %s: %w", dir, err)
	}
	defer heads.Close()
	if _, ok := headLayout(heads); ok {
		return false, nil
	}
	var sources []source
	for _, p := range m.Params {
		t, _, ok := m.lookup(weights, p)
		if !ok {
			return false, nil
		}
		sources = append(sources, source{Named: p, tensor: t})
	}
	return fingerprint(sources) == m.Weights, nil
}

// headWeights is the archive that a head may stand in.
func headWeights(dir string) (*safetensors.Archive, error) {
	a, err := safetensors.Open(filepath.Join(dir, valueHeadFile))
	if errors.Is(err, os.ErrNotExist) {
		return safetensors.Open(dir)
	}
	return a, err
}

// declareScorer declares the model without its output layer where the layout has none.
func declareScorer(config []byte, layout Layout, dev device.Device) (*Model, error) {
	if layout == ValueLayout {
		return Declare(config, dev)
	}
	values := map[string]any{}
	if err := nn.ReadConfig(config, &values); err != nil {
		return nil, err
	}
	if n, ok := values["num_labels"].(float64); ok && n != 1 {
		return nil, fmt.Errorf("config.json has num_labels %v; a reward model has 1", n)
	}
	text, err := nn.EditConfig(config, map[string]any{"tie_word_embeddings": true}) // so that there is no output layer of its own
	if err != nil {
		return nil, err
	}
	m, err := Declare(text, dev)
	if err != nil {
		return nil, err
	}
	tied := values["tie_word_embeddings"]
	clear(values)
	if err := json.Unmarshal(m.Config, &values); err != nil {
		return nil, err
	}
	m.Config, err = nn.EditConfig(m.Config, map[string]any{"tie_word_embeddings": tied,
		"architectures": []string{scoreClass(values["architectures"], architectures[m.Type].class)}, "num_labels": 1,
		"id2label": map[string]string{"0": "LABEL_0"}, "label2id": map[string]int{"LABEL_0": 0}})
	return m, err
}

// scoreClass is transformers' class of sequence classification for that of a language model.
func scoreClass(given any, class string) string {
	if list, ok := given.([]any); ok && len(list) > 0 {
		if name, ok := list[0].(string); ok {
			class = name
		}
	}
	for _, end := range []string{"ForCausalLM", "LMHeadModel", "ForSequenceClassification"} {
		if stem, ok := strings.CutSuffix(class, end); ok {
			return stem + "ForSequenceClassification"
		}
	}
	return class
}

// loadHead fills the head from its archive, or with fresh values. A bias that the archive lacks is 0.
func (s *Scorer) loadHead(heads *safetensors.Archive, dev device.Device, dtype device.DType, seed uint64) error {
	params := s.Score.Params()
	if s.Fresh {
		nn.Initialize(params, dev, dtype, seed)
		return nil
	}
	return nn.Load(params, dev, dtype, func(name string, shape []int) ([]float32, error) {
		t, ok := heads.Tensor(name)
		switch {
		case !ok && strings.HasSuffix(name, ".bias"):
			return make([]float32, 1), nil
		case !ok || !slices.Equal(t.Shape, shape):
			return nil, fmt.Errorf("tensor %s has shape %v; the head of a reward model on this model has %v", name, t.Shape, shape)
		}
		return t.Float32()
	})
}
