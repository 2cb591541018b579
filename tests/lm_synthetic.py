"""Rows that look like those of language models, made up from a formula."""

import hashlib
import itertools
import math

# name: label, family, bits per byte at the end, parameters of its mixer, state bytes.
MODELS = {
    "attention": ("Attention", "softmax", 2.45, 262_144, 1_048_576),
    "linformer": ("LinFormer", "linear transformer", 2.9, 262_656, 66_048),
    "gla": ("GLA", "linear transformer", 2.38, 213_504, 33_024),
    "metala": ("MetaLA", "linear transformer", 2.36, 199_168, 34_048),
    "hgrn": ("HGRN", "linear RNN", 2.5, 263_168, 2048),
    "rwkv4": ("RWKV-4", "linear RNN", 2.52, 264_704, 10_240),
    "mamba": ("Mamba", "state-space model", 2.361, 435_200, 71_680),
}
ROPE = {"attention": "rope"}
BODY = 788_000  # parameters without embedding that all models are made to have
# name: chance.
PROBES = {"last_word": 0.0, "copy": 1 / 257, "induction": 1 / 63, "needle": 1 / 8}
PROBES |= {f"induction_{gap}": 1 / 63 for gap in (32, 64, 128)}
PROBES |= {f"needle_{size}": 1 / 8 for size in (128, 256, 512)}
PROBES |= {"last_word_nats": None, "copy_bits_saved": 0.0}
BASELINES = {"xz": 2.204, "unigram": 4.553}
LENGTH = 256


def noise(*what):
    """A number from 0 to 1 that depends on the arguments alone."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def row(model="metala", lr=0.003, seed=0, **fields):
    """One finished run; every field can be set."""
    label, family, _, mixer, state = MODELS.get(model, (model, "linear RNN", 2.6, 260_000, 8192))
    made = {
        "task": "lm",
        "task_version": 1,
        "preset": "quick",
        "label": label,
        "family": family,
        "model": model,
        "d_model": 128,
        "depth": 4,
        "conv": "own",
        "channel_mixer": "swiglu",
        "norm": "rms",
        "positions": ROPE.get(model, "none"),
        "initialisation": "own",
        "match": "attention",
        "d_channel": 0,
        "tied": True,
        "corpus": "classics",
        "tokeniser": "bytes",
        "text_sha256": "",
        "seq_len": LENGTH,
        "batch": 16,
        "updates": 600,
        "lr": lr,
        "schedule": "cosine",
        "warmup": 60,
        "evaluate_every": 50,
        "valid_tokens": 65_536,
        "test_tokens": 0,
        "precision": "fp32",
        "accumulate": 1,
        "seed": seed,
        "data_seed": 0,
        "metric": "bits per byte",
        "higher_is_better": False,
        "value": 2.4,
        "valid": 2.4,
        "baselines": BASELINES,
        "data_source": "embedded, sha256 0a1b2c3d",
        "data_sha256": {"test": hashlib.sha256(b"classics").hexdigest()},
        "inner": round((BODY - 1152 - mixer) / 12 / 128),
        "state_bytes": state,
        "flops_per_token": 4.9e6 + 6 * mixer / 10,
        "step_seconds": 0.2 + mixer / 4e6,
        "peak_memory_kind": "process, during the run",
        "word_perplexity": None,
        "stop": "budget",
        "steps": 600,
        "status": "ok",
        "error": "",
        "curve_steps": [],
        "curve_valid": [],
        "curve_loss": [],
        "device": "cpu x86_64",
        "torch": "2.13.0+cpu",
        "version": "0.1.0",
        "git": "0123456789ab",
        "time": f"2026-01-01T00:00:{seed:02d}+00:00",
        **fields,
    }
    channel = 12 * 128 * made["inner"]
    roles = {"q": mixer // 2, "out": mixer - mixer // 2, "channel": channel, "norm": 1152}
    roles |= {"embedding": 257 * 128, "head": 0}
    made.setdefault("parameters_by_role", roles)
    made.setdefault("parameters", sum(made["parameters_by_role"].values()))
    made.setdefault("parameters_embedding", roles["embedding"] + roles["head"])
    made.setdefault("tokens_per_second", made["batch"] * made["seq_len"] / made["step_seconds"])
    made.setdefault("peak_memory_bytes", 300_000_000 + 500 * mixer)
    if made["value"] is not None:
        made.setdefault("value_nats", made["value"] * math.log(2))
        made.setdefault("token_perplexity", 2 ** made["value"])
    varied = ("model", "lr", "seed", "data_seed", "conv", "updates", "corpus", "tokeniser")
    named = [made[name] for name in (*varied, "d_model", "preset", "seq_len")]
    made.setdefault("key", hashlib.sha256(repr(named).encode()).hexdigest()[:16])
    return made


def run(model, lr, seed, **fields):
    """One run with a curve, loss by position, and probes."""
    label = MODELS.get(model, ("", "", 2.3 + noise(model)))
    worse = 0.03 * abs(math.log2(lr / 0.003)) - 0.04 * (fields.get("conv", "own") != "own")
    end = label[2] + worse + 0.008 * (noise(model, lr, seed) - 0.5) + 0.01 * noise("data", seed)
    made = row(model, lr, seed, **{"value": end, "valid": end + 0.01} | fields)
    for step in range(made["evaluate_every"], made["updates"] + 1, made["evaluate_every"]):
        left = 1 - step / made["updates"]
        valid = made["valid"] + (3.2 - 0.6 * noise(model)) * left ** (3 + 2 * noise(model, "how"))
        made["curve_steps"].append(step)
        made["curve_valid"].append(valid)
        made["curve_loss"].append(valid * math.log(2))
    edges = [0, *(2**i for i in range(made["seq_len"].bit_length())), made["seq_len"]]
    edges = sorted(set(edges))
    bits = [end + 2.6 * 2 ** (-0.8 * i) - 0.02 * i for i in range(len(edges) - 1)]
    made["by_position"] = {"edges": edges, "bits_per_byte": bits}
    made["probes"] = {name: probe(name, model, seed) for name in PROBES}
    return made


def probe(name, model, seed):
    """Answers to 500 questions, some of them right by chance."""
    level = PROBES[name] or 0.0
    value = level + (1 - level) * 0.4 * noise(model, name, seed) ** 2
    error = math.sqrt(value * (1 - value) / 500)
    made = {"value": value, "stderr": error, "chance": PROBES[name], "n": 500}
    return made | ({"extrapolated": True} if name == "needle_512" else {})


def failed(made, status="diverged"):
    """The same run without result."""
    lost = dict.fromkeys(("value", "valid", "value_nats", "token_perplexity", "probes"))
    return {**made, "status": status, **lost, "by_position": None}


def sweep(models=tuple(MODELS), rates=(0.003,), seeds=1, **fields):
    """Every combination, one row each."""
    return [run(*point, **fields) for point in itertools.product(models, rates, range(seeds))]
