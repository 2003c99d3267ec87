// Package model opens, makes and saves language models in the Hugging Face folder layout:
// config.json and model.safetensors, one file or shards.
//
// A Model is declared first, from config.json alone: the package of its model_type (model/llama …) builds the
// tree of parameters, which then have names and shapes but no memory. Open fills them from a checkpoint, New
// with fresh values, Save writes them back:
//
//	model.go     Declare, New, Open; the architectures
//	load.go      from a checkpoint's tensors to parameters: by their names, or where other layouts have them
//	weights.go   Save
//	score.go     models with a scalar head: rewards, values
//	folder.go    the other files of a folder, and what a folder is that is no model
package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hone/device"
	"hone/internal/spell"
	"hone/model/gemma2"
	"hone/model/gemma3"
	"hone/model/gpt2"
	"hone/model/gptneox"
	"hone/model/llama"
	"hone/model/mixtral"
	"hone/model/phi"
	"hone/model/phi3"
	"hone/model/qwen2"
	"hone/model/qwen3"
	"hone/nn"
	"hone/safetensors"
)

// architecture is a package that builds a model, and what transformers calls it.
type architecture struct {
	build func(config []byte, dev device.Device) (nn.Model, error)
	class string // of transformers, which config.json's architectures names
}

// architectures are the supported ones by config.json's model_type.
var architectures = map[string]architecture{
	"gemma2":      {gemma2.New, "Gemma2ForCausalLM"},
	"gemma3_text": {gemma3.New, "Gemma3ForCausalLM"},
	"gpt2":        {gpt2.New, "GPT2LMHeadModel"},
	"gpt_neox":    {gptneox.New, "GPTNeoXForCausalLM"},
	"llama":       {llama.New, "LlamaForCausalLM"},
	"mistral":     {llama.NewMistral, "MistralForCausalLM"},
	"mixtral":     {mixtral.New, "MixtralForCausalLM"},
	"phi":         {phi.New, "PhiForCausalLM"},
	"phi3":        {phi3.New, "Phi3ForCausalLM"},
	"qwen2":       {qwen2.New, "Qwen2ForCausalLM"},
	"qwen3":       {qwen3.New, "Qwen3ForCausalLM"},
}

// textParts take from the config.json of a model that sees more than text the one of the text model in it, which then
// stands for the whole: it is what is trained and saved.
var textParts = map[string]func(config []byte) ([]byte, error){"gemma3": gemma3.TextConfig}

