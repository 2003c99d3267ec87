package rl

import (
	"errors"
	"fmt"
	"path/filepath"

	"hone/device"
	"hone/nn"
	"hone/optim"
	"hone/recipe"
	"hone/safetensors"
)

// ema is the exponential moving average of a policy's weights over the updates.
type ema struct {
	decay  float32
	dev    device.Device
	params []nn.Named
	values map[string]device.Buffer // F32, by name
	master map[string]optim.State   // of the optimizer
}

// emaName is the file of a checkpoint with the averages, and emaSuffix stands behind the name of the result's folder.
const (
	emaName   = "ema.safetensors"
	emaSuffix = "_ema"
)

// newEMA begins with the present weights of params.
func newEMA(dev device.Device, decay float64, params []nn.Named, opt *optim.AdamW) *ema {
	e := &ema{decay: float32(decay), dev: dev, params: params, values: map[string]device.Buffer{}, master: map[string]optim.State{}}
	for _, s := range opt.State() {
		if s.Kind == optim.Master {
			e.master[s.Name] = s
		}
	}
	for _, p := range params {
		e.values[p.Name] = dev.Alloc(p.Len(), device.F32)
		e.of(p, func(average, weights device.Buffer) { dev.Unary(device.Identity, average, weights) })
	}
	return e
}

// update moves the averages towards the weights.
func (e *ema) update() {
	for _, p := range e.params {
		e.of(p, func(average, weights device.Buffer) {
			// average ← decay·average + (1 - decay)·weights, in f32: at a decay of 0.999 a step is below what
			// bf16 can tell
			e.dev.Scale(average, e.decay)
			e.dev.AddScaled(average, 1-e.decay, weights)
		})
	}
}

// of calls f with the average of a parameter and its present weights, in F32: those of a bf16 parameter are
// put together from its halves for the time of the call.
func (e *ema) of(p nn.Named, f func(average, weights device.Buffer)) {
	master := e.master[p.Name]
	master.Values(func(weights device.Buffer) { f(e.values[p.Name], weights) })
	master.Done()
}

func (e *ema) free() {
	for _, b := range e.values {
		e.dev.Free(b)
	}
	e.values = nil
}

// read is the average of a parameter.
func (e *ema) read(p nn.Named) ([]float32, error) {
	v := make([]float32, p.Len())
	return v, e.dev.Read(v, e.values[p.Name])
}

// keep writes the averages into a checkpoint.
func (e *ema) keep(dir string) error {
	var plan []safetensors.Info
	for _, p := range e.params {
		plan = append(plan, safetensors.Info{Name: p.Name, DType: safetensors.F32, Shape: p.Shape})
	}
	w, err := safetensors.Create(filepath.Join(dir, emaName), plan, map[string]string{"format": "pt"})
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, p := range e.params {
		v, err := e.read(p)
		if err == nil {
			err = w.WriteFloat32(p.Name, v)
		}
		if err != nil {
			return err
		}
	}
	return w.Commit()
}

// restore reads the averages of a checkpoint.
func (e *ema) restore(dir string) (err error) {
	a, err := safetensors.Open(filepath.Join(dir, emaName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	for _, p := range e.params {
		t, ok := a.Tensor(p.Name)
		if !ok || t.Elements() != p.Len() {
			return fmt.Errorf("%s has no tensor %s of this model's size", emaName, p.Name)
		}
		v, err := t.Float32()
		if err != nil {
			return err
		}
		e.dev.Write(e.values[p.Name], v)
	}
	return nil
}

// Finish writes the averaged policy beside the result.
func (s *rolling) Finish(r *recipe.Run) error {
	if s.ema == nil {
		return nil
	}
	dtype, err := r.Training.ResultDType()
	if err != nil {
		return err
	}
	return r.Folder.Replace(r.Trained.Name()+emaSuffix, func(dir string) error {
		return errors.Join(r.Trained.Save(dir, dtype, s.ema.read), s.Beside(dir))
	})
}
