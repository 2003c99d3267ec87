#!/usr/bin/env python3
"""Writes testdata/golden/ops.safetensors: operations that are easy to get subtly wrong, with their gradients.

    pip install torch==2.15.0 safetensors==0.8.0 numpy==2.4.6
    python testdata/gen/ops.py

Inputs are f32 (or i32); results are computed from them in float64 by torch and rounded once. Gradients are taken
with the given output gradient d<output>. Names are OP.TENSOR. Matrices are row-major [rows, channels], heads are
contiguous in a row: q [rows, heads * head_dim].

gelu_tanh, gelu_erf, silu   x, dy -> y, dx, from -30 to 30, both zeros included
swiglu                      gate, up, dy -> y = silu(gate) * up, dgate, dup
layernorm                   x [5, 13], weight, bias, dy -> y, dx, dweight, dbias; eps 1e-5
rmsnorm                     the same without bias; eps 1e-5; its third row is tiny (1e-4), so that eps matters
rope                        x [7, 3 * 10], positions [7] i32, dy -> y, dx; rotate-half (pairs i and i + 5), theta 10000
rope_partial                the same, rotating the first 4 of the 10 channels of a head only
attention_WINDOW            q [23, 6 * 10], k, v [23, 2 * 10], do -> o, lse [23, 6], dq, dk, dv; causal; scale
                            1/sqrt(10); query head h reads key head h // 3; three packed sequences, rows 0-4, 5, 6-22;
                            WINDOW 7: position t sees t-6 to t; window 0: everything before it
attention_softcap           attention_0 with scores replaced by 2 * tanh(score / 2)
attention_cached            q [4, 60] are the last four of 11 positions k, v [11, 20]; window 7
cross_entropy               logits [6, 97], targets [6] i32 (row 2 ignored: -1), weights, entropy_weights -> loss,
                            entropy, dlogits of sum(weights * loss + entropy_weights * entropy); z-loss 0.01 inside loss
cross_entropy_smooth        the same targets and weights: label smoothing 0.1, no z-loss, no entropy term
"""

import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

F32, F64 = torch.float32, torch.float64
HEADS, KV_HEADS, DIM = 6, 2, 10


