// Package convert turns GGUF files into model folders in Hugging Face layout and back: weights, configuration, tokenizer. It works on
// files and numbers alone and knows no tensor type.
//
// An architecture is a table (architectures below): which keys of the metadata are which of config.json, which tensor is which module, and what is
// done to a tensor on the way. Both directions read the same table:
//
//	GGUF file ──► choose, fromMetadata, links, readVocabulary ──► Model  ──► Save: config.json, model.safetensors, tokenizer.json
//	folder    ──► OpenFolder: toMetadata, links, tokenMetadata ──► Folder ──► Write
//
// What one form cannot say of the other is an error where the model would compute something else, and a note (Folder.Notes) where only other
// programs would.
//
// What stands where in a GGUF file is llama.cpp's choice (conversion/*.py and src/llama-vocab.cpp there).
package convert

import (
	"fmt"
	"slices"
	"strings"
)

// architecture is how one architecture's names in GGUF files and in model folders belong together.
type architecture struct {
	gguf, hf, class string // general.architecture, model_type, the class in transformers
	act, actKey     string // the activation, which GGUF files do not say, and its key in config.json
	tied            bool   // tie_word_embeddings where config.json does not say
	fields          []field
	rows            []row
	always          map[string]any // further keys of an imported config.json
	absent          config         // what a config.json means without a key, where that is not what all architectures mean
}

// field is a number in the metadata, below the architecture's name, and its key in config.json.
type field struct {
	gguf, hf string
	absent   any // what config.json means without the key, an int or a float64; nil: the key is needed
	optional bool
}

// row is a module: its tensors are the name with .weight and .bias. %d is the layer and, where there are two in hf, then the expert.
type row struct {
	gguf, hf string
	how      transform
	optional bool // the architecture runs without it
}

// transform is what is done to a tensor on its way into a GGUF file.
type transform int

const (
	plain      transform = iota
	queryRows            // each head's rows are interleaved: llama.cpp rotates channels 2i and 2i+1 together, the folder i and i+D/2
	keyRows              // the same with the number of key/value heads
	transposed           // Conv1D's weight [in, out] becomes [out, in]
	plusOne              // norms that multiply by 1+w are stored as what is multiplied by
	headsApart           // rows of query, key and value of each head become all queries, all keys, all values
)

var (
	sizeFields = []field{{"block_count", "num_hidden_layers", nil, false}, {"context_length", "max_position_embeddings", nil, false},
		{"embedding_length", "hidden_size", nil, false}, {"feed_forward_length", "intermediate_size", nil, false},
		{"attention.head_count", "num_attention_heads", nil, false}}
	rmsFields   = append(slices.Clone(sizeFields), field{"attention.layer_norm_rms_epsilon", "rms_norm_eps", 1e-6, false})
	normFields  = append(slices.Clone(sizeFields), field{"attention.layer_norm_epsilon", "layer_norm_eps", 1e-5, false})
	windowField = field{"attention.sliding_window", "sliding_window", nil, true}

	outerRows = []row{{"token_embd", "model.embed_tokens", plain, false}, {"output_norm", "model.norm", plain, false}, {"output", "lm_head", plain, true}}
	normRows  = []row{{"blk.%d.attn_norm", "model.layers.%d.input_layernorm", plain, false},
		{"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm", plain, false}}
	mlpRows = []row{{"blk.%d.ffn_gate", "model.layers.%d.mlp.gate_proj", plain, false}, {"blk.%d.ffn_up", "model.layers.%d.mlp.up_proj", plain, false},
		{"blk.%d.ffn_down", "model.layers.%d.mlp.down_proj", plain, false}}
	permutedRows = attentionRows(queryRows, keyRows)
	straightRows = attentionRows(plain, plain)
	headNorms    = []row{{"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_norm", plain, false},
		{"blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_norm", plain, false}}
	expertRows = []row{{"blk.%d.ffn_gate_inp", "model.layers.%d.block_sparse_moe.gate", plain, false},
		{"blk.%d.ffn_gate_exps", "model.layers.%d.block_sparse_moe.experts.%d.w1", plain, false},
		{"blk.%d.ffn_down_exps", "model.layers.%d.block_sparse_moe.experts.%d.w2", plain, false},
		{"blk.%d.ffn_up_exps", "model.layers.%d.block_sparse_moe.experts.%d.w3", plain, false}}
	sandwichRows = []row{{"blk.%d.attn_norm", "model.layers.%d.input_layernorm", plusOne, false},
		{"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm", plusOne, false},
		{"blk.%d.ffn_norm", "model.layers.%d.pre_feedforward_layernorm", plusOne, false},
		{"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm", plusOne, false}}
	gemmaAbsent = config{"num_key_value_heads": 4.0, "head_dim": 256.0, "query_pre_attn_scalar": 256.0}
	gemmaOuter  = []row{outerRows[0], {"output_norm", "model.norm", plusOne, false}, outerRows[2]}
)

