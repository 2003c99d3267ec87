package adapter

import (
	"errors"
	"fmt"
	"math"
)

// Merge adds the updates to the base's weights, which are computed in f32 and rounded to their type, and takes the
// adapter off.
func (l *LoRA) Merge() error {
	for i, p := range l.pairs {
		weight, _ := l.layers[i].Parameters()
		w, errW := weight.Float32s()
		a, errA := p.A.Float32s()
		b, errB := p.B.Float32s()
		if err := errors.Join(errW, errA, errB); err != nil {
			return fmt.Errorf("merge %s: %w", l.layers[i].Name, err)
		}
		in, out := l.layers[i].Sizes()
		// the same order as in Forward: the update, less where PiSSA began, then DoRA's magnitudes of the whole
		how := merging{in: in, out: out, r: p.A.Shape[0], scale: p.scale, inFirst: l.layers[i].InFirst()}
		update(w, a, b, how)
		if p.a0 != nil {
			a, errA = p.a0.Float32s()
			b, errB = p.b0.Float32s()
			if err := errors.Join(errA, errB); err != nil {
				return fmt.Errorf("merge %s: %w", l.layers[i].Name, err)
			}
			how.scale = -how.scale
			update(w, a, b, how)
		}
		if p.M != nil {
			m, err := p.M.Float32s()
			if err != nil {
				return fmt.Errorf("merge %s: %w", l.layers[i].Name, err)
			}
			how.magnify(w, m)
		}
		weight.Write(w)
	}
	l.Enable(false)
	return nil
}

// merging is the layer that an update is added to, and the update.
type merging struct {
	in, out, r int
	scale      float32
	inFirst    bool // the weight is [in, out], else [out, in]
}

// update adds scale·b·a to w, with a [r, in] and b [out, r], a row of the sum at a time in f32.
func update(w, a, b []float32, m merging) {
	row := make([]float32, m.in)
	for o := range m.out {
		clear(row)
		for r := range m.r {
			s := m.scale * b[o*m.r+r]
			for i, v := range a[r*m.in : (r+1)*m.in] {
				row[i] += s * v
			}
		}
		for i, v := range row {
			if m.inFirst {
				w[i*m.out+o] += v
			} else {
				w[o*m.in+i] += v
			}
		}
	}
}

// magnify brings the weights of each output to its magnitude.
func (m merging) magnify(w, magnitudes []float32) {
	at := func(o, i int) *float32 {
		if m.inFirst {
			return &w[i*m.out+o]
		}
		return &w[o*m.in+i]
	}
	for o := range m.out {
		squares := 0.0
		for i := range m.in {
			squares += float64(*at(o, i)) * float64(*at(o, i))
		}
		// row o of the merged weight: m_o · w_o / ‖w_o‖
		factor := float32(float64(magnitudes[o]) / math.Sqrt(squares))
		for i := range m.in {
			*at(o, i) *= factor
		}
	}
}
