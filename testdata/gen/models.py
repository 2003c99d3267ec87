#!/usr/bin/env python3
"""Writes testdata/golden/<model>/: tiny models with the logits, loss and gradients that hone must reproduce.

    pip install torch==2.15.0 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6
    python testdata/gen/models.py [MODEL ...]

One function per architecture gives a transformers model with odd sizes, so that a kernel's edges are met, and weights
drawn from N(0, 0.2), norm weights from N(1, 0.3), so that a wrong term moves the result visibly. A folder holds

    config.json          as transformers writes it (those in OLD_LAYOUT: rewritten in the layout of transformers 4)
    model.safetensors    the weights, f32, Hugging Face names; a tied head is not stored
    golden.safetensors   input_ids and labels [2, 23] i32 (-100 = ignored), logits [2, 23, 97] f32, loss [1] f32
                         and grad.NAME for every NAME of model.safetensors

Everything is computed in float64 from the f32 weights and rounded once at the end; the script checks it against the
same model in plain float32. The loss is Hugging Face's: logits of position t against the label of t+1, mean over the
labels that are not -100. A gradient of a tied embedding is the sum of both uses.

llama_adamw/{rate_1e-2,rate_1e-3}.safetensors follow llama_untied through ten AdamW steps (see trajectory).
"""

import contextlib
import json
import pathlib
import re
import sys
import zlib
from unittest import mock

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers import Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GPTNeoXConfig, GPTNeoXForCausalLM
from transformers import MixtralConfig, MixtralForCausalLM, PhiConfig, PhiForCausalLM
from transformers import Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
VOCAB, BATCH, TIME = 97, 2, 23
F32 = torch.float32  # the real one, also inside float64()


def llama(tie: bool, layers: int):
    return LlamaForCausalLM, LlamaConfig(
        vocab_size=VOCAB, hidden_size=60, intermediate_size=72, num_hidden_layers=layers, num_attention_heads=6,
        num_key_value_heads=2, head_dim=10, max_position_embeddings=64, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, tie_word_embeddings=tie,
        bos_token_id=1, eos_token_id=2)


def mistral_window():
    """A window of 7: position t sees t-6 to t. Another theta than llama's, so that a reader must take it from the config."""
    return MistralForCausalLM, MistralConfig(
        vocab_size=VOCAB, hidden_size=40, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=10, max_position_embeddings=64, rms_norm_eps=1e-6, sliding_window=7,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2)


# The sizes of the models that follow: one or two layers, heads whose size is not hidden_size/num_attention_heads.
SMALL = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=28, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
             max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=None)


def scaled(rope: dict, **keys):
    """A llama of one layer with scaled rotary positions; theta is small, so that several pairs turn within 23 positions."""
    return LlamaForCausalLM, LlamaConfig(**SMALL | dict(num_hidden_layers=1, rope_parameters={"rope_theta": 100.0} | rope) | keys)


def qwen2_window():
    """Layer 0 sees everything, layer 1 a window of 7, by max_window_layers alone."""
    return Qwen2ForCausalLM, Qwen2Config(**SMALL, num_hidden_layers=2, use_sliding_window=True, sliding_window=7,
                                         max_window_layers=1, rope_parameters={"rope_type": "default", "rope_theta": 500.0})


def qwen2_tied():
    """The window of 5 in config.json counts for nothing without use_sliding_window; yarn as Qwen2.5's long contexts have it."""
    return Qwen2ForCausalLM, Qwen2Config(
        **SMALL, num_hidden_layers=1, use_sliding_window=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 64})


def qwen3(tie: bool, bias: bool, layer_types: list[str]):
    return Qwen3ForCausalLM, Qwen3Config(
        **SMALL, num_hidden_layers=len(layer_types), use_sliding_window=True, sliding_window=6, layer_types=layer_types,
        attention_bias=bias, tie_word_embeddings=tie, rope_parameters={"rope_type": "default", "rope_theta": 500.0})


def phi3(original: int, rope: dict, **keys):
    return Phi3ForCausalLM, Phi3Config(**SMALL | dict(hidden_size=40, num_hidden_layers=1, original_max_position_embeddings=original,
                                                      rope_parameters={"rope_theta": 100.0} | rope) | keys)