class Recorder:
    """Draws inputs, runs a function in float64 with its gradient, and keeps everything under OP.NAME."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors: dict[str, torch.Tensor] = {}

    def normal(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        return (torch.randn(shape, generator=self.generator) * scale).to(F32)

    def op(self, name: str, function, inputs: dict[str, torch.Tensor], output: str = "y", fixed=None) -> None:
        """Records output = function(inputs, fixed); a function may return (output, {further results})."""
        leaves = {k: t.to(F64).requires_grad_() for k, t in inputs.items()}
        result = function(**leaves, **(fixed or {}))
        y, more = result if isinstance(result, tuple) else (result, {})
        dy = self.normal(*y.shape)
        y.backward(dy.to(F64))
        self.keep(name, inputs | (fixed or {}) | {output: y, "d" + output: dy} | more)
        self.keep(name, {"d" + k: leaf.grad for k, leaf in leaves.items()})

    def keep(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
        for key, t in tensors.items():
            t = t.detach()
            self.tensors[f"{name}.{key}"] = t.to(F32 if t.is_floating_point() else torch.int32).contiguous().clone()


def activations(r: Recorder) -> None:
    x = torch.cat([torch.tensor([0.0, -0.0, 30, -30, 10, -10, 5.5, -5.5, 1e-6, -1e-6, 20, -20]), r.normal(49, scale=2)])
    r.op("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), {"x": x})
    r.op("gelu_erf", lambda x: F.gelu(x), {"x": x})
    r.op("silu", lambda x: F.silu(x), {"x": x})
    r.op("swiglu", lambda gate, up: F.silu(gate) * up, {"gate": x.reshape(1, -1), "up": r.normal(1, len(x))})


def norms(r: Recorder) -> None:
    x, weight, bias = r.normal(5, 13, scale=2) + 1, 1 + r.normal(13, scale=0.3), r.normal(13)
    r.op("layernorm", lambda x, weight, bias: F.layer_norm(x, (13,), weight, bias, 1e-5),
         {"x": x, "weight": weight, "bias": bias})
    x = x.clone()
    x[2] *= 1e-4
    r.op("rmsnorm", lambda x, weight: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight,
         {"x": x, "weight": weight})


def rotate(x: torch.Tensor, positions: torch.Tensor, rotary: int) -> torch.Tensor:
    x = x.reshape(x.shape[0], -1, DIM)
    half = rotary // 2
    angle = positions.to(F64)[:, None, None] * 10000.0 ** (-torch.arange(half, dtype=F64) / half)
    a, b, rest = x[..., :half], x[..., half:rotary], x[..., rotary:]
    turned = torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin(), rest], -1)
    return turned.flatten(1)


def rope(r: Recorder) -> None:
    positions = torch.tensor([0, 1, 2, 0, 1, 63, 1000], dtype=torch.int32)
    for name, rotary in (("rope", DIM), ("rope_partial", 4)):
        r.op(name, lambda x, positions: rotate(x, positions, rotary), {"x": r.normal(7, 3 * DIM)},
             fixed={"positions": positions})


def attend(q, k, v, sequences, window=0, cap=0.0):
    """Attention written out score by score, with the log-sum-exp of the scores; sequences are (q0, q1, k0, k1)."""
    out, lse = torch.zeros_like(q), torch.zeros(len(q), HEADS, dtype=F64)
    for q0, q1, k0, k1 in sequences:
        qs = q[q0:q1].reshape(-1, HEADS, DIM).transpose(0, 1)
        ks, vs = (t[k0:k1].reshape(-1, KV_HEADS, DIM).transpose(0, 1).repeat_interleave(HEADS // KV_HEADS, 0)
                  for t in (k, v))
        scores = qs @ ks.transpose(1, 2) / math.sqrt(DIM)
        if cap:
            scores = cap * torch.tanh(scores / cap)
        at = torch.arange(q1 - q0)[:, None] + (k1 - k0) - (q1 - q0)
        seen = torch.arange(k1 - k0)[None] <= at
        if window:
            seen &= torch.arange(k1 - k0)[None] > at - window
        scores = scores.masked_fill(~seen, -math.inf)
        out[q0:q1] = (scores.softmax(-1) @ vs).transpose(0, 1).flatten(1)
        lse[q0:q1] = scores.logsumexp(-1).T
    return out, {"lse": lse}


def attention(r: Recorder) -> None:
    packed = [(0, 5, 0, 5), (5, 6, 5, 6), (6, 23, 6, 23)]
    inputs = {"q": r.normal(23, HEADS * DIM, scale=2), "k": r.normal(23, KV_HEADS * DIM, scale=2),
              "v": r.normal(23, KV_HEADS * DIM)}
    r.op("attention_0", lambda **t: attend(**t, sequences=packed), inputs, "o")
    r.op("attention_7", lambda **t: attend(**t, sequences=packed, window=7), inputs, "o")
    r.op("attention_softcap", lambda **t: attend(**t, sequences=packed, cap=2.0), inputs, "o")
    cached = inputs | {"q": inputs["q"][:4], "k": inputs["k"][:11], "v": inputs["v"][:11]}
    r.op("attention_cached", lambda **t: attend(**t, sequences=[(0, 4, 0, 11)], window=7), cached, "o")


def check_attention(r: Recorder) -> None:
    """The plain attention above against torch's own, on the last packed sequence."""
    q, k, v = (r.tensors["attention_0." + n].to(F64)[6:23].reshape(17, -1, DIM).transpose(0, 1) for n in "qkv")
    theirs = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)[0]
    ours = r.tensors["attention_0.o"][6:23].to(F64)
    assert torch.allclose(theirs.transpose(0, 1).flatten(1), ours, atol=1e-6)


def cross_entropy(r: Recorder) -> None:
    logits, targets = r.normal(6, 97, scale=3), torch.tensor([5, 96, -1, 0, 40, 41], dtype=torch.int32)
    weights, entropy_weights = r.normal(6).abs(), r.normal(6)
    x = logits.to(F64).requires_grad_()
    kept = targets >= 0
    loss = F.cross_entropy(x, targets.long(), reduction="none", ignore_index=-1)
    loss = loss + 0.01 * x.logsumexp(-1).square() * kept
    entropy = torch.distributions.Categorical(logits=x).entropy() * kept
    (weights * loss + entropy_weights * entropy).sum().backward()
    r.keep("cross_entropy", {"logits": logits, "targets": targets, "weights": weights, "loss": loss, "entropy": entropy,
                             "entropy_weights": entropy_weights, "dlogits": x.grad})
    x = logits.to(F64).requires_grad_()
    loss = F.cross_entropy(x, targets.long(), reduction="none", ignore_index=-1, label_smoothing=0.1)
    (weights * loss).sum().backward()
    r.keep("cross_entropy_smooth", {"loss": loss, "dlogits": x.grad})


def main() -> None:
    r = Recorder(seed=11)
    for family in (activations, norms, rope, attention, cross_entropy):
        family(r)
    check_attention(r)
    path = pathlib.Path(__file__).resolve().parent.parent / "golden" / "ops.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(r.tensors, path)
    print(f"{path}: {len(r.tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
