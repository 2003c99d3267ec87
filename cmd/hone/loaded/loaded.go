// Package loaded opens models for the commands that compute with one: on a device, with adapters, as their flags say.
package loaded

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
)

// Model is a model folder on a device. Close frees it and closes the device.
type Model struct {
	Dev     device.Device
	DType   device.DType
	Model   *model.Model
	Adapter onModel              // nil without --adapter
	Tok     *tokenizer.Tokenizer // nil for commands that work on ids
	Close   func()
}

// onModel is an adapter on a model, or several.
type onModel interface {
	Wrapped() nn.Model
	Params() []nn.Named
	Free()
}

// ComputeFlags are the flags of commands that compute with weights.
type ComputeFlags struct {
	Device, DType string // by name
	Threads       int    // 0: all cores
	Bits          int    // of the weights of linear layers; 0: as dtype
}

// Add adds the flags to a command.
func (f *ComputeFlags) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Device, "device", "cpu", "where to compute: cpu, cuda or cuda:N")
	cmd.Flags().StringVar(&f.DType, "dtype", "f32", "of activations and matrices: f32 or bf16")
	cmd.Flags().IntVar(&f.Threads, "threads", 0, "cores to use; 0: all")
	cmd.Flags().IntVar(&f.Bits, "bits", 0, "keep the weights of linear layers in 4 (NF4) or 8 bits, as method=qlora does; 0: in full")
}

// OpenDevice opens the device, which the caller closes, and says how weights are kept there.
func (f *ComputeFlags) OpenDevice() (dev device.Device, dtype device.DType, packed model.Packed, done func(), err error) {
	if dtype, err = device.ParseDType(f.DType); err != nil {
		return nil, 0, packed, nil, err
	}
	if packed.Packing, err = device.PackingOf(f.Bits); err != nil {
		return nil, 0, packed, nil, err
	}
	dev, done, err = machine.OpenDevice(f.Device, f.Threads)
	return dev, dtype, packed, done, err
}

// Flags are the flags of commands that open a model.
type Flags struct {
	ComputeFlags
	Adapters  []string
	Weights   []float64        // of the adapters' updates; empty: 1 each
	Generates bool             // nothing but text is made with the model
	notes     func() io.Writer // beside the result
}

// checkWeights refuses factors that no adapter takes: they would change nothing.
func (f *Flags) checkWeights() error {
	if len(f.Weights) > 0 && len(f.Adapters) == 0 {
		return errors.New("--adapter-weights is of adapters and there are none; name them by --adapter")
	}
	return nil
}

// LoadPromptly is Load that a context ends at once, for a command that ends with it: the weights of a large model take long to read.
func (f *Flags) LoadPromptly(ctx context.Context, arg string) (*Model, error) {
	return cli.Promptly(ctx, func() (*Model, error) { return f.Load(arg) })
}

// Load opens a model folder with its tokenizer, and puts the adapter on it if there is one.
func (f *Flags) Load(arg string) (*Model, error) {
	if err := f.checkWeights(); err != nil {
		return nil, err
	}
	dir, err := machine.ModelDir(arg)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	m, err := f.Open(dir)
	if err != nil {
		return nil, err
	}
	m.Tok = tok
	return m, nil
}

// Open is Load for folders that need no tokenizer.
func (f *Flags) Open(arg string) (*Model, error) {
	if err := f.checkWeights(); err != nil {
		return nil, err
	}
	dir, err := machine.ModelDir(arg)
	if err != nil {
		return nil, err
	}
	dev, dtype, packed, done, err := f.OpenDevice()
	if err != nil {
		return nil, err
	}
	m, err := model.OpenPacked(dir, dev, dtype, packed)
	if err != nil {
		done()
		return nil, err
	}
	if note := m.Note(); note != "" && f.notes != nil {
		fmt.Fprintln(f.notes(), "note:", note)
	}
	l := &Model{Dev: dev, DType: dtype, Model: m, Close: func() { m.Free(); done() }}
	// The model under its adapters: weights are arranged where they are, and m.Model may be a wrapper by then.
	base := m.Model
	if len(f.Adapters) > 0 {
		err = f.adapt(l)
	}
	if err == nil && f.Generates {
		err = tensor.Try(func() { nn.Arrange(base) })
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// adapt puts the adapters on the model.
func (f *Flags) adapt(l *Model) (err error) {
	m, free := l.Model, l.Close
	if l.Adapter, err = f.openAdapters(adapter.Model{Model: m.Model, Params: m.Params}, l.Dev, l.DType); err != nil {
		return err
	}
	m.Model = l.Adapter.Wrapped()
	l.Close = func() { l.Adapter.Free(); free() }
	return nil
}

// openAdapters puts the adapters on a model: one of any kind, or several whose updates add up.
func (f *Flags) openAdapters(m adapter.Model, dev device.Device, dtype device.DType) (onModel, error) {
	if len(f.Adapters) == 1 && len(f.Weights) == 0 {
		return adapter.OpenAny(f.Adapters[0], m, dev, dtype)
	}
	if len(f.Weights) > 0 && len(f.Weights) != len(f.Adapters) {
		return nil, fmt.Errorf("--adapter-weights has %d numbers and there are %d adapters; give each one", len(f.Weights), len(f.Adapters))
	}
	s, err := adapter.OpenSum(f.Adapters, m, dev, dtype)
	if err != nil {
		return nil, err
	}
	if len(f.Weights) > 0 {
		s.Use(f.Weights)
	}
	return s, nil
}

// Add adds the flags to a command, on whose stderr notes are written.
func (f *Flags) Add(cmd *cobra.Command) {
	f.notes = cmd.ErrOrStderr
	f.ComputeFlags.Add(cmd)
	cmd.Flags().StringArrayVar(&f.Adapters, "adapter", nil, "`folder` of an adapter to put on the model; given several times, the updates of LoRA adapters add up")
	cmd.Flags().Float64SliceVar(&f.Weights, "adapter-weights", nil, "`factors` on the adapters' updates, as in 0.7,0.3; not set: 1 each")
	cmd.Flags().Lookup("adapter-weights").DefValue = "" // not "[]"
}
