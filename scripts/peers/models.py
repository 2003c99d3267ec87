"""The benchmark models in plain PyTorch: a GPT-2 and a Llama, with a key/value cache for generation."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    """Sizes of a workload; kv_heads 0 means a GPT-2 (LayerNorm, biases, learned positions), else a Llama."""

    vocab: int
    width: int
    layers: int
    heads: int
    batch: int
    time: int
    tied: bool
    kv_heads: int = 0
    ffn: int = 0
    rank: int = 0  # of a LoRA on all linear layers of the blocks; 0 trains all weights


SMOLLM = dict(vocab=49152, width=576, layers=30, heads=9, kv_heads=3, ffn=1536, tied=True)
WORKLOADS = {
    "W1_babygpt": Shape(65, 384, 6, 6, batch=8, time=256, tied=False),
    "W2_gpt2_124m": Shape(50257, 768, 12, 12, batch=4, time=256, tied=True),
    "W3_smollm135m_full": Shape(**SMOLLM, batch=2, time=512),
    "W3_smollm135m_lora16": Shape(**SMOLLM, batch=2, time=512, rank=16),
    "W4_gen_b1": Shape(**SMOLLM, batch=1, time=192),
    "W4_gen_b16": Shape(**SMOLLM, batch=16, time=192),
}


class Attention(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.heads, self.kv, self.dim = s.heads, s.kv_heads or s.heads, s.width // s.heads
        self.qkv = nn.Linear(s.width, (self.heads + 2 * self.kv) * self.dim, bias=not s.kv_heads)
        self.out = nn.Linear(s.width, s.width, bias=not s.kv_heads)

    def forward(self, x, rope, cache):
        b, t, c = x.shape
        sizes = [self.heads * self.dim, self.kv * self.dim, self.kv * self.dim]
        q, k, v = (p.view(b, t, -1, self.dim).transpose(1, 2) for p in self.qkv(x).split(sizes, -1))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        if cache is not None:
            k, v = cache.append(k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1, enable_gqa=self.kv != self.heads)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Cache:
    """Keys and values of one layer, written in place."""

    def __init__(self, s: Shape, dtype):
        shape = (s.batch, s.kv_heads, s.time, s.width // s.heads)
        self.k, self.v, self.length = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype), 0

    def append(self, k, v):
        start, self.length = self.length, self.length + k.shape[2]
        self.k[:, :, start:self.length], self.v[:, :, start:self.length] = k, v
        return self.k[:, :, :self.length], self.v[:, :, :self.length]


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        norm = (lambda: nn.RMSNorm(s.width, eps=1e-5)) if s.kv_heads else (lambda: nn.LayerNorm(s.width))
        self.norm1, self.norm2, self.attention = norm(), norm(), Attention(s)
        self.mlp = SwiGLU(s.width, s.ffn) if s.kv_heads else GELU(s.width)

    def forward(self, x, rope, cache):
        x = x + self.attention(self.norm1(x), rope, cache)
        return x + self.mlp(self.norm2(x))


class SwiGLU(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.gate_up, self.down = nn.Linear(width, 2 * ffn, bias=False), nn.Linear(ffn, width, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class GELU(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class LoRA(nn.Module):
    """A frozen linear layer with x A^T B^T * scale added, as PEFT has it."""

    def __init__(self, base: nn.Linear, rank: int, scale: float = 2.0):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        self.a, self.b = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x)) * self.scale


def adapt(model: nn.Module, rank: int) -> nn.Module:
    """Freezes the model and puts a LoRA on every linear layer of its blocks, fused projections as one."""
    model.requires_grad_(False)
    for block in model.blocks:
        for part in (block.attention, block.mlp):
            for name, layer in list(part.named_children()):
                setattr(part, name, LoRA(layer, rank))
    return model


def peft_model(s: Shape) -> nn.Module:
    """The same model from transformers with PEFT's LoRA on q, k, v, o, gate, up and down; gives logits."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(vocab_size=s.vocab, hidden_size=s.width, intermediate_size=s.ffn, num_hidden_layers=s.layers,
                         num_attention_heads=s.heads, num_key_value_heads=s.kv_heads, tie_word_embeddings=s.tied,
                         max_position_embeddings=2048, attn_implementation="sdpa", use_cache=False)
    return Logits(get_peft_model(LlamaForCausalLM(config), LoraConfig(r=s.rank, lora_alpha=2 * s.rank, target_modules="all-linear")))


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(input_ids=ids).logits


class Model(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.shape, self.embed = s, nn.Embedding(s.vocab, s.width)
        self.position = None if s.kv_heads else nn.Embedding(1024, s.width)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.width, eps=1e-5) if s.kv_heads else nn.LayerNorm(s.width)
        self.head = nn.Linear(s.width, s.vocab, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)
        if s.tied:
            self.head.weight = self.embed.weight
        if s.kv_heads:
            half = s.width // s.heads // 2
            angle = torch.arange(s.time)[:, None] * 10000.0 ** (-torch.arange(half) / half)
            self.register_buffer("cos", angle.cos(), persistent=False)
            self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, start: int = 0, caches=None, last: bool = False):
        x, end, rope = self.embed(ids), start + ids.shape[1], None
        if self.position is not None:
            x = x + self.position.weight[start:end]
        else:
            rope = self.cos[start:end].to(x.dtype), self.sin[start:end].to(x.dtype)
        for i, block in enumerate(self.blocks):
            x = block(x, rope, caches[i] if caches else None)
        return self.head(self.norm(x[:, -1:] if last else x))
