package gguf

import (
	"fmt"
	"strings"
	"testing"
)

// model lists the tensors of a Llama of the given width and layers.
func model(width, layers int, tied bool) []Info {
	list := []Info{{Name: "token_embd.weight", Shape: []int{1000, width}}, {Name: "output_norm.weight", Shape: []int{width}}}
	if !tied {
		list = append(list, Info{Name: "output.weight", Shape: []int{1000, width}})
	}
	for l := range layers {
		for _, part := range []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"} {
			list = append(list, Info{Name: fmt.Sprintf("blk.%d.%s.weight", l, part), Shape: []int{512, width}})
		}
		list = append(list, Info{Name: fmt.Sprintf("blk.%d.attn_norm.weight", l), Shape: []int{width}},
			Info{Name: fmt.Sprintf("blk.%d.ffn_gate_inp.weight", l), Shape: []int{8, width}})
	}
	return list
}

func assigned(t *testing.T, mixture string, tensors []Info, s Sizes) map[string]Type {
	t.Helper()
	m, err := ParseMixture(mixture)
	if err != nil {
		t.Fatal(err)
	}
	m.Assign(tensors, s)
	types := map[string]Type{}
	for _, i := range tensors {
		types[i.Name] = i.Type
	}
	return types
}

// TestMixtures holds the types that llama.cpp gives; that all of a real model's agree is said in docs/import.md.
func TestMixtures(t *testing.T) {
	for _, c := range []struct {
		mixture       string
		width, layers int
		tied          bool
		experts       int
		want          map[string]Type
	}{
		{"q4_k_m", 512, 16, false, 0, map[string]Type{"token_embd.weight": Q4_K, "output.weight": Q6_K, "output_norm.weight": F32,
			"blk.0.attn_v.weight": Q6_K, "blk.2.attn_v.weight": Q4_K, "blk.4.attn_v.weight": Q6_K, "blk.15.ffn_down.weight": Q6_K, "blk.3.ffn_down.weight": Q4_K,
			"blk.0.attn_q.weight": Q4_K, "blk.0.attn_output.weight": Q4_K, "blk.0.attn_norm.weight": F32, "blk.0.ffn_gate_inp.weight": F32}},
		{"q4_k_m", 576, 16, true, 0, map[string]Type{"token_embd.weight": Q8_0, "blk.0.attn_v.weight": Q8_0, "blk.2.attn_v.weight": Q5_0}},
		{"q4_k_m", 512, 16, true, 0, map[string]Type{"token_embd.weight": Q6_K}},
		{"q4_k_m", 512, 80, false, 0, map[string]Type{"blk.10.attn_v.weight": Q5_K, "blk.0.attn_v.weight": Q6_K, "blk.10.attn_k.weight": Q4_K}},
		{"q4_k_m", 512, 32, false, 8, map[string]Type{"blk.5.attn_v.weight": Q8_0, "blk.5.attn_k.weight": Q8_0, "blk.5.attn_output.weight": Q5_K}},
		{"q5_k_m", 512, 16, false, 0, map[string]Type{"token_embd.weight": Q5_K, "output.weight": Q6_K, "blk.0.attn_v.weight": Q6_K, "blk.2.attn_v.weight": Q5_K}},
		{"q5_k_m", 288, 16, false, 0, map[string]Type{"token_embd.weight": Q5_1, "output.weight": Q8_0, "blk.0.ffn_down.weight": Q8_0}},
		{"q6_k", 512, 16, false, 0, map[string]Type{"token_embd.weight": Q6_K, "blk.0.ffn_up.weight": Q6_K}},
		{"q4_0", 64, 16, false, 0, map[string]Type{"token_embd.weight": Q4_0, "output.weight": Q8_0, "blk.0.ffn_down.weight": Q4_0}},
		{"q8_0", 64, 16, true, 0, map[string]Type{"token_embd.weight": Q8_0, "blk.0.ffn_down.weight": Q8_0}},
		{"q8_0", 60, 16, true, 0, map[string]Type{"token_embd.weight": F16, "blk.0.ffn_down.weight": F16}},
		{"bf16", 60, 16, true, 0, map[string]Type{"token_embd.weight": BF16, "output_norm.weight": F32, "blk.0.ffn_gate_inp.weight": F32}},
	} {
		got := assigned(t, c.mixture, model(c.width, c.layers, c.tied), Sizes{Layers: c.layers, Experts: c.experts})
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s, width %d, %d layers, %d experts: %s is %v, want %v", c.mixture, c.width, c.layers, c.experts, name, got[name], want)
			}
		}
	}
	// tensors that not every model has
	list := func() []Info {
		return []Info{{"output.weight", 0, []int{512, 512}}, {"position_embd.weight", 0, []int{512, 512}}, {"blk.0.attn_qkv.weight", 0, []int{512, 512}}, {"blk.0.attn_q.bias", 0, []int{2, 512}},
			{"blk.0.attn_q_norm.weight", 0, []int{2, 512}}, {"blk.5.ffn_down_exps.weight", 0, []int{8, 512, 512}}, {"blk.7.ffn_down.weight", 0, []int{512, 512}}, {"blk.0.attn_output.weight", 0, []int{512, 512}},
			{"vector.weight", 0, []int{512}}}
	}
	for _, c := range []struct {
		mixture string
		experts int
		want    map[string]Type
	}{
		{"q4_k_m", 0, map[string]Type{"position_embd.weight": F32, "blk.0.attn_qkv.weight": Q6_K, "blk.0.attn_q.bias": F32, "blk.0.attn_q_norm.weight": F32, "vector.weight": F32,
			"blk.5.ffn_down_exps.weight": Q4_K, "blk.7.ffn_down.weight": Q6_K, "blk.0.attn_output.weight": Q4_K}},
		{"q5_k_m", 8, map[string]Type{"blk.0.attn_qkv.weight": Q8_0, "blk.0.attn_output.weight": Q5_K}},
		{"q6_k", 8, map[string]Type{"blk.0.attn_output.weight": Q6_K}},
		{"f32", 0, map[string]Type{"output.weight": F32, "blk.0.attn_qkv.weight": F32}}, {"f16", 0, map[string]Type{"output.weight": F16, "blk.7.ffn_down.weight": F16, "vector.weight": F32}},
		{"bf16", 8, map[string]Type{"output.weight": BF16, "blk.0.attn_qkv.weight": BF16}},
	} {
		got := assigned(t, c.mixture, list(), Sizes{Layers: 8, Experts: c.experts})
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s, %d experts: %s is %v, want %v", c.mixture, c.experts, name, got[name], want)
			}
		}
	}
	if _, err := ParseMixture("q3_k"); err == nil || !strings.Contains(err.Error(), "f32, f16, bf16, q8_0") {
		t.Errorf("got %v", err)
	}
}
