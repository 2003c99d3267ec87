package train

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"hone/device"
	"hone/optim"
	"hone/safetensors"
)

// place is the file and the name in it that a tensor of the optimizer's state has in a
// checkpoint: weights go by their own name, so that the checkpoint can be opened as a model.
func (c *Checkpoints) place(s optim.State) (file, name string) {
	switch s.Kind {
	case optim.Moment1:
		return optimizerFile, "m." + s.Name
	case optim.Moment2:
		return optimizerFile, "v." + s.Name
	case optim.Moment1Scale:
		return optimizerFile, "m_scale." + s.Name
	case optim.Moment2Scale:
		return optimizerFile, "v_scale." + s.Name
	}
	if c.Aside != nil && c.Aside(s.Name) {
		return optimizerFile, "w." + s.Name
	}
	return c.weightsFile(), s.Name
}

func (c *Checkpoints) weightsFile() string { return cmp.Or(c.Weights, "model.safetensors") }

// part is a tensor of a checkpoint: a state of the optimizer, and its values where they are on the host already.
type part struct {
	optim.State
	floats []float32
	bytes  []uint8
}

// partsOf are the tensors of states. Where those of an earlier checkpoint were copied, they have
// its memory, still to be filled.
func (c *Checkpoints) partsOf(states []optim.State) []part {
	list := make([]part, len(states))
	copy(list, c.copy)
	for i, s := range states {
		list[i].State = s
	}
	return list
}

// writeTensors writes the weights and the moments, one tensor at a time in host memory.
func (c *Checkpoints) writeTensors(dir string, states []part) error {
	for _, file := range []string{c.weightsFile(), optimizerFile} {
		if err := c.writeTensorFile(dir, file, states); err != nil {
			return err
		}
	}
	return nil
}

// writeTensorFile writes the states whose place is in the file, streamed: the file's header is known before any value.
func (c *Checkpoints) writeTensorFile(dir, file string, states []part) error {
	var plan []safetensors.Info
	for _, s := range states {
		if f, name := c.place(s.State); f == file {
			plan = append(plan, safetensors.Info{Name: name, DType: fileType(s.State), Shape: s.Shape})
		}
	}
	w, err := safetensors.Create(filepath.Join(dir, file), plan, map[string]string{"format": "pt"})
	if err != nil {
		return err
	}
	defer w.Abort()
	var host hostTensor
	for _, s := range states {
		f, name := c.place(s.State)
		if f != file {
			continue
		}
		if err := host.write(w, name, &s); err != nil {
			return err
		}
	}
	return w.Commit()
}

// fileType is the type of a state's tensor in its file: F32 for bf16 weights too, whose masters a checkpoint holds.
func fileType(s optim.State) safetensors.DType {
	if s.DType() == device.U8 {
		return safetensors.U8
	}
	return safetensors.F32
}

// hostTensor is memory for one tensor at a time on its way to a file.
type hostTensor struct {
	floats []float32
	bytes  []uint8
}

// write streams a tensor from where it is: copied already, or on the device, by way of memory for one tensor.
func (h *hostTensor) write(w *safetensors.Writer, name string, p *part) error {
	switch {
	case p.floats != nil:
		return w.WriteFloat32(name, p.floats)
	case p.bytes != nil:
		return w.Write(name, p.bytes)
	}
	own := part{State: p.State, floats: h.floats, bytes: h.bytes}
	if err := own.read(); err != nil {
		return err
	}
	h.floats, h.bytes = own.floats, own.bytes
	if p.DType() == device.U8 {
		return w.Write(name, own.bytes)
	}
	return w.WriteFloat32(name, own.floats)
}

// read copies the values to the host, into the memory that p has if that is enough.
func (p *part) read() (err error) {
	if n := p.Len(); p.DType() == device.U8 {
		p.bytes = slices.Grow(p.bytes[:0], n)[:n]
		err = p.Read(p.bytes)
	} else {
		p.floats = slices.Grow(p.floats[:0], n)[:n]
		err = p.Read(p.floats)
	}
	p.Done()
	return err
}

// readTensors fills the buffers of states from a checkpoint, which must hold exactly them.
func (c *Checkpoints) readTensors(dir string, states []optim.State) error {
	for _, file := range []string{c.weightsFile(), optimizerFile} {
		if err := c.readTensorFile(filepath.Join(dir, file), file, states); err != nil {
			return err
		}
	}
	return nil
}

// readTensorFile fills states from a file. Names, types and shapes must match, and there must be no tensor more.
func (c *Checkpoints) readTensorFile(path, file string, states []optim.State) (err error) {
	a, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	wanted := 0
	for _, s := range states {
		f, name := c.place(s)
		if f != file {
			continue
		}
		wanted++
		t, ok := a.Tensor(name)
		if !ok || t.DType != fileType(s) || !slices.Equal(t.Shape, s.Shape) {
			return fmt.Errorf("%s has no %v tensor %s of shape %v: it is of another model", path, fileType(s), name, s.Shape)
		}
		if s.DType() == device.U8 {
			s.Write(t.Data)
			s.Done()
			continue
		}
		values, err := t.Float32()
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", name, path, err)
		}
		s.Write(values)
		s.Done()
	}
	// every state was found, so a different number is tensors that this model does not have
	if n := len(a.Names()); n != wanted {
		return fmt.Errorf("%s has %d tensors, and this model %d: it is of another model", path, n, wanted)
	}
	return nil
}
