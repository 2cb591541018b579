"""Named lists of language-model runs, one function each.

`lazoo lm --preset NAME --dry-run` lists one. A docstring names its source, what the source leaves
open, and what is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from runners import named
from runners.grids import changed, grid
from runners.lm_config import Lm
from runners.lm_paper import ABLATION, ablation, own, paper_1_4b, paper_360m

QUICK_MODELS = ("attention", "linformer", "gla", "rwkv4", "mamba", "hgrn", "metala")
QUICK_SEEDS = (0, 1)
QUICK_RATES = (0.002, 0.006)
QUICK = Lm(
    model="attention",
    d_model=96,
    depth=3,
    corpus="classics",
    tokeniser="bytes",
    seq_len=256,
    batch=16,
    updates=250,
    lr=0.002,
    warmup=25,
    lr_end=0.1,
    beta2=0.95,
    weight_decay=0.1,
    clip=1.0,
    evaluate_every=50,
    valid_tokens=32_768,
    test_tokens=131_072,
)

SMALL_MODELS = ("attention", "linformer", "gla", "rwkv4", "mamba", "hgrn", "metala")
SMALL_RATES = (0.001, 0.002, 0.004)
SMALL = Lm(
    model="attention",
    d_model=512,
    depth=8,
    corpus="pysource",
    tokeniser="bpe-16384",
    seq_len=1024,
    batch=64,
    updates=1500,
    lr=0.002,
    warmup=75,
    lr_end=0.1,
    beta2=0.95,
    weight_decay=0.1,
    clip=1.0,
    evaluate_every=150,
    valid_tokens=2**19,
    test_tokens=2**20,
    precision="bf16",
)


def quick() -> list[Lm]:
    """Seven models on classics, 1.0 million bytes each, two rates, two seeds. Minutes on a CPU.

    Ours, not a published setting: 0.36 million parameters, windows of 256 bytes. Every model has
    the same depth, width, budget and batches in the same order, its own short convolution, if any,
    and a SwiGLU whose width makes up for what its mixer has more or less parameters. Attention
    alone has positions (RoPE), which it would know no order without. A seed decides initial values
    and the order of the windows together (`--seed` and `--data-seed`), so that the spread is that
    of a whole repetition.

    Tried before it was fixed, on the validation set, width 128, 4 layers, 300 updates, one seed:
    rate 0.004 gave RWKV-4 2.13, MetaLA 2.31, GLA 2.56, attention 3.12 (2.71 with initialisation
    authors) and LinFormer 3.69 bits per byte, 0.002 gave attention 2.91; so there are two rates, a
    factor of three apart, and smaller models. In the present size at rate 0.004, initial values as
    each module has them against N(0, 0.02) for all matrices (initialisation zoology): attention
    3.02 and 2.80, GLA 2.72 and 2.86, MetaLA 2.45 and 2.48, LinFormer 3.61 and 3.48, HGRN 2.35 and
    2.42, RWKV-4 2.25 and 2.50, Mamba 2.31 and 2.33; initialisation authors gave attention 2.86 and
    GLA 2.86 and was not tried further. The first are used, with which only the mixer differs; which
    of attention and GLA is ahead hangs on that.

    So few bytes mostly tell models with a local convolution, a token shift or a decay from those
    without; `--conv k4-silu` gives all the same convolution. Neighbours in the ranking need more
    seeds or `--updates`.
    """
    bases = [changed(QUICK, **own(model)) for model in QUICK_MODELS]
    return [run for base in bases for each in grid(base, lr=QUICK_RATES) for run in repeated(each)]


def quick_ablation() -> list[Lm]:
    """MetaLA and the three rows of its Table 8 in the setting of `quick`.

    Ours; `ablation` is the published setting. MetaLA itself has the runs of `quick`.
    """
    bases = [changed(QUICK, model=model) for model in ABLATION]
    return [run for base in bases for each in grid(base, lr=QUICK_RATES) for run in repeated(each)]


def small() -> list[Lm]:
    """Seven models of 34 million parameters, 98 million tokens of Python source, three rates.

    Ours, for one GPU: 25 million parameters beside the embedding, windows of 1,024 tokens of
    bpe-16384, 65,536 tokens per update, bf16. A run is 2.0e16 to 2.2e16 operations, as
    runners/flops.py counts them; how long that takes hangs on the GPU and on the kernels that the
    mixer finds there, and `--dry-run` times real steps where there is one. Rates are a factor of
    two apart; the best is chosen on the validation set.

    pysource is what is installed, so its size and text differ between machines, and so do scores;
    a small installation is read several times over. `--corpus` takes another text, such as
    hub:HuggingFaceFW/fineweb-edu. One seed; positions, convolutions and widths are as in `quick`.
    """
    return [r for model in SMALL_MODELS for r in grid(changed(SMALL, **own(model)), lr=SMALL_RATES)]


def repeated(run: Lm) -> list[Lm]:
    """Once for each seed, of initial values and data alike."""
    return [changed(run, seed=seed, data_seed=seed) for seed in QUICK_SEEDS]


LM: dict[str, Callable[[], list[Lm]]] = {
    "quick": quick,
    "quick-ablation": quick_ablation,
    "small": small,
    "paper-360m": paper_360m,
    "paper-1.4b": paper_1_4b,
    "ablation": ablation,
}


def preset(name: str) -> list[Lm]:
    """The runs of a preset; an unknown name is refused with the nearest one."""
    return named.find(name, LM, "lm")()


def describe(name: str) -> str:
    """What a preset is, from where, and what is ours: its docstring."""
    return named.described(name, LM, "lm")
