#!/usr/bin/env python3
"""Runs hone and PyTorch in turns on the training and generation workloads and prints the ratios.

    go build -o hone ./cmd/hone
    python scripts/peers/compare.py --hone ./hone [--workloads W1_babygpt,...] [--dtypes f32,bf16] [--repeats 3]
                                    [--steps 5] [--threads 2] [--settings eager,...] [--python PYTHON]

Each repeat runs hone, then every torch setting (eager and compiled, with the fused AdamW). The table shows the best
and the median over the repeats; "ratio" is the fastest torch setting's best divided by hone's best (above 1: hone is
faster), "memory" hone's peak divided by that setting's. Run it on an idle machine.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TORCH_TRAIN = {"eager": ["--fused"], "compiled": ["--fused", "--compile"]}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hone", default="./hone")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--workloads", default="W1_babygpt,W2_gpt2_124m,W3_smollm135m_full,W4_gen_b1,W4_gen_b16")
    parser.add_argument("--dtypes", default="f32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--settings", default="", help="torch settings to run, all of them when empty: eager,compiled,peft")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def commands(o, workload: str, dtype: str) -> dict[str, list[str]]:
    common = ["--workload", workload, "--dtype", dtype, "--threads", str(o.threads)]
    if workload.startswith("W4"):
        return {"hone": [o.hone, "bench", "generate", *common, "--json"],
                "eager": [o.python, str(HERE / "generate.py"), *common]}
    common += ["--steps", str(o.steps)]
    settings = TORCH_TRAIN | {"peft": ["--fused", "--peft"]} if "lora" in workload else TORCH_TRAIN
    torch = {name: [o.python, str(HERE / "train.py"), *common, *flags] for name, flags in settings.items()
             if not o.settings or name in o.settings.split(",")}
    return {"hone": [o.hone, "bench", "train", *common, "--json"], **torch}


def measure(command: list[str]) -> dict:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(o, workload: str, dtype: str) -> None:
    # seconds per step, or per new token when generating: smaller is better
    seconds, memory = {}, {}
    for _ in range(o.repeats):
        for name, command in commands(o, workload, dtype).items():
            result = measure(command)
            cost = result.get("s_per_step") or 1 / result["tokens_per_s"]
            seconds.setdefault(name, []).append(cost)
            memory[name] = max(memory.get(name, 0), result["peak_rss_mb"])
    peer = min((n for n in seconds if n != "hone"), key=lambda n: min(seconds[n]))
    for name, costs in seconds.items():
        tail = ""
        if name == "hone":
            tail = (f"  ratio {min(seconds[peer]) / min(costs):.2f} to {peer} "
                    f"(medians {statistics.median(seconds[peer]) / statistics.median(costs):.2f}), "
                    f"memory {memory[name] / memory[peer]:.2f}")
        print(f"{workload:20s} {dtype:4s} {name:9s} best {min(costs):9.4f} s  median {statistics.median(costs):9.4f} s  "
              f"{memory[name]:6.0f} MB{tail}", flush=True)


def main() -> None:
    o = arguments()
    for workload in o.workloads.split(","):
        for dtype in o.dtypes.split(","):
            compare(o, workload, dtype)


if __name__ == "__main__":
    main()
