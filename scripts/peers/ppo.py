#!/usr/bin/env python3
"""One PPO iteration of hone bench ppo in transformers and PEFT; prints one JSON line.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2
    python scripts/peers/ppo.py --workload W5_ppo_smollm135m --threads 2

generate with a key/value cache, then the reference (the base with the adapter off), the old log-probabilities and values, a
reward model of the same shape, GAE, and epochs of one update each with the clipped losses. Everything is random.
Log-probabilities are taken at the answers' tokens alone, as hone takes them.
"""

import argparse
import json
import resource
import time

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

PROMPT, NEW, BATCH, RANK = 64, 64, 16, 16
KL_COEF, GAMMA, LAM, CLIP, CLIP_VALUE, VF_COEF = 0.05, 1.0, 0.95, 0.2, 0.2, 0.1
CONFIG = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
              num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=2048, attn_implementation="sdpa",
              pad_token_id=0)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", default="W5_ppo_smollm135m", choices=["W5_ppo_smollm135m"])
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=1, help="to time; the last counts")
    parser.add_argument("--epochs", type=int, default=4, help="of the training of an iteration, one update each")
    parser.add_argument("--merge", action="store_true", help="merge the adapter into the weights while answers are written")
    return parser.parse_args()


def forward(policy, ids):
    """Gives hidden states before each answer token, [B, N, C], and the tokens' log-probabilities, [B, N]."""
    llama = policy.get_base_model()
    hidden = llama.model(input_ids=ids, use_cache=False).last_hidden_state[:, PROMPT - 1:-1]
    logits = llama.lm_head(hidden).float()
    return hidden, torch.gather(logits.log_softmax(-1), 2, ids[:, PROMPT:, None])[..., 0]


def advantages(rewards, values):
    """Generalised advantage estimation, and the returns."""
    out, last = torch.zeros_like(rewards), 0.0
    for t in reversed(range(NEW)):
        following = values[:, t + 1] if t + 1 < NEW else 0.0
        last = rewards[:, t] + GAMMA * following - values[:, t] + GAMMA * LAM * last
        out[:, t] = last
    return (out - out.mean()) / (out.std() + 1e-8), out + values


@torch.no_grad()
def score(policy, head, judge, ids):
    with policy.disable_adapter():
        _, reference = forward(policy, ids)
    hidden, old = forward(policy, ids)
    values = head(hidden)[..., 0].float()
    rewards = -KL_COEF * (old - reference)
    rewards[:, -1] += judge(input_ids=ids).logits[:, 0].float()
    return old, values, *advantages(rewards, values)


def loss(policy, head, ids, old, values, advantage, returns):
    hidden, now = forward(policy, ids)
    ratio = (now - old).exp()
    surrogate = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
    v = head(hidden)[..., 0].float()
    clipped = values + (v - values).clamp(-CLIP_VALUE, CLIP_VALUE)
    return surrogate + VF_COEF * 0.5 * torch.maximum((v - returns) ** 2, (clipped - returns) ** 2).mean()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    policy = get_peft_model(LlamaForCausalLM(LlamaConfig(**CONFIG)).to(dtype),
                            LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    judge = LlamaForSequenceClassification(LlamaConfig(num_labels=1, **CONFIG)).to(dtype).eval()
    head = torch.nn.Linear(CONFIG["hidden_size"], 1).to(dtype)
    trained = [p for p in policy.parameters() if p.requires_grad] + list(head.parameters())
    optimizer = torch.optim.AdamW(trained, lr=3e-5, fused=True)
    prompts = torch.randint(1, CONFIG["vocab_size"], (BATCH, PROMPT))
    for _ in range(options.iterations):
        times = [time.perf_counter()]
        policy.eval()
        if options.merge:
            policy.merge_adapter()
        with torch.no_grad():
            ids = policy.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=0,
                                  temperature=1.0, min_new_tokens=NEW, max_new_tokens=NEW, pad_token_id=0, eos_token_id=2)
        if options.merge:
            policy.unmerge_adapter()
        times.append(time.perf_counter())
        batch = score(policy, head, judge, ids)
        times.append(time.perf_counter())
        policy.train()
        for _ in range(options.epochs):
            loss(policy, head, ids, *batch).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter())
    rollout, scoring, training = (round(b - a, 2) for a, b in zip(times, times[1:]))
    print(json.dumps({
        "peer": "torch", "version": torch.__version__, "workload": options.workload, "dtype": options.dtype, "epochs": options.epochs, "merge": options.merge, "threads": options.threads,
        "s_per_iteration": round(times[-1] - times[0], 2), "rollout_s": rollout, "scoring_s": scoring, "training_s": training,
        "rollout_tokens_per_s": round(BATCH * NEW / rollout, 1), "cpu_s": round(time.process_time(), 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}))


if __name__ == "__main__":
    main()
