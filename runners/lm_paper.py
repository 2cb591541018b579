"""The settings of the MetaLA paper's language models: Tables 4, 5 and 8."""

from __future__ import annotations

from runners.grids import changed
from runners.lm_config import Lm

MODELS = ("attention", "mamba", "gla", "metala")
LARGE_MODELS = ("attention", "hgrn", "mamba", "retnet", "gla", "metala")
# The rows of Table 8 as the zoo has them: w/o selfaug, w/o conv, w/ key.
ABLATION = ("metala", "metala:no_aug", "metala:no_conv", "metala:with_key")

SEQ_LEN = 2048
# EleutherAI/pythia models/410M/pythia-410m.yml at ddad623: what the paper leaves open.
PYTHIA = Lm(
    model="metala",
    d_model=1024,
    depth=24,
    corpus="hub:monology/pile-uncopyrighted",
    tokeniser="bpe-50304",
    seq_len=SEQ_LEN,
    batch=256,
    lr=3e-4,
    schedule="cosine",
    lr_end=0.1,
    beta2=0.95,
    weight_decay=0.1,
    clip=1.0,
    evaluate_every=1000,
    valid_tokens=2**21,
    test_tokens=2**23,
    precision="bf16",
)
WARMUP = 0.01  # share of the updates


def paper_360m() -> list[Lm]:
    """MetaLA (arXiv 2411.10741), Tables 4 and 5 at 0.36 to 0.41 billion parameters.

    From the paper: 15 billion tokens of the Pile, rows of 2,048 tokens, half a million tokens per
    update, peak learning rate 3e-4, GPT-NeoX as trainer, and the models: Pythia, Mamba, GLA and
    MetaLA. Attention stands for Pythia: with RoPE, but in the same blocks as the others (Pythia
    has GELU layers beside the attention, and turns a quarter of the channels).

    Open there, from GPT-NeoX's file for Pythia-410M: 24 layers of width 1024, cosine to a tenth,
    1 % warm-up, AdamW's 0.9 and 0.95, weight decay 0.1, clipping at 1. The convolution is a model's
    own. Embedding and head are tied, as otherwise no model has the 0.36 billion parameters of the
    table: here they have 0.354.

    Ours: bf16, where the paper has fp16; monology/pile-uncopyrighted, the Pile without what is
    under copyright; bpe-50304, trained on that corpus, with as many entries as the vocabulary of
    GPT-NeoX-20B has with its padding, whose own file goes with --tokeniser. RMSNorm and SwiGLU in
    every model, its inner width chosen so that all have as many parameters as attention with 8d/3
    (2,736; a multiple of 256 as in GPT-NeoX would be 2,816), also in Mamba, which its authors have
    without channel mixers. Every model starts as its own modules say. One seed, one learning rate,
    as published. A batch that does not fit into memory is split by itself.
    """
    return [of_tokens(15e9, changed(PYTHIA, **own(model))) for model in MODELS]


def paper_1_4b() -> list[Lm]:
    """MetaLA (arXiv 2411.10741), Tables 5 and A5 at 1.3 and 1.4 billion parameters.

    From the paper: 300 billion tokens, 2 million per update, peak learning rate 2e-4, and the
    models. There Mamba and one MetaLA (tied, 1.3 billion) have 100 billion tokens, and Pythia,
    HGRN, RetNet and GLA are checkpoints of others, trained on other texts; here all have the one
    setting. Type `--updates 47684 --warmup 477` for 100 billion, with --tied true for that MetaLA.

    Open there, from the file for Pythia-1.4B: width 2048 and 24 layers, embedding and head apart,
    which gives the 1.4 billion of the table. All else is as in `paper-360m`.
    """
    large = {"d_model": 2048, "batch": 1024, "lr": 2e-4, "tied": False}
    return [of_tokens(300e9, changed(PYTHIA, **large, **own(model))) for model in LARGE_MODELS]


def ablation() -> list[Lm]:
    """MetaLA (arXiv 2411.10741), Table 8: without self-augmentation, without the short
    convolution, and with a key of its own, in the setting of `paper-360m`.

    Open there: whether the channel mixer makes up for parameters that a row has more or less. Here
    it does, so that all rows have the same number (a key is 4 % more); `--match none` has the same
    channel mixer in all. The paper's row without a convolution is near chance on most tasks.

    The same four models on a CPU are `quick-ablation`, and of any size what flags beside a preset
    ask for: `lazoo lm --preset small --model metala metala:no_aug metala:no_conv metala:with_key`.
    """
    return [of_tokens(15e9, changed(PYTHIA, model=model)) for model in ABLATION]


def own(model: str) -> dict[str, str]:
    """The model, and the positions without which attention knows no order."""
    return {"model": model, "positions": "rope" if model == "attention" else "none"}


def of_tokens(tokens: float, run: Lm) -> Lm:
    """The run with the fewest updates that reach so many tokens, 1 % of them warm-up."""
    updates = -int(-tokens // (run.batch * run.seq_len))
    return changed(run, updates=updates, warmup=round(WARMUP * updates))
