#!/usr/bin/env python3
"""Writes testdata/golden/preference_steps.json: updates of a reward model, of DPO and of PPO.

    pip install torch==2.15.0 transformers==5.24.0
    python testdata/gen/preference_steps.py

dpo_experts is DPO of a mixture of experts with its load-balancing loss, over all tokens of the batch, as TRL adds it.
Each case starts from a tiny model of testdata/golden (score/llama, llama_untied, mixtral) and makes five AdamW updates on one batch, in
float64, with padding on the right: lr 1e-3, betas 0.9 and 0.95, eps 1e-8, no weight decay, gradients clipped to norm 1. losses
and norms (before clipping) are those of each step. Sequences have the number of their first answer token, from.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
G = torch.Generator().manual_seed(23)
BETA, CENTER = 0.5, 0.125


def tokens(n: int, vocab: int) -> list[int]:
    return torch.randint(3, vocab, (n,), generator=G).tolist()


def numbers(n: int, scale: float) -> list[float]:
    return (torch.randn(n, generator=G) * scale).float().tolist()


def pad(sequences):
    width = max(map(len, sequences))
    ids = torch.tensor([s + [0] * (width - len(s)) for s in sequences])
    mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
    return ids, mask


def log_probs(model, sequences):
    """Log-probabilities [S, T-1] of each next token, and the mask of answer tokens for given starts."""
    ids, mask = pad(sequences)
    logits = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    logp = torch.log_softmax(logits.logits[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
    return logp, logits.hidden_states[-1][:, :-1]


def answers(sequences, starts):
    width = max(map(len, sequences))
    mask = torch.zeros(len(sequences), width - 1).double()
    for i, (s, start) in enumerate(zip(sequences, starts)):
        mask[i, start - 1:len(s) - 1] = 1
    return mask


def train(parameters, loss_of):
    parameters = list(parameters)
    opt = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    losses, norms = [], []
    for _ in range(5):
        opt.zero_grad()
        loss = loss_of()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        losses.append(loss.item())
        opt.step()
    return {"losses": losses, "norms": norms}


def pairs(vocab):
    out = []
    for n in range(4):
        prompt = tokens(3 + n, vocab)
        out.append({"from": len(prompt), "chosen": prompt + tokens(4 + n % 3, vocab), "rejected": prompt + tokens(6 - n, vocab),
                    "margin": numbers(1, 0.3)[0]})
    return out


def reward():
    model = AutoModelForSequenceClassification.from_pretrained(GOLDEN / "score" / "llama").double().train()
    data = pairs(40)
    margins = torch.tensor([p["margin"] for p in data]).double()

    def loss():
        scores = []
        for side in ("chosen", "rejected"):
            ids, mask = pad([p[side] for p in data])
            scores.append(model(input_ids=ids, attention_mask=mask).logits[:, 0])
        c, r = scores
        return -F.logsigmoid(c - r - margins).mean() + CENTER * ((c + r) ** 2).mean()

    return {"pairs": data} | train(model.parameters(), loss)


def dpo():
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "llama_untied").double().train()
    data = pairs(97)

    def sums():
        out = []
        for side in ("chosen", "rejected"):
            seqs = [p[side] for p in data]
            logp, _ = log_probs(model, seqs)
            out.append((logp * answers(seqs, [p["from"] for p in data])).sum(-1))
        return out

    with torch.no_grad():
        ref = sums()

    def loss():
        c, r = sums()
        return -F.logsigmoid(BETA * ((c - ref[0]) - (r - ref[1]))).mean()

    return {"pairs": data} | train(model.parameters(), loss)


def dpo_experts():
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "mixtral", experts_implementation="eager").double().train()
    data = pairs(97)
    seqs = [p[side] for side in ("chosen", "rejected") for p in data]
    mask = answers(seqs, [p["from"] for p in data] * 2)

    def sums():
        ids, attention = pad(seqs)
        out = model(input_ids=ids, attention_mask=attention, output_router_logits=True)
        logp = torch.log_softmax(out.logits[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
        return (logp * mask).sum(-1).chunk(2), out.aux_loss

    with torch.no_grad():
        ref, _ = sums()

    def loss():
        (c, r), aux = sums()
        return -F.logsigmoid(BETA * ((c - ref[0]) - (r - ref[1]))).mean() + model.config.router_aux_loss_coef * aux

    return {"pairs": data} | train(model.parameters(), loss)


def ppo():
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "llama_untied").double().train()
    hidden = model.config.hidden_size
    head = torch.nn.Linear(hidden, 1).double()
    start = {"weight": numbers(hidden, 0.05), "bias": numbers(1, 0.1)}
    head.weight.data = torch.tensor([start["weight"]]).double()
    head.bias.data = torch.tensor(start["bias"]).double()
    seqs, starts = [], []
    for n in range(4):
        prompt = tokens(3 + n, 97)
        seqs.append(prompt + tokens(5 - n % 2, 97))
        starts.append(len(prompt))
    mask = answers(seqs, starts)
    with torch.no_grad():
        logp, _ = log_probs(model, seqs)
    rows = []
    old, ref, values, advantages, returns = (torch.zeros_like(mask) for _ in range(5))
    for i, (s, at) in enumerate(zip(seqs, starts)):
        n = len(s) - at
        row = {"ids": s, "from": at, "logprobs": [], "ref": [], "values": numbers(n, 0.5), "advantages": numbers(n, 1.0), "returns": numbers(n, 0.5)}
        row["logprobs"] = [float(torch.tensor(logp[i, at - 1 + k].item() + d).float()) for k, d in enumerate(numbers(n, 0.2))]
        row["ref"] = [float(torch.tensor(logp[i, at - 1 + k].item() + d).float()) for k, d in enumerate(numbers(n, 0.3))]
        for name, t in (("logprobs", old), ("ref", ref), ("values", values), ("advantages", advantages), ("returns", returns)):
            t[i, at - 1:at - 1 + n] = torch.tensor(row[name]).double()
        rows.append(row)

    def loss():
        logp, h = log_probs(model, seqs)
        v = head(h)[..., 0]
        ratio = torch.exp((logp - old) * mask)
        pg = torch.max(-advantages * ratio, -advantages * torch.clamp(ratio, 0.8, 1.2))
        clipped = values + torch.clamp(v - values, -0.2, 0.2)
        vf = 0.5 * torch.max((v - returns) ** 2, (clipped - returns) ** 2)
        d = (logp - ref) * mask
        kl = torch.exp(-d) - 1 + d
        return ((pg + 0.1 * vf + 0.05 * kl) * mask).sum() / mask.sum()

    return {"head": start, "answers": rows} | train([*model.parameters(), *head.parameters()], loss)


def main() -> None:
    cases = {"reward": reward(), "dpo": dpo(), "ppo": ppo(), "dpo_experts": dpo_experts()}
    (GOLDEN / "preference_steps.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in cases.items()) + "\n}\n")


if __name__ == "__main__":
    main()
