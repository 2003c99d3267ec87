#!/usr/bin/env python3
"""Matrix products of training in PyTorch (MKL in f32, oneDNN in bf16), numpy (OpenBLAS) and oneDNN in f32; one JSON line per row.

    pip install torch==2.15.0 numpy==2.4.6
    OPENBLAS_NUM_THREADS=2 python scripts/peers/gemm.py --threads 2 [--seconds 0.3] [--dtype f32,bf16] [--large]

For a forward shape m x n x k (X [m, k], W [n, k]): forward X W^T, dx = dY W, dw += dY^T X. The best of the runs that
fit in --seconds; a pause before each contender, because OpenMP and OpenBLAS threads spin on after a call.
"""

import argparse
import json
import time

import numpy
import torch

LARGE = [(1024, 50304, 768), (512, 4096, 4096)]
SHAPES = [(2048, 1536, 384), (2048, 384, 1536), (1024, 3072, 768), (1024, 768, 3072)]
ATTENTION = 48  # products of 256 x 256 x 64 in one call


def best(call, seconds: float) -> float:
    time.sleep(0.05)
    call()
    end, fastest = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - begin)
    return fastest


def forms(x, w, dy):
    """The three products as (name, m, n, k, call); outputs are allocated once."""
    (m, k), n = x.shape, w.shape[0]
    dw = torch.zeros(n, k, dtype=x.dtype)
    y, dx = torch.empty_like(dy), torch.empty_like(x)
    yield "forward", m, n, k, lambda: torch.mm(x, w.T, out=y)
    yield "dx", m, k, n, lambda: torch.mm(dy, w, out=dx)
    yield "dw", n, k, m, lambda: dw.addmm_(dy.T, x)


def onednn_forms(x, w, dy):
    """oneDNN in f32, by the operator that compiled PyTorch uses: it allocates what it returns. dw is left out, whose first operand it copies."""
    (m, k), n = x.shape, w.shape[0]
    product = lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    yield "forward", m, n, k, lambda: product(x, w)
    yield "dx", m, k, n, lambda: product(dy, w.T)


def numpy_forms(x, w, dy):
    (m, k), n = x.shape, w.shape[0]
    y, dx, dw = numpy.empty_like(dy), numpy.empty_like(x), numpy.empty_like(w)
    yield "forward", m, n, k, lambda: numpy.matmul(x, w.T, out=y)
    yield "dx", m, k, n, lambda: numpy.matmul(dy, w, out=dx)
    yield "dw", n, k, m, lambda: numpy.matmul(dy.T, x, out=dw)


def attention(dtype):
    q, k, v, p = (torch.randn(ATTENTION, 256, d, dtype=dtype) for d in (64, 64, 64, 256))
    yield "attention_qk", 256, 256, 64, lambda: torch.bmm(q, k.transpose(1, 2))
    yield "attention_pv", 256, 64, 256, lambda: torch.bmm(p, v)
    yield "attention_dv", 256, 64, 256, lambda: torch.bmm(p.transpose(1, 2), v)


def report(peer: str, dtype: str, rows, seconds: float, batch: int = 1) -> None:
    for form, m, n, k, call in rows:
        gflops = 2e-9 * batch * m * n * k / best(call, seconds)
        print(json.dumps({"peer": peer, "dtype": dtype, "form": form, "m": m, "n": n, "k": k, "batch": batch,
                          "gflops": round(gflops, 1)}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--dtype", default="f32,bf16")
    parser.add_argument("--large", action="store_true", help="the 50304-wide head and 4096 x 4096 too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.dtype.split(","):
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[name]
        for m, n, k in SHAPES + (LARGE if options.large else []):
            operands = [torch.randn(shape, dtype=dtype) for shape in ((m, k), (n, k), (m, n))]
            report("torch", name, forms(*operands), options.seconds)
            if name == "f32":
                report("onednn", name, onednn_forms(*operands), options.seconds)
                report("numpy", name, numpy_forms(*(t.numpy() for t in operands)), options.seconds)
        report("torch", name, attention(dtype), options.seconds, ATTENTION)


if __name__ == "__main__":
    main()
