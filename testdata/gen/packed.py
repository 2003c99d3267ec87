#!/usr/bin/env python3
"""Writes testdata/golden/packed.safetensors: matrices as bitsandbytes quantises them.

    pip install torch==2.15.0 bitsandbytes==0.50.2 safetensors==0.8.0
    python testdata/gen/packed.py

For each matrix X: X.nf4.codes (two in a byte), X.nf4.scales, X.nf4.nested, X.nf4.offset and X.nf4.dense are quantize_4bit with double
quantisation in blocks of 64 and 256, and what dequantize_4bit makes of it; X.int8.codes, X.int8.nested and X.int8.dense are
int8_vectorwise_quant, the storage of LLM.int8. nf4 and dynamic are the code tables.

Two of bitsandbytes' routines for the CPU are not taken, for they differ from those for other devices: the one that quantises block by
block looks codes up in a coarse table, which is off by one next to the middle between two codes, and the one that dequantises 4 bits
wants rows of whole blocks. In their places stand the device-independent ones of its backends/default/ops.py.
"""

from pathlib import Path

import bitsandbytes.functional as F
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from safetensors.torch import save_file

GENERATOR = torch.Generator().manual_seed(3)


def normal(rows: int, cols: int) -> torch.Tensor:
    return torch.randn(rows, cols, generator=GENERATOR) * (0.01 + 0.1 * torch.rand(rows, 1, generator=GENERATOR))


def nearest(x: torch.Tensor, code: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """quantize_blockwise in blocks of 256 as backends/default/ops.py has it."""
    largest = torch.stack([block.abs().max() for block in x.split(256)])
    scaled = x / largest.repeat_interleave(256)[: len(x)]
    return torch.bucketize(scaled, (code[:-1] + code[1:]) / 2, out_int32=True).to(torch.uint8), largest


def nf4(x: torch.Tensor) -> dict[str, torch.Tensor]:
    codes, state = F.quantize_4bit(x, blocksize=64, compress_statistics=False, quant_type="nf4")
    offset, dynamic = state.absmax.mean(), F.create_dynamic_map()
    scales, nested = nearest(state.absmax - offset, dynamic)
    absmax = dynamic[scales.int()] * nested.repeat_interleave(256)[: len(scales)] + offset
    dense = _dequantize_4bit_compute(codes.flatten(), absmax, state.code, 64, x.shape, torch.float32)
    return {"codes": codes.flatten(), "scales": scales, "nested": nested, "offset": offset.reshape(1), "dense": dense}


if __name__ == "__main__":
    matrices = {"small": normal(4, 48), "odd": normal(7, 37), "blocks": normal(130, 160)}
    matrices["blocks"][3] = 0
    matrices["heavy"] = normal(64, 96) ** 3
    out = {"nf4": F.get_4bit_type("nf4", device="cpu"), "dynamic": F.create_dynamic_map()}
    for name, x in matrices.items():
        out[name] = x
        out |= {f"{name}.nf4.{key}": value for key, value in nf4(x).items()}
        codes, rows, _ = F.int8_vectorwise_quant(x.clone())
        out |= {f"{name}.int8.codes": codes.view(torch.uint8).flatten(), f"{name}.int8.nested": rows,
                f"{name}.int8.dense": F.int8_vectorwise_dequant(codes, rows)}
    save_file({k: v.contiguous().clone() for k, v in out.items()}, Path(__file__).parents[1] / "golden" / "packed.safetensors")
