"""The settings of the Long Range Arena's own code (google-research/long-range-arena at cd31e5c)."""

from __future__ import annotations

from typing import Any

import tasks.lra
import zoo
from runners.lra_config import Lra, of_epochs

MODELS = ("attention", "linformer", "performer")
# lra_benchmarks/*/configs, base and transformer_base; d_channel is mlp_dim.
TEXTS: dict[str, dict[str, Any]] = {
    "listops": {"d_model": 512, "d_channel": 1024, "updates": 5000, "warmup": 1000},
    "text": {"d_model": 256, "d_channel": 1024, "updates": 20_000, "warmup": 8000},
    "retrieval": {"d_model": 128, "d_channel": 512, "updates": 5000, "warmup": 8000},
}
IMAGES: dict[str, dict[str, Any]] = {
    "image": {"depth": 1, "d_model": 128, "d_channel": 128, "batch": 256, "lr": 0.0005},
    "pathfinder": {"depth": 4, "d_model": 32, "d_channel": 32, "batch": 512, "lr": 0.001},
    "pathx": {"depth": 1, "d_model": 32, "d_channel": 32, "batch": 64, "lr": 0.001, "clip": 1.0},
}
# Dropout, and that on attention probabilities; the texts have the model's default.
DROPOUT = {"image": (0.3, 0.2), "pathfinder": (0.2, 0.1)}
# configs/pathfinder32/linear_transformer_base.py has a shape of its own.
LINFORMER = {"pathfinder": {"depth": 1, "d_model": 128, "d_channel": 128}}
EPOCHS = 200


def lra_original() -> list[Lra]:
    """Tay et al. 2020 (arXiv 2011.04006): Transformer, Linear Transformer and Performer.

    From google-research/long-range-arena, configs and training code: pre-norm blocks with a GELU
    layer, widths, batches, updates, pixels as tokens, sinusoidal or learned positions, a class
    token (mean pooling on Pathfinder and Path-X), the ReLU heads, dropout on embedding and
    sub-layers, Adam with beta2 0.98 and weight decay on all parameters. Texts: lr 0.05 /
    sqrt(update) with warm-up, which on Retrieval is longer than the training. Images: cosine with
    one epoch of warm-up, 200 epochs. The last weights are tested.

    Different here: the zoo's numbers of heads, over all d channels (attention and Performer d/64,
    Linear Transformer 8; there the Transformer has 8, 4, 4, 8, 4 and 2, over d/2 channels on
    images), the zoo's initialisation and random features (266 for a head of 64; Performer's file of
    ListOps says 2), Adam's eps of 1e-8 (1e-9), no dropout inside the channel mixer, Text of 4,096
    bytes (the file says 1,000, the paper 4K) with a tenth of the training set for validation
    (`--dataset text --selection test` is the published protocol), and a black pixel is no padding.
    """
    return [
        *(text(task, model) for task in TEXTS for model in MODELS),
        *(image(task, model) for task in IMAGES for model in MODELS),
    ]


def text(task: str, model: str) -> Lra:
    return Lra(
        **common(task, model),
        **TEXTS[task],
        depth=4,
        positions="sinusoidal",
        pooling="cls",
        batch=32,
        lr=0.05,
        schedule="rsqrt",
        weight_decay=0.1,
        evaluate_every=250,
    )


def image(task: str, model: str) -> Lra:
    own = LINFORMER.get(task, {}) if model == "linformer" else {}
    rows, batch = tasks.lra.dataset(task).rows["train"], IMAGES[task]["batch"]
    return of_epochs(
        EPOCHS,
        **common(task, model),
        **{**IMAGES[task], **own},
        inputs="tokens",
        positions="sinusoidal" if task == "pathfinder" else "learned",
        pooling="cls" if task == "image" else "mean",
        warmup=rows // batch,
        weight_decay=0.0,
    )


def common(task: str, model: str) -> dict[str, Any]:
    dropout, attention_dropout = DROPOUT.get(task, (0.1, 0.1))
    return {
        "model": model,
        "dataset": task,
        "channel_mixer": "mlp",
        "head": "lra",
        "dropout": dropout,
        "sublayer_dropout": dropout,
        "attention_dropout": attention_dropout if zoo.load(model).mix == "softmax" else 0.0,
        "beta2": 0.98,
        "decay_all": True,
        "test_weights": "last",
    }
