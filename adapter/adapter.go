// Package adapter trains few parameters beside a frozen model. Adapters are read and written in the layout of PEFT:
// adapter_config.json and adapter_model.safetensors.
//
// There are two kinds. A LoRA (lora.go; with DoRA and PiSSA, which start or scale it otherwise) sits on
// linear layers: nn.Layers finds them, Adapt puts a pair of matrices on each, and the model does not know. A
// Prompt (prompt.go: prompt tuning, prefix tuning, p-tuning) puts virtual tokens before every sequence, by
// way of nn.Virtual. A Sum is several LoRAs in use at once.
//
//	lora, err := adapter.Attach(adapter.Model{Model: m, Params: params}, adapter.Default())   // freezes params
//	err = lora.Initialize(dev, dtype, seed)             // memory and values: the model computes what it did
//	… train lora.Params() …
//	err = lora.Save(dir, dtype, values)                 // or lora.Merge()
//
//	adapter.go               what all adapters are: the model they sit on, the interface, OpenAny
//	config.go                adapter_config.json of a LoRA
//	lora.go, attach.go       its forward pass; which layers have it and what of the base is trained with it
//	merge.go, pissa.go       folding it into the base; starting it at the base's principal part
//	sum.go                   several at once
//	prompt.go                virtual tokens
//	files.go                 LoRA's files
//
// Letters: N rows (tokens), R rank, P virtual tokens.
package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hone/device"
	"hone/nn"
)

// Model is what an adapter can be put on.
type Model struct {
	nn.Model
	Params []nn.Named
}

// Adapter is an adapter of any kind on a model.
type Adapter interface {
	Wrapped() nn.Model  // the model with the adapter
	Enable(on bool)     // off, the model computes what the base does
	Params() []nn.Named // what is trained
	Own() []nn.Named    // what of it is the model's own, so that off is not quite what the base was
	Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error
	SaveConfig(dir string) error
	Free() // takes the adapter off
}

// The tasks of adapters, by PEFT's names.
const (
	TaskCausal   = "CAUSAL_LM"
	TaskSequence = "SEQ_CLS" // a scalar head is trained with the adapter
)

// The files of an adapter.
const (
	ConfigName  = "adapter_config.json"
	WeightsName = "adapter_model.safetensors"
)

// Head is what adapters of all kinds have in adapter_config.json.
type Head struct {
	PeftType      string   `json:"peft_type"`
	TaskType      string   `json:"task_type"`
	BaseModel     string   `json:"base_model_name_or_path"`
	ModulesToSave []string `json:"modules_to_save"`
}

// ReadHead reads what says of which kind and on which model the adapter in dir is.
func ReadHead(dir string) (h Head, err error) {
	text, err := readConfig(dir)
	if err != nil {
		return h, err
	}
	if err := decode(text, &h); err != nil {
		return h, fmt.Errorf("open adapter %s: %w", dir, err)
	}
	if h.PeftType == "" {
		return h, fmt.Errorf("open adapter %s: %s has no peft_type; copy the file anew", dir, ConfigName)
	}
	return h, nil
}

// decode reads the keys of an adapter_config.json that into points to has. Errors name the key.
func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ok && wrong.Field == "":
		return fmt.Errorf("%s is no object of keys and values, but of the type %s; copy the file anew", ConfigName, wrong.Value)
	case ok:
		return fmt.Errorf("%s has %s of the wrong type (%s); copy the file anew", ConfigName, wrong.Field, wrong.Value)
	case err != nil:
		return fmt.Errorf("%s is no JSON, or cut short; copy the file anew", ConfigName)
	}
	return nil
}

// Kind is the peft_type of the adapter in dir.
func Kind(dir string) (string, error) {
	h, err := ReadHead(dir)
	return h.PeftType, err
}

// readConfig is the text of an adapter's configuration; what is no adapter's folder is told with what is.
func readConfig(dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, ConfigName))
	if errors.Is(err, fs.ErrNotExist) || isFile(dir) {
		return nil, fmt.Errorf("open adapter %s: it is no folder with %s; name the one that a run wrote, OUT/adapter", dir,
			ConfigName)
	}
	if err != nil {
		return nil, fmt.Errorf("open adapter %s: %w", dir, err)
	}
	return text, nil
}

// WeightsFile is the file of the weights of the adapter in dir, which is told with what to do where it is not there.
func WeightsFile(dir string) (string, error) {
	path := filepath.Join(dir, WeightsName)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if old := filepath.Join(dir, "adapter_model.bin"); isFile(old) {
		return "", fmt.Errorf("%s is in PyTorch's format, whose reader runs what is in a file; write the adapter anew with save_pretrained of PEFT", old)
	}
	return "", fmt.Errorf("there is no file %s; copy the adapter anew, with all its files", path)
}

// isFile reports whether a path leads to a file.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// OpenAny puts the adapter in dir on a model, of whatever kind it is.
func OpenAny(dir string, m Model, dev device.Device, dtype device.DType) (Adapter, error) {
	kind, err := Kind(dir)
	if err != nil {
		return nil, err
	}
	if slices.Contains([]string{PromptTuning, PrefixTuning, PTuning}, kind) {
		p, err := openPrompt(dir, m, dev, dtype)
		if err != nil {
			return nil, fmt.Errorf("open adapter %s: %w", dir, err)
		}
		return p, nil
	}
	l, err := Open(dir, m, dev, dtype)
	if err != nil {
		return nil, err
	}
	return l, nil
}
