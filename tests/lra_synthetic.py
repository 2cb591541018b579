"""Rows that look like those of the Long Range Arena, made up from a formula."""

import hashlib
import itertools
import math

from results import published

# name: label, family, how well it learns, from 0 to 1.
MODELS = {
    "attention": ("Attention", "softmax", 0.3),
    "hgrn": ("HGRN", "linear RNN", 0.9),
    "mamba": ("Mamba", "state-space model", 0.6),
    "metala": ("MetaLA", "linear transformer", 0.95),
}
MANY = MODELS | {
    "based": ("Based", "linear transformer", 0.5),
    "retnet": ("RetNet", "linear transformer", 0.65),
    "lru": ("LRU", "linear RNN", 0.85),
    "rwkv4": ("RWKV-4", "linear RNN", 0.7),
    "dss:softmax": ("DSS (softmax)", "state-space model", 0.8),
    "s5": ("S5", "state-space model", 0.92),
    "gated_delta_net": ("Gated DeltaNet", "delta rule", 0.75),
}
# name: kind, the task that it is or stands in for, classes, majority class, root operator.
DATASETS = {
    "listops": ("lra", "listops", 10, 0.174, 0.369),
    "text": ("lra", "text", 2, 0.5, None),
    "retrieval": ("lra", "retrieval", 2, 0.503, None),
    "image": ("lra", "image", 10, 0.1, None),
    "pathfinder": ("lra", "pathfinder", 2, 0.501, None),
    "pathx": ("lra", "pathx", 2, 0.502, None),
    "listops-short": ("short", "listops", 10, 0.21, 0.452),
    "pathfinder-easy": ("short", "pathfinder", 2, 0.508, None),
    "text-short": ("short", "text", 2, 0.5, None),
    "pathfinder-uniform": ("variant", "pathfinder", 2, 0.5, None),
    "image-fashion": ("stand-in", "image", 10, 0.1, None),
}
SIX = tuple(DATASETS)[:6]
QUICK = ("listops-short", "pathfinder-easy", "text-short")
PATHS = "generated, seed_mode reference, seed 0"
SOURCES = {"text": "download", "image": "download", "retrieval": "folder"}
SOURCES |= dict.fromkeys(("pathfinder", "pathx", "pathfinder-easy"), PATHS)


def noise(*what):
    """A number from 0 to 1 that depends on the arguments alone."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def row(model="metala", dataset="listops", lr=None, seed=0, **fields):
    """One finished run under the published settings of its task; every field can be set."""
    label, family, _ = MANY.get(model, (model, "linear RNN", 0.5))
    kind, task, classes, majority, root = DATASETS[dataset]
    settings = {n: int(v) if v == int(v) else v for n, v in published.lra_settings()[task].items()}
    settings["bidirectional"] = bool(settings["bidirectional"])
    made = {
        "task": "lra",
        "task_version": 1,
        "preset": "paper" if kind == "lra" else "quick",
        "label": label,
        "family": family,
        "model": model,
        "dataset": dataset,
        **settings,
        "lr": settings["lr"] if lr is None else lr,
        "seed": seed,
        "data_seed": 0,
        "conv": "own",
        "channel_mixer": "glu",
        "norm": "batch",
        "block": "pre",
        "positions": "none" if task in ("pathfinder", "pathx") else "sinusoidal",
        "dropout": 0.0,
        "selection": "validation",
        "test_weights": "best",
        "schedule": "cosine",
        "precision": "bf16",
        "metric": "accuracy",
        "higher_is_better": True,
        "value": 0.6,
        "valid": 0.6,
        "chance": 1 / classes,
        "dataset_kind": kind,
        "dataset_of": task,
        "baselines": {"majority": majority} | ({"root operator": root} if root else {}),
        "data_source": SOURCES.get(dataset, "generated"),
        "data_sha256": {"test": hashlib.sha256(dataset.encode()).hexdigest()},
        "epoch_updates": 100,
        "stop": "budget",
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
        "accumulated": 1,
        "resumed": 0,
        **fields,
    }
    made.setdefault("steps", made["updates"])
    made.setdefault("best_update", made["steps"])
    made.setdefault("epochs", made["steps"] / made["epoch_updates"])
    named = [made[n] for n in ("model", "dataset", "lr", "seed", "preset", "selection", "depth")]
    named += [made["positions"], made["updates"], made["d_model"]]
    made.setdefault("key", hashlib.sha256(repr(named).encode()).hexdigest()[:16])
    return made


def run(model, dataset, lr, seed, **fields):
    """One run with a curve that rises from chance, the higher the better the model learns."""
    made = row(model, dataset, lr, seed, **fields)
    skill = MANY[model][2] * (0.8 + 0.2 * noise(model, dataset))
    best = 0.68 if made["dataset_of"] == "listops" else 1
    top = made["chance"] + skill * (best - made["chance"])
    every = max(1, made["updates"] // 12)
    for step in range(every, made["updates"] + 1, every):
        done = (step / made["updates"] - 0.35 - 0.2 * noise(model, dataset, "when")) / 0.08
        valid = made["chance"] + (top - made["chance"]) / (1 + math.exp(-done))
        valid += 0.03 * (noise(model, dataset, lr, seed, step) - 0.5)
        made["curve_steps"].append(step)
        made["curve_valid"].append(min(1.0, valid))
        made["curve_loss"].append(-math.log(max(valid, 0.01)))
    best = max(range(len(made["curve_valid"])), key=lambda i: made["curve_valid"][i])
    made["best_update"], made["valid"] = made["curve_steps"][best], made["curve_valid"][best]
    made["value"] = made["valid"] - 0.02 * noise(model, dataset, seed, lr)
    return made


def failed(made, status):
    """The same run without result."""
    return {**made, "status": status, "value": None, "valid": None}


def sweep(models=tuple(MODELS), datasets=QUICK, rates=(None,), seeds=1, **fields):
    """Every combination, one row each."""
    axes = itertools.product(models, datasets, rates, range(seeds))
    return [run(*point, **fields) for point in axes]
