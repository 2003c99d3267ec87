"""Golden frequencies of rotary positions: python testdata/gen/rope.py (transformers 5.24, torch 2.15).

For each rope_type, over several widths of heads and lengths of sequences, the inverse frequencies and the factor on cosines and
sines that transformers' ROPE_INIT_FUNCTIONS give, the default formula of its models for "default"."""
import json
import os

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

cases = []


def add(name, rope, head_dim, positions, lengths, original=None):
    for length in lengths:
        rope = {"rope_theta": 10000.0} | rope
        config = LlamaConfig(hidden_size=4 * head_dim, num_attention_heads=4, num_key_value_heads=4, head_dim=head_dim,
                             max_position_embeddings=positions, rope_parameters=dict(rope))
        if original:
            config.original_max_position_embeddings = original
        if rope["rope_type"] == "default":
            dim = int(head_dim * rope.get("partial_rotary_factor", 1.0))
            inv, factor = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim), 1.0
        else:
            inv, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu", seq_len=length)
        keys = {"max_position_embeddings": positions, "rope_parameters": rope}
        if original:
            keys["original_max_position_embeddings"] = original
        cases.append({"name": f"{name}, D={head_dim}, {length} tokens", "config": keys, "head_dim": head_dim, "length": length,
                      "inv_freq": [float(f"{f:.9g}") for f in inv.double().tolist()], "attention_factor": float(f"{float(factor):.9g}")})


for d in (8, 64, 80, 128):
    add("default", {"rope_type": "default"}, d, 2048, [16])
    add("large theta", {"rope_type": "default", "rope_theta": 500000.0}, d, 8192, [16])
    add("partial", {"rope_type": "default", "partial_rotary_factor": 0.5}, d, 2048, [16])
    add("linear", {"rope_type": "linear", "factor": 2.5}, d, 2048, [16, 4096])
    add("dynamic", {"rope_type": "dynamic", "factor": 4.0}, d, 64, [16, 64, 65, 200])
    for original, theta in ((8192, 500000.0), (128, 10000.0)):
        add("llama3", {"rope_type": "llama3", "rope_theta": theta, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": original}, d, 16 * original, [16])
    add("yarn", {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, d, 16384, [16])
    add("yarn, bounds", {"rope_type": "yarn", "factor": 40.0, "beta_fast": 16.0, "beta_slow": 2.0, "original_max_position_embeddings": 4096,
                         "truncate": False}, d, 163840, [16])
    add("yarn, scales", {"rope_type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.7, "original_max_position_embeddings": 4096},
        d, 163840, [16])
    add("yarn, factor given", {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.25, "original_max_position_embeddings": 4096},
        d, 16384, [16])
    add("longrope", {"rope_type": "longrope", "short_factor": [1 + i / 7 for i in range(d // 2)], "long_factor": [2 + i * i / 9 for i in range(d // 2)]},
        d, 4096, [16, 1024, 1025], original=1024)

path = os.path.join(os.path.dirname(__file__), "../golden/rope.json")
with open(path, "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases", os.path.getsize(path), "bytes")