// Types lists the model types that can be opened and made.
func Types() []string {
	var names []string
	for name := range architectures {
		names = append(names, name)
	}
	for name := range textParts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Model is a model with its configuration and its parameters by checkpoint name.
type Model struct {
	nn.Model
	Type   string          // model_type
	Config json.RawMessage // config.json as it was read or given
	Params []nn.Named
	// Generation is the generation_config.json of the folder that the model was opened from, nil if there is none.
	Generation json.RawMessage
	// LeftOut names the tensors of the checkpoint that are no part of the model, such as layers that predict
	// further tokens.
	LeftOut []string
	// Weights tells the checkpoint that the model was read from apart from others: a hash of the names and of
	// values of each tensor; 0 for a new model.
	Weights uint64
	// ShardSize is how many bytes a file of weights that Save writes may have, if its first tensor is not
	// larger; 0: 5 GB.
	ShardSize int64
	dev       device.Device
	read      map[string]string // names of parameters by which the checkpoint has them whole, where these are others
}

// CheckpointName is the name that a parameter has in the checkpoint that the model was read from: its own, by
// which it is saved, unless the checkpoint is of another layout, such as a GPT-2 without transformer. in front.
// Where the checkpoint has it as a part of a tensor, it is its own, too.
func (m *Model) CheckpointName(p nn.Named) string {
	if name, ok := m.read[p.Name]; ok {
		return name
	}
	return p.Name
}

// Declare builds the model of a config.json without memory for its parameters: its names and shapes.
func Declare(config []byte, dev device.Device) (*Model, error) {
	var head struct {
		ModelType    string          `json:"model_type"`
		Quantization json.RawMessage `json:"quantization_config"`
		Cross        bool            `json:"add_cross_attention"`
		Encoder      bool            `json:"is_encoder_decoder"`
		Causal       *bool           `json:"is_causal"`
	}
	if err := nn.ReadConfig(config, &head); err != nil {
		return nil, err
	}
	if text, ok := textParts[head.ModelType]; ok {
		config, err := text(config)
		if err != nil {
			return nil, err
		}
		return Declare(config, dev)
	}
	architecture, ok := architectures[head.ModelType]
	if !ok {
		return nil, unknown(head.ModelType)
	}
	if len(head.Quantization) > 0 && string(head.Quantization) != "null" {
		return nil, errors.New("the weights are quantised, as quantization_config in config.json says; " +
			"take the model's unquantised folder or its GGUF file")
	}
	if head.Cross || head.Encoder {
		return nil, errors.New("config.json describes a model with an encoder (add_cross_attention, is_encoder_decoder); hone has decoders alone")
	}
	if head.Causal != nil && !*head.Causal {
		return nil, errors.New("is_causal is false in config.json, but hone only trains and runs models that predict the next token")
	}
	if err := nn.CheckNumbers(config); err != nil {
		return nil, err
	}
	m, err := architecture.build(config, dev)
	if err != nil {
		return nil, err
	}
	return &Model{Model: m, Type: head.ModelType, Config: config, Params: nn.Params(m), dev: dev}, nil
}

// unknown is the error of a model_type that hone does not have, with the one that is spelled most like it.
func unknown(modelType string) error {
	types := Types()
	if modelType == "" {
		return fmt.Errorf("config.json has no model_type; hone knows %s", strings.Join(types, ", "))
	}
	nearest := slices.MinFunc(types, func(a, b string) int {
		return cmp.Compare(spell.Distance(modelType, a), spell.Distance(modelType, b))
	})
	return fmt.Errorf("model_type %q is not supported, the nearest that is would be %s; hone knows %s",
		modelType, nearest, strings.Join(types, ", "))
}

// New makes a model with fresh weights, a function of seed and the config alone.
// dtype is that of activations and matrices on the device.
func New(config []byte, dev device.Device, dtype device.DType, seed uint64) (*Model, error) {
	return NewPacked(config, dev, dtype, Packed{}, seed)
}

// Packed says which weights of a model are stored in few bits: those of all linear layers but the output
// layer and those that Keep names by the ends of their names, as modules_to_save of an adapter does. The
// zero value packs nothing.
type Packed struct {
	Packing device.Packing
	Keep    []string
}

// mark chooses the storage of the parameters.
func (p Packed) mark(m nn.Model) {
	head := m.Head().Weight
	for _, layer := range nn.Layers(m) {
		weight, _ := layer.Parameters()
		kept := slices.ContainsFunc(p.Keep, func(end string) bool { return end != "" && strings.HasSuffix(layer.Name, end) })
		if weight.Tensor != head && !kept {
			weight.Storage = p.Packing
		}
	}
}

// NewPacked is New with weights in few bits, each of which is made and packed before the next.
func NewPacked(config []byte, dev device.Device, dtype device.DType, packed Packed, seed uint64) (*Model, error) {
	m, err := Declare(config, dev)
	if err != nil {
		return nil, err
	}
	packed.mark(m.Model)
	nn.Initialize(m.Params, dev, dtype, seed)
	return m, nil
}

// Made is NewPacked with matrices whose values fill writes, into F32 or BF16; vectors get their usual first values.
func Made(config []byte, dev device.Device, dtype device.DType, packed Packed, fill func(device.Buffer)) (*Model, error) {
	m, err := Declare(config, dev)
	if err != nil {
		return nil, err
	}
	packed.mark(m.Model)
	nn.Make(m.Params, dev, dtype, fill)
	return m, nil
}

// Alloc gives the weights of a declared model memory, and no values.
func (m *Model) Alloc(dtype device.DType, packed Packed) {
	packed.mark(m.Model)
	for _, p := range m.Params {
		if p.Storage != device.Unpacked {
			p.AllocPacked(m.dev, dtype, p.Storage)
			continue
		}
		p.Alloc(m.dev, nn.DTypeOf(p.Param, dtype))
	}
}

// Open loads a model folder.
func Open(dir string, dev device.Device, dtype device.DType) (*Model, error) {
	return OpenPacked(dir, dev, dtype, Packed{})
}

// OpenPacked is Open with weights in few bits, each of which is read and packed before the next.
func OpenPacked(dir string, dev device.Device, dtype device.DType, packed Packed) (*Model, error) {
	config, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	m, err := Declare(config, dev)
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	packed.mark(m.Model)
	weights, err := safetensors.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	defer weights.Close()
	if m.Generation, err = readGeneration(dir); err == nil { // before the weights, which take long
		err = m.checkLanguage(weights)
	}
	if err == nil {
		err = m.load(weights, dtype)
	}
	if err != nil {
		m.Free()
		return nil, fmt.Errorf("open model %s: %w", dir, err)
	}
	return m, nil
}

// Check says what Open would refuse of a model folder, without reading weights. Of dev nothing is asked but
// tables that models make of their config.json.
func Check(dir string, dev device.Device) error {
	config, err := ReadConfig(dir)
	if err != nil {
		return err
	}
	m, err := Declare(config, dev)
	if err != nil {
		return fmt.Errorf("open model %s: %w", dir, err)
	}
	defer m.Free()
	if err := m.check(dir); err != nil {
		return fmt.Errorf("open model %s: %w", dir, err)
	}
	return nil
}

// check looks at the files beside config.json.
func (m *Model) check(dir string) error {
	weights, err := safetensors.Open(dir)
	if err != nil {
		return err
	}
	defer weights.Close()
	if _, err := readGeneration(dir); err != nil {
		return err
	}
	if err := m.checkLanguage(weights); err != nil {
		return err
	}
	_, err = m.match(weights, nil)
	return err
}

// OpenFrom makes the model of a config.json with the values that fetch returns for each name and shape.
func OpenFrom(config []byte, dev device.Device, dtype device.DType,
	fetch func(name string, shape []int) ([]float32, error)) (*Model, error) {
	m, err := Declare(config, dev)
	if err != nil {
		return nil, err
	}
	if err := nn.Load(m.Params, dev, dtype, fetch); err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// Note says in a line what of the checkpoint is left out, "" when nothing is.
func (m *Model) Note() string {
	if len(m.LeftOut) == 0 {
		return ""
	}
	return fmt.Sprintf("the checkpoint has %d tensors that config.json does not ask for, and they are left out (%s)",
		len(m.LeftOut), some(m.LeftOut))
}

// Free gives the memory of the parameters, and of tables the model made, back.
func (m *Model) Free() {
	nn.Free(m.Params)
	if f, ok := m.Model.(interface{ Free() }); ok {
		f.Free()
	}
}
