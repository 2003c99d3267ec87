// Package optim updates parameters from their gradients.
//
// An optimizer owns the state that belongs to the parameters: the moments of
// Adam and, for parameters kept in bf16, what they lack to the f32 masters that the updates go to.
//
//	o := optim.New(dev, params, optim.Default())
//	for each step {
//		…                          // backward passes add to the parameters' gradients
//		norm, err := o.Step(lr)    // norm, check, clip, update; frees the gradients
//	}
//
// The update of one element with gradient g, at update number t, clipped by s = min(1,
// MaxGradNorm/norm) (device/kernels.go, AdamW):
//
//	m = β₁·m + (1-β₁)·s·g        v = β₂·v + (1-β₂)·(s·g)²
//	w = w - lr·λ·w - lr·(m/(1-β₁ᵗ))/(sqrt(v/(1-β₂ᵗ)) + ε)
package optim

import (
	"fmt"
	"math"

	"hone/device"
	"hone/tensor"
)

// Param is a tensor to be trained and how to treat it.
type Param struct {
	Name    string         // the name in checkpoints and in messages
	Tensor  *tensor.Tensor // F32, or BF16, the upper half of an F32 master whose rest is kept here
	Decay   bool           // whether weight decay applies: not to norms and biases
	LRScale float32        // factor on the learning rate; 0 means 1
}

// Config holds the constants of AdamW (Loshchilov & Hutter, 2019).
type Config struct {
	Beta1, Beta2 float32 // decay of the first and second moment, in [0, 1)
	Eps          float32 // added to the root of the second moment
	WeightDecay  float32 // decoupled: a step takes lr·WeightDecay of each decayed weight
	MaxGradNorm  float64 // gradients are scaled down to this global L2 norm; 0 means no clipping
	EightBit     bool    // keep the moments of tensors of largeState elements or more in 8 bits
}

// Default returns the usual constants for pre-training language models.
func Default() Config {
	return Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, MaxGradNorm: 1}
}

// AdamW is Adam with decoupled weight decay and clipping by the global norm of the gradients. Its memory is 8
// bytes per F32 parameter, 10 per BF16 parameter; with 8-bit moments (Dettmers et al., "8-bit Optimizers via
// Block-wise Quantization", 2021) about 2 and 4.
type AdamW struct {
	dev     device.Device
	pager   device.Pager // nil when the state is in memory
	dir     string       // of paged state
	config  Config
	slots   []slot
	norms   device.Buffer // F32 [len(slots)], scratch of the norm: a sum of squares for each parameter
	updates int           // made so far
}

// slot is one parameter with its state.
type slot struct {
	Param
	rest   device.Buffer // U8, of the halves of F32 values where the parameter is BF16: see device.Device's Split
	m, v   device.Buffer // F32, or U8 with scales
	mScale device.Buffer // F32, a block's each; zero Buffers for F32 moments
	vScale device.Buffer
	paged  bool // rest and moments live in files
}

// halved reports whether the parameter is BF16 and the master in halves.
func (s *slot) halved() bool { return s.Tensor.DType() == device.BF16 }

// New allocates the state of params on dev: moments of zero and masters equal
// to the parameters' present values. Names must be unique. Running out of memory
// panics with *device.OutOfMemory, for tensor.Try.
func New(dev device.Device, params []Param, config Config) *AdamW {
	o := newAdamW(dev, params, config)
	for _, p := range params {
		if err := o.add(p); err != nil {
			panic(err) // only files can fail
		}
	}
	return o
}

// NewPaged is New with the state of large tensors in files in folder dir, a few MiB of which are in memory at a time.
func NewPaged(dev device.Device, params []Param, config Config, dir string) (*AdamW, error) {
	pager, ok := dev.(device.Pager)
	if !ok {
		return nil, fmt.Errorf("%s cannot page the optimizer's state; keep it in memory", dev.Name())
	}
	o := newAdamW(dev, params, config)
	o.pager, o.dir = pager, dir
	for _, p := range params {
		if err := o.add(p); err != nil {
			o.Free()
			return nil, fmt.Errorf("state of %s: %w", p.Name, err)
		}
	}
	return o, nil
}

