package convert

import (
	"fmt"
	"slices"
	"strings"
)

// link is a tensor of a GGUF file and the tensor of the model folder that it is, or the tensors that it stacks.
type link struct {
	gguf  string
	hf    []string
	how   transform
	layer int // -1 for those of none
}

// links lists the tensors of a model, those of no layer first, given all that are there by their names in the GGUF file or, with inGGUF
// false, in the model folder. It is an error if a module that the architecture needs is missing, or a tensor has no place.
func (a architecture) links(layers, experts int, inGGUF bool, all []string) ([]link, error) {
	there := make(map[string]bool, len(all))
	for _, n := range all {
		there[n] = true
	}
	var list []link
	for _, r := range a.rows {
		count := 1
		if strings.Contains(r.gguf, "%d") {
			count = layers
		}
		for layer := range count {
			found := false
			for _, suffix := range []string{".weight", ".bias"} {
				if l := r.link(layer, 1, suffix); !there[pick(inGGUF, l.gguf, l.hf[0])] {
					continue
				}
				l := r.link(layer, experts, suffix)
				found, list = true, append(list, l)
				delete(there, l.gguf)
				for _, n := range l.hf {
					delete(there, n)
				}
			}
			if l := r.link(layer, 1, ".weight"); !found && !r.optional {
				return nil, fmt.Errorf("tensor %s is missing, which %s models need (%s in the other form)", pick(inGGUF, l.gguf, l.hf[0]), a.hf, pick(inGGUF, l.hf[0], l.gguf))
			}
		}
	}
	for _, n := range all {
		if there[n] {
			return nil, fmt.Errorf("tensor %s has no place in a %s model; is the file of another architecture?", n, a.hf)
		}
	}
	// by layers, as both forms have them
	slices.SortStableFunc(list, func(a, b link) int { return a.layer - b.layer })
	return list, nil
}

// known are the names in the model folder of all tensors that a model may have.
func (a architecture) known(s shape) map[string]bool {
	names := map[string]bool{}
	for _, r := range a.rows {
		count := 1
		if strings.Contains(r.gguf, "%d") {
			count = s.layers
		}
		for layer := range count {
			for _, suffix := range []string{".weight", ".bias"} {
				for _, n := range r.link(layer, s.experts, suffix).hf {
					names[n] = true
				}
			}
		}
	}
	return names
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func (r row) link(layer, experts int, suffix string) link {
	name := func(pattern string, numbers ...any) string {
		return fmt.Sprintf(pattern, numbers[:strings.Count(pattern, "%d")]...) + suffix
	}
	l := link{gguf: name(r.gguf, layer), how: r.how, layer: -1}
	if strings.Contains(r.gguf, "%d") {
		l.layer = layer
	}
	if strings.Count(r.hf, "%d") < 2 {
		l.hf = []string{name(r.hf, layer)}
		return l
	}
	for e := range max(experts, 1) {
		l.hf = append(l.hf, name(r.hf, layer, e))
	}
	return l
}

// heads are the counts that transforms need.
type heads struct{ query, key int }

// forward does the transform to a tensor of the model folder and gives the shape in the GGUF file. The result may share v's memory.
func (t transform) forward(v []float32, shape []int, h heads) ([]float32, []int, error) {
	return t.apply(v, shape, h, false)
}

// backward undoes it; shape is the one in the GGUF file.
func (t transform) backward(v []float32, shape []int, h heads) ([]float32, []int, error) {
	return t.apply(v, shape, h, true)
}

// apply sees a matrix of rows as an array of more dimensions and swaps two of them: query rows [heads, 2, D/2, in] become [heads, D/2, 2, in],
// rows of query, key and value of each head [heads, 3, D·in] become [3, heads, D·in].
func (t transform) apply(v []float32, shape []int, h heads, back bool) ([]float32, []int, error) {
	rows, cols := shape[0], len(v)/shape[0]
	switch t {
	case queryRows, keyRows:
		n := h.query
		if t == keyRows {
			n = h.key
		}
		if rows%(2*n) != 0 {
			return nil, nil, fmt.Errorf("%d rows are no pairs of channels for %d heads", rows, n)
		}
		return swap(v, sizes{n, 2, rows / n / 2, cols}, back), shape, nil
	case headsApart:
		if rows%(3*h.query) != 0 {
			return nil, nil, fmt.Errorf("%d rows are no queries, keys and values of %d heads", rows, h.query)
		}
		d := rows / h.query / 3
		return swap(v, sizes{1, h.query, 3, d * cols}, back), shape, nil
	case transposed:
		if len(shape) != 2 {
			return v, shape, nil
		}
		return swap(v, sizes{1, rows, cols, 1}, false), []int{cols, rows}, nil
	case plusOne:
		one := float32(1)
		if back {
			one = -1
		}
		out := slices.Clone(v)
		for i := range out {
			out[i] += one
		}
		return out, shape, nil
	}
	return v, shape, nil
}

// sizes are those of an array [outer, a, b, inner].
type sizes struct{ outer, a, b, inner int }

// swap turns [outer, a, b, inner] into [outer, b, a, inner], or back.
func swap(v []float32, s sizes, back bool) []float32 {
	if back {
		s.a, s.b = s.b, s.a
	}
	out := make([]float32, 0, len(v))
	for o := range s.outer {
		for b := range s.b {
			for a := range s.a {
				at := ((o*s.a+a)*s.b + b) * s.inner
				out = append(out, v[at:at+s.inner]...)
			}
		}
	}
	return out
}
