package recipe

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hone/adapter"
	"hone/device"
	"hone/internal/atomicfile"
	"hone/internal/spell"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/tokenizer"
)

// LoRA holds the keys of method=lora, with PEFT's names.
type LoRA struct {
	R              int      `yaml:"r" doc:"rank"`
	Alpha          float64  `yaml:"alpha" doc:"the update is scaled by alpha/r; 0: twice the rank"`
	Dropout        float64  `yaml:"dropout" doc:"of the input of the update"`
	TargetModules  []string `yaml:"target_modules" doc:"layers to adapt, by the ends of their names, or all-linear; a single regular expression is for whole names"`
	ExcludeModules []string `yaml:"exclude_modules" doc:"layers not to adapt, in the same way"`
	Layers         string   `yaml:"layers" doc:"numbers of the layers to adapt, as in 0,1,20; not set: all"`
	ModulesToSave  []string `yaml:"modules_to_save" doc:"modules to train in full, such as embed_tokens,lm_head"`
	Bias           string   `yaml:"bias" doc:"which biases are trained: none, all or lora_only"`
	UseRSLoRA      bool     `yaml:"use_rslora" doc:"scale by alpha/sqrt(r)"`
	RankPattern    []string `yaml:"rank_pattern" doc:"other ranks, as MODULE:RANK"`
	AlphaPattern   []string `yaml:"alpha_pattern" doc:"other alphas, as MODULE:ALPHA"`
	UseDoRA        bool     `yaml:"use_dora" doc:"train the magnitudes of the weights' rows apart from their directions"`
	Init           string   `yaml:"init_lora_weights" doc:"how the update starts: true (A random, B zero), gaussian, pissa or pissa_niter_N (the base's principal part)"`
	PlusRatio      float64  `yaml:"loraplus_lr_ratio" doc:"LoRA+: factor on the learning rate of B; 0: off"`
}

func defaultLoRA() LoRA {
	return LoRA{R: 16, TargetModules: []string{adapter.AllLinear}, Bias: "none", Init: "true"}
}

// QLoRA holds what method=qlora has beside the keys of lora.
type QLoRA struct {
	Bits int `yaml:"bits" doc:"of the frozen weights: 4 (NF4 with double quantisation) or 8 (int8 with a scale for each row)"`
}

// validateMethod reports what cannot be meant in the keys of the method.
func (c *Training) validateMethod() error {
	switch c.Method {
	case "full":
		return nil
	case "lora", "qlora":
		if _, err := c.LoRA.Config(""); err != nil {
			return err
		}
		_, err := c.Packed()
		return err
	}
	if _, ok := promptKinds[c.Method]; ok {
		return c.Prompt.validate()
	}
	return fmt.Errorf("method is %q; use %s", c.Method, strings.Join(Methods(), ", "))
}

// Packed is how the frozen weights are stored; modules that are trained in full are not.
func (c *Training) Packed() (model.Packed, error) {
	if c.Method != "qlora" {
		return model.Packed{}, nil
	}
	packing, err := device.PackingOf(c.QLoRA.Bits)
	if err != nil || packing == device.Unpacked {
		return model.Packed{}, fmt.Errorf("qlora.bits is %d; use 4 or 8", c.QLoRA.Bits)
	}
	return model.Packed{Packing: packing, Keep: c.LoRA.ModulesToSave}, nil
}

// TrainsBase tells that weights of the model itself are trained, so that what it was is lost, adapter or not.
func (c *Training) TrainsBase() bool {
	lora := c.Method == "lora" || c.Method == "qlora"
	return c.Method == "full" || lora && (len(c.LoRA.ModulesToSave) > 0 || c.LoRA.Bias != "none" && c.LoRA.Bias != "")
}

// Config is adapter_config.json of the keys.
func (l *LoRA) Config(base string) (adapter.Config, error) {
	c := adapter.Default()
	c.BaseModel, c.R, c.LoraAlpha, c.LoraDropout, c.Bias, c.UseRSLoRA = base, l.R, l.Alpha, l.Dropout, l.Bias, l.UseRSLoRA
	c.UseDoRA = l.UseDoRA
	if c.InitLoraWeights = l.Init; l.Init == "true" {
		c.InitLoraWeights = true
	}
	if l.Init != "true" && l.Init != "gaussian" && !strings.HasPrefix(l.Init, "pissa") {
		return c, fmt.Errorf("lora.init_lora_weights is %q; use true, gaussian, pissa or pissa_niter_N", l.Init)
	}
	if !(l.PlusRatio >= 0) {
		return c, fmt.Errorf("lora.loraplus_lr_ratio is %v; it must be at least 0", l.PlusRatio)
	}
	if c.LoraAlpha == 0 {
		// so that another rank needs no other learning rate: the scale alpha/r stays 2
		c.LoraAlpha = 2 * float64(l.R)
	}
	c.TargetModules, c.ExcludeModules, c.ModulesToSave = modules(l.TargetModules), modules(l.ExcludeModules), l.ModulesToSave
	if l.Layers != "" {
		for _, n := range strings.Split(l.Layers, ",") {
			i, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil || i < 0 {
				return c, fmt.Errorf("lora.layers is %q; give numbers of layers, as in 0,1,20", l.Layers)
			}
			c.LayersToTransform = append(c.LayersToTransform, i)
		}
	}
	if err := pairs("lora.rank_pattern", l.RankPattern, c.RankPattern, strconv.Atoi); err != nil {
		return c, err
	}
	number := func(text string) (float64, error) { return strconv.ParseFloat(text, 64) }
	if err := pairs("lora.alpha_pattern", l.AlphaPattern, c.AlphaPattern, number); err != nil {
		return c, err
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("lora.%w", err)
	}
	return c, nil
}