func newAdamW(dev device.Device, params []Param, config Config) *AdamW {
	seen := make(map[string]bool, len(params))
	for _, p := range params {
		if seen[p.Name] {
			panic(fmt.Sprintf("optim: two parameters are called %q", p.Name))
		}
		seen[p.Name] = true
	}
	return &AdamW{dev: dev, config: config, norms: dev.Alloc(max(len(params), 1), device.F32)}
}

// largeState is the size from which on tensors have 8-bit moments, as in bitsandbytes, and paged ones.
const largeState = 4096

// add makes the state of a parameter.
func (o *AdamW) add(p Param) error {
	if p.LRScale == 0 {
		p.LRScale = 1
	}
	n := p.Tensor.Len()
	o.slots = append(o.slots, slot{Param: p, paged: o.pager != nil && n >= largeState})
	s := &o.slots[len(o.slots)-1]
	moment := device.F32
	if o.config.EightBit && n >= largeState {
		moment = device.U8 // codes of a dynamic map, with a scale for each block of DynamicBlock elements
		blocks := (n + device.DynamicBlock - 1) / device.DynamicBlock
		s.mScale, s.vScale = device.AllocZero(o.dev, blocks, device.F32), device.AllocZero(o.dev, blocks, device.F32)
	}
	var err error
	if s.m, err = o.alloc(s, n, moment); err != nil {
		return err
	}
	if s.v, err = o.alloc(s, n, moment); err != nil {
		return err
	}
	if s.halved() {
		// Zeros: the masters begin as the parameters are.
		if s.rest, err = o.alloc(s, 2*n, device.U8); err != nil {
			return err
		}
		o.evict(s, 0, n)
	}
	return nil
}

// alloc makes n elements of zero of a slot's state.
func (o *AdamW) alloc(s *slot, n int, t device.DType) (device.Buffer, error) {
	if s.paged {
		return o.pager.AllocPaged(o.dir, n, t)
	}
	return device.AllocZero(o.dev, n, t), nil
}

// Step updates every parameter that has a gradient at learning rate lr and frees
// the gradients. It returns the global L2 norm of the gradients before clipping.
//
// If the norm is not finite it returns a *NonFinite that names the tensors, and
// neither weights nor state have changed; the gradients are freed all the same. It does not wait for the update: a
// device that fails in it says so when something is read next.
func (o *AdamW) Step(lr float32) (gradNorm float64, err error) {
	norm, err := o.Check()
	if err != nil {
		o.Discard()
		return norm, err
	}
	scale := float32(1)
	if o.config.MaxGradNorm > 0 && norm > o.config.MaxGradNorm {
		scale = float32(o.config.MaxGradNorm / norm)
	}
	o.updates++
	for i := range o.slots {
		s := &o.slots[i]
		// Without a gradient nothing is known of a parameter in this step: neither decay nor the moments'
		// own decline. So torch does, which also leaves such steps out of the parameter's bias
		// correction; here it counts all of them.
		if !s.Tensor.Grad().IsZero() {
			o.update(s, lr, scale)
			s.Tensor.FreeGrad()
		}
	}
	return norm, nil
}

