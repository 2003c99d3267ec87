#!/usr/bin/env python3
"""Loads adapters that hone wrote in PEFT and compares the logits with hone's: python scripts/peers/adapters.py HONE MODEL ADAPTER ...

Every ADAPTER is a folder of hone's, of any method, on the base MODEL. Prints the largest difference of each and fails above 1e-4 of the
largest logit.
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


def difference(hone: str, base: str, adapter: str, folder: Path) -> float:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    ids = torch.randint(0, model.config.vocab_size, (2, 17), generator=torch.Generator().manual_seed(1))
    (folder / "ids.json").write_text(json.dumps({"input_ids": ids.tolist()}))
    command = [hone, "logits", base, "--adapter", adapter, "--ids", str(folder / "ids.json"), "--out", str(folder / "ours.safetensors")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ours = load_file(folder / "ours.safetensors")["logits"]
    model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1]:]
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


hone, base, *adapters = sys.argv[1:]
worst = 0.0
with tempfile.TemporaryDirectory() as folder:
    for adapter in adapters:
        found = difference(hone, base, adapter, Path(folder))
        print(f"{adapter}: {found:.2g}")
        worst = max(worst, found)
sys.exit(worst > 1e-4)
