package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/device"
	"hone/internal/atomicfile"
	"hone/nn"
	"hone/safetensors"
)

// ReadConfig reads adapter_config.json of dir. Keys that are absent have PEFT's defaults.
func ReadConfig(dir string) (Config, error) {
	c := Default()
	c.TargetModules = Modules{} // PEFT chooses by the architecture then, which a file that PEFT saved has spelt out
	text, err := readConfig(dir)
	if err != nil {
		return c, err
	}
	if err := decode(text, &c); err != nil {
		return c, fmt.Errorf("open adapter %s: %w", dir, err)
	}
	if err := errors.Join(foreign(text), c.Validate()); err != nil {
		return c, fmt.Errorf("open adapter %s: %w", dir, err)
	}
	return c, nil
}

// foreignKeys are those of PEFT's LoRA that change what is computed in a way that is not here, each with what
// is asked for.
var foreignKeys = map[string]string{
	"target_parameters":       "an update of parameters that are no layers, such as experts stored as one tensor",
	"trainable_token_indices": "rows of the embedding",
	"layer_replication":       "layers that are run several times",
	"alora_invocation_tokens": "an update from certain tokens on",
	"use_qalora":              "an input that is pooled first",
	"use_bdlora":              "updates in blocks",
	"arrow_config":            "a choice of adapters for each token",
	"kasa_config":             "singular values between the matrices",
	"monteclora_config":       "matrices that are drawn at random",
}

// foreign refuses an adapter_config.json with such keys: without them the adapter would compute something else.
func foreign(text []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(foreignKeys)) {
		if v := string(keys[key]); !slices.Contains([]string{"", "null", "false", "[]", "{}"}, v) {
			return fmt.Errorf("%s has %s, %s, which hone does not have; train it without, or merge it with PEFT",
				ConfigName, key, foreignKeys[key])
		}
	}
	var start string // of other values than text none changes the base
	changing := []string{"olora", "corda", "loftq", "lora_ga"}
	if json.Unmarshal(keys["init_lora_weights"], &start) == nil && slices.Contains(changing, strings.ToLower(start)) {
		return fmt.Errorf("init_lora_weights is %s, which changes the base before training; "+
			"save it converted to an ordinary LoRA (path_initial_model_for_weight_conversion)", start)
	}
	return nil
}

// Open puts the LoRA in dir on a model.
func Open(dir string, m Model, dev device.Device, dtype device.DType) (*LoRA, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	weights, missing := openWeights(dir) // told after what is wrong with the configuration
	if missing == nil {
		defer weights.Close()
		c.saveEmbeddings(m, weights)
	}
	l, err := Attach(m, c)
	if err != nil {
		return nil, fmt.Errorf("open adapter %s: %w", dir, err)
	}
	if err = missing; err == nil {
		err = l.load(weights, dev, dtype)
	}
	if err == nil {
		err = l.reopen(dev, dtype)
	}
	if err != nil {
		l.Free()
		return nil, fmt.Errorf("open adapter %s: %w", dir, err)
	}
	return l, nil
}

// openWeights opens the weights of the adapter in dir.
func openWeights(dir string) (*safetensors.Archive, error) {
	path, err := WeightsFile(dir)
	if err != nil {
		return nil, err
	}
	return safetensors.Open(path)
}

// saveEmbeddings adds to modules_to_save the embedding and the output layer where the file has them whole: PEFT
// writes them without naming them there (save_embedding_layers), as of a model whose vocabulary grew, and reads
// them into the base.
func (c *Config) saveEmbeddings(m Model, weights *safetensors.Archive) {
	saved, err := savedModules(m, c.ModulesToSave, c.TaskType)
	if err != nil { // which Attach says
		return
	}
	output, tied := outputOf(m)
	for _, p := range m.Params {
		module, last := split(p.Name)
		name := module
		if module == output && !tied {
			name = outputLayer
		}
		_, there := weights.Tensor(prefix + name + "." + last)
		if there && last == "weight" && p.Shape[0] == m.Shape().Vocab && !saved[module] {
			c.ModulesToSave = append(slices.Clone(c.ModulesToSave), name)
		}
	}
}

// reopen finds where PiSSA started, which the file does not say.
func (l *LoRA) reopen(dev device.Device, dtype device.DType) error {
	if _, exact, ok, _ := l.Config.pissa(); ok && !exact {
		return fmt.Errorf("init_lora_weights is %v, whose random start the files do not tell; save it converted to an ordinary LoRA",
			l.Config.InitLoraWeights)
	}
	return l.startPrincipal(dev, dtype, 0, false)
}

