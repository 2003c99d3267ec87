#!/usr/bin/env python3
"""Measures datatrove's filters and MinHash signatures on one core, in MB/s, on the texts of BenchmarkSteps.

    pip install "datatrove[processing]==0.10.1" spacy nltk
    go test ./data/curate -run xxx -bench Steps -cpu 1
    python scripts/peers/curate.py [--seconds 3]

Documents are read before the clock starts, and each filter sees each document fresh.
"""

import argparse
import pathlib
import random
import subprocess
import time

from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.formatters import PIIFormatter

WORDS = """farmer captain brother printer winter committee river lantern neighbour house stone ship cargo road town chair walked
remembered carried mended looked spoke grey old seven broken quiet early under over between after through garden letter bread window""".split()


def prose(n: int) -> str:
    r = random.Random(n)
    lines = []
    for _ in range(n):
        w = r.choices(WORDS, k=8)
        lines.append(" ".join(["The", *w[:4], "of the", *w[4:]]) + ".\n")
    return "".join(lines)


def texts() -> dict[str, list[str]]:
    root = pathlib.Path(subprocess.check_output(["go", "env", "GOROOT"], text=True).strip()) / "src"
    files = sorted(f for name in ("net", "encoding") for f in (root / name).rglob("*.go"))
    return {"source": [f.read_text(errors="replace") for f in files], "prose": [prose(20 + n) for n in range(400)]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3)
    seconds = parser.parse_args().seconds
    signature = MinhashDedupSignature(output_folder="/tmp/unused", config=MinhashConfig())
    pii = PIIFormatter()
    steps = {
        "pii": lambda d: pii.format(d.text),
        "gopher_repetition": GopherRepetitionFilter().filter,
        "gopher_quality": GopherQualityFilter().filter,
        "c4": C4QualityFilter().filter,
        "fineweb": FineWebQualityFilter().filter,
        "minhash": lambda d: signature.get_signature(signature.get_shingles(d.text)),
    }
    for kind, all_texts in texts().items():
        for name, step in steps.items():
            step(Document(text=all_texts[0], id="0"))  # loads what it needs
            done, begin = 0, time.perf_counter()
            for i, text in enumerate(all_texts):
                step(Document(text=text, id=str(i)))
                done += len(text.encode())
                if time.perf_counter() - begin > seconds:
                    break
            print(f"{kind}/{name}: {done / 1e6 / (time.perf_counter() - begin):.2f} MB/s", flush=True)


main()