def longrope(pairs: int) -> dict:
    return {"rope_type": "longrope", "short_factor": [1 + 0.1 * i for i in range(pairs)],
            "long_factor": [2 + 0.7 * i for i in range(pairs)]}


def phi(**keys):
    """Four of ten channels are rotated; hidden_size is 40, since the head size follows from it."""
    return PhiForCausalLM, PhiConfig(**{k: v for k, v in SMALL.items() if k != "head_dim"} | dict(
        hidden_size=40, num_hidden_layers=2,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.4}) | keys)


def gpt_neox(**keys):
    sizes = {k: v for k, v in SMALL.items() if k not in ("head_dim", "num_key_value_heads")}
    return GPTNeoXForCausalLM, GPTNeoXConfig(**sizes | dict(
        hidden_size=40, num_hidden_layers=2,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.4}) | keys)


def gemma2(**keys):
    """Caps and a scale that bend what they touch; layers 0 and 2 see a window of 6."""
    return Gemma2ForCausalLM, Gemma2Config(**SMALL | dict(
        num_hidden_layers=3, sliding_window=6, query_pre_attn_scalar=3, attn_logit_softcapping=2.5, final_logit_softcapping=4.0,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}) | keys)


def gemma3(layers: int, full: dict, **keys):
    return Gemma3ForCausalLM, Gemma3TextConfig(**SMALL | dict(
        num_hidden_layers=layers, sliding_window=6, query_pre_attn_scalar=3, rope_parameters={
            "full_attention": {"rope_theta": 500.0} | full,
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0}}) | keys)


def mixtral(**keys):
    return MixtralForCausalLM, MixtralConfig(**SMALL | dict(
        num_hidden_layers=2, num_local_experts=5, num_experts_per_tok=2,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}) | keys)


def gpt2(tie: bool, layers: int, inner: int | None):
    return GPT2LMHeadModel, GPT2Config(
        vocab_size=VOCAB, n_embd=40, n_head=4, n_layer=layers, n_positions=64, n_inner=inner,
        activation_function="gelu_new", layer_norm_epsilon=1e-5, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        tie_word_embeddings=tie, bos_token_id=96, eos_token_id=96)


