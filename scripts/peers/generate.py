#!/usr/bin/env python3
"""Decoding speed of the W3 model in PyTorch with a static key/value cache; prints one JSON line.

    pip install torch==2.15.0
    python scripts/peers/generate.py --workload W4_gen_b1 --dtype f32 --threads 2 [--tokens 128]

64 random prompt tokens, then greedy decoding; tokens_per_s counts new tokens over all sequences, prompt time included.
The workloads of a GPU are in card.py: --workload llama8b_b1 --device cuda --dtype bf16.
"""

import argparse
import json
import resource
import time

import torch

import card
from models import WORKLOADS, Cache, Model

PROMPT = 64


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True, choices=[w for w in WORKLOADS if w.startswith("W4")] + list(card.GENERATE))
    parser.add_argument("--device", default="cpu", help="of the workloads of a GPU: cuda, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128)
    return parser.parse_args()


@torch.inference_mode()
def generate(model, shape, dtype, tokens: int) -> tuple[float, float]:
    """Gives the seconds of the prompt pass and of all the rest."""
    caches = [Cache(shape, dtype) for _ in range(shape.layers)]
    ids = torch.randint(shape.vocab, (shape.batch, PROMPT))
    begin = time.perf_counter()
    new = model(ids, 0, caches, last=True).argmax(-1)
    prompt = time.perf_counter() - begin
    for t in range(PROMPT, PROMPT + tokens - 1):
        new = model(new, t, caches).argmax(-1)
    return prompt, time.perf_counter() - begin - prompt


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.workload in card.GENERATE:
        return card.generate(options)
    torch.manual_seed(1)
    shape = WORKLOADS[options.workload]
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    model = Model(shape).to(dtype).eval()
    generate(model, shape, dtype, 4)
    prompt, rest = generate(model, shape, dtype, options.tokens)
    print(json.dumps({
        "peer": "torch", "version": torch.__version__, "workload": options.workload, "dtype": options.dtype,
        "threads": options.threads, "prompt_s": round(prompt, 4), "decode_s": round(rest, 4),
        "tokens_per_s": round(shape.batch * options.tokens / (prompt + rest), 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}))


if __name__ == "__main__":
    main()