func attentionRows(q, k transform) []row {
	return []row{{"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj", q, false}, {"blk.%d.attn_k", "model.layers.%d.self_attn.k_proj", k, false},
		{"blk.%d.attn_v", "model.layers.%d.self_attn.v_proj", plain, false}, {"blk.%d.attn_output", "model.layers.%d.self_attn.o_proj", plain, false}}
}

// architectures are all that can be converted. Where several have one name in GGUF files, select tells them apart.
var architectures = []architecture{
	{gguf: "llama", hf: "llama", class: "LlamaForCausalLM", act: "silu", actKey: "hidden_act", fields: rmsFields,
		rows: slices.Concat(outerRows, normRows, permutedRows, mlpRows)},
	{gguf: "llama", hf: "mistral", class: "MistralForCausalLM", act: "silu", actKey: "hidden_act", absent: config{"num_key_value_heads": 8.0, "sliding_window": 4096.0},
		fields: slices.Concat(rmsFields, []field{windowField}), rows: slices.Concat(outerRows, normRows, permutedRows, mlpRows)},
	{gguf: "llama", hf: "mixtral", class: "MixtralForCausalLM", act: "silu", actKey: "hidden_act", absent: config{"num_key_value_heads": 8.0, "rms_norm_eps": 1e-5},
		fields: slices.Concat(rmsFields, []field{windowField, {"expert_count", "num_local_experts", 8, false}, {"expert_used_count", "num_experts_per_tok", 2, false}}),
		rows:   slices.Concat(outerRows, normRows, permutedRows, expertRows)},
	{gguf: "qwen2", hf: "qwen2", class: "Qwen2ForCausalLM", act: "silu", actKey: "hidden_act", fields: rmsFields,
		rows: slices.Concat(outerRows, normRows, straightRows, mlpRows), always: map[string]any{"use_sliding_window": false}, absent: config{"num_key_value_heads": 32.0}},
	{gguf: "qwen3", hf: "qwen3", class: "Qwen3ForCausalLM", act: "silu", actKey: "hidden_act", fields: rmsFields,
		rows: slices.Concat(outerRows, normRows, straightRows, headNorms, mlpRows), always: map[string]any{"use_sliding_window": false},
		absent: config{"num_key_value_heads": 32.0, "head_dim": 128.0}},
	{gguf: "phi3", hf: "phi3", class: "Phi3ForCausalLM", act: "silu", actKey: "hidden_act", fields: slices.Concat(rmsFields, []field{windowField}),
		rows: slices.Concat(outerRows, normRows, []row{{"blk.%d.attn_qkv", "model.layers.%d.self_attn.qkv_proj", plain, false},
			{"blk.%d.attn_output", "model.layers.%d.self_attn.o_proj", plain, false}, {"blk.%d.ffn_up", "model.layers.%d.mlp.gate_up_proj", plain, false},
			{"blk.%d.ffn_down", "model.layers.%d.mlp.down_proj", plain, false}}), absent: config{"rms_norm_eps": 1e-5, "original_max_position_embeddings": 4096.0}},
	{gguf: "phi2", hf: "phi", class: "PhiForCausalLM", act: "gelu_new", actKey: "hidden_act", fields: normFields,
		rows: slices.Concat([]row{outerRows[0], {"output_norm", "model.final_layernorm", plain, false}, outerRows[2], normRows[0]}, straightRows[:3],
			[]row{{"blk.%d.attn_output", "model.layers.%d.self_attn.dense", plain, false}, {"blk.%d.ffn_up", "model.layers.%d.mlp.fc1", plain, false},
				{"blk.%d.ffn_down", "model.layers.%d.mlp.fc2", plain, false}})},
	{gguf: "gemma2", hf: "gemma2", class: "Gemma2ForCausalLM", act: "gelu_pytorch_tanh", actKey: "hidden_activation", tied: true,
		fields: slices.Concat(rmsFields, []field{{"attention.sliding_window", "sliding_window", 4096, false},
			{"attn_logit_softcapping", "attn_logit_softcapping", 50.0, false}, {"final_logit_softcapping", "final_logit_softcapping", 30.0, false}}),
		rows: slices.Concat(gemmaOuter, straightRows, mlpRows, sandwichRows), absent: gemmaAbsent},
	{gguf: "gemma3", hf: "gemma3_text", class: "Gemma3ForCausalLM", act: "gelu_pytorch_tanh", actKey: "hidden_activation", tied: true,
		fields: slices.Concat(rmsFields, []field{{"attention.sliding_window", "sliding_window", 4096, false}, {"final_logit_softcapping", "final_logit_softcapping", nil, true}}),
		rows: slices.Concat(gemmaOuter, straightRows, mlpRows, sandwichRows, []row{{headNorms[0].gguf, headNorms[0].hf, plusOne, false},
			{headNorms[1].gguf, headNorms[1].hf, plusOne, false}}), always: map[string]any{"sliding_window_pattern": 6, "rope_local_base_freq": real(10000)}, absent: gemmaAbsent},
	{gguf: "gpt2", hf: "gpt2", class: "GPT2LMHeadModel", act: "gelu_new", actKey: "activation_function", tied: true,
		fields: []field{{"block_count", "n_layer", nil, false}, {"context_length", "n_positions", nil, false}, {"embedding_length", "n_embd", nil, false},
			{"feed_forward_length", "n_inner", nil, false}, {"attention.head_count", "n_head", nil, false}, {"attention.layer_norm_epsilon", "layer_norm_epsilon", 1e-5, false}},
		rows: []row{{"token_embd", "transformer.wte", plain, false}, {"position_embd", "transformer.wpe", plain, false}, {"output_norm", "transformer.ln_f", plain, false},
			{"output", "lm_head", plain, true}, {"blk.%d.attn_norm", "transformer.h.%d.ln_1", plain, false}, {"blk.%d.ffn_norm", "transformer.h.%d.ln_2", plain, false},
			{"blk.%d.attn_qkv", "transformer.h.%d.attn.c_attn", transposed, false}, {"blk.%d.attn_output", "transformer.h.%d.attn.c_proj", transposed, false},
			{"blk.%d.ffn_up", "transformer.h.%d.mlp.c_fc", transposed, false}, {"blk.%d.ffn_down", "transformer.h.%d.mlp.c_proj", transposed, false}}},
	{gguf: "gptneox", hf: "gpt_neox", class: "GPTNeoXForCausalLM", act: "gelu", actKey: "hidden_act", fields: normFields,
		rows: []row{{"token_embd", "gpt_neox.embed_in", plain, false}, {"output_norm", "gpt_neox.final_layer_norm", plain, false}, {"output", "embed_out", plain, true},
			{"blk.%d.attn_norm", "gpt_neox.layers.%d.input_layernorm", plain, false}, {"blk.%d.ffn_norm", "gpt_neox.layers.%d.post_attention_layernorm", plain, false},
			{"blk.%d.attn_qkv", "gpt_neox.layers.%d.attention.query_key_value", headsApart, false}, {"blk.%d.attn_output", "gpt_neox.layers.%d.attention.dense", plain, false},
			{"blk.%d.ffn_up", "gpt_neox.layers.%d.mlp.dense_h_to_4h", plain, false}, {"blk.%d.ffn_down", "gpt_neox.layers.%d.mlp.dense_4h_to_h", plain, false}}},
}

