#!/usr/bin/env python3
"""Writes testdata/golden/preference.json: losses of preference and policy learning, with their gradients.

    pip install torch==2.15.0 trl==1.16.0
    python testdata/gen/preference.py

Inputs are f32; results are computed from them in float64 by torch. simpo and orpo call TRL's own functions
(CPOTrainer.cpo_loss, ORPOTrainer.odds_ratio_loss). The others are TRL 1.16's formulas, from inside its _compute_loss methods
(dpo_trainer.py, kto_trainer.py, grpo_trainer.py, rloo_trainer.py, reward_trainer.py), and for PPO those of the PPOTrainer that
TRL had until 2026 (pull request 7020 removed it), with the dual clip of OpenRLHF. Each case has

    name, options, inputs {name: list}, loss, grads {name: list}

Host functions (gae, whiten, group, rloo) have outputs instead.

It also writes testdata/golden/score/llama and score/gpt2: tiny models of transformers' sequence classification with one label,
and scores.json: sequences and their scores, computed in one right-padded and in one left-padded batch, which must agree.
"""

import json
import math
import pathlib
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2ForSequenceClassification, LlamaConfig, LlamaForSequenceClassification
from trl.experimental.cpo.cpo_trainer import CPOTrainer
from trl.experimental.orpo.orpo_trainer import ORPOTrainer

G = torch.Generator().manual_seed(11)
CASES: list[dict] = []


def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return (torch.randn(shape, generator=G) * scale + shift).float().double()


def case(name: str, function, inputs: dict, options: dict, constants: dict | None = None) -> None:
    leaves = {k: v.clone().requires_grad_() for k, v in inputs.items()}
    loss = function(**leaves, **(constants or {}), **options)
    loss.backward()
    every = inputs | (constants or {})
    CASES.append({
        "name": name, "options": options, "inputs": {k: v.tolist() for k, v in every.items()}, "loss": loss.item(),
        "grads": {k: v.grad.tolist() for k, v in leaves.items()},
    })


def host(name: str, inputs: dict, options: dict, outputs: dict) -> None:
    CASES.append({"name": name, "options": options, "inputs": inputs, "outputs": outputs})


def reward(chosen, rejected, margins, center):
    loss = -F.logsigmoid(chosen - rejected - margins).mean()
    return loss + center * torch.mean((chosen + rejected) ** 2)


def delta(chosen, rejected, ref_chosen, ref_rejected):
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def sigmoid(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta, smoothing):
    d = beta * delta(chosen, rejected, ref_chosen, ref_rejected)
    return (-F.logsigmoid(d) * (1 - smoothing) - F.logsigmoid(-d) * smoothing).mean()


def hinge(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta):
    return torch.relu(1 - beta * delta(chosen, rejected, ref_chosen, ref_rejected)).mean()


def ipo(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta):
    d = (chosen - ref_chosen) / chosen_tokens - (rejected - ref_rejected) / rejected_tokens
    return ((d - 1 / (2 * beta)) ** 2).mean()


def ipo_sum(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta):
    return ((delta(chosen, rejected, ref_chosen, ref_rejected) - 1 / (2 * beta)) ** 2).mean()


def robust(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta, smoothing):
    d = beta * delta(chosen, rejected, ref_chosen, ref_rejected)
    return ((-F.logsigmoid(d) * (1 - smoothing) + F.logsigmoid(-d) * smoothing) / (1 - 2 * smoothing)).mean()


def fake(**fields):
    return SimpleNamespace(accelerator=SimpleNamespace(device="cpu"), **fields)


def simpo(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta, gamma, smoothing):
    self = fake(alpha=0.0, loss_type="simpo", simpo_gamma=gamma, beta=beta, label_smoothing=smoothing)
    losses, _, _ = CPOTrainer.cpo_loss(self, chosen / chosen_tokens, rejected / rejected_tokens)
    return losses.mean()


class NoFloat(torch.Tensor):
    """A float64 tensor that stays one, for functions that compute in f32."""

    def float(self):
        return self


def orpo(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens, beta):
    average = [(x / n).as_subclass(NoFloat) for x, n in ((chosen, chosen_tokens), (rejected, rejected_tokens))]
    losses, *_ = ORPOTrainer.odds_ratio_loss(fake(beta=beta), *average)
    nll = -chosen.sum() / chosen_tokens.sum()
    return nll - losses.mean().as_subclass(torch.Tensor)


def kto(logps, ref, desirable, kl, beta, desirable_weight, undesirable_weight):
    ratio = logps - ref
    good = desirable_weight * (1 - torch.sigmoid(beta * (ratio - kl)))
    bad = undesirable_weight * (1 - torch.sigmoid(beta * (kl - ratio)))
    return torch.where(desirable > 0, good, bad).mean()