// modules takes a single name with the signs of a regular expression, or all-linear, for a pattern.
func modules(names []string) adapter.Modules {
	if len(names) == 1 && (names[0] == adapter.AllLinear || strings.ContainsAny(names[0], `*+?()[]|\^$`)) {
		return adapter.Modules{Pattern: names[0]}
	}
	return adapter.Modules{Names: names}
}

// pairs reads MODULE:NUMBER.
func pairs[T any](key string, list []string, into map[string]T, parse func(string) (T, error)) error {
	for _, text := range list {
		at := strings.LastIndexByte(text, ':')
		v, err := parse(strings.TrimSpace(text[at+1:]))
		if at < 1 || err != nil {
			return fmt.Errorf("%s has %q; write MODULE:NUMBER", key, text)
		}
		into[text[:at]] = v
	}
	return nil
}

// Trained is what a run trains and writes.
type Trained interface {
	Name() string           // of the result's folder in OUT
	Weights() string        // the weights' file in it, and in a checkpoint
	Params() []nn.Named     // that the optimizer updates
	PEFT() adapter.Adapter  // that is put on the model; nil with all weights
	Files(dir string) error // writes what stands beside the weights
	Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error
	Free()
}

// method puts what the recipe's method trains on the model.
func (r *Run) method(dtype device.DType) (Trained, error) {
	if r.Training.Method == "full" {
		return &fullModel{r.Model, r.Tokenizer}, nil
	}
	if kind, ok := promptKinds[r.Training.Method]; ok {
		return r.prompt(kind, dtype)
	}
	config, err := r.Training.LoRA.Config(r.From)
	if err != nil {
		return nil, err
	}
	if r.Head != "" {
		config.TaskType, config.ModulesToSave = adapter.TaskSequence, append(slices.Clone(config.ModulesToSave), r.Head)
	}
	if err := r.checkModules(config.TargetModules); err != nil {
		return nil, err
	}
	l, err := adapter.Attach(adapter.Model{Model: r.Model.Model, Params: r.Model.Params}, config)
	if err != nil {
		return nil, fmt.Errorf("lora.%w", err)
	}
	if err := l.Initialize(r.Env.Device, dtype, r.Training.Seed); err != nil {
		l.Free()
		return nil, fmt.Errorf("lora.%w", err)
	}
	return &adapted{l, r.Tokenizer}, nil
}

// speedUp makes the matrices B learn faster than A (LoRA+, Hayou et al., 2024), unless the ratio is 0.
func (l *LoRA) speedUp(list []optim.Param) {
	for i := range list {
		if strings.HasSuffix(list[i].Name, ".lora_B.weight") {
			list[i].LRScale = float32(l.PlusRatio)
		}
	}
}

// checkModules refuses names of layers that no layer has: PEFT passes over them, and a slip of the
// fingers would train less than meant.
func (r *Run) checkModules(m adapter.Modules) error {
	layers := nn.Layers(r.Model.Model)
	// Patterns are not checked: one for layers that some models lack is of use, and one that fits none is
	// refused by Attach.
	for _, name := range m.Names {
		best, bestDistance := "", 1<<30
		for _, l := range layers {
			if l.Name == name || strings.HasSuffix(l.Name, "."+name) {
				bestDistance = -1
				break
			}
			end := l.Name[strings.LastIndexByte(l.Name, '.')+1:]
			if end == "lm_head" { // LoRA is refused on the output layer
				continue
			}
			if d := spell.Distance(name, end); d < bestDistance {
				best, bestDistance = end, d
			}
		}
		isModule := func(p nn.Named) bool { return strings.HasSuffix("."+p.Name, "."+name+".weight") }
		if bestDistance >= 0 && slices.ContainsFunc(r.Model.Params, isModule) { // an embedding or a norm
			return fmt.Errorf("lora.target_modules names %s, which is no linear layer; lora.modules_to_save trains it in full", name)
		}
		if bestDistance >= 0 {
			return fmt.Errorf("lora.target_modules names %s, which no linear layer of the model is called; did you mean %s?",
				name, best)
		}
	}
	return nil
}

// fullModel trains all weights.
type fullModel struct {
	model *model.Model
	tok   *tokenizer.Tokenizer
}

func (f *fullModel) Name() string          { return ModelName }
func (f *fullModel) Weights() string       { return safetensors.SingleName }
func (f *fullModel) Params() []nn.Named    { return f.model.Params }
func (f *fullModel) Free()                 {}
func (f *fullModel) PEFT() adapter.Adapter { return nil }

func (f *fullModel) Files(dir string) error {
	return errors.Join(atomicfile.WriteFile(filepath.Join(dir, "config.json"), f.model.Config), f.tok.Save(dir))
}

func (f *fullModel) Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	return errors.Join(f.model.Save(dir, dtype, values), f.tok.Save(dir))
}

// adapted trains an adapter.
type adapted struct {
	adapter.Adapter
	tok *tokenizer.Tokenizer
}

func (a *adapted) Name() string          { return AdapterName }
func (a *adapted) Weights() string       { return adapter.WeightsName }
func (a *adapted) PEFT() adapter.Adapter { return a.Adapter }

func (a *adapted) Files(dir string) error {
	return errors.Join(a.Adapter.SaveConfig(dir), a.tok.Save(dir))
}

func (a *adapted) Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	return errors.Join(a.Adapter.Save(dir, dtype, values), a.tok.Save(dir))
}

// WithoutAdapter runs f on the base of the model that is trained.
func (r *Run) WithoutAdapter(f func() error) error {
	if a := r.Trained.PEFT(); a != nil {
		a.Enable(false)
		defer a.Enable(true)
	}
	return f()
}