// maxExperts bounds what a file may claim; models that can be converted have 8.
const maxExperts = 512

// maxLayers bounds it where layers are listed before tensors are.
const maxLayers = 1 << 16

// ignored are endings of tensors in model folders that hold nothing learned.
var ignored = []string{".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"}

func byModelType(name string) (architecture, error) {
	i := slices.IndexFunc(architectures, func(a architecture) bool { return a.hf == name })
	if i < 0 {
		return architecture{}, fmt.Errorf("model_type %q cannot be converted; these can: %s", name, strings.Join(names(func(a architecture) string { return a.hf }), ", "))
	}
	return architectures[i], nil
}

// names lists one name of every architecture, each once.
func names(of func(architecture) string) (list []string) {
	for _, a := range architectures {
		if n := of(a); !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// choose finds the architecture of a GGUF file.
func choose(m *reader) (architecture, error) {
	name := m.text("general.architecture")
	hf := ""
	for _, a := range architectures {
		if a.gguf == name && hf == "" {
			hf = a.hf
		}
	}
	switch {
	case m.err != nil:
		return architecture{}, m.err
	case hf == "":
		return architecture{}, fmt.Errorf("architecture %q cannot be converted; these can: %s", name, strings.Join(names(func(a architecture) string { return a.gguf }), ", "))
	case name == "llama" && m.whole("llama.expert_count", 0) > 0:
		hf = "mixtral"
	case name == "llama" && m.whole("llama.attention.sliding_window", 0) > 0:
		hf = "mistral"
	}
	return byModelType(hf)
}
