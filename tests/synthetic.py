"""Rows that look like those of a sweep, made up from a formula: for tests of tables and figures."""

import hashlib
import itertools
import math

# name: label, family, updates to learn at width 64 (of a budget of 1), state bytes at width d.
MODELS = {
    "attention": ("Attention", "softmax", 0.2, lambda d, t: 16 * d * t),
    "linformer:mqar": ("LinFormer", "linear transformer", 0.5, lambda d, t: 4 * d * d + 8 * d),
    "based": ("Based", "linear transformer", 0.4, lambda d, t: 2184 * d + 8 * d),
    "gla:mqar": ("GLA", "linear transformer", 0.5, lambda d, t: 4 * d * d + 8 * d),
    "metala:mqar": ("MetaLA", "linear transformer", 0.45, lambda d, t: 4 * d * d + 8 * d),
    "rwkv4": ("RWKV-4", "linear RNN", 3.0, lambda d, t: 40 * d),
    "hgrn": ("HGRN", "linear RNN", 2.5, lambda d, t: 24 * d),
    "mamba": ("Mamba", "state-space model", 1.1, lambda d, t: 256 * d + 24 * d),
}


def noise(*what):
    """A number from 0 to 1 that depends on the arguments alone."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def row(model="metala", d_model=64, lr=0.01, seed=0, **fields):
    """One finished run; every field can be set."""
    label, family, _, state = MODELS.get(model, (model, "linear RNN", 1.0, lambda d, t: 8 * d))
    made = {
        "task": "mqar",
        "task_version": 1,
        "preset": "quick",
        "label": label,
        "family": family,
        "model": model,
        "d_model": d_model,
        "lr": lr,
        "seed": seed,
        "data_seed": 0,
        "depth": 2,
        "conv": "k2",
        "channel_mixer": "none",
        "norm": "layer",
        "positions": "none",
        "vocabulary": 64,
        "length": 32,
        "pairs": 4,
        "filler": "zeros",
        "mixture": "none",
        "train_rows": 20_000,
        "valid_rows": 1000,
        "test_rows": 3000,
        "batch": 32,
        "updates": 700,
        "stop_at": 0.99,
        "selection": "validation",
        "schedule": "cosine",
        "evaluate_every": 100,
        "precision": "fp32",
        "shuffle": True,
        "metric": "accuracy",
        "higher_is_better": True,
        "value": 0.9,
        "valid": 0.9,
        "left_plateau": True,
        "stop": "budget",
        "steps": 700,
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
    made.setdefault("chance", 1 / made["pairs"])
    made.setdefault("state_bytes", state(d_model, made["length"]))
    named = [made[name] for name in ("model", "d_model", "lr", "seed", "length", "pairs", "conv")]
    made.setdefault("key", hashlib.sha256(repr(named).encode()).hexdigest()[:16])
    return made


def run(model, d_model, lr, seed, peak=0.01, **fields):
    """One run: a sudden rise after a plateau, the later the further lr is from `peak`."""
    made = row(model, d_model, lr, seed, **fields)
    speed = MODELS[model][2] * (64 / d_model) ** 1.2
    speed *= 1 + 0.6 * abs(math.log2(lr / peak)) + 0.3 * noise(model, d_model, lr, seed)
    chance, top = made["chance"], 1 - 0.4 * noise(model, "top") * (16 / d_model)
    for step in range(made["evaluate_every"], made["updates"] + 1, made["evaluate_every"]):
        progress = (step / made["updates"] - speed) / (0.15 * speed)
        valid = chance + (top - chance) / (1 + math.exp(-max(-50, progress)))
        valid = min(1.0, valid + 0.02 * (noise(model, d_model, lr, seed, step) - 0.5))
        made["curve_steps"].append(step)
        made["curve_valid"].append(valid)
        made["curve_loss"].append(-math.log(valid))
        if valid > made["stop_at"]:
            made["stop"] = "threshold"
            break
    made["steps"], made["valid"] = made["curve_steps"][-1], made["curve_valid"][-1]
    made["value"] = max(0.0, made["valid"] - 0.01 * noise(model, seed, lr))
    made["left_plateau"] = made["valid"] > chance + 0.1 * (1 - chance)
    return made


def failed(made, status):
    """The same run without result."""
    return {**made, "status": status, "value": None, "valid": None, "left_plateau": None}


def sweep(models=tuple(MODELS), widths=(16, 32, 64), rates=(0.003, 0.01, 0.03), seeds=1, **fields):
    """Every combination, one row each."""
    axes = itertools.product(models, widths, rates, range(seeds))
    return [run(*point, **fields) for point in axes]
