package gguf

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mixture says which type each tensor of a model gets, as llama.cpp chooses them without an importance matrix (llama-quant.cpp).
type Mixture struct {
	Name     string // such as "q4_k_m"
	FileType uint32 // general.file_type
	base     Type
}

var mixtures = []Mixture{{"f32", 0, F32}, {"f16", 1, F16}, {"bf16", 32, BF16}, {"q8_0", 7, Q8_0}, {"q6_k", 18, Q6_K}, {"q5_k_m", 17, Q5_K},
	{"q4_k_m", 15, Q4_K}, {"q4_0", 2, Q4_0}}

// Mixtures are the names, from the most bits to the fewest.
func Mixtures() []string {
	var names []string
	for _, m := range mixtures {
		names = append(names, m.Name)
	}
	return names
}

// ParseMixture is the mixture of a name, in either case.
func ParseMixture(name string) (Mixture, error) {
	for _, m := range mixtures {
		if strings.EqualFold(m.Name, name) {
			return m, nil
		}
	}
	return Mixture{}, fmt.Errorf("quantisation %q is unknown; use %s", name, strings.Join(Mixtures(), ", "))
}

// Sizes is what a mixture needs to know of a model beside its tensors.
type Sizes struct {
	Layers  int
	Experts int // of a layer, 0 for none
}

// Assign sets the types of a model's tensors, named as in GGUF files.
func (m Mixture) Assign(tensors []Info, s Sizes) {
	tied := !slices.ContainsFunc(tensors, func(i Info) bool { return i.Name == "output.weight" })
	for i := range tensors {
		t := &tensors[i]
		t.Type = m.typeOf(*t, tied, s)
	}
}

func (m Mixture) typeOf(t Info, tied bool, s Sizes) Type {
	if kept(t) {
		return F32
	}
	if m.base == F32 || m.base == F16 || m.base == BF16 {
		return m.base
	}
	want := m.want(t.Name, tied, s)
	row := t.Shape[len(t.Shape)-1]
	fits := func(t Type) bool { n, _ := t.Block(); return row%n == 0 }
	if other, ok := fallbacks[want]; ok && !fits(want) {
		want = other
	}
	if !fits(want) {
		return F16
	}
	return want
}

// fallbacks are the types with blocks of 32 for rows that do not fill blocks of 256.
var fallbacks = map[Type]Type{Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0}

// kept reports whether a tensor stays in F32: vectors, norms, learned positions and the choice of experts.
func kept(t Info) bool {
	return len(t.Shape) < 2 || !strings.HasSuffix(t.Name, "weight") || strings.HasSuffix(t.Name, "_norm.weight") ||
		strings.HasSuffix(t.Name, "ffn_gate_inp.weight") || t.Name == "position_embd.weight"
}

var blockNumber = regexp.MustCompile(`^blk\.(\d+)\.`)

// want is the type before the size of the rows is looked at.
func (m Mixture) want(name string, tied bool, s Sizes) Type {
	medium := m.Name == "q4_k_m" || m.Name == "q5_k_m"
	layer := 0
	if found := blockNumber.FindStringSubmatch(name); found != nil {
		layer, _ = strconv.Atoi(found[1]) // digits; too many of them would be no layer
	}
	more := medium && moreBits(layer, s.Layers)
	has := func(part string) bool { return strings.Contains(name, part) }
	switch {
	case name == "output.weight" || tied && name == "token_embd.weight":
		if m.base != Q8_0 {
			return Q6_K
		}
	case has("attn_v.weight") || has("attn_qkv.weight"):
		return m.values(more, s)
	case has("attn_k.weight") && s.Experts == 8:
		return Q8_0
	case has("attn_output.weight") && s.Experts == 8 && m.Name == "q4_k_m":
		return Q5_K
	case has("ffn_down") && more:
		return Q6_K
	}
	return m.base
}

// values is the type of the projection to values, where little memory buys much.
func (m Mixture) values(more bool, s Sizes) Type {
	t := m.base
	if more {
		t = Q6_K
	}
	if s.Layers == 80 && t == Q4_K { // models of 70 billion parameters, where eight heads share the values
		t = Q5_K
	}
	if s.Experts == 8 {
		t = Q8_0
	}
	return t
}

// moreBits reports whether a layer is among the first and last eighth, or every third between.
func moreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}