def ppo_policy(logps, old, advantages, mask, low, high, dual):
    ratio = torch.exp(logps - old)
    loss = torch.max(-advantages * ratio, -advantages * torch.clamp(ratio, 1 - low, 1 + high))
    if dual > 0:  # OpenRLHF, models/loss.py, PolicyLoss with dual_clip
        loss = torch.where(advantages < 0, torch.min(loss, -dual * advantages), loss)
    return (loss * mask).sum() / mask.sum()


def ppo_value(values, old, returns, mask, clip):
    clipped = torch.clamp(values, old - clip, old + clip)
    return 0.5 * (torch.max((values - returns) ** 2, (clipped - returns) ** 2) * mask).sum() / mask.sum()


def kl(logps, ref, mask, estimator):
    d = logps - ref
    per_token = {"k1": d, "k2": d**2 / 2, "k3": torch.exp(-d) - 1 + d}[estimator]
    return (per_token * mask).sum() / mask.sum()


def grpo(logps, old, ref, advantages, mask, loss_type, low, high, beta, longest):
    """logps, old, ref, mask [S, T], advantages [S]."""
    advantages = advantages.unsqueeze(1)
    ratio_log = logps - old
    if loss_type == "gspo":
        ratio_log = ((ratio_log * mask).sum(-1) / mask.sum(-1)).unsqueeze(-1)
    if loss_type == "rloo":
        ratio_log = (ratio_log * mask).sum(-1).unsqueeze(-1)
    ratio = torch.exp(ratio_log)
    per_token = -torch.min(ratio * advantages, torch.clamp(ratio, 1 - low, 1 + high) * advantages)
    if loss_type == "rloo":
        return per_token.mean()
    if beta:
        per_token = per_token + beta * (torch.exp(ref - logps) - (ref - logps) - 1)
    if loss_type in ("grpo", "gspo"):
        return ((per_token * mask).sum(-1) / mask.sum(-1)).mean()
    if loss_type == "dr_grpo":
        return (per_token * mask).sum() / (len(mask) * longest)
    return (per_token * mask).sum() / mask.sum()


def masked_whiten(x, mask, shift):
    mean = (x * mask).sum() / mask.sum()
    var = (((x - mean) ** 2) * mask).sum() / mask.sum()
    var = var * mask.sum() / (mask.sum() - 1)
    out = (x - mean) * torch.rsqrt(var + 1e-8)
    return out if shift else out + mean


def gae(rewards, values, gamma, lam):
    last, reversed_ = 0.0, []
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t < len(rewards) - 1 else 0.0
        last = rewards[t] + gamma * following - values[t] + gamma * lam * last
        reversed_.append(last)
    advantages = torch.stack(reversed_[::-1])
    return advantages, advantages + values


def scorers() -> None:
    sequences = [[5, 9, 31, 2], [7, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [38]]
    width = max(map(len, sequences))
    llama = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2, max_position_embeddings=32, num_labels=1, pad_token_id=0, initializer_range=0.3)
    gpt2 = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=4, n_positions=32, num_labels=1, pad_token_id=0, initializer_range=0.3)
    for name, config, build in (("llama", llama, LlamaForSequenceClassification), ("gpt2", gpt2, GPT2ForSequenceClassification)):
        torch.manual_seed(5)
        model = build(config).eval()
        folder = pathlib.Path(__file__).parent.parent / "golden" / "score" / name
        model.save_pretrained(folder)
        results = []
        for side in ("right", "left"):
            rows = [s + [0] * (width - len(s)) if side == "right" else [0] * (width - len(s)) + s for s in sequences]
            mask = [[1] * len(s) + [0] * (width - len(s)) if side == "right" else [0] * (width - len(s)) + [1] * len(s) for s in sequences]
            mask = torch.tensor(mask)
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            with torch.no_grad():
                out = model.double()(input_ids=torch.tensor(rows), attention_mask=mask, position_ids=positions)
            results.append(out.logits[:, 0])
        assert torch.allclose(*results, atol=1e-9)
        (folder / "scores.json").write_text(json.dumps({"sequences": sequences, "scores": results[0].tolist()}) + "\n")


