#!/usr/bin/env python3
"""Writes testdata/golden/<adapter>/: adapters as PEFT saves them, on the models of models.py, with what they compute.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2 bitsandbytes==0.50.2 safetensors==0.8.0
    python testdata/gen/adapters.py [ADAPTER ...]

A folder holds adapter_config.json and adapter_model.safetensors written by PEFT, and golden.safetensors: logits, loss and
grad.NAME for every NAME of the adapter, for the batch of the base's golden.safetensors; of LoRA, merged.logits are those of the base
after merge_and_unload. All matrices are random, so that a wrong scale or order moves the result visibly. Of prompts with an encoder,
encoder.NAME are its parameters, whose gradients they are.

score/<adapter>/ are adapters of reward models on llama_untied, with scores.json: sequences and their scores, one at a time.

trajectories.json holds the losses of 20 steps of torch's AdamW, in double precision, from those adapters on: of all weights, of LoRA,
of LoRA on a base that bitsandbytes quantised, and of a prompt.
"""

import json
import sys

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from models import GOLDEN, batch
from packed import nf4

ADAPTERS = {
    "lora_llama": ("llama_untied", LoraConfig(
        r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"layers.1.self_attn.q_proj": 5},
        alpha_pattern={"v_proj": 9}, use_rslora=True, modules_to_save=["lm_head"], task_type="CAUSAL_LM")),
    "lora_gpt2": ("gpt2_tied", LoraConfig(
        r=4, lora_alpha=2, target_modules=["c_attn", "c_fc", "c_proj"], exclude_modules=["c_fc"], layers_to_transform=[1],
        bias="lora_only", fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "lora_phi3": ("phi3_window", LoraConfig(
        r=2, lora_alpha=6, target_modules=["qkv_proj", "gate_up_proj"], task_type="CAUSAL_LM")),
    "dora_qwen2": ("qwen2_tied", LoraConfig(
        r=3, lora_alpha=6, target_modules=["q_proj", "o_proj", "up_proj"], use_dora=True, task_type="CAUSAL_LM")),
    "dora_gpt2": ("gpt2_tied", LoraConfig(
        r=2, lora_alpha=4, target_modules=["c_attn", "c_proj"], use_dora=True, fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "pissa_llama": ("llama_untied", LoraConfig(
        r=3, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights="pissa", task_type="CAUSAL_LM")),
}
PROMPTS = {
    "prompt_llama": ("llama_untied", PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")),
    "prompt_gemma2": ("gemma2", PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
    "prompt_gpt2": ("gpt2_tied", PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
    "prefix_llama": ("llama_untied", PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")),
    "prefix_gpt2": ("gpt2_tied", PrefixTuningConfig(
        num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=10, task_type="CAUSAL_LM")),
    "ptuning_llama": ("llama_untied", PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=12, task_type="CAUSAL_LM")),
    "ptuning_lstm": ("llama_untied", PromptEncoderConfig(
        num_virtual_tokens=4, encoder_hidden_size=7, encoder_num_layers=2, encoder_reparameterization_type="LSTM", task_type="CAUSAL_LM")),
}
SCORES = {
    "lora": LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], task_type="SEQ_CLS"),
    "prompt": PromptTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS"),
}  # prefixes of classifiers stop in PEFT 0.21, which looks for past_key_values in a signature that hides it


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


def write_prompt(name: str, base: str, config) -> None:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, config).eval()
    encoder = model.prompt_encoder["default"]
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, parameter in sorted(encoder.named_parameters()):
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    folder = GOLDEN / name
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    result = {f"encoder.{key}": p for key, p in encoder.named_parameters()}
    model = model.double()
    ids, labels = batch(seed=7)
    labels[:, 0] = -100  # a text's first token, which the last virtual one would predict
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, use_cache=config.peft_type == "PREFIX_TUNING")
    out.loss.backward()
    result |= {"logits": out.logits[:, -ids.shape[1]:], "loss": out.loss.reshape(1)}
    result |= {f"grad.{key}": p.grad for key, p in encoder.named_parameters()}
    save_file({key: t.detach().float().contiguous().clone() for key, t in result.items()}, folder / "golden.safetensors")


def write_score(name: str, config) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        GOLDEN / "llama_untied", num_labels=1, pad_token_id=0, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    folder = GOLDEN / "score" / name
    model.peft_config["default"].base_model_name_or_path = "llama_untied"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    model = model.double()
    sequences = [[5, 9, 31, 2], [7, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [38]]
    with torch.no_grad():
        scores = [model(input_ids=torch.tensor([s]), attention_mask=torch.ones(1, len(s), dtype=torch.long)).logits.item() for s in sequences]
    (folder / "scores.json").write_text(json.dumps({"sequences": sequences, "scores": scores}) + "\n")


def quantised(model: torch.nn.Module) -> torch.nn.Module:
    """The model with what NF4 makes of the weights of its linear layers but the output layer."""
    for key, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not key.endswith("lm_head"):
            module.weight.data = nf4(module.weight.data)["dense"]
    return model


def trajectory(adapter: str | None, nf4: bool = False) -> list[float]:
    base = "llama_untied"
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / base, dtype=torch.float32, attn_implementation="eager")
    if nf4:
        model = quantised(model)
    if adapter in PROMPTS:  # PEFT does not go on training a prompt that it loads
        model = get_peft_model(model, PROMPTS[adapter][1])
        saved = load_file(GOLDEN / adapter / "adapter_model.safetensors")["prompt_embeddings"]
        model.prompt_encoder["default"].embedding.weight.data.copy_(saved)
    elif adapter:
        model = PeftModel.from_pretrained(model, GOLDEN / adapter, is_trainable=True)
    model = model.double()
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.dim() > 1], "weight_decay": 0.01}, {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    ids, labels = batch(seed=7)
    labels[:, 0] = -100  # a text's first token, which the last virtual one would predict
    losses = []
    for _ in range(20):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, use_cache=False).loss
        losses.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return losses


for name, (base, config) in ADAPTERS.items():
    if not sys.argv[1:] or name in sys.argv[1:]:
        write(name, base, config)
for name, (base, config) in PROMPTS.items():
    if not sys.argv[1:] or name in sys.argv[1:]:
        write_prompt(name, base, config)
for name, config in SCORES.items():
    if not sys.argv[1:] or "score/" + name in sys.argv[1:]:
        write_score(name, config)
if not sys.argv[1:] or "trajectories" in sys.argv[1:]:
    losses = {"full": trajectory(None), "lora": trajectory("lora_llama"), "qlora": trajectory("lora_llama", nf4=True), "prompt": trajectory("prompt_llama")}
    (GOLDEN / "trajectories.json").write_text(json.dumps(losses, indent=1) + "\n")
