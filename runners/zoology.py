"""zoology's two MQAR protocols with their exact settings (HazyResearch/zoology at d88d6f5)."""

from __future__ import annotations

import math
from typing import Any

from runners.config import Mqar
from runners.grids import grid, logspace
from tasks.mqar import MIXTURES

WIDTHS = (64, 128, 256, 512)
ROWS, EPOCHS = 100_000, 64
# Batch of each length in zoology's Figure 2.
BATCHES = {64: 512, 128: 512, 256: 256, 512: 128}


def figure2() -> list[Mqar]:
    """Zoology (arXiv 2312.04927), Figure 2: attention, Based, RWKV-4 and Mamba, one setting a run.

    From HazyResearch/zoology iclr24_zoology_figure2/configs.py at d88d6f5, its trainer and its
    initialisation, with everything odd in them: r + LN(r) as channel mixer, weight decay on all
    parameters, a cosine stepped once an epoch, rows never shuffled, and the test set as stopping
    and selection set. 512/64 is commented out there but is in the paper's figure. Based is a
    BaseConv layer, then Based with 8 features. Different here: data and initialisation come from
    other random streams; RWKV-4 runs in float32 (bfloat16 there); Mamba's last norm is an RMSNorm
    (LayerNorm there). Hyena, H3 and BaseConv are not in the zoo.
    """
    runs: list[Mqar] = []
    for length, pairs in ((64, 4), (128, 8), (256, 16), (512, 64)):
        for model in ("attention:one_head+biased", "based:one_head+features8", "rwkv4", "mamba"):
            base = figure2_run(model, length, pairs)
            runs += grid(base, d_model=WIDTHS, lr=logspace(-4, -2, 4))
    return runs


def mixed() -> list[Mqar]:
    """Based (arXiv 2402.18668), Figure 2: trained on 64 to 256 tokens, tested on 64 to 1024.

    From HazyResearch/zoology arxiv24_based_figure2/configs.py at d88d6f5: segments in the listed
    order, never shuffled, random filler, no positions, layer 0 a BaseConv except for Mamba; Based
    with 8, 16 and 24 features, Mamba with states of 8, 16 and 24. Trainer as in `zoology-figure2`.
    Mixers that are not in the zoo are left out.
    """
    mixture = MIXTURES["zoology"]
    batch, epochs = 256, 32
    epoch = sum(math.ceil(rows / batch) for _, rows in mixture.train)
    runs: list[Mqar] = []
    for model, widths in (
        ("attention:one_head+biased", (64, 128)),
        ("based:one_head+features8", (48, 64, 128)),
        ("based:one_head", (48, 64, 128)),
        ("based:one_head+features24", (48, 64, 128)),
        ("mamba:state8", (64, 128, 256)),
        ("mamba", (64, 128, 256)),
        ("mamba:state24", (64, 128, 256)),
    ):
        fields = {**trainer(model), "mixture": "zoology", "batch": batch}
        fields |= {"updates": epochs * epoch, "evaluate_every": epoch}
        if not model.startswith("mamba"):
            fields["first_mixer"] = "base_conv"
        runs += grid(Mqar(model=model, **fields), d_model=widths, lr=logspace(-3, -1.5, 4))
    return runs


def figure2_run(model: str, length: int, pairs: int) -> Mqar:
    """One model in the protocol of zoology's Figure 2, at one length."""
    batch = BATCHES[length]
    epoch = math.ceil(ROWS / batch)
    fields = {**trainer(model), "length": length, "pairs": pairs, "batch": batch}
    fields |= {"updates": EPOCHS * epoch, "evaluate_every": epoch}
    if model.startswith("attention"):
        fields["positions"] = "learned"
    if model.startswith("based"):
        fields["first_mixer"] = "base_conv"
    return Mqar(model=model, **fields)


def trainer(model: str) -> dict[str, Any]:
    """What zoology's trainer and blocks fix; Mamba's block has no dropout and no channel mixer."""
    mamba = model.startswith("mamba")
    return {
        "channel_mixer": "none" if mamba else "identity",
        "norm": "rms" if mamba else "layer",
        "dropout": 0.0 if mamba else 0.1,
        "attention_dropout": 0.1 if model.startswith("attention") else 0.0,
        "initialisation": "zoology",
        "decay_all": True,
        "schedule": "cosine-epoch",
        "clip": 0.0,
        "stop_at": 0.99,
        "selection": "test",
        "shuffle": False,
        "seed": 123,
        "data_seed": 123,
    }
