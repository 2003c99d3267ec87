"""Golden trajectory of 8-bit AdamW: python testdata/gen/adamw8.py (bitsandbytes 0.50.2, torch 2.15).

bitsandbytes' optimizer on the CPU, with the quantisation of its backends/default/ops.py and of its GPU kernels: the nearest
code. Its own CPU kernel looks codes up in a table of 65,536 equal steps, which near zero is off by several codes."""
import os

import bitsandbytes as bnb
import bitsandbytes.backends.cpu.ops as cpu
import numpy as np
import torch
from safetensors.torch import save_file


def nearest(a, code, absmax_out, out, blocksize):
    flat = a.reshape(-1)
    padded = torch.nn.functional.pad(flat, (0, -flat.numel() % blocksize)).view(-1, blocksize)
    absmax = padded.abs().amax(1)
    scaled = torch.clamp(padded * (1.0 / absmax.clamp(min=1e-38))[:, None], -1, 1)
    bounds = (code[:-1] + code[1:]) / 2
    out.copy_(torch.bucketize(scaled.contiguous(), bounds).to(torch.uint8).reshape(-1)[: flat.numel()].view(a.shape))
    absmax_out.copy_(absmax)


cpu._quant_blockwise_fp32_direct = nearest


def numbers(n, step):
    """Numbers in (-1, 1) that are the same everywhere: integers scaled, and their cubes for a wide range."""
    i = np.arange(n, dtype=np.uint64)
    u = (i * 2654435761 + np.uint64(step) * 40503 * 65537) % 2**32
    x = (u.astype(np.int64) - 2**31).astype(np.float64) / 2**31
    return torch.tensor((x**3).astype(np.float32))


large = torch.nn.Parameter(numbers(65 * 64, 0).view(65, 64).clone())
small = torch.nn.Parameter(numbers(100, 0).clone())
opt = bnb.optim.AdamW8bit([{"params": [large], "weight_decay": 0.1}, {"params": [small], "weight_decay": 0.0}], lr=1e-2, betas=(0.9, 0.999), eps=1e-8)
out = {}
for step in range(1, 11):
    large.grad, small.grad = numbers(large.numel(), step).view(large.shape), numbers(small.numel(), step)
    opt.step()
    if step in (1, 4, 10):
        out[f"large.{step}"], out[f"small.{step}"] = large.detach().clone(), small.detach().clone()
state = opt.state[large]
out |= {"m": state["state1"], "v": state["state2"], "m_scale": state["absmax1"], "v_scale": state["absmax2"]}
out |= {"map.signed": state["qmap1"], "map.unsigned": state["qmap2"]}
assert opt.state[small]["state1"].dtype == torch.float32
folder = os.path.join(os.path.dirname(__file__), "..", "golden", "adamw8")
os.makedirs(folder, exist_ok=True)
save_file(out, os.path.join(folder, "trajectory.safetensors"))
