#!/usr/bin/env python3
"""One training step of a benchmark workload in PyTorch; prints one JSON line.

    pip install torch==2.15.0
    python scripts/peers/train.py --workload W1_babygpt --dtype f32 --threads 2 --steps 5 [--compile] [--fused]

A step is forward, loss, backward and AdamW on random tokens. The workload with LoRA is hand-written, or with --peft
the model of transformers with PEFT's adapters (pip install transformers==5.24.0 peft==0.21.2). bf16 keeps f32 master weights and autocasts the forward
pass (--pure: bf16 weights and moments throughout, which is less exact and no faster peer is known). Allocators are
tried from outside: LD_PRELOAD=libtcmalloc_minimal.so.4 or libjemalloc.so.2, THP_MEM_ALLOC_ENABLE=1 for huge pages.
The workloads of a GPU are in card.py: --workload llama1b_full --device cuda --dtype bf16. Their Llamas are in bf16
throughout, the fastest way; --masters gives them f32 weights and moments under autocast, which is what hone keeps.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import time

import torch
import torch.nn.functional as F

import card
from models import WORKLOADS, Model, adapt, peft_model


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True, choices=[w for w in WORKLOADS if not w.startswith("W4")] + list(card.TRAIN))
    parser.add_argument("--device", default="cpu", help="of the workloads of a GPU: cuda, or cpu with --tiny")
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    for flag in ("--compile", "--fused", "--pure", "--peft", "--tiny", "--masters"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.workload in card.TRAIN:
        return card.train(options)
    torch.manual_seed(1)
    shape = WORKLOADS[options.workload]
    if options.peft:
        model = peft_model(shape)
    else:
        model = adapt(Model(shape), shape.rank) if shape.rank else Model(shape)
    half = options.dtype == "bf16"
    if half and options.pure:
        model = model.to(torch.bfloat16)
    cast = torch.autocast("cpu", torch.bfloat16) if half and not options.pure else contextlib.nullcontext()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=options.fused)
    run = torch.compile(model) if options.compile else model
    ids = torch.randint(shape.vocab, (shape.batch, shape.time + 1))

    def step():
        with cast:
            loss = F.cross_entropy(run(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    step()
    seconds = []
    for _ in range(options.steps):
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    print(json.dumps({
        "peer": "torch", "version": torch.__version__, "workload": options.workload, "dtype": options.dtype,
        "threads": options.threads, "compile": options.compile, "fused": options.fused, "pure": options.pure, "peft": options.peft,
        "preload": os.environ.get("LD_PRELOAD", ""), "s_per_step": round(median, 4), "best": round(min(seconds), 4),
        "tokens_per_s": round(shape.batch * shape.time / median, 1), "loss": round(loss, 4),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}))


if __name__ == "__main__":
    main()
