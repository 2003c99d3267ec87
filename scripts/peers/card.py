"""The workloads of a GPU in transformers, PEFT and bitsandbytes, with random weights made on the card.

train.py and generate.py take these by --device cuda; --device cpu --tiny runs the same code on a small model.
"""

import contextlib
import json
import resource
import statistics
import time

import torch

LLAMA1B = dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, intermediate_size=8192, tie_word_embeddings=True)
LLAMA8B = dict(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, intermediate_size=14336, tie_word_embeddings=False)
LLAMA70B = dict(hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8, intermediate_size=28672, tie_word_embeddings=False)
TINY = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128)
TRAIN = {"gpt2_124m": (None, 64, 1024), "llama1b_full": (LLAMA1B, 4, 4096), "llama8b_lora": (LLAMA8B, 1, 4096), "llama70b_qlora": (LLAMA70B, 1, 512)}
GENERATE = {"llama8b_b1": 1, "llama8b_b256": 256}
PROMPT = 64


def make(sizes, device, half, packed=False, tiny=False):
    """Makes a GPT-2 where sizes are None, else a Llama; packed gives NF4 to the linear layers of its blocks, one layer at a time."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
    if sizes is None:
        small = dict(n_embd=64, n_layer=2, n_head=4, vocab_size=512) if tiny else dict(vocab_size=50257)
        with torch.device(device):  # f32 weights under autocast
            return GPT2LMHeadModel(GPT2Config(**small, attn_implementation="sdpa", use_cache=False, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    config = LlamaConfig(**{**sizes, **(TINY if tiny else {})}, vocab_size=512 if tiny else 128256, max_position_embeddings=8192, rms_norm_eps=1e-5,
                         attn_implementation="sdpa", eos_token_id=None, bos_token_id=None)
    layers = config.num_hidden_layers
    torch.set_default_dtype(torch.bfloat16 if half else torch.float32)
    try:
        with torch.device(device):
            if packed:
                config.num_hidden_layers = 1
            model = LlamaForCausalLM(config)
            if packed:
                pack(model, config, layers, device)
    finally:
        torch.set_default_dtype(torch.float32)
    return model


def pack(model, config, layers, device):
    """Gives the model so many layers in NF4."""
    import bitsandbytes as bnb
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer
    config.num_hidden_layers = layers
    model.model.layers = torch.nn.ModuleList()
    for i in range(layers):
        layer = LlamaDecoderLayer(config, i)
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if not isinstance(linear, torch.nn.Linear):
                    continue
                four = bnb.nn.Linear4bit(linear.in_features, linear.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4", device="meta")
                four.weight = bnb.nn.Params4bit(torch.randn_like(linear.weight) * 0.02, requires_grad=False, quant_type="nf4").to(device)
                setattr(part, name, four)
        model.model.layers.append(layer)
    model.is_loaded_in_4bit = True


def adapted(model, checkpointing):
    """Puts PEFT's LoRA of rank 16 on all linear layers."""
    from peft import LoraConfig, get_peft_model
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def report(options, more):
    """Prints the line of JSON, with the names of hone bench's fields."""
    card = options.device.startswith("cuda")
    print(json.dumps({
        "peer": "transformers", "version": torch.__version__, "workload": options.workload, "dtype": options.dtype,
        "device": torch.cuda.get_device_name() if card else "cpu", "tiny": options.tiny, **more,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "peak_device_mb": round(torch.cuda.max_memory_allocated() / 1e6, 1) if card else 0}))


def train(options):
    sizes, batch, length = TRAIN[options.workload]
    if options.tiny:
        batch, length = 2, 32
    torch.manual_seed(1)
    half, device = options.dtype == "bf16", options.device
    packed = options.workload == "llama70b_qlora"
    model = make(sizes, device, half and not options.masters, packed, options.tiny)
    if packed or options.workload == "llama8b_lora":
        model = adapted(model, packed)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    compiled = sizes is None and not options.tiny
    run = torch.compile(model) if compiled else model
    ids = torch.randint(model.config.vocab_size, (batch, length), device=device)
    cast = torch.autocast(torch.device(device).type, torch.bfloat16) if half else contextlib.nullcontext()

    def step():
        with cast:
            loss = run(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(device)
        return loss.item()

    step()
    step()
    seconds = []
    for _ in range(options.steps):
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    report(options, {"compile": compiled, "masters": options.masters, "s_per_step": median, "best_s": min(seconds), "tokens_per_s": batch * length / median, "loss": loss})


@torch.inference_mode()
def generate(options):
    batch = 2 if options.tiny else GENERATE[options.workload]
    torch.manual_seed(1)
    model = make(LLAMA8B, options.device, options.dtype == "bf16", tiny=options.tiny).eval()
    ids = torch.randint(model.config.vocab_size, (batch, PROMPT), device=options.device)

    def timed(tokens):
        wait(options.device)
        begin = time.perf_counter()
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0)
        wait(options.device)
        if out.shape[1] != PROMPT + tokens:
            raise RuntimeError(f"{out.shape[1] - PROMPT} tokens were written, not {tokens}")
        return time.perf_counter() - begin

    timed(2)
    prompt, whole = timed(1), timed(options.tokens)
    report(options, {"prompt_s": prompt, "decode_s": whole - prompt, "tokens_per_s": batch * options.tokens / whole})
