"""Named lists of runs of the Long Range Arena, one function each.

`lazoo lra --preset NAME --dry-run` lists one. A docstring names its source, what the source leaves
open, and what is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from runners import named
from runners.grids import changed, grid
from runners.lra_config import Lra
from runners.lra_original import lra_original
from runners.lra_paper import paper
from runners.lra_s4 import s4

QUICK_MODELS = ("attention", "s5", "hgrn", "mamba", "metala")
QUICK_RATES = (0.004,)
# Of each data set: depth, width, inner width of the GLU, rows of a batch, updates, those between
# validations.
QUICK_SIZES = {
    "listops-short": (2, 64, 128, 32, 500, 100),
    "text-short": (2, 32, 64, 16, 400, 100),
    "pathfinder-easy": (2, 32, 64, 32, 600, 100),
}
QUICK = Lra(
    model="attention",
    dataset="listops-short",
    channel_mixer="swiglu",
    norm="batch",
    positions="sinusoidal",
    weight_decay=0.05,
    clip=1.0,
)


def quick() -> list[Lra]:
    """Five models on short ListOps, short Text and easy Pathfinder. Minutes on a CPU.

    Ours, not a published setting, and no LRA scores: the data sets are small ones of their own
    names. On each, every model has the same depth, width, budget and learning rate, batch norm as
    in the paper's setting, a GLU, and its own short convolution, if any. Positions are sinusoidal,
    but on Pathfinder only for attention, which knows no order without them (as in `paper`).

    Tried before it was fixed, one seed each, accuracy on rows held out: with layer norm in place of
    batch norm none of HGRN, MetaLA and Mamba left chance on forms of easy Pathfinder that were
    dropped since (256 and 64 pixels, rates 0.002 to 0.01, up to 1,600 updates); with batch norm
    and sinusoidal positions none of S5, HGRN and MetaLA did within 450 to 600 updates on the
    present one, and S5 without positions reached 0.87 after 500. On short Text HGRN reached 0.62
    after 375 updates with batch norm, MetaLA 0.62 after 400 with layer norm at 0.003 and width 64.
    """
    runs: list[Lra] = []
    for dataset, (depth, d_model, d_channel, batch, updates, every) in QUICK_SIZES.items():
        size = {"depth": depth, "d_model": d_model, "d_channel": d_channel, "batch": batch}
        budget = {"updates": updates, "warmup": updates // 10, "evaluate_every": every}
        base = changed(QUICK, dataset=dataset, **size, **budget)
        for model in QUICK_MODELS:
            without = dataset == "pathfinder-easy" and model != "attention"
            own = changed(base, model=model, positions="none" if without else "sinusoidal")
            runs += grid(own, lr=QUICK_RATES)
    return runs


LRA: dict[str, Callable[[], list[Lra]]] = {
    "quick": quick,
    "paper": paper,
    "s4": s4,
    "lra-original": lra_original,
}


def preset(name: str) -> list[Lra]:
    """The runs of a preset; an unknown name is refused with the nearest one."""
    return named.find(name, LRA, "lra")()


def describe(name: str) -> str:
    """What a preset is, from where, and what is ours: its docstring."""
    return named.described(name, LRA, "lra")
