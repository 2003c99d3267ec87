// Package nn is the layers that language models share: parameters and how they are
// found by their checkpoint names, linear layers, norms, embeddings, attention
// with and without a key/value cache. Layers only run forward.
//
// A model is a tree of structs whose fields carry `hf` tags, the parts of names in a checkpoint:
//
//	type Block struct {
//		Norm *nn.RMSNorm  `hf:"input_layernorm"` // model.layers.3.input_layernorm.weight
//		MLP  *nn.GatedMLP `hf:"mlp"`             // model.layers.3.mlp.up_proj.weight …
//	}
//
// Params finds every parameter by walking it, and Layers every linear layer, which adapters are put
// on. So loading, saving, counting, the optimizer and adapters need no list that could be forgotten,
// and a model has no code for them.
//
// # Where to read what
//
//	model.go, layers.go      what a model is and runs on; its layers
//	param.go                 parameters, found by the walk, and their first or loaded values
//	loss.go                  the training loss of a model
//	cache.go, rope.go        keys and values of tokens already seen; rotary positions as config.json has them
//	rotation.go              those positions at work
//	config.go                what all architectures read of config.json
//	arrange.go               weights in the order that a device reads fastest
//	share.go, virtual.go     beginnings that sequences share; virtual tokens before them
//
// Letters: N rows (tokens), C channels, H query heads, K key/value heads, D head
// dimension, F feed-forward width, V vocabulary.
package nn