MODELS = {
    "llama_untied": lambda: llama(tie=False, layers=2),
    "llama_tied": lambda: llama(tie=True, layers=1),
    "mistral_window7": mistral_window,
    "gpt2_tied": lambda: gpt2(tie=True, layers=2, inner=None),
    "gpt2_untied": lambda: gpt2(tie=False, layers=1, inner=72),
    "llama_linear": lambda: scaled({"rope_type": "linear", "factor": 3.0}, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama_dynamic": lambda: scaled({"rope_type": "dynamic", "factor": 4.0}, max_position_embeddings=12),
    "llama_yarn": lambda: scaled({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
    "llama_yarn_mscale": lambda: scaled({
        "rope_type": "yarn", "factor": 6.0, "original_max_position_embeddings": 16, "beta_fast": 4.0, "beta_slow": 0.5,
        "mscale": 1.2, "mscale_all_dim": 0.6, "truncate": False}),
    "llama_llama3": lambda: scaled({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "qwen2_window": qwen2_window,
    "qwen2_tied": qwen2_tied,
    "qwen3_layers": lambda: qwen3(tie=False, bias=False, layer_types=["sliding_attention", "full_attention"]),
    "qwen3_tied": lambda: qwen3(tie=True, bias=True, layer_types=["full_attention"]),
    "phi_partial": phi,
    "phi_tied": lambda: phi(num_hidden_layers=1, tie_word_embeddings=True, qk_layernorm=True, hidden_act="gelu"),
    "gpt_neox_parallel": gpt_neox,
    "gpt_neox_sequential": lambda: gpt_neox(
        num_hidden_layers=1, use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True, hidden_act="gelu_new"),
    "gemma2": gemma2,
    "gemma2_untied": lambda: gemma2(
        num_hidden_layers=1, tie_word_embeddings=False, attn_logit_softcapping=None, final_logit_softcapping=None,
        layer_types=["full_attention"], attention_bias=True),
    "gemma3": lambda: gemma3(3, {"rope_type": "linear", "factor": 4.0}, sliding_window_pattern=3),
    "gemma3_capped": lambda: gemma3(
        2, {"rope_type": "default"}, layer_types=["full_attention", "sliding_attention"], attn_logit_softcapping=2.5,
        final_logit_softcapping=4.0, tie_word_embeddings=False),
    "mixtral": lambda: mixtral(output_router_logits=True, router_aux_loss_coef=0.3),
    "mixtral_window": lambda: mixtral(
        num_hidden_layers=1, num_local_experts=4, num_experts_per_tok=3, sliding_window=7, tie_word_embeddings=True),
    "phi3_window": lambda: phi3(64, {"rope_type": "default"}, sliding_window=7, num_hidden_layers=2),
    "phi3_short": lambda: phi3(23, longrope(5)),
    "phi3_long": lambda: phi3(22, longrope(3) | {"partial_rotary_factor": 0.6}, tie_word_embeddings=True),
}

OLD_LAYOUT = ["llama_tied", "llama_yarn", "llama_llama3", "qwen2_window", "qwen2_tied", "phi3_long", "phi_partial", "gpt_neox_parallel", "gemma3"]


@contextlib.contextmanager
def float64():
    """Makes transformers compute in float64 where it asks for float32 by name (norms, rope, softmax, loss)."""
    with mock.patch.multiple(torch, float32=torch.float64, float=torch.float64), \
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(F32)


def weights(kind, config, seed: int) -> dict[str, torch.Tensor]:
    """Draws every parameter of the model by name, in the order of the names, so that one seed gives one model."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, parameter in sorted(kind(config).named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator, dtype=F32)
        norm = "norm" in name or ".ln_" in name
        around = 0 if config.model_type.startswith("gemma") else 1  # Gemma stores w-1
        drawn[name] = around + 0.3 * noise if norm and name.endswith("weight") else 0.2 * noise
    return drawn


def stored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of a checkpoint, which transformers 5 changes when it loads one and back when it saves one."""
    result = {}
    for name, t in tensors.items():
        name = re.sub(r"\.mlp\.(gate|experts)\b", r".block_sparse_moe.\1", name)
        if name.endswith("experts.gate_up_proj"):
            for e, both in enumerate(t):
                w1, w3 = both.chunk(2)
                result |= {name.replace("gate_up_proj", f"{e}.w1.weight"): w1, name.replace("gate_up_proj", f"{e}.w3.weight"): w3}
        elif name.endswith("experts.down_proj"):
            result |= {name.replace("down_proj", f"{e}.w2.weight"): w2 for e, w2 in enumerate(t)}
        elif "gpt_neox.embed_in.weight" in tensors or "grad.gpt_neox.embed_in.weight" in tensors:
            result[name.replace("lm_head", "embed_out")] = t
        else:
            result[name] = t
    return result


def build(kind, config, drawn: dict[str, torch.Tensor], dtype: torch.dtype):
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = kind(config).to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(drawn[name])
    return model.train()


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens; their labels ignore a prompt of five, the end of the second row and a few in between."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB, (BATCH, TIME), generator=generator)
    labels = ids.clone()
    labels[0, :5] = -100
    labels[1, 19:] = -100
    labels[torch.rand(labels.shape, generator=generator, dtype=F32) < 0.1] = -100
    return ids, labels


def run(kind, config, drawn, dtype) -> dict[str, torch.Tensor]:
    ids, labels = batch(seed=7)
    model = build(kind, config, drawn, dtype)
    out = model(input_ids=ids, labels=labels, use_cache=False)
    out.loss.backward()
    result = {"logits": out.logits, "loss": out.loss.reshape(1)}
    result |= {"grad." + name: p.grad for name, p in model.named_parameters()}
    assert all(t.dtype == dtype for t in result.values())
    return {name: t.detach() for name, t in result.items()}


def compare(name: str, exact: dict[str, torch.Tensor], single: dict[str, torch.Tensor]) -> None:
    worst = max((exact[k] - single[k]).abs().max().item() / exact[k].abs().max().item() for k in exact)
    print(f"{name:16s} loss {exact['loss'].item():.6f}, float32 differs by {worst:.1e} of the largest element")
    assert worst < 2e-5, "float64 and float32 disagree"


def save(path: pathlib.Path, tensors: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: t.contiguous() for k, t in tensors.items()}, path, metadata={"format": "pt"})


def golden(name: str, seed: int) -> None:
    kind, config = MODELS[name]()
    drawn = weights(kind, config, seed)
    with float64():
        exact = run(kind, config, drawn, torch.float64)
    compare(name, exact, run(kind, config, drawn, F32))
    ids, labels = batch(seed=7)
    folder = GOLDEN / name
    save(folder / "model.safetensors", stored(drawn))
    save(folder / "golden.safetensors",
         {k: t.to(F32) for k, t in stored(exact).items()} | {"input_ids": ids.int(), "labels": labels.int()})
    write_config(folder / "config.json", kind, config, old_layout=name in OLD_LAYOUT)


def write_config(path: pathlib.Path, kind, config, old_layout: bool) -> None:
    fields = config.to_diff_dict() | {"architectures": [kind.__name__], "dtype": "float32"}
    if old_layout:
        del fields["transformers_version"]
        fields.pop("layer_types", None)
        rope = fields.pop("rope_parameters")
        if "full_attention" in rope:
            fields["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
            fields.pop("_sliding_window_pattern", None)
            rope = rope["full_attention"]
        fields |= {"rope_theta": rope.pop("rope_theta"), "torch_dtype": fields.pop("dtype")}
        if "partial_rotary_factor" in rope:
            fields["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        if config.model_type == "qwen2" and not config.use_sliding_window:
            fields["sliding_window"] = 5  # hub files keep the number
        if config.model_type == "gpt_neox":
            fields |= {"rotary_pct": fields.pop("partial_rotary_factor"), "rotary_emb_base": fields.pop("rope_theta")}
        fields["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


STEPS, BETAS, EPSILON, DECAY, CLIP = 10, (0.9, 0.95), 1e-8, 0.1, 1.0


def trajectory(name: str, seed: int, rate: str) -> None:
    """Ten AdamW steps in float64: decay on matrices (embeddings too) and not on norms, gradients clipped to norm 1.

    Holds input_ids and labels [10, 2, 23], loss [10] before each step, grad_norm [10] before clipping, every final
    norm weight and the first k_proj as final.NAME, and for every parameter final_sum.NAME and final_square_sum.NAME
    [1]. Adam's first steps are nearly the sign of the gradient, so rounding spreads: loss_float32 and
    grad_norm_float32 are the same run in plain float32 and show how far an exact float32 trainer may be off
    (at rate 1e-2 up to 5e-3 in the loss; at 1e-3 little, so that run is the sharp test).
    """
    kind, config = MODELS[name]()
    drawn = weights(kind, config, seed)
    with float64():
        exact, batches = train(build(kind, config, drawn, torch.float64), float(rate))
    single, _ = train(build(kind, config, drawn, F32), float(rate))
    for key in ("loss", "grad_norm"):
        print(key, *(f"{x:.5f}" for x in exact[key].tolist()))
        print("float32 off by", *(f"{x:.0e}" for x in (single[key] - exact[key]).tolist()))
        exact[key + "_float32"] = single[key]
    save(GOLDEN / "llama_adamw" / f"rate_{rate}.safetensors", {k: t.to(F32) for k, t in exact.items()} | batches)


def train(model, rate: float) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": DECAY},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=BETAS, eps=EPSILON)
    losses, norms = [], []
    batches = [batch(seed=100 + step) for step in range(STEPS)]
    for ids, labels in batches:
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, CLIP))
        optimizer.step()
        losses.append(loss.detach())
    result = {"loss": torch.stack(losses), "grad_norm": torch.stack(norms)}
    for name, p in model.named_parameters():
        final = p.detach()
        result["final_sum." + name] = final.sum().reshape(1)
        result["final_square_sum." + name] = final.square().sum().reshape(1)
        if p.ndim < 2 or name.endswith("0.self_attn.k_proj.weight"):
            result["final." + name] = final
    ids, labels = (torch.stack(t).int() for t in zip(*batches))
    return result, {"input_ids": ids, "labels": labels}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for index, name in enumerate(MODELS):
        if not sys.argv[1:] or name in sys.argv[1:]:
            golden(name, seed=index + 1 if index < 5 else zlib.crc32(name.encode()))
    if not sys.argv[1:]:
        for rate in ("1e-2", "1e-3"):
            trajectory("llama_untied", seed=1, rate=rate)