// Check returns the L2 norm over all gradients, or a *NonFinite that names those at fault.
// The sum over tensors runs in the order of the parameters and in float64, so it is the
// same for any number of threads.
func (o *AdamW) Check() (gradNorm float64, err error) {
	o.dev.Fill(o.norms, 0)
	for i := range o.slots {
		if g := o.slots[i].Tensor.Grad(); !g.IsZero() {
			o.dev.Reduce(device.SumSquares, o.norms.Slice(i, i+1), g)
		}
	}
	squares := make([]float32, o.norms.Len)
	if err := o.dev.Read(squares, o.norms); err != nil {
		return 0, fmt.Errorf("read the gradient norms: %w", err)
	}
	sum := 0.0
	for _, q := range squares {
		sum += float64(q)
	}
	norm := math.Sqrt(sum)
	if !math.IsNaN(norm) && !math.IsInf(norm, 0) {
		return norm, nil
	}
	e := &NonFinite{Norm: norm} // now that something is wrong, look closely: it costs a pass over each gradient at fault
	for i := range o.slots {
		if q := float64(squares[i]); math.IsNaN(q) || math.IsInf(q, 0) {
			e.Tensors = append(e.Tensors, BadTensor{Name: o.slots[i].Name, Bad: o.countBad(i), Len: o.slots[i].Tensor.Len()})
		}
	}
	return norm, e
}

// countBad is the number of NaN and Inf elements of a gradient; 0 also when it cannot be read.
func (o *AdamW) countBad(i int) int {
	y := o.norms.Slice(i, i+1)
	o.dev.Reduce(device.NonFinite, y, o.slots[i].Tensor.Grad())
	n := make([]float32, 1)
	if err := o.dev.Read(n, y); err != nil {
		return 0
	}
	return int(n[0])
}

// pagedPart is the number of elements of paged state that are in memory at a time: a few MiB of each of its buffers,
// whole blocks of 8-bit moments and whole pages.
const pagedPart = 1 << 20

// update makes the step of one parameter, in parts where its state is paged; scale is s of the formula, that
// of clipping.
func (o *AdamW) update(s *slot, lr, scale float32) {
	k := device.AdamW{
		LR: lr * s.LRScale, Beta1: o.config.Beta1, Beta2: o.config.Beta2,
		Eps: o.config.Eps, Scale: scale, Step: o.updates,
	}
	if s.Decay {
		k.Decay = o.config.WeightDecay
	}
	n := s.Tensor.Len()
	part := n
	if s.paged {
		part = pagedPart
	}
	for lo := 0; lo < n; lo += part {
		hi := min(lo+part, n)
		s.operands(&k, lo, hi)
		o.dev.AdamW(k)
		o.evict(s, lo, hi)
	}
}

// operands sets k to work on elements lo to hi.
func (s *slot) operands(k *device.AdamW, lo, hi int) {
	k.Param, k.Grad = s.Tensor.Buffer().Slice(lo, hi), s.Tensor.Grad().Slice(lo, hi)
	k.M, k.V = s.m.Slice(lo, hi), s.v.Slice(lo, hi)
	if s.halved() {
		k.Rest = s.rest.Slice(2*lo, 2*hi)
	}
	if !s.mScale.IsZero() {
		first, last := lo/device.DynamicBlock, (hi+device.DynamicBlock-1)/device.DynamicBlock
		k.MScale, k.VScale = s.mScale.Slice(first, last), s.vScale.Slice(first, last)
	}
}

// evict takes elements lo to hi of paged state out of memory.
func (o *AdamW) evict(s *slot, lo, hi int) {
	if !s.paged {
		return
	}
	o.pager.Evict(s.m.Slice(lo, hi))
	o.pager.Evict(s.v.Slice(lo, hi))
	if s.halved() {
		o.pager.Evict(s.rest.Slice(2*lo, 2*hi))
	}
}

// Discard frees all gradients without an update.
func (o *AdamW) Discard() {
	for i := range o.slots {
		o.slots[i].Tensor.FreeGrad()
	}
}

// Free gives the optimizer's memory back; the parameters stay.
func (o *AdamW) Free() {
	for i := range o.slots {
		s := &o.slots[i]
		for _, b := range []device.Buffer{s.m, s.v, s.mScale, s.vScale, s.rest} {
			if !b.IsZero() {
				o.dev.Free(b)
			}
		}
	}
	o.dev.Free(o.norms)
	o.slots = nil
}
