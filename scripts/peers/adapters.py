#!/usr/bin/env python3
"""Loads adapters that hone wrote in PEFT and compares the logits with hone's: python scripts/peers/adapters.py HONE MODEL [--together] ADAPTER ...

Every ADAPTER is a folder of hone's, of any method, on the base MODEL. Prints the largest difference of each, with --together first also that of
all together (LoRA, weighted, as add_weighted_adapter's "cat"), and fails above 1e-4 of the largest logit.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def difference(hone: str, base: str, adapters: list[str], folder: Path) -> float:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    ids = torch.randint(0, model.config.vocab_size, (2, 17), generator=torch.Generator().manual_seed(1))
    (folder / "ids.json").write_text(json.dumps({"input_ids": ids.tolist()}))
    command = [hone, "logits", base, "--ids", str(folder / "ids.json"), "--out", str(folder / "ours.safetensors")]
    for adapter in adapters:
        command += ["--adapter", adapter]
    weights = [0.5 + 0.25 * i for i in range(len(adapters))]
    if len(adapters) > 1:
        command += ["--adapter-weights", ",".join(map(str, weights))]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ours = load_file(folder / "ours.safetensors")["logits"]
    model = PeftModel.from_pretrained(model, adapters[0], adapter_name="0").eval()
    if len(adapters) > 1:
        for i, adapter in enumerate(adapters[1:], 1):
            model.load_adapter(adapter, adapter_name=str(i))
        model.add_weighted_adapter([str(i) for i in range(len(adapters))], weights, "all", combination_type="cat")
        model.set_adapter("all")
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1]:]
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


hone, base, *adapters = sys.argv[1:]
sets = [[adapter] for adapter in adapters if adapter != "--together"]
if "--together" in adapters:
    sets.append([adapter for [adapter] in sets])
worst = 0.0
with tempfile.TemporaryDirectory() as folder:
    for some in sets:
        found = difference(hone, base, some, Path(folder))
        print(f"{' + '.join(some)}: {found:.2g}")
        worst = max(worst, found)
sys.exit(worst > 1e-4)