def main() -> None:
    scorers()
    n = 6
    case("reward", reward, {"chosen": normal(n), "rejected": normal(n)}, {"center": 0.25}, {"margins": normal(n, scale=0.3)})
    pairs = {"chosen": normal(n, scale=3, shift=-12), "rejected": normal(n, scale=3, shift=-14)}
    fixed = {
        "ref_chosen": normal(n, scale=3, shift=-12), "ref_rejected": normal(n, scale=3, shift=-14),
        "chosen_tokens": torch.tensor([4.0, 7, 9, 3, 11, 5]).double(), "rejected_tokens": torch.tensor([6.0, 2, 9, 8, 10, 7]).double(),
    }
    case("sigmoid", sigmoid, pairs, {"beta": 0.5, "smoothing": 0.0}, fixed)
    case("sigmoid", sigmoid, pairs, {"beta": 0.5, "smoothing": 0.25}, fixed)
    case("hinge", hinge, pairs, {"beta": 0.125}, fixed)
    case("ipo", ipo, pairs, {"beta": 0.5}, fixed)
    case("ipo_sum", ipo_sum, pairs, {"beta": 0.5}, fixed)
    case("robust", robust, pairs, {"beta": 0.5, "smoothing": 0.25}, fixed)
    case("simpo", simpo, pairs, {"beta": 2.0, "gamma": 0.5, "smoothing": 0.0}, fixed)
    case("simpo", simpo, pairs, {"beta": 2.0, "gamma": 0.5, "smoothing": 0.125}, fixed)
    case("orpo", orpo, pairs, {"beta": 0.25}, fixed)
    case("kto", kto, {"logps": normal(n, scale=2, shift=-9)}, {"beta": 0.25, "desirable_weight": 1.0, "undesirable_weight": 1.5, "kl": 0.75},
         {"ref": normal(n, scale=2, shift=-9), "desirable": torch.tensor([1.0, 0, 0, 1, 1, 0]).double()})

    m = 9
    mask = torch.tensor([1.0, 1, 0, 1, 1, 1, 0, 1, 1]).double()
    logps = normal(m, scale=0.4, shift=-2)
    for dual in (0.0, 1.25):
        case("ppo_policy", ppo_policy, {"logps": logps}, {"low": 0.125, "high": 0.25, "dual": dual},
             {"old": (logps + normal(m, scale=0.4)).float().double(), "advantages": normal(m), "mask": mask})
    case("ppo_value", ppo_value, {"values": normal(m)}, {"clip": 0.25}, {"old": normal(m), "returns": normal(m), "mask": mask})
    for estimator in ("k1", "k2", "k3"):
        case("kl", kl, {"logps": logps}, {"estimator": estimator}, {"ref": (logps + normal(m, scale=0.5)).float().double(), "mask": mask})

    s, t = 4, 5
    mask = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]).double()
    logps = normal(s, t, scale=0.4, shift=-2)
    fixed = {"old": (logps + normal(s, t, scale=0.3)).float().double(), "ref": (logps + normal(s, t, scale=0.5)).float().double(),
             "advantages": normal(s), "mask": mask}
    for loss_type in ("grpo", "dr_grpo", "dapo", "gspo", "rloo"):
        case(loss_type, grpo, {"logps": logps},
             {"loss_type": loss_type, "low": 0.125, "high": 0.25, "beta": 0.0625, "longest": 8}, fixed)

    rewards, values = normal(7, scale=0.3), normal(7)
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5), (1.0, 1.0)):
        advantages, returns = gae(rewards, values, gamma, lam)
        host("gae", {"rewards": rewards.tolist(), "values": values.tolist()}, {"gamma": gamma, "lambda": lam},
             {"advantages": advantages.tolist(), "returns": returns.tolist()})
    x = normal(9, shift=2)
    for shift in (True, False):
        host("whiten", {"x": x.tolist()}, {"shift": shift}, {"y": masked_whiten(x, torch.ones(9).double(), shift).tolist()})
    r = normal(8).view(2, 4)
    host("group", {"rewards": r.flatten().tolist()}, {"scale": "group", "size": 4},
         {"advantages": ((r - r.mean(1, keepdim=True)) / (r.std(1, keepdim=True) + 1e-4)).flatten().tolist()})
    host("group", {"rewards": r.flatten().tolist()}, {"scale": "batch", "size": 4},
         {"advantages": ((r - r.mean(1, keepdim=True)) / (r.std() + 1e-4)).flatten().tolist()})
    host("group", {"rewards": r.flatten().tolist()}, {"scale": "none", "size": 4},
         {"advantages": (r - r.mean(1, keepdim=True)).flatten().tolist()})
    host("rloo_advantages", {"rewards": r.flatten().tolist()}, {"size": 4},
         {"advantages": (r - (r.sum(1, keepdim=True) - r) / 3).flatten().tolist()})
    assert math.isfinite(sum(c.get("loss", 0.0) for c in CASES))
    path = pathlib.Path(__file__).parent.parent / "golden" / "preference.json"
    path.write_text("[\n" + ",\n".join(json.dumps(c) for c in CASES) + "\n]\n")


if __name__ == "__main__":
    main()