// load fills the adapter's parameters, all of which must be there with the right shapes.
func (l *LoRA) load(weights *safetensors.Archive, dev device.Device, dtype device.DType) error {
	known := make(map[string]bool)
	for _, p := range l.Params() {
		known[p.Name] = true
		t, ok := weights.Tensor(p.Name)
		if !ok {
			return fmt.Errorf("tensor %s is missing; is the adapter of another model?", p.Name)
		}
		if slices.Equal(t.Shape, p.Shape) {
			continue
		}
		if vocab := l.base.Shape().Vocab; p.Shape[0] == vocab && slices.Contains(l.own, p) && len(t.Shape) == len(p.Shape) && t.Shape[0] != vocab {
			return fmt.Errorf("tensor %s has %d rows and the model's vocabulary %d tokens; merge the adapter with PEFT into the model "+
				"resized to its vocabulary", p.Name, t.Shape[0], vocab)
		}
		return fmt.Errorf("tensor %s has shape %v and the model asks for %v; the adapter is of another model", p.Name, t.Shape, p.Shape)
	}
	if l.tied != nil {
		known[prefix+outputLayer+".weight"] = true
		if err := l.checkTied(weights); err != nil {
			return err
		}
	}
	// A tensor too many is as wrong as one too few: it would be of an adapter that computes something else.
	for _, name := range weights.Names() {
		if !known[name] && slices.ContainsFunc(weights.Names(),
			func(n string) bool { return strings.Contains(n, ".lora_embedding_") }) {
			return errors.New("the adapter has a low-rank update of the embedding, which hone does not have; merge it with PEFT")
		}
		if !known[name] {
			return fmt.Errorf("tensor %s has no place in the model; the adapter is of another model or kind", name)
		}
	}
	return nn.Load(l.Params(), dev, dtype, func(name string, _ []int) ([]float32, error) {
		t, _ := weights.Tensor(name)
		return t.Float32()
	})
}

// checkTied refuses an embedding that was trained apart from the output layer, which is the same in the base:
// hone would give both the new one.
func (l *LoRA) checkTied(weights *safetensors.Archive) error {
	in, _ := weights.Tensor(l.tied.Name)
	out, ok := weights.Tensor(prefix + outputLayer + ".weight")
	if !ok || !bytes.Equal(in.Data, out.Data) {
		return fmt.Errorf("%s was trained apart from the output layer, and the base has one tensor for both; "+
			"merge it with PEFT, or train it with hone", l.tied.Name)
	}
	return nil
}

// Save writes the adapter to dir, which it makes, in f32 or bf16; values gives each parameter's numbers.
// PiSSA's is converted to an ordinary LoRA of twice the rank.
func (l *LoRA) Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	if _, _, ok, _ := l.Config.pissa(); ok {
		l, values = l.converted(values)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o777), l.SaveConfig(dir)); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	stored := safetensors.F32
	if dtype == device.BF16 {
		stored = safetensors.BF16
	}
	params := l.Params()
	if l.tied != nil {
		params = append(params, nn.Named{Name: prefix + outputLayer + ".weight", Param: l.tied.Param})
	}
	slices.SortFunc(params, func(a, b nn.Named) int { return strings.Compare(a.Name, b.Name) })
	var plan []safetensors.Info
	for _, p := range params {
		plan = append(plan, safetensors.Info{Name: p.Name, DType: stored, Shape: p.Shape})
	}
	w, err := safetensors.Create(filepath.Join(dir, WeightsName), plan, map[string]string{"format": "pt"})
	if err != nil {
		return fmt.Errorf("save adapter %s: %w", dir, err)
	}
	defer w.Abort()
	for _, p := range params {
		of := p // the parameter whose numbers are written: the embedding's also by the name of the output layer that it is
		if l.tied != nil && p.Param == l.tied.Param {
			of = *l.tied
		}
		v, err := values(of)
		if err == nil {
			err = w.WriteFloat32(p.Name, v)
		}
		if err != nil {
			return fmt.Errorf("save adapter %s: %s: %w", dir, p.Name, err)
		}
	}
	return w.Commit()
}

// SaveConfig writes adapter_config.json, its keys sorted as PEFT has them.
func (l *LoRA) SaveConfig(dir string) error {
	text, err := json.Marshal(l.Config)
	if err != nil {
		return err
	}
	// encoding/json sorts the keys of a map, not those of a struct
	sorted := map[string]any{}
	if err := json.Unmarshal(text, &sorted); err != nil {
		return err
	}
	if text, err = json.MarshalIndent(sorted, "", "  "); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, ConfigName), append(text, '\n'))
}
