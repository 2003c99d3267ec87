#!/usr/bin/env python3
"""Writes testdata/golden/<adapter>/: LoRA adapters as PEFT saves them, on the models of models.py, with what they compute.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2 safetensors==0.8.0
    python testdata/gen/adapters.py [ADAPTER ...]

A folder holds adapter_config.json and adapter_model.safetensors written by PEFT, and golden.safetensors: logits, loss and
grad.NAME for every NAME of the adapter, for the batch of the base's golden.safetensors; merged.logits are those of the base
after merge_and_unload. Both matrices of every pair are random, so that a wrong scale or order moves the result visibly.
"""

import sys

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from models import GOLDEN, batch

ADAPTERS = {
    "lora_llama": ("llama_untied", LoraConfig(
        r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"layers.1.self_attn.q_proj": 5},
        alpha_pattern={"v_proj": 9}, use_rslora=True, modules_to_save=["lm_head"], task_type="CAUSAL_LM")),
    "lora_gpt2": ("gpt2_tied", LoraConfig(
        r=4, lora_alpha=2, target_modules=["c_attn", "c_fc", "c_proj"], exclude_modules=["c_fc"], layers_to_transform=[1],
        bias="lora_only", fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "lora_phi3": ("phi3_window", LoraConfig(
        r=2, lora_alpha=6, target_modules=["qkv_proj", "gate_up_proj"], task_type="CAUSAL_LM")),
}


def write(name: str, base: str, config: LoraConfig) -> None:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    folder = GOLDEN / name
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    model = model.double()
    ids, labels = batch(seed=7)
    out = model(input_ids=ids, labels=labels, use_cache=False)
    out.loss.backward()
    state = get_peft_model_state_dict(model, {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    result = {"logits": out.logits, "loss": out.loss.reshape(1)} | {"grad." + key: g for key, g in state.items()}
    with torch.no_grad():
        result["merged.logits"] = model.merge_and_unload()(input_ids=ids, use_cache=False).logits
    saved = load_file(folder / "adapter_model.safetensors")
    assert {"grad." + key for key in saved} == {key for key in result if key.startswith("grad.")}, saved.keys()
    save_file({key: t.detach().float().contiguous() for key, t in result.items()}, folder / "golden.safetensors")


for name, (base, config) in ADAPTERS.items():
    if not sys.argv[1:] or name in sys.argv[1:]:
        write(name, base, config)
